"""How the time of a supernet's pass grows: with layers, units of a width, images a batch.

Measured on plain stacks of convolutions for images of 8x8. Processor time, not time on the clock,
so that other programs on the machine matter less.
"""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from .intervals import Interval, mean_interval
from .principles import BCv2
from .space import WidthSpace
from .supernet import Supernet

__all__ = ["exponent", "growth", "pass_seconds", "stack"]


def stack(L: int, channels: int = 30) -> nn.Sequential:
    """L convolutions of equal width with BatchNorm, then a linear layer of ten outputs."""
    layers, before = [], 1
    for _ in range(L):
        layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def pass_seconds(
    *, L: int = 8, K: int = 10, images: int = 64, seeds: int = 5, repeats: int = 3
) -> np.ndarray:
    """Processor seconds of a forward and a backward pass at half of every width.

    Args:
        L: layers. K: units of a width, even. images: a batch.
        seeds: supernets. repeats: passes of each; the least counts.
    Returns:
        float64 (seeds,).
    """
    model, one = stack(L), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, one, K=K)
    c, y = np.full(L, K // 2), torch.zeros(images, dtype=torch.int64)
    out = np.empty(seeds)
    for seed in range(seeds):
        net = Supernet(model, space, BCv2(), seed=seed)
        x = torch.randn(images, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        times = []
        for _ in range(repeats + 1):  # the first prepares
            began = time.process_time()
            F.cross_entropy(net(x, c), y).backward()
            times.append(time.process_time() - began)
        out[seed] = min(times[1:])
    return out


def growth(what: str, values: Sequence[int], **others) -> pd.DataFrame:
    """Seconds at several values of ``L``, ``K`` or ``images``: a row a value, a column a seed."""
    rows = [pass_seconds(**{what: value}, **others) for value in values]
    return pd.DataFrame(rows, index=pd.Index(values, name=what))


def exponent(seconds: pd.DataFrame) -> Interval:
    r"""a of seconds :math:`\propto x^a`, the slope of a line through logarithms, one a seed."""
    x = np.log(seconds.index.to_numpy(dtype=float))
    return mean_interval(np.polyfit(x, np.log(seconds.to_numpy()), 1)[0])
