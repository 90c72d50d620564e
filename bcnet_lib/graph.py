"""Coupled channel groups of any CNN, and the same network at other widths.

``discover`` follows channel ids through the model (``trace.py``) and returns a ``ChannelGraph``:
the groups of channels that must change together, and for every parameter the groups along each of
its axes. ``resize`` uses it to rebuild the model at other channel counts, larger or smaller, as a
plain module of the same class.
"""

import copy
from dataclasses import dataclass, replace
from math import lcm, sqrt

import torch
from torch import Tensor, nn

from .trace import OUTPUT, Trace, trace

__all__ = [
    "Axis",
    "ChannelGraph",
    "ChannelGroup",
    "GraphError",
    "LayerOp",
    "Run",
    "discover",
    "initialise",
    "resize",
]


class GraphError(ValueError):
    """The model does something that keeps its widths from being changed; the text names the layer."""


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

    ``group`` is an index into ``ChannelGraph.groups``; None for ``length`` entries that never change.
    """

    group: int | None
    length: int
    repeat: int = 1


Axis = tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class LayerOp:
    """One weighted layer: per image, MACs = coefficient x |out| x |inner| (x block for grouped)."""

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

    def size(self, axis: Axis, channels) -> int:
        """Entries of an axis when group g has ``channels[g]`` channels."""
        return sum(r.repeat * (r.length if r.group is None else int(channels[r.group])) for r in axis)


def discover(model: nn.Module, example_input: Tensor, fixed=(), strict: bool = False) -> ChannelGraph:
    """Find the coupled channel groups of a model by one forward pass on the meta device.

    Args:
        model: any module whose forward takes one image batch.
        example_input: (B, C, H, W); values are not used.
        fixed: names of layers (or prefixes, "classifier") whose output width must not change.
        strict: raise where an operation without a rule freezes groups, instead of recording why.
    Raises:
        GraphError: if the model cannot be traced, has no group left, or (strict) is partly frozen.
    """
    example = torch.empty((2, *example_input.shape[1:]), dtype=example_input.dtype, device="meta")
    record, meta = Trace(), to_meta(model)
    for train in (False, True):
        ops, makers = len(record.ops), set(record.makers)
        try:
            trace(meta, example, train, record)
        except Exception as error:
            text = f"{type(model).__name__} cannot be traced on {tuple(example_input.shape)}: {error}"
            raise GraphError(text) from error
        if train:  # layers of auxiliary heads cost nothing in use, so no width of theirs is searched
            del record.ops[ops:]
            for weight in set(record.makers) - makers:
                record.freeze(record.makers[weight][1], "is used in training only")
    _fix_named(record, fixed)
    graph = _trial(model, meta, record, _assemble(record, meta, tuple(example.shape[1:])), example)
    if strict and graph.frozen:
        lines = "\n  ".join(f"'{layer}' {why}" for layer, why in graph.frozen.items())
        raise GraphError(f"strict=True, and these layers cannot change width:\n  {lines}")
    if not any(g.follows is None for g in graph.groups):
        why = "; ".join(f"'{n}' {r}" for n, r in list(graph.frozen.items())[:5])
        raise GraphError(f"{type(model).__name__} has no layer whose width can change ({why})")
    return graph


def layer_ops(model: nn.Module, graph: ChannelGraph, example_input: Tensor) -> tuple[LayerOp, ...]:
    """The graph's weighted layers with their MACs at another image size.

    Raises:
        GraphError: if the model cannot run at that size.
    """
    if tuple(example_input.shape[1:]) == graph.example_shape:
        return graph.ops
    record = Trace()
    example = torch.empty((2, *example_input.shape[1:]), dtype=example_input.dtype, device="meta")
    try:
        trace(to_meta(model), example, False, record)
    except Exception as error:
        raise GraphError(f"the model cannot run at {graph.example_shape} -> {tuple(example.shape[1:])}: {error}") from error
    pairs = zip(graph.ops, record.ops, strict=True)
    return tuple(replace(op, coefficient=new.coefficient) for op, new in pairs)


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
            raise GraphError(f"fixed={name!r} names no layer that makes channels; layers are: {known}, …")
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
    ops = tuple(
        LayerOp(
            layer=op.layer,
            coefficient=op.coefficient,
            out=axes[op.weight][0],
            inner=axes[op.weight][1],
        )
        for op in record.ops
    )
    return ChannelGraph(
        groups=tuple(groups),
        axes=axes,
        ops=ops,
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
    """An axis as runs of whole groups in order, each channel repeated equally; None if it is not."""
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
        if axis is None or any(r.repeat != 1 or r.length % block for r in axis):
            if any(record.find(i) in place for i in ids):
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
    out = list(groups)
    for g, targets in gated_by.items():
        target = next(iter(targets))
        if g not in plain and len(targets) == 1 and target is not None and target != g:
            out[g] = replace(groups[g], follows=groups[target].name)
    return out


def _frozen(record: Trace) -> dict[str, str]:
    why = {layer: next(filter(None, map(record.held, ids)), None) for layer, ids in record.makers.values()}
    return {layer: reason for layer, reason in why.items() if reason not in (None, OUTPUT)}


def _tensor(model: nn.Module, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(path), leaf)


# -- other widths ---------------------------------------------------------------------------
def _trial(model, meta, record: Trace, graph: ChannelGraph, example: Tensor) -> ChannelGraph:
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
            raise GraphError(f"{type(model).__name__} cannot change width: {error}")
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


def resize(model: nn.Module, graph: ChannelGraph, channels, device=None) -> nn.Module:
    """The same network at other widths: a plain module of the same class, not initialised.

    Constructors are bypassed, so nothing rounds the widths. Resized running statistics are reset;
    every other parameter is left to ``initialise`` or to the caller.

    Args:
        channels: channel count of every group of the graph, followers included.
        device: where to put it; the model's own device by default.
    """
    shapes = {
        name: tuple(graph.size(axis, channels) for axis in axes) for name, axes in graph.axes.items()
    }
    memo = {}
    for name, p in model.named_parameters():
        where = device or p.device
        empty = torch.empty(shapes.get(name, p.shape), dtype=p.dtype, device=where)
        memo[id(p)] = nn.Parameter(empty, p.requires_grad)
    for name, b in model.named_buffers():
        shape = shapes.get(name, tuple(b.shape))
        new = torch.zeros(shape, dtype=b.dtype, device=device or b.device)
        if name.endswith("running_var"):
            new.fill_(1)
        elif shape == tuple(b.shape) and not name.endswith(("running_mean", "num_batches_tracked")):
            new = b.detach().clone().to(device or b.device)
        memo[id(b)] = new
    out = copy.deepcopy(model, memo)
    for module in out.modules():
        _set_sizes(module)
    return out


def _set_sizes(module: nn.Module) -> None:
    """Make a layer's attributes agree with its parameters; forward() and repr() read them."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, nn.modules.conv._ConvNd):
        o, i = (1, 0) if module.transposed else (0, 1)
        if module.groups > 1:  # blocks keep their width, so their number follows the channels
            module.groups = weight.shape[0] // (module.out_channels // module.groups)
            module.out_channels = weight.shape[0]
            module.in_channels = weight.shape[1] * module.groups
        else:
            module.out_channels, module.in_channels = weight.shape[o], weight.shape[i]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = weight.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = weight.shape[0]


def initialise(net: nn.Module, like: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """Fresh weights, by one rule for supernets and for networks trained from scratch.

    Convolutions: He normal over the true fan-out (torchvision's choice; a depthwise filter counts
    its own output only). Linear: normal with variance 1 / fan-in. Normalisation: 1 and 0. Biases: 0.
    Any other parameter keeps the model's own values where its shape did not change, otherwise it is
    filled from their mean and standard deviation.

    Args:
        net: network to fill, in place. like: the user's model, same parameter names.
    Returns:
        net.
    """
    done: set[int] = set()

    def normal(p, std):
        cpu = torch.empty(p.shape, dtype=torch.float32).normal_(0.0, std, generator=generator)
        p.copy_(cpu)  # drawn on the CPU, so that a seed means the same on every device

    with torch.no_grad():
        for module in net.modules():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, nn.Parameter) or id(weight) in done:
                continue
            if isinstance(module, nn.modules.conv._ConvNd):
                positions = weight[0, 0].numel()
                fan = module.out_channels * positions / module.groups
                normal(weight, sqrt(2.0 / max(fan, 1)))
            elif isinstance(module, nn.Linear):
                normal(weight, sqrt(1.0 / max(weight.shape[1], 1)))
            elif isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)):
                weight.fill_(1.0)
            else:
                continue
            done.add(id(weight))
            if isinstance(getattr(module, "bias", None), nn.Parameter):
                module.bias.zero_()
                done.add(id(module.bias))
        source = dict(like.named_parameters())
        for name, p in net.named_parameters():
            if id(p) in done:
                continue
            old = source[name].detach()
            if old.shape == p.shape:
                p.copy_(old)
            elif float(old.std()) == 0.0:
                p.fill_(float(old.flatten()[0]))
            else:
                normal(p, float(old.std()))
                p.add_(float(old.mean()))
    return net
