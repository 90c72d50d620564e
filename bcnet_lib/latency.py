r"""Latency of widths from a table: layers timed one by one, a network is their sum.

A forward pass is calls of leaf modules: convolutions, normalisation, activations, pooling, linear
layers. What a call takes depends on its channels in and out. So each different call is timed alone,
on a small grid of channel counts, and between the grid points its time is interpolated:

.. math:: t(c) = a + b \sum_j t_j\big(\mathrm{in}_j(c), \mathrm{out}_j(c)\big)

``latency_check`` says how far that is from networks timed as a whole. Operations that are no
modules (additions of shortcuts, ``F.relu`` inside a forward, concatenations) are in no table; as
far as their time does not depend on the widths, the constant :math:`a` can stand for them. The
factor :math:`b` stands for what layers lose in company. Without a fit, a = 0 and b = 1.

Source: Cai et al., ProxylessNAS, 2019, predict latencies from such a table. The paper's budgets are
MACs.
"""

import json
import platform
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from . import checkpoint as files
from .calls import channel_row, shape, size, trace_calls
from .progress import bar as progress_bar
from .resize import resize

__all__ = ["Call", "LatencyTable", "measure_latency", "stopwatch"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a leaf module, timed on a grid of channel counts."""

    layer: str
    """Name of the module; of calls that are alike, only the first is timed."""
    inputs: tuple[int, ...]
    """Channels in: the constant, and how often each group of the graph counts, (1 + G,)."""
    outputs: tuple[int, ...]
    """Channels out, likewise."""
    grid_in: tuple[int, ...]
    """Channels in at which it was timed, ascending, (A,)."""
    grid_out: tuple[int, ...]
    """Channels out, ascending, (B,); one entry where they follow the channels in."""
    ms: tuple[tuple[float, ...], ...]
    """Milliseconds, A rows of B."""

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Milliseconds at the channel counts (n, G) of all groups, (n,)."""
        form = np.array([self.inputs, self.outputs])  # (2, 1 + G)
        a, b = form[:, :1] + form[:, 1:] @ channels.T  # (n,), (n,)
        (i, u), (j, v) = _place(self.grid_in, a), _place(self.grid_out, b)
        t = np.pad(np.array(self.ms), ((0, 1), (0, 1)), mode="edge")  # a last cell to look into
        low = t[i, j] * (1 - v) + t[i, j + 1] * v
        high = t[i + 1, j] * (1 - v) + t[i + 1, j + 1] * v
        return low * (1 - u) + high * u


def _place(grid, x) -> tuple[np.ndarray, np.ndarray]:
    """Cell of each x in an ascending grid, and where in the cell, in [0, 1]; the ends go on."""
    grid = np.asarray(grid, dtype=float)
    if len(grid) == 1:
        return np.zeros(len(x), dtype=int), np.zeros(len(x))
    i = np.clip(np.searchsorted(grid, x, side="right") - 1, 0, len(grid) - 2)
    return i, np.clip((x - grid[i]) / (grid[i + 1] - grid[i]), 0, 1)


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Times of all calls of a network, and what they were measured on. See ``measure_latency``."""

    device: str
    """``cpu`` or ``cuda``."""
    hardware: str
    """Name of the processor or GPU."""
    threads: int
    """Threads of PyTorch on the CPU."""
    batch: int
    """Images a forward pass; all times are of one such pass."""
    repeats: int
    """Rounds of timings; of each call the fastest counts."""
    torch: str
    """Version of PyTorch."""
    shape: tuple[int, ...]
    """An image, (C, H, W)."""
    groups: dict[str, tuple[int, int]]
    """Group of the graph -> its fewest and most channels."""
    calls: tuple[Call, ...]
    """In forward order."""
    overhead: float = 0.0
    """Milliseconds that belong to no call, a; 0 unless fitted (see ``latency_check``)."""
    scale: float = 1.0
    """What the sum of the calls is multiplied by, b; 1 unless fitted."""

    def __call__(self, channels) -> np.ndarray:
        """Milliseconds a batch: (n, G) channel counts of all groups of the graph -> (n,)."""
        channels = np.atleast_2d(np.asarray(channels))
        return self.overhead + self.scale * sum(call(channels) for call in self.calls)

    def layers(self, channels) -> pd.Series:
        """Milliseconds of every call at one vector of channel counts (G,); index: layer names."""
        one = np.asarray(channels)[None]  # (1, G)
        times = [float(call(one)[0]) for call in self.calls]
        return pd.Series(times, index=[call.layer for call in self.calls], name="ms")

    def fits(self, space) -> None:
        """Check that the table was measured for this space.

        Raises:
            ValueError: naming the first group or the image size that differs.
        """
        here = _ranges(space)
        for name in {**self.groups, **here}:
            table, wanted = self.groups.get(name), here.get(name)
            if table is None or wanted is None:
                where = "in the space" if table is None else "in the latency table"
                raise ValueError(
                    f"group '{name}' is only {where}: the table belongs to another network"
                )
            if wanted[0] < table[0] or wanted[1] > table[1]:
                raise ValueError(
                    f"the latency table knows group '{name}' with {table[0]} to {table[1]} "
                    f"channels, the space has {wanted[0]} to {wanted[1]}: measure it for this space"
                )
        if self.shape != space.graph.example_shape:
            raise ValueError(
                f"the latency table was measured on images of shape {self.shape}, the space was "
                f"made for {space.graph.example_shape}"
            )

    def save(self, path) -> None:
        """Write the table as JSON, in one step, with a checksum."""
        files.write(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, path) -> "LatencyTable":
        """What ``save`` wrote.

        Raises:
            CheckpointError: if the file is damaged or no latency table.
        """
        try:
            state = json.loads(files.read(path))
            calls = tuple(Call(**_tuples(call)) for call in state.pop("calls"))
            return cls(**_tuples(state), calls=calls)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise files.CheckpointError(f"'{path}' is not a latency table") from error


def stopwatch(device="cpu", *, clock=time.perf_counter, least: float = 1e-3):
    """A timer: ``timer(module, *inputs)`` gives the milliseconds of one call without gradients.

    It is the mean over as many calls as take ``least`` seconds, between two waits for the device.

    Args:
        clock: callable, seconds. ``time.process_time`` counts the process alone: with one thread it
            is what an idle machine would take, also on a busy one.
    """
    device = torch.device(device)

    def seconds(module, inputs, calls: int) -> float:
        _wait(device)
        start = clock()
        for _ in range(calls):
            module(*inputs)
        _wait(device)
        return (clock() - start) / calls

    @torch.no_grad()
    def timer(module, *inputs) -> float:
        seconds(module, inputs, 1)  # warm: libraries choose their kernels at the first call
        once = seconds(module, inputs, 1)
        return 1e3 * seconds(module, inputs, int(np.clip(least / max(once, 1e-9), 1, 100)))

    return timer


def measure_latency(
    model: nn.Module,
    space,
    *,
    batch: int = 1,
    threads: int = 1,
    device="cpu",
    grid: int = 4,
    repeats: int = 10,
    timer=None,
    progress: bool = True,
) -> LatencyTable:
    """Time the layers of a network at a grid of widths, on this machine, in ``eval()`` mode.

    Args:
        model: the network the space was made from (weights are not used).
        space: its ``WidthSpace``; the grid spans its narrowest and widest networks.
        batch: images a forward pass. threads: of PyTorch. device: where to measure.
        grid: channel counts along each side of a layer, at least 2.
        repeats: rounds through all of them; of each the fastest timing counts, because what else
            the machine does only adds, and does so for a while.
        timer: callable (module, \\*inputs) -> ms; default ``stopwatch(device)``.
        progress: show a progress bar.
    Raises:
        ValueError: if batch, threads, grid or repeats is below its least.
        GraphError: if a layer's input changes with the widths along two dimensions.
    """
    for name, value, least in (("batch", batch, 1), ("threads", threads, 1), ("grid", grid, 2),
                               ("repeats", repeats, 1)):  # fmt: skip
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    device = torch.device(device)
    timer = timer or stopwatch(device)
    rows = trace_calls(model, space, batch)
    plans = [_Plan(model, space, *row, np.linspace(0, 1, grid)) for row in rows]
    alike = {plan.key: plan for plan in reversed(plans)}  # the first of those that are alike
    ms = {key: np.full((len(plan.rows), len(plan.columns)), np.inf) for key, plan in alike.items()}
    with running(threads):
        for _ in progress_bar(range(repeats), desc="latency", show=progress):
            for key, plan in alike.items():
                ms[key] = np.minimum(ms[key], plan.time(timer, device))
    calls = [plan.call(ms[plan.key]) for plan in plans]
    return LatencyTable(
        device=device.type,
        hardware=_hardware(device),
        threads=threads,
        batch=batch,
        repeats=repeats,
        torch=torch.__version__,
        shape=tuple(space.graph.example_shape),
        groups=_ranges(space),
        calls=tuple(calls),
    )


class _Plan:
    """At which channel counts one call is timed, and how."""

    def __init__(self, model, space, layer: str, shapes, shares):
        self.ranges = np.array(list(_ranges(space).values()))  # (G, 2)
        self.space, self.layer, self.shapes = space, layer, shapes
        self.module = model.get_submodule(layer)
        self.inputs, self.outputs = channel_row(layer, shapes[0]), channel_row(layer, shapes[-1])
        self.reads = self.inputs[1:] != 0  # (G,)
        self.makes = (self.outputs[1:] != 0) & ~self.reads
        # depthwise convolutions, normalisation, activations: channels out are channels in
        self.same = bool((self.outputs[1:] != 0)[self.reads].any())
        self.rows = {
            size(self.inputs, self.counts(s, s)): s for s in (shares if self.reads.any() else [1])
        }
        free = self.makes.any() and not self.same
        self.columns = {size(self.outputs, self.counts(1, t)): t for t in (shares if free else [1])}
        full = tuple(tuple(shape(form, self.counts(1, 1))) for form in shapes)
        self.key = (repr(self.module), full, self.same, tuple(self.rows), tuple(self.columns))

    def counts(self, s: float, t: float) -> np.ndarray:
        """Channels (G,) of all groups: s of the way from fewest to most for those read, t for
        those made; the others do not matter."""
        share = np.where(self.reads, s, s if self.same else t)
        low, high = self.ranges.T
        blocks = np.array([g.multiple for g in self.space.graph.groups])
        return np.round((low + share * (high - low)) / blocks).astype(int) * blocks

    def time(self, timer, device) -> list[list[float]]:
        """Milliseconds at every point of the grid."""
        return [
            [float(timer(*self.alone(self.counts(s, t), device))) for t in self.columns.values()]
            for s in self.rows.values()
        ]

    def call(self, ms) -> Call:
        return Call(
            layer=self.layer,
            inputs=tuple(self.inputs.tolist()),
            outputs=tuple(self.outputs.tolist()),
            grid_in=tuple(self.rows),
            grid_out=tuple(self.columns),
            ms=_tuples(ms.tolist()),
        )

    def alone(self, counts, device) -> tuple:
        """The module at these channel counts, with random weights, and inputs for it."""
        graph, prefix = self.space.graph, f"{self.layer}."
        axes = {k[len(prefix) :]: v for k, v in graph.axes.items() if k.startswith(prefix)}
        module = resize(self.module, replace(graph, axes=axes), counts, device).eval()
        for p in module.parameters():
            nn.init.normal_(p, std=0.1)
        return module, *[torch.ones(shape(f, counts), device=device) for f in self.shapes[:-1]]


def _ranges(space) -> dict[str, tuple[int, int]]:
    """Fewest and most channels of every group of the graph."""
    low, high = (space.all_channels(space.channels(c)) for c in (space.narrowest, space.full))
    names = [g.name for g in space.graph.groups]
    return {n: (int(a), int(b)) for n, a, b in zip(names, low, high, strict=True)}


# -- the machine ----------------------------------------------------------------------------
class running:
    """Run with a number of PyTorch threads, and set the old number after."""

    def __init__(self, n: int):
        self.n = n

    def __enter__(self):
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.n)

    def __exit__(self, *_):
        torch.set_num_threads(self.before)


def _wait(device: torch.device) -> None:
    """CUDA runs behind: a time counts only once all work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _tuples(value):
    """JSON's lists as tuples, all the way down."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
