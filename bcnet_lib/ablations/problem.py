"""What an experiment is run on: a network, images, widths, a budget, and how widths are judged.

On a benchmark the accuracy of a width is looked up; elsewhere its network is trained from scratch.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..bench import NAMES, ChannelBench
from ..cost import CostTable
from ..data import Data, load, mix
from ..digits_bench import DigitsSetting
from ..networks import NETWORKS, make
from ..profiles import Profile
from ..recipe import Recipe
from ..scratch import train_from_scratch, train_in_parts
from ..space import WidthSpace
from ..supernet import Supernet

__all__ = ["Problem", "problem_of"]


class Problem:
    """Network, images, widths and truth of a profile.

    Attributes:
        bench: ``ChannelBench``, or None where widths are trained. data: ``Data``.
        space: ``WidthSpace`` of the network. cost: its ``CostTable``.
        budget: MACs a search may use.
        C: int64 (n, L), the benchmark's widths within the space (or a sample of them), in its
            order; None without a benchmark. truth: their accuracies (n,), percent.
    """

    def __init__(self, profile: Profile, root=None):
        self.profile = profile
        if profile.network not in (*NAMES, *NETWORKS):
            known = ", ".join(f"'{n}'" for n in (*NAMES, *NETWORKS))
            raise ValueError(f"unknown network {profile.network!r}: known are {known}")
        self.data = _data(profile.network, profile.data, profile.val, root)
        self.bench = self.C = self.truth = None
        if profile.network in NAMES:
            self.bench = ChannelBench.load(profile.network, root=root)
            if profile.K != self.bench.K:
                raise ValueError(f"K={profile.K}: the benchmark has {self.bench.K} widths a group")
            space, x = self.bench.space, torch.zeros(1, *self.bench.image)
            self.space = replace(space, base=np.full(space.L, profile.base))
            self.rows = self._rows(profile.widths)
            self.C = self.bench.C[self.rows]
            self.truth = self.bench.mean[self.rows]
        else:
            x = torch.zeros(1, *self.data.shape)
            self.space = WidthSpace.from_model(self.model(), x, K=profile.K, base=profile.base)
        self.cost = CostTable(self.model(), self.space, x)
        self.budget = profile.budget * float(self.cost.macs(self.space.full))

    def _rows(self, widths: int | None) -> np.ndarray:
        """Rows of the benchmark's table that are in the space; a sample of them if asked for."""
        rows = np.flatnonzero((self.space.base <= self.bench.C).all(axis=1))
        if widths is not None and widths < 10:
            raise ValueError(f"widths={widths}: at least 10 are needed for the top ten")
        if widths is not None and widths < len(rows):
            rng = np.random.default_rng(mix(0, widths))
            rows = rows[np.sort(rng.choice(len(rows), size=widths, replace=False))]
        return rows

    def model(self) -> nn.Module:
        """The widest network, newly initialised."""
        if self.bench is not None:
            return self.bench.network()
        images = {"classes": self.data.classes, "channels": self.data.shape[0]}
        return make(self.profile.network, **images)

    def supernet(self, principle, seed: int, device="cpu") -> Supernet:
        """A fresh supernet over the space, on a device, in the memory format of the profile."""
        net = Supernet(self.model(), self.space, principle, seed=seed).to(device)
        return net.to(memory_format=torch.channels_last) if self.profile.fast else net

    def recipe(self, epochs: float) -> Recipe:
        """Of supernets and of found networks alike."""
        profile = self.profile
        return Recipe(
            epochs=epochs,
            batch_size=profile.batch_size,
            lr=profile.lr,
            weight_decay=profile.weight_decay,
            augment=profile.augment,
            amp=profile.fast,
            warmup_epochs=min(1.0, 0.1 * epochs),
        )

    def supernet_recipe(self, steps: int) -> Recipe:
        """Of a supernet that is trained for so many optimiser steps."""
        return self.recipe(steps / self.data.train.steps(self.profile.batch_size, drop_last=True))

    def retrain(
        self, c: Sequence[int], seed: int, device="cpu", file: Path | None = None, over=None
    ) -> float | None:
        """Test accuracy in percent of a width, trained from scratch; the test split is not looked
        at before.

        Args:
            file: where the profile asks for checkpoints, one after each epoch. over: stop then if
                ``over()``, and return None; the next call goes on.
        """
        recipe = self.recipe(self.profile.retrain_epochs)
        model = self.space.build(self.model(), c, seed=mix(seed, 2)).to(device)
        if self.profile.fast:
            model = model.to(memory_format=torch.channels_last)
        if self.profile.checkpoint_every is None or file is None:
            return 100 * train_from_scratch(model, self.data, recipe, seed=seed).test_accuracy
        options = {"seed": seed, "checkpoint": file, "over": over}
        trained = train_in_parts(model, self.data, recipe, **options)
        return None if trained is None else 100 * trained.test_accuracy


@lru_cache(maxsize=2)
def _data(network: str, name: str, val: float, root) -> Data:
    if network == "digits" or name == "digits":  # also off the benchmark: the same images
        return DigitsSetting().data()
    return load(name, root, val=val)


@lru_cache(maxsize=8)
def problem_of(profile: Profile, root=None) -> Problem:
    """The problem of a profile; made once a process."""
    return Problem(profile, root)
