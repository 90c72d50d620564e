"""Trainings and scores that several processes share; each leaves what it has in a file.

Run by test_distributed.py, alone and by torchrun. What begins with "own" differs between processes.
"""

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from bcnet_lib import distributed
from bcnet_lib.checkpoint import CheckpointError, read_state
from bcnet_lib.data import load
from bcnet_lib.evaluate import accuracy, evaluate_many
from bcnet_lib.principles import BC, UA, BCv2, Cyclic
from bcnet_lib.recipe import Recipe
from bcnet_lib.scratch import train_from_scratch, train_in_parts
from bcnet_lib.search import bn_l1, evolve
from bcnet_lib.space import WidthSpace
from bcnet_lib.supernet import Supernet
from bcnet_lib.synced_bn import synced
from bcnet_lib.train import SupernetTrainer

RECIPE = Recipe(epochs=4, batch_size=33, lr=0.2)  # no whole share for each of two
WAYS = {  # principle and options of a trainer
    "both": (BCv2(), {"complement": True}),
    "at once": (BCv2(), {"complement": True, "at_once": True}),
    "alternate": (BCv2(), {"complement": True, "update": "alternate"}),
    "sandwich": (BCv2(), {"update": "sandwich", "distill": True}),
    "UA": (UA(), {}),
    "BC": (BC(), {}),
    "Cyclic": (Cyclic(), {}),
}


def normed(dropout=0.0, channels=1):
    """With BatchNorm, and smooth: where a ReLU is at its kink, rounding decides a gradient."""
    torch.manual_seed(0)
    model = tiny.cnn(dropout=dropout)
    for i, module in enumerate(model):
        if isinstance(module, nn.ReLU):
            model[i] = nn.SiLU()
    if channels != 1:
        model[0] = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
    return model


def plain(dropout=0.0):
    """Without BatchNorm: what a process computes does not depend on the others' images."""
    return nn.Sequential(*[m for m in normed(dropout) if not isinstance(m, nn.BatchNorm2d)])


def trainer(data, model=None, principle=None, recipe=RECIPE, **options):
    model = model or normed()
    space = WidthSpace.from_model(model, torch.zeros(1, *data.shape), K=8, base=2)
    net = Supernet(model, space, principle or BCv2(), seed=0)
    return SupernetTrainer(net, data, recipe, **({"seed": 2, "progress": False} | options))


def weights(module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def statistics(model) -> torch.Tensor:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    return torch.cat([t for m in norms for t in (m.running_mean, m.running_var)])


@contextmanager
def unsynced():
    """As if the processes had joined with ``sync_batchnorm=False``."""
    before = distributed._joined
    if before is not None:
        distributed._joined = replace(before, sync_batchnorm=False)
    try:
        yield
    finally:
        distributed._joined = before


def supernets(data) -> dict:
    """Weights and losses of every way to train, with BatchNorm and without; a search after it."""
    out = {}
    for way, (principle, options) in WAYS.items():
        for name, model in {way: normed(), f"plain {way}": plain()}.items():
            if name in ("plain UA", "plain BC", "plain Cyclic"):
                continue
            t = trainer(data, model, principle, **options).fit(max_steps=5)
            out[f"{name}: weights"] = weights(t.net)
            out[f"{name}: losses"] = torch.from_numpy(t.records.losses)
            out[f"{name}: widths"] = torch.from_numpy(t.records.widths)
    for way in ("both", "UA"):
        principle, options = WAYS[way]
        t = trainer(data, None, principle, replace(RECIPE, epochs=6), **options).fit()
        search = {"population": 6, "generations": 3, "batch_size": 30, "progress": False}
        found = evolve(t.net, data, budget=0.5 * t.net.cost.macs(t.net.space.full), **search)
        out[f"{way}: found"] = torch.tensor([*found.best, found.history.score.max()])
        with unsynced():
            t = trainer(data, None, principle, **options).fit(max_steps=5)
        out[f"unsynced {way}: losses"] = torch.from_numpy(t.records.losses)
    return out


def stops(data, folder: Path) -> dict:
    """Runs that were stopped go on, but not as others; their files hold the networks' own names."""
    file, out = folder / "state", {}
    trainer(data, normed(0.3), checkpoint=file).fit(max_steps=3)
    own = trainer(data, normed(0.3)).net.state_dict()
    out["names"] = torch.tensor([list(read_state(file)["net"]) == list(own)])
    try:
        with unsynced():
            trainer(data, normed(0.3), checkpoint=file)
    except CheckpointError as error:
        out["own refused"] = str(error)
    distributed.wait()
    again = trainer(data, normed(0.3), checkpoint=file).fit()
    whole = trainer(data, normed(0.3)).fit()
    out["goes on"] = weights(again.net) - weights(whole.net)
    asked = iter([False, True])
    parts = {"seed": 4, "checkpoint": folder / "parts"}
    train_in_parts(normed(0.3), data, RECIPE, over=lambda: next(asked), **parts)
    again = train_in_parts(normed(0.3), data, RECIPE, **parts)
    whole = train_from_scratch(normed(0.3), data, RECIPE, seed=4)
    out["parts go on"] = weights(again.model) - weights(whole.model)
    return out


def from_scratch(data) -> dict:
    """Weights, history and accuracies of plain networks."""
    out, teacher = {}, normed().eval()
    taught = {"teacher": teacher, "penalty": bn_l1(1e-3)}
    for name, model, options in (
        ("scratch", normed(), {}),
        ("taught", normed(), taught),
        ("averaged", normed(), {"recipe": replace(RECIPE, ema=0.9)}),
        ("plain scratch", plain(), {}),
    ):
        trained = train_from_scratch(model, data, **({"recipe": RECIPE, "seed": 1} | options))
        out[f"{name}: weights"] = weights(trained.model)
        out[f"{name}: losses"] = torch.tensor(trained.history.loss)
        if name != "plain scratch":
            out[f"{name}: statistics"] = statistics(trained.model)
        out[f"{name}: measured"] = torch.tensor([trained.val_accuracy, trained.test_accuracy])
        out[f"{name}: measured again"] = torch.tensor([accuracy(trained.model, data.val)])
    with unsynced():
        trained = train_from_scratch(normed(), data, RECIPE, seed=1)
    out["unsynced scratch: statistics"] = statistics(trained.model)
    return out


def folders(root: Path) -> dict:
    """A supernet and a network on images read from files, 15 a batch."""
    data = load("imagenet-32", root, val=0.25)
    recipe, out = Recipe(epochs=1, batch_size=15, lr=0.05, augment=True), {}
    t = trainer(data, normed(channels=3), BCv2(), recipe, complement=True).fit()
    out["folder supernet: weights"] = weights(t.net)
    out["folder supernet: losses"] = torch.from_numpy(t.records.losses)
    trained = train_from_scratch(normed(channels=3), data, recipe, seed=1)
    out["folder scratch: weights"] = weights(trained.model)
    out["folder scratch: losses"] = torch.tensor(trained.history.loss)
    out["folder scratch: statistics"] = statistics(trained.model)
    out["folder scratch: measured"] = torch.tensor([trained.val_accuracy, trained.test_accuracy])
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

    def sample(rng, n):  # scores while a training goes on
        C = t.net.space.sample(rng, 4)
        return C[np.argsort(evaluate_many(t.net, C, data.val, batch_size=30))[:n]]

    t = trainer(data, sample=sample)
    out["scoring: losses"] = torch.from_numpy(t.fit(max_steps=3).records.losses)
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


def batch_norms() -> dict:
    """Largest differences of synchronised BatchNorm, on shares of a batch, from the whole's."""
    i, n = distributed.place()
    out = {}
    for name, shape, dtype, affine in (
        ("images", (7, 5, 4, 3), torch.float32, True),
        ("rows", (5, 6), torch.float64, True),
        ("bare", (4, 3, 6), torch.float32, False),
        ("bfloat16", (8, 4, 5, 5), torch.bfloat16, True),
    ):
        torch.manual_seed(3)
        x = (3 * torch.randn(shape) + 20).to(dtype)  # far from 0
        up = torch.randn(shape).to(dtype)
        kind = torch.float64 if dtype == torch.float64 else torch.float32
        w, b = (torch.rand(shape[1], dtype=kind) + 0.5 if affine else None for _ in range(2))
        sides = []  # the whole batch by one, and shares of it by all
        for rows, context in ((slice(None), nullcontext()), (slice(i, None, n), synced())):
            leaves = [t.clone().requires_grad_() for t in (x[rows], w, b) if t is not None]
            running = torch.zeros(shape[1], dtype=kind), torch.ones(shape[1], dtype=kind)
            with context:
                y = F.batch_norm(leaves[0], *running, *leaves[1:], training=True, momentum=0.3)
            (y * up[rows]).sum().backward()
            grads = [t.grad for t in leaves]
            sides.append([[y.detach(), grads[0]], [*running], grads[1:]])
        (images, running, of), (own_images, own_running, own_of) = sides
        pairs = [(a[i::n], b) for a, b in zip(images, own_images, strict=True)]
        pairs += zip(running, own_running, strict=True)
        pairs += [(a, distributed.total(b)) for a, b in zip(of, own_of, strict=True)]
        found = [float((a.double() - b.double()).abs().max()) for a, b in pairs]
        out[f"own batch norm {name}"] = torch.tensor(found)
    return out


class Sometimes(nn.Module):
    """A network with a layer that is used when told, and one that never is."""

    def __init__(self):
        super().__init__()
        self.net, self.other, self.never = plain(), nn.Linear(10, 10), nn.Linear(3, 3)
        self.use = False

    def forward(self, x):
        return self.other(self.net(x)) if self.use else self.net(x)


def passes(data) -> dict:
    """Gradients before and after the last pass of a step; layers that are not used."""
    net, (x, y) = Sometimes(), next(data.train.batches(32, share=distributed.place()))
    run, out = distributed.Passes(net), {}
    share = 1 / distributed.processes()
    for last in (False, True):
        run.backward(lambda: (F.cross_entropy(net(x), y),), share, last=last)
        gradient = torch.cat([p.grad.reshape(-1) for p in net.net.parameters()])
        out["gradients" if last else "own gradients"] = gradient
    out["unused"] = torch.tensor([p.grad is None for p in net.never.parameters()])
    net.use = True
    try:
        run.backward(lambda: (F.cross_entropy(net(x), y),), share)
    except RuntimeError as error:
        out["own message"] = str(error)
    torch.manual_seed(distributed.place()[0])  # as if initial weights were of no common seed
    model = tiny.cnn()
    trained = train_from_scratch(model, data, replace(RECIPE, epochs=0.2))
    out["from the first one's: weights"] = weights(trained.model)
    return out


def main(folder: Path, root: Path) -> None:
    with distributed.joined():
        torch.set_num_threads(1)
        data = load("fake", size=300, seed=1, noise=0.3)
        out = supernets(data) | stops(data, folder) | from_scratch(data) | scores(data)
        out |= folders(root) | passes(data)
        if distributed.processes() > 1:
            assert dist.get_backend() == "gloo"
            out |= clocks(data) | batch_norms()
        torch.save(out, folder / f"{distributed.place()[0]}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
