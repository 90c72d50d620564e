"""Batches of a split: how many, in which order, and which of their images a process takes."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .cifar10 import DataError

__all__ = ["Batched", "mix"]


def mix(*numbers: int) -> int:
    """A 63-bit seed from several non-negative integers, e.g. (seed, epoch, step)."""
    words = [len(numbers), *map(int, numbers)]  # the length, since trailing zeros do not count
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


class Batched:
    """Batches of a split, whose ``_iterate`` makes them; it has a ``name`` and a length."""

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Number of batches in an epoch.

        Raises:
            DataError: if the batch size is no positive integer, or leaves no batch at all.
        """
        whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise DataError(f"batch size must be a positive integer, got {batch_size!r}")
        if drop_last and batch_size > len(self):
            raise DataError(
                f"batch size {batch_size} leaves no full batch in split '{self.name}' of "
                f"{len(self)} images: use a batch size of at most {len(self)}"
            )
        return len(self) // batch_size if drop_last else math.ceil(len(self) / batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        augment: bool = False,
        drop_last: bool = False,
        shuffle: bool = True,
        start: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches, from batch ``start`` on.

        Args:
            batch_size: images a batch; the last one is smaller unless ``drop_last``.
            seed, epoch: decide the order (the same on every device).
            augment: of a ``Split``, shift by up to ``self.pad`` pixels and mirror if
                ``self.flip``, each image by its own draw from (seed, epoch, step), on the split's
                device; of a ``FolderSplit``, crop, resize and mirror at random.
            shuffle: False keeps the split's order.
            start: first batch to give; the earlier ones are skipped without being made.
            share: (i, n) gives the i-th of n processes its images of each batch, every n-th; all n
                together have the batches that (0, 1) gives.
        Returns:
            iterator over x (B, C, H, W) float32 and y (B,) int64.
        Raises:
            DataError: for a wrong batch size or start, or fewer images a batch than processes.
        """
        steps = self.steps(batch_size, drop_last=drop_last)
        if not 0 <= start <= steps:
            raise DataError(
                f"start={start} is outside 0..{steps}: split '{self.name}' has {steps} batches "
                f"of {batch_size}"
            )
        if batch_size < share[1]:
            raise DataError(f"batches of {batch_size} cannot be shared by {share[1]} processes")
        order = torch.arange(len(self))
        if shuffle:  # drawn on the CPU, so that every device sees the same order
            order = torch.randperm(
                len(self), generator=torch.Generator().manual_seed(mix(seed, epoch))
            )
        return self._iterate(order, batch_size, range(start, steps), seed, epoch, augment, share)
