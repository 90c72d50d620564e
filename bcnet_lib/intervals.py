"""How sure a mean is: Student-t intervals over seeds, paired differences, one-line summaries."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

__all__ = [
    "Interval",
    "detectable",
    "headline",
    "holm",
    "mean_interval",
    "paired_difference",
    "seeds_needed",
]


class Interval(NamedTuple):
    """A mean and its confidence interval ``mean ± half`` from n values."""

    mean: float
    half: float  # inf where n = 1: one value says nothing about spread
    n: int
    level: float = 0.95

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    @property
    def exact(self) -> bool:
        """Whether it is a count, which no seed changes: one value and nothing around it."""
        return self.n == 1 and self.half == 0

    def text(self, digits: int = 2) -> str:
        """``0.74 ± 0.02``; ``0.74`` if exact; ``0.74 (no interval)`` for one value of many."""
        if self.exact:
            return f"{self.mean:.{digits}f}"
        if math.isinf(self.half):
            return f"{self.mean:.{digits}f} (no interval)"
        return f"{self.mean:.{digits}f} ± {self.half:.{digits}f}"

    def __str__(self) -> str:
        return self.text()


def _finite(values: Sequence[float], what: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{what} must be a non-empty list of numbers, got shape {array.shape}")
    if not np.isfinite(array).all():
        where = np.flatnonzero(~np.isfinite(array)).tolist()
        raise ValueError(f"{what} holds NaN or infinity at position {where}: drop it knowingly")
    return array


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    r"""Mean with its Student-t confidence interval.

    .. math:: \bar x \pm t_{(1 + \mathrm{level}) / 2,\, n - 1}\; s / \sqrt n

    Args:
        values: n >= 1 finite numbers, one a seed.
        level: coverage, between 0 and 1.
    Raises:
        ValueError: if values are empty or not finite, or level is not in (0, 1).
    """
    x = _finite(values, "values")  # (n,)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    n = x.size
    if n == 1:
        return Interval(float(x[0]), math.inf, 1, level)
    half = stats.t.ppf((1 + level) / 2, n - 1) * x.std(ddof=1) / math.sqrt(n)
    return Interval(float(x.mean()), float(half), n, level)


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of ``a - b`` with its interval, where ``a[i]`` and ``b[i]`` share a seed.

    Pairing removes what the seed does to both; with unequal lengths there is nothing to pair.

    Raises:
        ValueError: if the lengths differ or a value is not finite.
    """
    x, y = _finite(a, "a"), _finite(b, "b")
    if x.size != y.size:
        raise ValueError(f"paired values need the same seeds: a has {x.size}, b has {y.size}")
    return mean_interval(x - y, level)


def headline(metric: str, values: Sequence[float], *context: str, digits: int = 2) -> str:
    """``kendall 0.74 ± 0.02 (12 seeds), digits, 1,024 networks``: a record's first field."""
    interval = mean_interval(values)
    seeds = "1 seed" if interval.n == 1 else f"{interval.n} seeds"
    return ", ".join([f"{metric} {interval.text(digits)} ({seeds})", *context])


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values of m tests together, adjusted by Holm: below 0.05, the chance of any false alarm is.

    Args:
        p: (m,) p-values, in any order.
    Returns:
        (m,) float64, in the same order, never below p nor above 1.
    Raises:
        ValueError: if a value is not in 0..1.
    """
    p = _finite(p, "p-values")
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p-values lie between 0 and 1, got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(steps, 1)
    return out


def detectable(values: Sequence[float], power: float = 0.8, n: int | None = None) -> float:
    r"""Smallest true mean that a two-sided t-test at 5 % finds with the given power.

    .. math:: (t_{0.975,\, n - 1} + t_{\mathrm{power},\, n - 1})\; s / \sqrt n

    Close, not exact: from five seeds on, the power is right to within 0.03.

    Args:
        values: (paired differences, say), at least two; their sample standard deviation is s.
        power: chance of finding it, between 0 and 1.
        n: seeds of the test; None: as many as there are values.
    Raises:
        ValueError: for fewer than two values or seeds, or a power outside 0..1.
    """
    x = _finite(values, "values")
    n = x.size if n is None else n
    if x.size < 2 or n < 2:
        raise ValueError(f"spread needs at least two values and seeds, got {x.size} and {n}")
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, got {power}")
    t = stats.t.ppf(0.975, n - 1) + stats.t.ppf(power, n - 1)
    return float(t * x.std(ddof=1) / math.sqrt(n))


def seeds_needed(
    values: Sequence[float],
    power: float = 0.8,
    most: int = 10_000,
    effect: float | None = None,
) -> int | None:
    """Seeds with which a mean would be found; None: more than ``most``.

    A guess from a few seeds: their spread is uncertain, and so is their mean.

    Args:
        values, power: of ``detectable``. most: where to give up.
        effect: size of the mean to be found, above 0; None: that of ``values``.
    """
    effect = abs(float(_finite(values, "values").mean())) if effect is None else effect
    low, high = 1, most  # too few, and enough
    if detectable(values, power, most) > effect:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if detectable(values, power, middle) <= effect:
            high = middle
        else:
            low = middle
    return high
