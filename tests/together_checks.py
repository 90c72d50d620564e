"""Trainings and scores that several processes share; each leaves what it has in a file.

Run by test_distributed.py, alone and by torchrun.
"""

import sys
import time
from pathlib import Path

import numpy as np
import tiny
import torch
from torch import nn

from bcnet_lib import distributed
from bcnet_lib.data import load
from bcnet_lib.evaluate import accuracy, evaluate_many
from bcnet_lib.principles import BCv2
from bcnet_lib.recipe import Recipe
from bcnet_lib.scratch import train_from_scratch
from bcnet_lib.supernet import Supernet
from bcnet_lib.train import SupernetTrainer

RECIPE = Recipe(epochs=2, batch_size=33, lr=0.05)  # no whole share for each of two


def plain(dropout=0.0):
    """Without BatchNorm: what a process computes does not depend on the others' images."""
    torch.manual_seed(0)
    model = tiny.cnn(dropout=dropout)
    return nn.Sequential(*[m for m in model if not isinstance(m, nn.BatchNorm2d)])


def trainer(data, model=None, **options):
    model = model or plain()
    net = Supernet(model, tiny.space(model), BCv2(), seed=0)
    options = {"complement": True, "seed": 2, "progress": False} | options
    return SupernetTrainer(net, data, RECIPE, **options)


def weights(module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def supernets(data, folder: Path) -> dict:
    """Weights and losses of every way to train, and of a run that was stopped and goes on."""
    out = {}
    ways = {"both": {}, "at once": {"at_once": True}, "alternate": {"update": "alternate"}}
    ways["sandwich"] = {"update": "sandwich", "complement": False, "distill": True}
    for name, options in ways.items():
        t = trainer(data, **options).fit(max_steps=4)
        out[f"{name}: weights"] = weights(t.net)
        out[f"{name}: losses"] = torch.from_numpy(t.records.losses)
        out[f"{name}: widths"] = torch.from_numpy(t.records.widths)
    file = folder / "state"
    trainer(data, tiny.cnn(dropout=0.3), checkpoint=file).fit(max_steps=3)
    again = trainer(data, tiny.cnn(dropout=0.3), checkpoint=file).fit()
    whole = trainer(data, tiny.cnn(dropout=0.3)).fit()
    out["goes on"] = weights(again.net) - weights(whole.net)
    return out


def from_scratch(data) -> dict:
    """Weights, history and accuracies of a plain network; running statistics of another."""
    trained = train_from_scratch(plain(), data, RECIPE, seed=1)
    out = {"scratch: weights": weights(trained.model)}
    out["scratch: history"] = torch.tensor(trained.history.to_numpy(dtype=float))
    torch.manual_seed(0)
    normed = train_from_scratch(tiny.cnn(), data, RECIPE, seed=1)
    norms = [m for m in normed.model if isinstance(m, nn.BatchNorm2d)]
    out["statistics"] = torch.cat([t for m in norms for t in (m.running_mean, m.running_var)])
    out["measured"] = torch.tensor([normed.val_accuracy, normed.test_accuracy])
    out["measured again"] = torch.tensor([accuracy(normed.model, data.val)])
    return out


def scores(data) -> dict:
    """Scores of widths, some alone, on an odd number of batches and on a single one."""
    net, out = tiny.supernet(), {}
    C = net.space.sample(np.random.default_rng(0), 5)
    for size in (30, 2048):
        options = {"batch_size": size, "per_path": True}
        many = evaluate_many(net, C, data.val, **options)
        one = evaluate_many(net, C[:1], data.val, **options)
        loss = evaluate_many(net, C, data.val, metric="loss", **options)
        out |= {f"{name} {size}": torch.from_numpy(v) for name, v in (("many", many), ("one", one))}
        out[f"loss {size}"] = torch.from_numpy(loss)
    return out


def clocks(data) -> dict:
    """Steps that a time allows, by clocks that run differently in each process."""
    steps, real = [], time.monotonic
    for late in (0, 1):  # the process whose time is over at once
        begin = real()
        asked = iter([begin])
        if distributed.place()[0] == late:
            time.monotonic = lambda asked=asked: next(asked, begin + 1e6)  # noqa: B023
        t = trainer(data)
        t.fit(max_steps=3, minutes=60)
        time.monotonic = real
        steps.append(t.step)
    return {"steps in time": torch.tensor(steps)}


def main(folder: Path) -> None:
    with distributed.joined():
        torch.set_num_threads(1)
        data = load("fake", size=300, seed=1)
        out = supernets(data, folder) | from_scratch(data) | scores(data)
        if distributed.processes() > 1:
            out |= clocks(data)
        torch.save(out, folder / f"{distributed.place()[0]}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
