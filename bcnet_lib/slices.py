"""Slices of shared weights, ``weight[out0:out1, in0:in1]``, in a model's own modules for a while.

``Supernet.forward`` places the slices of one path and takes them out again. Whoever evaluates many
widths keeps a ``Placement`` open and moves it from width to width: only slices whose windows
changed are cut anew.
"""

from collections import namedtuple

import torch
from torch import Tensor, nn

__all__ = ["Placement", "Slot", "cut", "ranges_of"]

# dims: (dimension, number of its axis); store: the module's _parameters or _buffers;
# groups: numbers of the graph's groups whose windows decide the slice
Slot = namedtuple("Slot", "module key dims store groups")
_InstanceNorm = nn.modules.instancenorm._InstanceNorm


class Placement:
    """The slices of one path inside a supernet's modules, from ``move`` to the end of ``with``.

    Args:
        net: a ``Supernet``.

    Attributes:
        windows: channels [start, stop) of every group of the graph, as placed; None before.
    """

    def __init__(self, net):
        self.net = net
        self.windows: list[tuple[int, int]] | None = None

    def __enter__(self) -> "Placement":
        self._shared = [getattr(s.module, s.store)[s.key] for s in self.net._slots]
        self._sizes = [_size(module) for module in self.net._sized]
        return self

    def __exit__(self, *_) -> None:
        for slot, shared in zip(self.net._slots, self._shared, strict=True):
            getattr(slot.module, slot.store)[slot.key] = shared
        for module, attribute, value in self._sizes:
            setattr(module, attribute, value)

    def move(self, windows) -> frozenset[int]:
        """Place the slices of these windows (``Supernet.windows``).

        Returns:
            numbers of the groups whose window is another than before; all of them at first.
        """
        before = [None] * len(windows) if self.windows is None else self.windows
        pairs = zip(before, windows, strict=True)
        changed = frozenset(g for g, (old, new) in enumerate(pairs) if old != new)
        if not changed:
            return changed
        self.windows = None  # unknown, should an error stop us half-way
        axes, total, ranges = list(self.net._axes), self.net.total, {}
        for slot, shared in zip(self.net._slots, self._shared, strict=True):
            if not changed.isdisjoint(slot.groups):
                for _, k in slot.dims:
                    if k not in ranges:
                        ranges[k] = ranges_of(axes[k], windows, total)
                spans = [(d, ranges[k]) for d, k in slot.dims]
                getattr(slot.module, slot.store)[slot.key] = cut(shared, spans)
        for module, attribute, value in self._sizes:
            setattr(module, attribute, _fitted(module, value))
        self.windows = windows
        return changed

    def placed(self) -> list[tuple[Tensor, tuple[int, ...]]]:
        """Every tensor that stands in a module now, with the groups that decide its slice."""
        return [(getattr(s.module, s.store)[s.key], s.groups) for s in self.net._slots]


def cut(tensor: Tensor, spans) -> Tensor:
    """The part of a shared tensor that a path uses: a view where arithmetic allows it.

    Args:
        spans: (dimension, stretches to keep), as ``ranges_of`` gives them.
    """
    if all(len(ranges) == 1 for _, ranges in spans):
        sizes, strides, offset = list(tensor.shape), tensor.stride(), tensor.storage_offset()
        for d, ((start, stop),) in spans:
            sizes[d] = stop - start
            offset += start * strides[d]
        if sizes == list(tensor.shape):
            return tensor
        # one operation for all dimensions, so that only one gradient of zeros is filled
        tensor = tensor.as_strided(sizes, strides, offset)
    else:
        for d, ranges in spans:  # several stretches: concatenations, wrapped windows
            pieces = [tensor.narrow(d, a, b - a) for a, b in ranges]
            tensor = pieces[0] if len(pieces) == 1 else torch.cat(pieces, d)
    return tensor if tensor.dim() == 1 or _as_if_alone(tensor) else tensor.clone()


def _as_if_alone(view: Tensor) -> bool:
    """Whether a view of a weight lies in memory as the weight of a network of its own would.

    Matrix products choose their kernel by strides and alignment, and another one rounds
    differently. Convolutions copy a weight with gaps in any case.
    """
    dense = view.is_contiguous() or (
        view.dim() == 4 and view.is_contiguous(memory_format=torch.channels_last)
    )
    return dense and view.data_ptr() % 64 == 0  # bytes; the allocator's own alignment


def ranges_of(axis, windows, total) -> list[tuple[int, int]]:
    """Stretches [start, stop) of a supernet axis that a path uses, neighbours merged."""
    out: list[list[int]] = []
    offset = 0
    for run in axis:
        if run.group is None:
            parts, width = [(0, run.length)], run.length
        else:
            (start, stop), width = windows[run.group], int(total[run.group])
            parts = [(start, stop)] if stop <= width else [(start, width), (0, stop - width)]
        for start, stop in parts:
            a, b = offset + start * run.repeat, offset + stop * run.repeat
            if out and out[-1][1] == a:
                out[-1][1] = b
            else:
                out.append([a, b])
        offset += width * run.repeat
    return [(a, b) for a, b in out]


def has_size(module: nn.Module) -> bool:
    """Whether a module's forward reads a size that changes with its weight."""
    return getattr(module, "groups", 1) != 1 or isinstance(module, (nn.LayerNorm, _InstanceNorm))


def _size(module: nn.Module) -> tuple[nn.Module, str, object]:
    """That size, as (module, attribute, its value in the supernet)."""
    name = "groups"
    if isinstance(module, nn.LayerNorm):
        name = "normalized_shape"
    elif isinstance(module, _InstanceNorm):
        name = "num_features"
    return module, name, getattr(module, name)


def _fitted(module: nn.Module, value):
    """The size that goes with a module's present weight, from its value in the supernet."""
    weight = module.weight
    if isinstance(module, nn.LayerNorm):
        return tuple(weight.shape)
    if isinstance(module, _InstanceNorm):
        return weight.shape[0]
    return weight.shape[0] * value // module.out_channels
