"""What a piece of code asks of the hardware: multiply-accumulates and bytes of every operation.

Counts what PyTorch runs, forward, backward and optimiser alike, whatever calls it. Every operation
reads each input once and writes each output once; views, and memory that is only reserved, are
free. That is the least that operations which are not fused can ask of the memory, and fewer bytes
than some take (batch normalisation reads its input twice). Caches may serve a part of it.
"""

from dataclasses import dataclass
from math import prod

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Operation", "Traffic"]

_FREE = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")
_OVERWRITE = ("zero_", "fill_", "copy_")  # write without reading what was there
_GATHER = ("index", "index_select", "gather", "embedding")  # read as much as they write


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation as it was run."""

    name: str
    """PyTorch's name, such as ``convolution_backward``."""
    macs: int
    """Multiply-accumulates; 0 for all but convolutions, linear layers and matrix products."""
    bytes: int
    """Bytes read and written, at least."""


class Traffic(TorchDispatchMode):
    """Counts the operations of a ``with`` block.

    Attributes:
        operations: list of ``Operation``, in the order in which they were run.
    """

    def __init__(self):
        super().__init__()
        self.operations: list[Operation] = []

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all operations."""
        return sum(op.macs for op in self.operations)

    @property
    def bytes(self) -> int:
        """Bytes of all operations."""
        return sum(op.bytes for op in self.operations)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        name = function._schema.name.partition("::")[2]
        moved = _moved(function._schema, name, args, kwargs, out)
        if moved:
            macs = _macs(name, args, out)
            self.operations.append(Operation(name=name, macs=macs, bytes=moved))
        return out


def _moved(schema, name: str, args, kwargs, out) -> int:
    """Bytes that an operation reads and writes."""
    kinds = [r.alias_info for r in schema.returns]
    if name in _FREE or any(kind is not None and not kind.is_write for kind in kinds):
        return 0
    outs = out if isinstance(out, (tuple, list)) else () if out is None else (out,)
    fresh = kinds if len(kinds) == len(outs) else kinds * len(outs)
    written = sum(
        _size(t) for kind, t in zip(fresh, outs, strict=True) if kind is None for t in _tensors(t)
    )
    total = written
    given = dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
    for argument in schema.arguments:
        size = sum(map(_size, _tensors(given.get(argument.name))))
        writes = argument.alias_info is not None and argument.alias_info.is_write
        if name in _GATHER and argument.name in ("self", "weight"):
            size = min(size, written)
        total += size * (1 if not writes or name in _OVERWRITE or argument.kwarg_only else 2)
    return total


def _size(tensor: Tensor) -> int:
    """Bytes of a tensor's own elements: what is repeated by expanding counts once."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return prod(n for n, stride in pairs if stride or not n) * tensor.element_size()


def _tensors(x) -> list[Tensor]:
    parts = x if isinstance(x, (tuple, list)) else (x,)
    return [t for t in parts if isinstance(t, Tensor)]


def _macs(name: str, args, out) -> int:
    """Multiply-accumulates of one operation."""
    if name == "convolution":
        x, weight, transposed = args[0], args[1], args[6]
        return _convolution(x if transposed else out, weight)
    if name == "convolution_backward":
        (gradient, x, weight), transposed, wanted = args[:3], args[7], args[10]
        once = _convolution(x if transposed else gradient, weight)
        return once * sum(wanted[:2])  # the gradients of images and weights, each as the forward
    if name in ("mm", "bmm", "linear"):
        return out.numel() * args[0].shape[-1]
    if name in ("addmm", "baddbmm"):
        return out.numel() * args[1].shape[-1]
    return 0


def _convolution(per_filter: Tensor, weight: Tensor) -> int:
    """Every element on the side of a weight's first dimension meets one filter."""
    return per_filter.numel() * weight[0].numel()
