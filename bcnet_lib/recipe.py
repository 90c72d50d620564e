"""How a network is trained: one frozen object for supernets and for networks from scratch."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import nn

__all__ = ["OPTIMIZERS", "SCHEDULES", "Recipe", "TrainingError"]

OPTIMIZERS = ("sgd", "rmsprop")
SCHEDULES = ("cosine", "step", "exponential")


class TrainingError(RuntimeError):
    """A training that cannot go on, such as a loss that is not a number."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, linear warm-up and a schedule of learning rates; as it stands, SGD with momentum
    and a cosine that ends at zero.

    Raises:
        ValueError: naming the field, if a value is outside its range.
    """

    epochs: float = 30
    """Passes over the training images; may be a fraction (0.5: half of them)."""
    batch_size: int = 128
    """Images a step; the rest of an epoch that fills no batch is left out."""
    optimizer: str = "sgd"
    """``"sgd"`` or ``"rmsprop"``."""
    lr: float = 0.1
    """Learning rate after warm-up, the largest of the schedule."""
    momentum: float = 0.9
    """Share of the previous update that the next one keeps, 0 <= momentum < 1."""
    nesterov: bool = True
    """Look-ahead momentum; without effect at momentum 0 and on RMSprop."""
    alpha: float = 0.9
    """RMSprop: share of the mean of squared gradients that a step keeps, 0 <= alpha < 1."""
    eps: float = 0.0316
    """RMSprop: added to the root of that mean; 0.0316 is the root of the usual 0.001 under it."""
    weight_decay: float = 5e-4
    """L2 penalty."""
    decay_all: bool = True
    """Whether the penalty is on every parameter; else not on those of one axis: biases and
    normalisation."""
    schedule: str = "cosine"
    """``"cosine"``, ``"step"`` or ``"exponential"``; see ``lr_at``."""
    decay: float = 0.1
    """Factor on the learning rate, of ``"step"`` and ``"exponential"``, 0 < decay <= 1."""
    decay_epochs: float | tuple[float, ...] = 30
    """Epochs between two of these factors; for ``"step"`` also the epochs at which they come."""
    warmup_epochs: float = 0
    """Epochs over which the learning rate rises linearly from near 0."""
    label_smoothing: float = 0.0
    """Probability that the target spreads over all classes, 0 <= label_smoothing < 1."""
    ema: float = 0.0
    """``train_from_scratch``: share of the running average of the weights that a step keeps, 0 <=
    ema < 1; the average is what is measured. 0: no average."""
    augment: bool = False
    """Shift (and, where the data allows it, mirror) the training images at random."""
    amp: bool = False
    """Forward passes in bfloat16 (mixed precision); weights and gradients stay float32."""

    def __post_init__(self):
        if isinstance(self.decay_epochs, list):  # as JSON gives it back
            object.__setattr__(self, "decay_epochs", tuple(self.decay_epochs))
        stops, many = self.decay_epochs, isinstance(self.decay_epochs, tuple)
        ascending = many and list(stops) == sorted(set(stops)) and bool(stops) and stops[0] > 0
        rules = {
            "epochs": (self.epochs > 0, "more than 0"),
            "batch_size": (
                self.batch_size >= 1 and int(self.batch_size) == self.batch_size,
                "a positive integer",
            ),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            "lr": (self.lr > 0, "more than 0"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "alpha": (0 <= self.alpha < 1, "at least 0 and below 1"),
            "eps": (self.eps > 0, "more than 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "schedule": (self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            "decay": (0 < self.decay <= 1, "more than 0 and at most 1"),
            "decay_epochs": (
                ascending and self.schedule == "step" if many else stops > 0,
                "more than 0, or with schedule='step' a tuple of ascending epochs",
            ),
            "warmup_epochs": (
                0 <= self.warmup_epochs < self.epochs,
                f"at least 0 and below epochs={self.epochs}",
            ),
            "label_smoothing": (0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            "ema": (0 <= self.ema < 1, "at least 0 and below 1"),
        }
        for field, (holds, need) in rules.items():  # NaN fails every comparison: refused too
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"Recipe({field}={value!r}): {field} must be {need}")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of the whole training, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        r"""Learning rate of a step, counted from 0.

        During the w warm-up steps :math:`\eta (t + 1) / w`, and after them

        .. math:: \eta(t) = \eta \cdot \begin{cases}
                  \tfrac12 \big(1 + \cos \pi \tfrac{t - w}{T - w}\big) & \text{cosine} \\
                  d^{\lfloor e / E \rfloor} & \text{step} \\
                  d^{e / E} & \text{exponential} \end{cases}

        with T = ``self.steps(…)``, d = ``decay``, E = ``decay_epochs`` and the epochs done
        :math:`e = t / \text{steps\_per\_epoch}`, those of warm-up counted too. With a tuple of
        epochs, "step" has as many factors d as of these have begun.
        """
        total, warmup = self.steps(steps_per_epoch), self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return self.lr * min(1.0, (step + 1) / warmup)
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        epoch, every = step / steps_per_epoch, self.decay_epochs
        if isinstance(every, tuple):
            return self.lr * self.decay ** sum(stop <= epoch for stop in every)
        times = epoch / every
        return self.lr * self.decay ** (math.floor(times) if self.schedule == "step" else times)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser; its learning rate is to be set with ``lr_at`` before each step.

        Args:
            parameters: of a network or a supernet.
        """
        groups = parameters
        if not self.decay_all:
            parameters = list(parameters)
            flat = [p for p in parameters if p.ndim < 2]
            groups = [{"params": [p for p in parameters if p.ndim >= 2]}]
            groups += [{"params": flat, "weight_decay": 0.0}] if flat else []
        options = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        if self.optimizer == "rmsprop":
            return torch.optim.RMSprop(groups, alpha=self.alpha, eps=self.eps, **options)
        return torch.optim.SGD(groups, nesterov=self.nesterov and self.momentum > 0, **options)

    def refuse_average(self, what: str) -> None:
        """Raise ``ValueError`` if ``ema`` is set, for what is not trained with an average."""
        if self.ema:
            raise ValueError(
                f"Recipe(ema={self.ema}): the weights of {what} are not averaged, ema=0"
            )

    def to_frame(self) -> pd.DataFrame:
        """The settings as a table with one row a field, without those that have no effect here."""
        values = {k: v for k, v in asdict(self).items() if k not in self.idle}
        return pd.DataFrame({"value": pd.Series(values, dtype=object)}).rename_axis("setting")

    @property
    def idle(self) -> set[str]:
        """Fields that have no effect beside the others."""
        idle = {"nesterov"} if self.optimizer == "rmsprop" else {"alpha", "eps"}
        return idle | ({"decay", "decay_epochs"} if self.schedule == "cosine" else set())
