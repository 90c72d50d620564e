"""How fast a task's networks are here: what every call takes, and what every image adds.

Small networks spend most of their time between the sums, in Python and in starting operations, so
MACs alone would promise too much. Two numbers of images are timed at widths of typical cost, and a
line is put through the two times. Every pass has other widths, as in training: for layers of a new
shape the libraries below PyTorch first prepare a program, which on a CPU can take longer than it
runs. That is part of what a call takes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np
import torch
import torch.nn.functional as F

from .data import Split, mix
from .evaluate import evaluate_many
from .search import uniform

__all__ = ["BACKWARD", "Pace", "measure_paces"]

BACKWARD = 2  # a backward pass takes about twice the MACs of the forward pass
_TRIAL = 2e10  # MACs of a forward pass that are enough to time
_LONG = 2.0  # seconds
_SCORED = 8  # widths scored together; a generation has more, and shares more


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of a kind of work: so many a call, so many an optimiser step, MACs over a rate."""

    rate: float
    """MACs a second, beside what every call takes."""
    call: float = 0.0
    """Seconds of every pass, whatever the images and the width."""
    step: float = 0.0
    """Seconds of every optimiser step."""

    def seconds(self, macs: float, calls: int, steps: int = 0) -> float:
        """Of so much work in so many calls."""
        return macs / self.rate + calls * self.call + steps * self.step


def measure_paces(task, net, images: dict[str, int], device="cpu") -> dict[str, Pace]:
    """Time training of the supernet, scoring, and training from scratch.

    Args:
        task: ``Task``. net: its supernet, on the device; its weights are changed.
        images: "supernet", "search", "retrain" -> images a call of one process.
    """
    settings, space = task.settings, task.space
    C = space.sample(np.random.default_rng(mix(settings.seed, 9)), 2048)
    macs = task.cost.macs(C)
    mean = float(macs.mean())
    drawn = iter(C[np.argsort(np.abs(macs - mean))])  # of typical cost first
    searched = iter(C[np.argsort(np.abs(macs - min(mean, task.budget)))])
    narrow = uniform(space, task.cost, task.budget)
    model, *_ = task.build(narrow, 0, device)
    visits = net.n_paths if net.n_paths <= 2 else 1  # passes that training makes of a width
    each = _SCORED * net.n_paths

    def supernet(n: int) -> float:
        train = _training(net, task, n, settings.supernet.amp, device)
        return _typical(lambda c: [train(c, path=p) for p in range(visits)], drawn) / visits

    def retrain(n: int) -> float:
        train = _training(model, task, n, settings.retrain.amp, device)
        return _typical(lambda _: train(), cycle([None]))

    def search(n: int) -> float:
        split, options = _blank(task, n, device), {"amp": settings.supernet.amp, "batch_size": n}
        some = iter(lambda: list(islice(searched, _SCORED)), [])
        return _typical(lambda few: evaluate_many(net, few, split, **options), some) / each

    def line(run, stage: str, macs: float) -> Pace:
        return _line(run, _numbers(images[stage], task.cost.macs(space.full)), macs)

    def update(module, recipe) -> float:
        step = recipe.make_optimizer(module.parameters()).step
        return _typical(lambda _: (step(), _wait(device)), cycle([None]))

    whole = 1 + BACKWARD
    trained = line(supernet, "supernet", whole * mean)
    scratch = line(retrain, "retrain", whole * task.cost.macs(narrow))
    return {
        "supernet": replace(trained, step=update(net, settings.supernet)),
        "search": line(search, "search", min(mean, task.budget)),
        "retrain": replace(scratch, step=update(model, settings.retrain)),
    }


def _numbers(images: int, full: float) -> tuple[int, int]:
    """Two numbers of images to time, the larger as in the run unless that would take long."""
    many = max(4, min(images, int(_TRIAL // full), 512))
    return max(2, many // 4), many


def _training(module, task, n: int, amp: bool, device) -> Callable[..., None]:
    """A forward and a backward pass of n images; what it is called with, the module is given."""
    kind = torch.device(device).type
    split = _blank(task, n, device)
    module.train()

    def once(*args, **options):
        with torch.autocast(kind, torch.bfloat16, enabled=amp):
            loss = F.cross_entropy(module(split.x, *args, **options), split.y)
        loss.backward()
        _wait(device)

    return once


def _blank(task, n: int, device) -> Split:
    """So many images of noise; zeros would be faster than images on some processors."""
    x = torch.randn(n, *task.shape, generator=torch.Generator().manual_seed(0))
    return Split(x=x.to(device), y=torch.zeros(n, dtype=torch.int64, device=device))


def _line(seconds: Callable[[int], float], numbers: tuple[int, int], macs: float) -> Pace:
    """The line through the seconds of two numbers of images, of so many MACs each."""
    few, many = numbers
    short, long = seconds(few), seconds(many)
    image = max(long - short, 0.1 * long * (many - few) / many) / (many - few)  # despite noise
    return Pace(rate=macs / image, call=max(0.0, short - few * image))


def _typical(run: Callable, inputs: Iterator, repeats: int = 5) -> float:
    """Median of the seconds of some runs, each of the next input, after one that does not count;
    of fewer where they take long.
    """
    times = []
    for given in islice(inputs, repeats + 1):
        began = time.perf_counter()
        run(given)
        times.append(time.perf_counter() - began)
        if len(times) > 1 and sum(times) > _LONG:
            break
    return float(np.median(times[1:]))


def _wait(device) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
