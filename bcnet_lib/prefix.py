"""Many widths on one batch: what two of them have in common is computed once.

Two widths that agree in their first groups compute the same activations up to the first layer that
reads a slice of a group in which they differ. ``SharedPrefix`` runs one width after another and
answers all calls before that layer from the run before. Scores are the same numbers, bit for bit on
a CPU, since every call that is made is the call that a run by itself would make.

It works for any forward, for it sees only the sequence of PyTorch calls (a ``TorchFunctionMode``):

* Call k of a run is a *cut* if it is the first to read a slice of some group. A width that changes
  these groups repeats the run before up to its smallest cut, and computes from there.
* At a cut, activations that the model still holds are kept; all others, which no later call can
  ask for, are let go. So memory is that of one network's activations alive at its cuts, on one
  batch: for a chain of convolutions, the inputs of those that begin a group. For the widest
  networks of Channel-Bench-Macro at 2,048 images that is 1.4 GiB (MobileNet), 2.3 GiB (ResNet).
* Calls that write into a kept activation (``relu_``, ``+=``) are seen by its version counter. Its
  bytes are copied before such a call, from the second time it is met, and put back where a run
  starts at an earlier cut.
* Whatever cannot be followed so (operations that PyTorch's function protocol does not see, weights
  changed by the forward, no memory left) makes every further width run whole, with a warning.

A forward must depend on the images, the slices and nothing else that changes; one that draws random
numbers in evaluation mode would see the same ones in a shared prefix.
"""

import warnings
from collections import namedtuple

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import TensorWeakRef  # also where only C++ still holds the tensor

from .slices import Placement

__all__ = ["SharedPrefix", "prefix_macs"]

# out: tree of _Output and constants; again: it has effects of its own and is made in every run
_Call = namedtuple("_Call", "function out again")
# storage: its bytes as a tensor; before: a copy of them, None if it was not known in time
_Write = namedtuple("_Write", "call key storage before")
_CONSTANT = (
    *(int, float, complex, bool, str, bytes, type(None)),
    *(torch.Size, torch.dtype, torch.device, torch.layout, torch.memory_format),
)
_SWAPS = ("__set__", "set_", "resize_", "resize_as_")


class _CannotShare(Exception):
    """This forward cannot be followed; the message says why."""


class SharedPrefix:
    """Runs the widths of a supernet on one batch, each from where it differs from the one before.

    Use it in a ``with`` block, in which the supernet is not to be used otherwise::

        with SharedPrefix(net) as run:
            run.start(x)                      # (B, C, H, W)
            logits = run(c, path)             # (B, classes), as net(x, c, path) without gradients

    Args:
        net: a ``Supernet``.

    Attributes:
        reason: why widths run whole, or None.
    """

    def __init__(self, net):
        self.net, self.reason = net, None
        self._run = self._x = None

    def __enter__(self) -> "SharedPrefix":
        self._place = Placement(self.net).__enter__()
        self._writers: dict[int, set[int]] = {}
        return self

    def __exit__(self, *error) -> None:
        self._place.__exit__(*error)
        self._leave()

    @torch.inference_mode(False)  # its tensors do not count how often they are written into
    def start(self, x: Tensor) -> None:
        """Take another batch of images; the activations of the last one are let go."""
        self._leave()
        x = x.clone() if x.is_inference() else x
        self._x, self._copy, self._version = x, x.clone(), x._version
        self._run = _Run(self.net.net, self._writers)

    def _leave(self) -> None:
        if self._x is not None:
            self._images()
        self._run = self._x = self._copy = None

    def _images(self) -> Tensor:
        """The batch as it was given, although a forward may write into it."""
        if self._x._version != self._version:
            self._x.copy_(self._copy)
            self._version = self._x._version
        return self._x

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, c, path: int = 0) -> Tensor:
        """Logits of one path. The tensor is valid as long as it is not written into."""
        changed = self._place.move(self.net.windows(c, path))
        if self.reason is not None:
            return self.net.run_placed(self._images())
        try:
            return self._run(self._images, self.net.run_placed, changed, self._place.placed())
        except Exception as error:  # an error of the model itself comes again below
            self.reason = f"{type(error).__name__}: {error}".removeprefix("_CannotShare: ")
        self._run = None
        out = self.net.run_placed(self._images())
        warnings.warn(
            f"widths are evaluated one by one, without a shared prefix: {self.reason}",
            stacklevel=3,
        )
        return out


class _Output:
    """A tensor that a call returned, or the images: held only if a later run can ask for it."""

    __slots__ = ("call", "ghost", "kept", "key", "version", "weak")

    def __init__(self, tensor: Tensor, call: int):
        self.weak, self.call, self.version = TensorWeakRef(tensor), call, tensor._version
        self.kept = self.ghost = self.key = None

    def again(self) -> Tensor:
        """What a repeated call returns: the tensor, or where nobody reads it, an empty one."""
        if self.kept is not None:
            return self.kept
        if self.ghost is None:
            self.ghost = torch.empty(0)
        return self.ghost


class _Run(TorchFunctionMode):
    """The calls of the last forward, and what is needed to repeat a part of them.

    Args:
        net: the supernet's module. writers: call -> positions of the tensors it writes into, as
            far as known; shared by the batches.
    """

    def __init__(self, net, writers: dict[int, set[int]]):
        super().__init__()
        self.writers = writers
        leaves = (t for m in net.modules() for t in tree_leaves(vars(m)))
        self.owned = {id(t): t for t in leaves if isinstance(t, Tensor)}
        self._rewind(0)

    def __call__(self, images, forward, changed, placed) -> Tensor:
        """Run ``forward(images())`` anew from the first call that reads a changed group."""
        cuts = [self.cuts[g] for g in changed if g in self.cuts]
        if self.calls and not cuts:
            return self.result  # nothing that is read has changed
        start = self._possible(min(cuts, default=0))
        self._rewind(start)
        self.placed = placed  # keeps the slices alive, and so their ids their own
        self.readers: dict[int, tuple[int, ...]] = {}
        for tensor, groups in placed:
            self.readers[id(tensor)] = (*self.readers.get(id(tensor), ()), *groups)
        self.owned_keys = None
        self.start, self.at = start, 0
        if start == 0:
            self.x = images()
            self._watch(self.x, -1)
        with self:
            out = forward(self.x)
        if self.at < len(self.calls):
            raise _CannotShare("the forward made other calls than for the width before")
        self._check(_tensors(out))
        self.result = out
        return out

    # -- going back -------------------------------------------------------------------------
    def _rewind(self, start: int) -> None:
        """Forget calls from ``start`` on, and undo what they wrote into kept activations."""
        if start == 0:
            self.calls: list[_Call] = []
            self.cuts: dict[int, int] = {}  # group -> first call that reads a slice of it
            self.kept: list[_Output] = []
            self.young: list[_Output] = []  # not seen at a cut yet
            self.writes: list[_Write] = []
        else:
            for write in self._first_writes(start).values():
                write.storage.copy_(write.before)
            del self.calls[start:]
            self.cuts = {g: k for g, k in self.cuts.items() if k < start}
            self.kept = [o for o in self.kept if o.call < start]
            self.young = []
            self.writes = [w for w in self.writes if w.call < start]
        self.result = None
        self.known = {id(o.kept): o for o in self.kept}
        self.keys: dict[int, int] = {}  # storage -> first call that made a kept tensor of it
        for o in self.kept:
            self.keys[o.key] = min(o.call, self.keys.get(o.key, o.call))

    def _first_writes(self, start: int) -> dict[int, _Write]:
        """For every activation there is at ``start``, the first write into it from then on."""
        first: dict[int, _Write] = {}
        for write in self.writes:
            if write.call >= start > self.keys[write.key]:
                first.setdefault(write.key, write)
        return first

    def _possible(self, start: int) -> int:
        """The last cut up to ``start`` at which all activations are there or can be put back."""
        for cut in sorted(set(self.cuts.values()), reverse=True):
            writes = self._first_writes(cut).values()
            if cut <= start and all(w.before is not None for w in writes):
                return cut
        return 0

    # -- one call ---------------------------------------------------------------------------
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.at < self.start:
            call = self.calls[self.at]
            if call.function != function:
                raise _CannotShare("the forward made other calls than for the width before")
            self.at += 1
            return function(*args, **kwargs) if call.again else _map(call.out, _Output.again)
        tensors = _tensors((args, kwargs))
        self._check(tensors)
        new = {g for t in tensors for g in self.readers.get(id(t), ()) if g not in self.cuts}
        if new:
            self._keep()
            self.cuts.update(dict.fromkeys(new, self.at))
        if getattr(function, "__name__", "") in _SWAPS:
            raise _CannotShare(f"{function.__name__} gives a tensor another memory")
        versions = [t._version for t in tensors]
        copies = self._copies(tensors)
        out = function(*args, **kwargs)
        written = [i for i, t in enumerate(tensors) if t._version != versions[i]]
        if written:
            self._note_writes(tensors, written, copies)
        again = out is None and not tensors
        self.calls.append(_Call(function, self._record(out), again))
        self.at += 1
        return out

    def _check(self, tensors) -> None:
        """Every tensor must be a weight, or come from a call that was seen, as it left it."""
        for t in tensors:
            output = self.known.get(id(t))
            if output is not None and output.weak() is t:
                if output.version != t._version:
                    raise _CannotShare("an activation was written into by an unseen operation")
            elif id(t) not in self.readers and id(t) not in self.owned:
                raise _CannotShare("a tensor comes from an operation that PyTorch does not show")

    def _keep(self) -> None:
        """Hold every activation that is still alive."""
        for output in self.young:
            tensor = output.weak()
            if tensor is not None:
                output.kept, output.key = tensor, _key(tensor)
                self.keys.setdefault(output.key, output.call)
                self.kept.append(output)
        self.young = []

    def _watch(self, tensor: Tensor, call: int) -> _Output:
        output = self.known[id(tensor)] = _Output(tensor, call)
        self.young.append(output)
        return output

    def _record(self, out):
        """The tree of what a call returned, with ``_Output`` in place of new tensors."""
        if isinstance(out, _CONSTANT):
            return out
        if isinstance(out, Tensor):
            output = self.known.get(id(out))
            if output is not None and output.weak() is out:
                return output  # the call returned what it was given
            if id(out) in self.readers or id(out) in self.owned:
                return out
            return self._watch(out, self.at)
        if isinstance(out, (tuple, list)):
            return (type(out), [self._record(x) for x in out])
        raise _CannotShare(f"a call returned a {type(out).__name__}")

    # -- calls that write -------------------------------------------------------------------
    def _copies(self, tensors) -> dict[int, Tensor]:
        """Bytes of the kept tensors that this call is known to write into."""
        known = (tensors[i] for i in self.writers.get(self.at, ()) if i < len(tensors))
        return {_key(t): _bytes(t).clone() for t in known if self._has_cut(_key(t))}

    def _has_cut(self, key: int) -> bool:
        """Whether a run may start between the last write into an activation and now."""
        if key not in self.keys:
            return False
        last = max((w.call for w in self.writes if w.key == key), default=-1)
        return any(cut > last for cut in self.cuts.values())

    def _note_writes(self, tensors, written, copies) -> None:
        if self.owned_keys is None:
            weights = [*self.owned.values(), *(t for t, _ in self.placed)]
            self.owned_keys = {_key(t) for t in weights}
        for i in written:
            key = _key(tensors[i])
            if key in self.owned_keys:
                raise _CannotShare("the forward changes a weight or buffer")
            if self._has_cut(key):
                self.writers.setdefault(self.at, set()).add(i)
                bytes_ = _bytes(tensors[i])
                self.writes.append(_Write(self.at, key, bytes_, copies.get(key)))
        for output in (*self.kept, *self.young):
            tensor = output.weak()
            if tensor is not None:
                output.version = tensor._version


def prefix_macs(cost, C) -> tuple[int, int]:
    """Multiply-accumulates per image of many widths on one path: one by one, and sharing prefixes.

    Args:
        cost: ``CostTable``. C: width vectors (n, L), in units; their order does not matter.
    Returns:
        (one by one, shared): sums over the widths.
    """
    C = cost.space.check(np.atleast_2d(C))
    C = C[order(C)]
    n = cost.space.all_channels(cost.space.channels(C))  # (n, G) channels
    size = cost.space.graph.size
    macs = [op.coefficient * size(op.out, n) * size(op.inner, n) for op in cost._ops]  # (n,) each
    before = np.cumsum([np.zeros(len(C), dtype=np.int64), *macs], axis=0)  # (ops + 1, n)
    first = np.full(n.shape[1], len(macs))  # (G,) the first layer that reads a group
    for k in reversed(range(len(macs))):
        first[
            [
                r.group
                for a in (cost._ops[k].out, cost._ops[k].inner)
                for r in a
                if r.group is not None
            ]
        ] = k
    cut = np.where(n[1:] != n[:-1], first, len(macs)).min(axis=1)  # (n - 1,)
    cut = np.concatenate([[0], cut])
    total = before[-1]  # (n,)
    return int(total.sum()), int((total - before[cut, np.arange(len(C))]).sum())


def order(C) -> np.ndarray:
    """Places of width vectors (n, L) in lexicographic order: neighbours share the most."""
    return np.lexsort(np.asarray(C).T[::-1])


def _tensors(tree) -> list[Tensor]:
    """Tensors among arguments, in order; lists, tuples and dictionaries are looked into."""
    out = []
    for x in tree.values() if isinstance(tree, dict) else tree if _many(tree) else (tree,):
        if isinstance(x, Tensor):
            out.append(x)
        elif _many(x) or isinstance(x, dict):
            out += _tensors(x)
    return out


def _many(x) -> bool:
    return isinstance(x, (tuple, list))


def _map(tree, function):
    """The tree of ``_Run._record`` with ``function`` applied to every ``_Output``."""
    if isinstance(tree, _Output):
        return function(tree)
    if type(tree) is tuple:
        kind, parts = tree
        parts = [_map(x, function) for x in parts]
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)
    return tree


def _key(tensor: Tensor) -> int:
    """What memory a tensor lies in; views share it."""
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> Tensor:
    """All of that memory, as bytes."""
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return flat.set_(tensor.untyped_storage())
