"""Sizes of the experiments, one table: what "smoke", "digits", "cifar10" and "paper" mean.

``smoke`` takes seconds and shows that the code runs; ``digits`` is the book's own scale, minutes to
an hour of two CPU cores; ``cifar10`` is meant for one GPU; ``paper`` has the paper's settings.
"""

from dataclasses import asdict, dataclass

import pandas as pd

__all__ = ["RANKING", "RankProfile", "to_frame"]


@dataclass(frozen=True, kw_only=True)
class RankProfile:
    """How supernets are trained and scored to see how well they rank the widths of a benchmark."""

    bench: str
    """``digits``, ``mobilenet`` or ``resnet``: name of the ``ChannelBench``."""
    steps: int
    """Optimiser steps of every method, in the comparison at equal steps."""
    passes: int
    """Forward-backward passes of every method, in the comparison at equal passes."""
    batch_size: int
    """Images a pass."""
    lr: float
    """Largest learning rate of the cosine schedule, for every method."""
    weight_decay: float
    """L2 penalty."""
    seeds: int
    """Supernets a method, with seeds 0, 1, …"""
    val: float = 0.4
    """Share of the training images held out for scoring; the digits benchmark has its own."""
    widths: int | None = None
    """Score so many widths, drawn once for all; None: every one of the benchmark."""
    score_batch: int = 2048
    """Images a batch in scoring, at most, whose statistics BatchNorm uses."""
    augment: bool = False
    """Shift and mirror the training images."""
    fast: bool = False
    """bfloat16 and channels-last: for a GPU."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""


RANKING = {
    "smoke": RankProfile(
        bench="digits",
        **{"steps": 9, "passes": 36, "batch_size": 64, "lr": 0.1, "weight_decay": 5e-4},
        **{"seeds": 2, "widths": 64},
    ),
    "digits": RankProfile(
        bench="digits",
        **{"steps": 720, "passes": 2880, "batch_size": 32, "lr": 0.1, "weight_decay": 5e-4},
        seeds=12,
    ),
    # 45,000 training images: an epoch has 175 steps of 256
    "cifar10": RankProfile(
        bench="mobilenet",
        **{"steps": 5250, "passes": 21000, "batch_size": 256, "lr": 0.1, "weight_decay": 0.0},
        **{"seeds": 2, "val": 0.1, "augment": True, "fast": True, "checkpoint_every": 500},
    ),
    "cifar10-resnet": RankProfile(
        bench="resnet",
        **{"steps": 5250, "passes": 21000, "batch_size": 256, "lr": 0.1, "weight_decay": 0.0},
        **{"seeds": 2, "val": 0.1, "augment": True, "fast": True, "checkpoint_every": 500},
    ),
    "paper": RankProfile(  # 300 epochs; Eq. 11 takes four passes a step
        bench="mobilenet",
        **{"steps": 52500, "passes": 210000, "batch_size": 256, "lr": 0.1, "weight_decay": 0.0},
        **{"seeds": 3, "val": 0.1, "augment": True, "fast": True, "checkpoint_every": 2000},
    ),
}


def to_frame(profiles) -> pd.DataFrame:
    """A table with one column a profile and one row a setting."""
    return pd.DataFrame({name: asdict(p) for name, p in profiles.items()}, dtype=object)
