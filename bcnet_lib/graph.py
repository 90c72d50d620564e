"""Coupled channel groups of any CNN, and the same network at other widths.

``discover`` follows channel ids through the model (``trace.py``) and returns a ``ChannelGraph``:
the groups of channels that must change together, and for every parameter the groups along each of
its axes. ``resize.py`` uses it to rebuild the model at other channel counts.
"""

import copy
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
import torch
from torch import Tensor, nn

from .ids import OUTPUT, Trace
from .resize import resize
from .trace import trace

__all__ = [
    "Axis",
    "ChannelGraph",
    "ChannelGroup",
    "GraphError",
    "LayerOp",
    "Run",
    "discover",
    "layer_ops",
]


class GraphError(ValueError):
    """The model does something that keeps its widths from changing; the text names the layer."""


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels that are kept or dropped together, as residual additions demand."""

    name: str  # first layer that produces them, in forward order
    width: int  # channels in the user's model
    layers: tuple[str, ...]  # every layer that produces them
    multiple: int = 1  # channel counts must be a multiple of this (grouped convolutions)
    follows: str | None = None  # for a squeeze layer: the gated group it takes its width from


@dataclass(frozen=True)
class Run:
    """A stretch of an axis: every channel of a group in order, each ``repeat`` times.

    ``group`` is an index into ``ChannelGraph.groups``; None for ``length`` entries that stay.
    """

    group: int | None
    length: int
    repeat: int = 1


Axis = tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class LayerOp:
    """One weighted layer: per image, MACs = coefficient x size(out) x size(inner)."""

    layer: str
    coefficient: int
    out: Axis
    inner: Axis


@dataclass(frozen=True, kw_only=True)
class ChannelGraph:
    """Groups of a model and where they stand in its parameters."""

    groups: tuple[ChannelGroup, ...]  # in forward order, followers included
    axes: dict[str, tuple[Axis, ...]]  # parameter or buffer name -> one Axis a dimension
    ops: tuple[LayerOp, ...]
    frozen: dict[str, str]  # layer -> why its width cannot change
    example_shape: tuple[int, ...]  # (C, H, W)
    grow_error: str | None = None  # why the model cannot be widened, None if it can

    def size(self, axis: Axis, channels: np.ndarray):
        """Entries of an axis when group g has ``channels[…, g]`` channels: (…, G) -> (…,) int64."""
        channels = np.asarray(channels)
        sizes = (r.length if r.group is None else channels[..., r.group] for r in axis)
        return sum(r.repeat * n for r, n in zip(axis, sizes, strict=True)) + np.int64(0)


def discover(model: nn.Module, example_input: Tensor, fixed=(), strict=False) -> ChannelGraph:
    """Find the coupled channel groups of a model by one forward pass on the meta device.

    Args:
        model: any module whose forward takes one image batch.
        example_input: (B, C, H, W); values are not used.
        fixed: names of layers (or prefixes, "classifier") whose output width must not change.
        strict: raise where an operation without a rule freezes groups, instead of recording why.
    Raises:
        GraphError: if the model cannot be traced, has no group left, or (strict) is partly frozen.
    """
    example = _on_meta(example_input)
    record, meta = Trace(), to_meta(model)
    for train in (False, True):
        ops, makers = len(record.ops), set(record.makers)
        try:
            trace(meta, example, train, record)
        except Exception as error:
            what = f"{type(model).__name__} cannot be traced on {tuple(example_input.shape)}"
            raise GraphError(f"{what}, read as (B, C, H, W): {error}") from error
        if train:  # auxiliary heads cost nothing in use, so no width of theirs is searched
            del record.ops[ops:]
            for weight in set(record.makers) - makers:
                record.freeze(record.makers[weight][1], "is used in training only")
    _fix_named(record, fixed)
    graph = _assemble(record, meta, tuple(example.shape[1:]))
    graph = _trial(type(model).__name__, meta, record, graph, example)
    if strict and graph.frozen:
        lines = "\n  ".join(f"'{layer}' {why}" for layer, why in graph.frozen.items())
        raise GraphError(f"strict=True, and these layers cannot change width:\n  {lines}")
    if not any(g.follows is None for g in graph.groups):
        why = "; ".join(f"'{n}' {r}" for n, r in list(graph.frozen.items())[:5])
        why = why or "the only layers make its outputs"
        raise GraphError(f"{type(model).__name__} has no layer whose width can change: {why}")
    return graph


def layer_ops(model: nn.Module, graph: ChannelGraph, example_input: Tensor) -> tuple[LayerOp, ...]:
    """The graph's weighted layers with their MACs at another image size.

    Raises:
        GraphError: if the model cannot run at that size.
    """
    if tuple(example_input.shape[1:]) == graph.example_shape:
        return graph.ops
    record = Trace()
    example = _on_meta(example_input)
    try:
        trace(to_meta(model), example, False, record)
    except Exception as error:
        shape = tuple(example.shape[1:])
        raise GraphError(f"the model cannot run on images of shape {shape}: {error}") from error
    pairs = zip(graph.ops, record.ops, strict=True)
    return tuple(replace(op, coefficient=new.coefficient) for op, new in pairs)


def _on_meta(example_input: Tensor) -> Tensor:
    """Two images of the example's shape, without numbers (a batch of one upsets BatchNorm)."""
    if not isinstance(example_input, Tensor) or example_input.dim() < 2:
        what = type(example_input).__name__
        raise GraphError(f"example_input must be a tensor (B, C, H, W), got {what}")
    shape = (2, *example_input.shape[1:])
    return torch.empty(shape, dtype=example_input.dtype, device="meta")


def to_meta(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device; no weight is copied."""
    memo = {}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
    for b in model.buffers():
        memo[id(b)] = torch.empty_like(b, device="meta")
    return copy.deepcopy(model, memo)


def _fix_named(record: Trace, fixed) -> None:
    for name in fixed:
        hit = [ids for layer, ids in record.makers.values() if f"{layer}.".startswith(f"{name}.")]
        if not hit:
            known = ", ".join(sorted({layer for layer, _ in record.makers.values()})[:8])
            raise GraphError(
                f"fixed={name!r} names no layer that makes channels; there are: {known}, …"
            )
        for ids in hit:
            record.freeze(ids, "was fixed by the caller")


def _assemble(record: Trace, meta: nn.Module, example_shape) -> ChannelGraph:
    """Groups, axes and layer costs from merged ids. Axes that do not parse freeze their groups."""
    while True:
        groups, place = _groups(record)  # place: root id -> (group index, position)
        axes, bad = {}, None
        for name, dims in record.axes.items():
            shape = _tensor(meta, name).shape
            axes[name] = tuple(
                _parse(record, dims[d], place, groups) if d in dims else (Run(None, n),)
                for d, n in enumerate(shape)
            )
            if None in axes[name]:
                bad = (name, next(dims[d] for d, a in enumerate(axes[name]) if a is None))
                break
        bad = bad or _misaligned(record, place, groups)
        if bad is None:
            break
        layer = bad[0].rpartition(".")[0] or bad[0]
        record.freeze(
            bad[1],
            f"reaches '{layer}' in an order that is not whole groups (split or shuffled)",
        )
    multiples = _multiples(record, place)
    groups = [replace(g, multiple=multiples.get(i, 1)) for i, g in enumerate(groups)]
    groups = _followers(record, groups, place)
    one = (Run(None, 1),)
    ops = []
    for op in record.ops:
        out, inner = (one, one) if op.weight is None else axes[op.weight][:2]
        ops.append(LayerOp(layer=op.layer, coefficient=op.coefficient, out=out, inner=inner))
    return ChannelGraph(
        groups=tuple(groups),
        axes=axes,
        ops=tuple(ops),
        frozen=_frozen(record),
        example_shape=example_shape,
    )


def _groups(record: Trace) -> tuple[list[ChannelGroup], dict[int, tuple[int, int]]]:
    makers: dict[int, list[str]] = {}  # root -> layers that produce it
    order: list[int] = []
    for layer, ids in record.makers.values():
        for i in ids:
            root = record.find(i)
            if root in record.frozen:
                continue
            if root not in makers:
                makers[root] = []
                order.append(root)
            if layer not in makers[root]:
                makers[root].append(layer)
    members: dict[tuple[str, ...], list[int]] = {}
    for root in order:
        members.setdefault(tuple(makers[root]), []).append(root)
    groups, place = [], {}
    for layers, roots in members.items():
        if len(roots) == 1:  # a single channel has no other width
            record.freeze(roots, "has one channel")
            continue
        for position, root in enumerate(roots):
            place[root] = (len(groups), position)
        groups.append(ChannelGroup(name=layers[0], width=len(roots), layers=layers))
    return groups, place


def _parse(record: Trace, ids, place, groups) -> Axis | None:
    """An axis as runs of whole groups in order, each channel repeated equally, or None."""
    spots = [place.get(record.find(i)) for i in ids]
    runs, i, n = [], 0, len(spots)
    while i < n:
        start = i
        if spots[i] is None:
            while i < n and spots[i] is None:
                i += 1
            runs.append(Run(None, i - start))
            continue
        group = spots[i][0]
        while i < n and spots[i] == (group, 0):
            i += 1
        repeat, width = i - start, groups[group].width
        if repeat == 0:
            return None
        i = start + repeat * width
        if spots[start:i] != [(group, p) for p in range(width) for _ in range(repeat)]:
            return None
        runs.append(Run(group, width, repeat))
    return tuple(runs)


def _misaligned(record: Trace, place, groups):
    """A blockwise layer whose blocks do not start where groups start, as (layer, ids)."""
    for layer, (block, ids) in record.blocks.items():
        axis = _parse(record, ids, place, groups)
        broken = axis is None or any(r.repeat != 1 or r.length % block for r in axis)
        if broken and any(record.find(i) in place for i in ids):
            return layer, ids
    return None


def _multiples(record: Trace, place) -> dict[int, int]:
    multiples: dict[int, int] = {}
    for block, ids in record.blocks.values():
        for g in {place[root][0] for i in ids if (root := record.find(i)) in place}:
            multiples[g] = lcm(multiples.get(g, 1), block)
    return multiples


def _followers(record: Trace, groups, place) -> list[ChannelGroup]:
    """Squeeze layers: every layer that reads them makes only gates. They follow the gated group."""
    gated_by: dict[int, set[int | None]] = {}
    plain: set[int] = set()
    for use in record.uses:
        readers = {place[r][0] for i in use.inputs if (r := record.find(i)) in place}
        if set(use.outputs) <= record.gates:
            target = {place[r][0] if (r := record.find(i)) in place else None for i in use.outputs}
            for g in readers:
                gated_by.setdefault(g, set()).update(target)
        else:
            plain |= readers
    follows = {g: t for g, (t, *more) in gated_by.items() if g not in plain and not more}
    return [
        group
        if (t := follows.get(g)) is None or t == g or t in follows  # nothing, or no leader
        else replace(group, follows=groups[t].name)
        for g, group in enumerate(groups)
    ]


def _frozen(record: Trace) -> dict[str, str]:
    frozen = {}
    for layer, ids in record.makers.values():
        reason = next(filter(None, map(record.held, ids)), OUTPUT)
        if reason != OUTPUT:
            frozen[layer] = reason
    return frozen


def _tensor(model: nn.Module, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(path), leaf)


# -- other widths ---------------------------------------------------------------------------
def _trial(model: str, meta, record, graph: ChannelGraph, example: Tensor) -> ChannelGraph:
    """Run the model smaller and larger on the meta device: finds sizes written into forward()."""
    shrunk = [_scaled(g, (4 + i % 3) / 8) for i, g in enumerate(graph.groups)]
    if error := _fails(meta, graph, shrunk, example):
        full = [g.width for g in graph.groups]
        keep = list(full)
        for g, n in enumerate(shrunk):  # one group after another, to name the one that breaks
            keep[g] = n
            if why := _fails(meta, graph, keep, example):
                keep[g] = full[g]
                for layer, ids in record.makers.values():
                    if layer in graph.groups[g].layers:
                        record.freeze(ids, f"cannot shrink: {why}")
        if keep == full:
            names = ", ".join(f"'{g.name}'" for g in graph.groups[:5])
            raise GraphError(
                f"{model} runs at its own widths only; none of {names} can shrink: {error}\n"
                "Is a size written into forward(), as in view(-1, 512)? Use view(x.size(0), -1)"
            )
        graph = _assemble(record, meta, graph.example_shape)
    grown = [_scaled(g, (10 + i % 3) / 8) for i, g in enumerate(graph.groups)]
    return replace(graph, grow_error=_fails(meta, graph, grown, example))


def _scaled(group: ChannelGroup, factor: float) -> int:
    return max(1, round(group.width * factor / group.multiple)) * group.multiple


def _fails(meta, graph, channels, example) -> str | None:
    small = resize(meta, graph, channels).eval()
    try:
        with torch.no_grad():
            small(example)
    except Exception as error:  # whatever the model raises is the answer
        return str(error).splitlines()[0]
    return None
