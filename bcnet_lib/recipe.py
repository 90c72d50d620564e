"""How a network is trained: one frozen object for supernets and for networks from scratch."""

import math
from dataclasses import asdict, dataclass

import pandas as pd
import torch

__all__ = ["Recipe", "TrainingError"]


class TrainingError(RuntimeError):
    """A training that cannot go on, such as a loss that is not a number."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with momentum, linear warm-up and a cosine schedule that ends at zero.

    Raises:
        ValueError: naming the field, if a value is outside its range.
    """

    epochs: float = 30
    """Passes over the training images; may be a fraction (0.5: half of them)."""
    batch_size: int = 128
    """Images a step; the rest of an epoch that fills no batch is left out."""
    lr: float = 0.1
    """Learning rate after warm-up, the largest of the schedule."""
    momentum: float = 0.9
    """Share of the previous update that the next one keeps, 0 <= momentum < 1."""
    nesterov: bool = True
    """Look-ahead momentum; without effect at momentum 0."""
    weight_decay: float = 5e-4
    """L2 penalty, on every parameter."""
    warmup_epochs: float = 0
    """Epochs over which the learning rate rises linearly from near 0."""
    label_smoothing: float = 0.0
    """Probability that the target spreads over all classes, 0 <= label_smoothing < 1."""
    augment: bool = False
    """Shift (and, where the data allows it, mirror) the training images at random."""
    amp: bool = False
    """Forward passes in bfloat16 (mixed precision); weights and gradients stay float32."""

    def __post_init__(self):
        rules = {
            "epochs": self.epochs > 0,
            "batch_size": self.batch_size >= 1 and int(self.batch_size) == self.batch_size,
            "lr": self.lr > 0,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "warmup_epochs": 0 <= self.warmup_epochs < self.epochs,
            "label_smoothing": 0 <= self.label_smoothing < 1,
        }
        needs = {
            "epochs": "more than 0",
            "batch_size": "a positive integer",
            "lr": "more than 0",
            "momentum": "at least 0 and below 1",
            "weight_decay": "at least 0",
            "warmup_epochs": f"at least 0 and below epochs={self.epochs}",
            "label_smoothing": "at least 0 and below 1",
        }
        for field, holds in rules.items():  # NaN fails every comparison and so is refused too
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"Recipe({field}={value!r}): {field} must be {needs[field]}")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of the whole training, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        r"""Learning rate of a step, counted from 0.

        .. math:: \eta(t) = \eta \min\Big(\tfrac{t + 1}{w},\;
                  \tfrac12 \big(1 + \cos \pi \tfrac{t - w}{T - w}\big)\Big)

        the first term during the w warm-up steps, the second after them, T = ``self.steps(…)``.
        """
        total, warmup = self.steps(steps_per_epoch), self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return self.lr * min(1.0, (step + 1) / warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

    def optimizer(self, parameters) -> torch.optim.SGD:
        """The optimiser; its learning rate is to be set with ``lr_at`` before each step."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )

    def to_frame(self) -> pd.DataFrame:
        """The settings as a table with one row a field."""
        return pd.DataFrame({"value": pd.Series(asdict(self), dtype=object)}).rename_axis("setting")
