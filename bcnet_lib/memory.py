"""Peak memory of a training step: what autograd keeps for the backward pass, counted in bytes.

A forward pass leaves *saved activations* behind, which the backward pass needs and frees. They are
what grows with the batch and with the number of paths whose losses are back-propagated together.
Here they are counted exactly, on any device, by the hooks that PyTorch calls for every tensor it
saves; on CUDA the allocator's own peak stands beside the count.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

__all__ = ["PeakMemory", "SavedActivations", "peak_memory"]


class _Held:
    """One saved tensor; autograd drops it when the backward pass has used it."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class SavedActivations(saved_tensors_hooks):
    """Counts what autograd saves in the ``with`` block: unique memory, while it is alive.

    Tensors that share memory (a view, an activation saved by two operations) count once. What is
    there anyway does not count: name it in ``besides``.

    Args:
        besides: modules (their parameters and buffers) and tensors not to count.

    Attributes:
        live: bytes saved at this moment; 0 after the backward pass.
        peak: largest ``live`` so far.
    """

    def __init__(self, *besides: nn.Module | Tensor):
        super().__init__(self._pack, lambda held: held.tensor)
        self._kept = list(_tensors(besides))  # alive, so that nobody else gets their address
        self._ignored = {_address(t) for t in self._kept}
        self._users: dict[int, int] = {}  # address of the memory -> saved tensors in it
        self.live = self.peak = 0

    def __enter__(self) -> "SavedActivations":
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> _Held:
        held = _Held(tensor.detach())  # without the graph, which would keep itself alive
        address, size = _address(tensor), tensor.untyped_storage().nbytes()
        if size and address not in self._ignored:
            self._users[address] = self._users.get(address, 0) + 1
            if self._users[address] == 1:
                self.live += size
                self.peak = max(self.peak, self.live)
            weakref.finalize(held, self._drop, address, size).atexit = False
        return held

    def _drop(self, address: int, size: int) -> None:
        self._users[address] -= 1
        if not self._users[address]:
            del self._users[address]
            self.live -= size


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Peak memory of one step, in bytes."""

    saved: int
    """Saved activations (``SavedActivations.peak``); the same on every device."""
    allocated: int | None
    """CUDA: the allocator's peak above what was allocated before the step; None on a CPU."""


def peak_memory(
    step: Callable[[], object], *besides: nn.Module | Tensor, device="cpu"
) -> PeakMemory:
    """Run ``step()`` once and measure its peak memory.

    Args:
        step: forward and backward passes of one training step.
        besides: modules and tensors that are there anyway, such as the network and the batch.
        device: where the step runs.
    """
    device = torch.device(device)
    before = 0
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with SavedActivations(*besides) as meter:
        step()
    allocated = None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        allocated = torch.cuda.max_memory_allocated(device) - before
    return PeakMemory(saved=meter.peak, allocated=allocated)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(things: Iterable[nn.Module | Tensor]) -> Iterable[Tensor]:
    for thing in things:
        if isinstance(thing, nn.Module):
            yield from thing.parameters()
            yield from thing.buffers()
        else:
            yield thing
