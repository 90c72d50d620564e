"""How fast a supernet trains and is scored here, and what keeps it from being faster.

The time a step takes stands beside two times that it cannot go below: its multiply-accumulates at
the speed of a large matrix product, and its bytes at the speed of a large copy, both measured on
the same device. An operation needs at least the longer of its own two; the sum of that over all
operations is the step's *roofline*. What is left over is overhead: small kernels that do not fill
the device, kernels below the speed of a matrix product, and Python.

    python -m bcnet_lib.throughput --network macro_mobilenet --device cuda --fast
"""

import argparse
import copy
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd
import torch

from . import models
from .data import Data, Split, load, mix
from .evaluate import evaluate_many
from .prefix import order
from .principles import BCv2
from .recipe import Recipe
from .space import WidthSpace
from .supernet import Supernet
from .traffic import Operation, Traffic
from .train import SupernetTrainer

__all__ = [
    "Limits",
    "Throughput",
    "measure_limits",
    "scoring_throughput",
    "to_frame",
    "training_throughput",
]

_SHAPES = {"digits_cnn": (1, 8, 8), "proxylessnas_mobile": (3, 224, 224)}  # of their images
_FEW = (2, 4)  # images a batch at which operations are counted: a line through two points


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a device reached on the best of some short runs."""

    device: str
    """Its name."""
    dtype: str
    """Type of the numbers that were multiplied."""
    macs_per_second: float
    """Of a product of two large square matrices."""
    bytes_per_second: float
    """Read and written by copying a large tensor."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Speed of one kind of work, and what it is bounded by."""

    work: str
    """What was measured."""
    device: str
    """Where."""
    dtype: str
    """Type of the numbers in convolutions and linear layers."""
    batch: int
    """Images a forward pass."""
    passes: int
    """Passes of one batch through one path; with a backward pass each in training."""
    seconds: float
    """For all passes, the median of some repeats."""
    images_per_second: float
    """Images times passes they made, a second."""
    macs: int
    """Multiply-accumulates, exact."""
    bytes: int
    """Bytes read and written, at least (see ``traffic.py``)."""
    arithmetic: float
    """Share of the time that the multiply-accumulates need at the device's limit."""
    memory: float
    """Share of the time that the bytes need at the device's limit; above 1 where caches serve."""
    roofline: float
    """Share of the time that is bounded, operation by operation, by the larger of the two."""
    memory_bound: float
    """Share of the roofline's time in operations whose bytes need longer than their MACs."""
    limits: Limits
    """The device's limits."""

    def to_dict(self) -> dict:
        """Plain numbers and texts, for a record's JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.work}: {self.images_per_second:,.0f} images/s "
            f"({self.device}, {self.dtype}, batch {self.batch}); of the time, arithmetic needs "
            f"{self.arithmetic:.0%}, memory {self.memory:.0%}, both in turn {self.roofline:.0%}"
        )


def measure_limits(device="cpu", *, amp: bool = False, seconds: float = 0.5) -> Limits:
    """Speed of a large matrix product and of a large copy, each the best within some seconds.

    Args:
        amp: multiply in bfloat16; float32 otherwise, by the settings in force (TF32 or not).
        seconds: to spend on each of the two, at least one run.
    """
    device, dtype = torch.device(device), torch.bfloat16 if amp else torch.float32
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in "ab")
    product = _best(lambda: a @ b, device, seconds)
    source = torch.empty(n * n * 8, device=device).fill_(1.0)  # 2 GiB, or 32 MiB on a CPU
    target = torch.empty_like(source)
    copied = _best(lambda: target.copy_(source), device, seconds)
    return Limits(
        device=_name(device),
        dtype=str(dtype).removeprefix("torch."),
        macs_per_second=n**3 / product,
        bytes_per_second=2 * 4 * source.numel() / copied,
    )


def training_throughput(
    net,
    data: Data,
    recipe: Recipe,
    *,
    steps: int = 10,
    warmup: int = 3,
    repeats: int = 3,
    limits: Limits | None = None,
    **options,
) -> Throughput:
    """Speed of a supernet's training: everything ``SupernetTrainer`` does in a step.

    Args:
        net: a ``Supernet``, on the device to measure; a copy is trained, it stays as it is.
        data, recipe: as for the trainer. The recipe's batch size and ``amp`` are what counts.
        steps: optimiser steps that are timed together. warmup: steps before them.
        repeats: how often; the widths drawn are the same each time.
        limits: of the device; measured if None.
        options: ``update``, ``complement``, ``seed``, … of the trainer.
    Raises:
        ValueError, DataError: as the trainer.
    """
    device = next(net.parameters()).device
    times = []
    for _ in range(repeats):
        trainer = _trainer(net, data, recipe, warmup + steps, options)
        trainer.fit(max_steps=warmup)
        times.append(_seconds(lambda trainer=trainer: trainer.fit(max_steps=steps), device))
    passes = int((trainer.records.steps >= warmup).sum())

    def few(images: int) -> list[Operation]:
        train = replace(data.train, x=data.train.x[:images], y=data.train.y[:images], index=None)
        less = replace(recipe, batch_size=images)
        small = _trainer(net, replace(data, train=train), less, warmup + steps, options)
        small.fit(max_steps=warmup)
        with Traffic() as traffic:
            small.fit(max_steps=steps)
        return traffic.operations

    how = options.get("update", "both") + " + complement" * bool(options.get("complement"))
    return _report(
        f"training, {net.principle.name}, update '{how}'",
        seconds=float(np.median(times)),
        passes=passes,
        batch=recipe.batch_size,
        operations=_at(few, recipe.batch_size),
        limits=limits or measure_limits(device, amp=recipe.amp),
    )


def scoring_throughput(
    net,
    split: Split,
    C=None,
    *,
    batch_size: int = 2048,
    paths=None,
    amp: bool = False,
    share: bool = True,
    repeats: int = 3,
    limits: Limits | None = None,
) -> Throughput:
    """Speed of ``evaluate_many``, with its options.

    Args:
        C: width vectors (n, L); None: 32 neighbours in a sorted random sample of 2,048; they
            share as much as such a sample does.
        repeats: how often it is timed, after once without timing.
        limits: of the device; measured if None.
    """
    device = next(net.parameters()).device
    split = getattr(split, "val", split).to(device)
    if C is None:
        C = net.space.sample(np.random.default_rng(mix(0)), 2048)
        C = C[order(C)][1024:1056]
    C = np.atleast_2d(C)
    options = {"paths": paths, "amp": amp, "share": share}

    def run(part=split, size=batch_size):
        evaluate_many(net, C, part, batch_size=size, **options)

    run()
    seconds = float(np.median([_seconds(run, device) for _ in range(repeats)]))
    batches = -(-len(split) // batch_size)

    def few(images: int) -> list[Operation]:
        with Traffic() as traffic:
            run(replace(split, x=split.x[:images], y=split.y[:images], index=None), images)
        return traffic.operations * batches

    return _report(
        f"scoring, {net.principle.name}, {'shared prefixes' if share else 'one by one'}",
        seconds=seconds,
        passes=len(C) * (net.n_paths if paths is None else len(paths)) * batches,
        batch=len(split) / batches,
        operations=_at(few, len(split) / batches),
        limits=limits or measure_limits(device, amp=amp),
    )


def to_frame(reports: Sequence[Throughput]) -> pd.DataFrame:
    """One row a report, indexed by the work."""
    names = [f.name for f in fields(Throughput) if f.name != "limits"]
    rows = [{name: getattr(r, name) for name in names} for r in reports]
    return pd.DataFrame(rows).set_index("work")


# ------------------------------------------------------------------------------------ counting


def _at(few, batch: float) -> list[Operation]:
    """Operations at a batch size, from those at two small ones: their counts lie on a line."""
    one, two = (few(n) for n in _FEW)
    if [op.name for op in one] != [op.name for op in two]:
        raise RuntimeError(f"other operations are run with {_FEW[0]} images than with {_FEW[1]}")
    share = (batch - _FEW[0]) / (_FEW[1] - _FEW[0])
    return [
        Operation(
            name=a.name,
            macs=round(a.macs + share * (b.macs - a.macs)),
            bytes=round(a.bytes + share * (b.bytes - a.bytes)),
        )
        for a, b in zip(one, two, strict=True)
    ]


def _report(work, *, seconds, passes, batch, operations, limits) -> Throughput:
    macs = np.array([op.macs for op in operations], dtype=np.float64)
    moved = np.array([op.bytes for op in operations], dtype=np.float64)
    a, m = macs / limits.macs_per_second, moved / limits.bytes_per_second  # seconds each
    least = np.maximum(a, m)
    return Throughput(
        work=work,
        device=limits.device,
        dtype=limits.dtype,
        batch=round(batch),
        passes=passes,
        seconds=seconds,
        images_per_second=batch * passes / seconds,
        macs=sum(op.macs for op in operations),
        bytes=sum(op.bytes for op in operations),
        arithmetic=float(a.sum() / seconds),
        memory=float(m.sum() / seconds),
        roofline=float(least.sum() / seconds),
        memory_bound=float(least[m > a].sum() / least.sum()),
        limits=limits,
    )


def _trainer(net, data, recipe, steps: int, options) -> SupernetTrainer:
    per_epoch = data.train.steps(recipe.batch_size, drop_last=True)
    recipe = replace(recipe, epochs=steps / per_epoch, warmup_epochs=0, lr=1e-9)  # stays finite
    return SupernetTrainer(copy.deepcopy(net), data, recipe, progress=False, **options)


# -------------------------------------------------------------------------------------- timing


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(run, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _best(run, device: torch.device, seconds: float) -> float:
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        best = min(best, _seconds(run, device))
    return best


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()}, {threads} thread{'s'[: threads > 1]}"


def main(arguments=None) -> int:
    """Print the reports of one network on random images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="macro_mobilenet", choices=models.__all__)
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--batch", type=int, default=256, help="images a training pass")
    parser.add_argument("--images", type=int, default=5000, help="images to score on")
    parser.add_argument("--steps", type=int, default=10, help="training steps that are timed")
    parser.add_argument("--fast", action="store_true", help="bfloat16 and channels-last")
    ask = parser.parse_args(arguments)
    shape = _SHAPES.get(ask.network, (3, 32, 32))
    model = getattr(models, ask.network)()
    data = load("fake", size=10 * max(ask.images, ask.batch), shape=shape).to(ask.device)
    space = WidthSpace.from_model(model, data.val.x[:1], K=4)
    net = Supernet(model, space, BCv2(), seed=0).to(ask.device)
    if ask.fast:
        net = net.to(memory_format=torch.channels_last)
    limits = measure_limits(ask.device, amp=ask.fast)
    print(
        f"{limits.device}: {limits.macs_per_second / 1e12:.3g} TMAC/s ({limits.dtype}), "
        f"{limits.bytes_per_second / 1e9:.3g} GB/s"
    )
    recipe = Recipe(batch_size=ask.batch, amp=ask.fast)
    for complement in (False, True):
        options = {"complement": complement, "steps": ask.steps, "limits": limits}
        print(training_throughput(net, data, recipe, **options), flush=True)
    split = replace(data.val, x=data.val.x[: ask.images], y=data.val.y[: ask.images], index=None)
    for share in (False, True):
        print(scoring_throughput(net, split, amp=ask.fast, share=share, limits=limits), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
