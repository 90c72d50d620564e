r"""How two lists agree: Pearson, Spearman and Kendall, and how sure of that we are.

Kendall is tau-b, which counts ties in either list; with :math:`P` concordant and :math:`Q`
discordant of :math:`T` pairs, :math:`T_x` tied in x and :math:`T_y` in y,

.. math:: \tau_b = \frac{P - Q}{\sqrt{(T - T_x)(T - T_y)}}
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

from .data import mix

__all__ = ["Correlations", "Estimate", "bootstrap", "correlations", "pair", "weighted_correlations"]


class Correlations(NamedTuple):
    """Pearson, Spearman and Kendall tau-b, each in -1..1 (or an array of them, one a weighting)."""

    pearson: float
    spearman: float
    kendall: float


class Estimate(NamedTuple):
    """A number and its 95 % bootstrap interval; NaN ends where no resampling was asked for."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        if np.isnan(self.low):
            return f"{self.value:{spec}}"
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"

    def __str__(self) -> str:
        return format(self)


def pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Two finite float64 lists of the same length >= 2, neither constant."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"two lists of the same length are needed, got {x.shape} and {y.shape}")
    for v, which in ((x, "first"), (y, "second")):
        if not np.isfinite(v).all():
            at = int(np.argmin(np.isfinite(v)))
            raise ValueError(f"the {which} list holds {v[at]} at position {at}")
        if len(v) < 2 or (v == v[0]).all():
            raise ValueError(f"the {which} list has {len(v)} equal values: they rank nothing")
    return x, y


def correlations(a, b) -> Correlations:
    """Pearson, Spearman (mid-ranks) and Kendall tau-b of two lists, by scipy.

    Args:
        a, b: (n,) finite numbers, neither constant.
    Raises:
        ValueError: if the lists differ in length, are constant, or hold NaN or infinity.
    """
    x, y = pair(a, b)
    # Ranks and Pearson on them are spearmanr without its p-value.
    ranks = stats.rankdata(x), stats.rankdata(y)
    tau = stats.kendalltau(x, y).statistic
    return Correlations(_pearson(x, y), _pearson(*ranks), float(tau))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(stats.pearsonr(x, y).statistic)


# ------------------------------------------------------------------ many weightings at once


def weighted_correlations(a, b, weights) -> Correlations:
    """The three correlations of many resamples or subsets of the same pairs, exactly.

    Only the weights differ between resamples, so sorting is done once. Discordant pairs are
    counted in a grid of buckets: between buckets by cumulative sums, within them by a product
    with a fixed 0/1 matrix, O(n sqrt(n)) a resample with a very small constant.

    Args:
        a, b: (n,) finite numbers.
        weights: (m, n) how often each pair occurs: whole numbers >= 0 (0/1 picks a subset).
    Returns:
        Correlations of (m,) float64 arrays; NaN where a resample leaves one list constant.
    Raises:
        ValueError: if shapes disagree or a weight is negative or no whole number.
    """
    x, y = pair(a, b)
    W = np.asarray(weights)  # (m, n)
    whole = W.dtype.kind in "biu" or (np.floor(W) == W).all()
    if W.ndim != 2 or W.shape[1] != len(x) or not whole or (W < 0).any():
        raise ValueError(f"weights must be whole numbers >= 0 of shape (m, {len(x)})")
    discordant = _Discordant(x, y)
    _, both = np.unique(np.stack([x, y]), axis=1, return_inverse=True)
    parts = []
    for rows in np.array_split(W, max(1, -(-W.size // 2**20))):  # about 8 MiB each
        rows = rows.astype(np.float64)
        (rank_x, tied_x), (rank_y, tied_y) = _midranks(x, rows), _midranks(y, rows)
        total = rows.sum(axis=1)
        pairs = total * (total - 1) / 2
        tied = _pairs_in_groups(rows, both.ravel())
        # P - Q = T - T_x - T_y + T_xy - 2 Q
        surplus = pairs - tied_x - tied_y + tied - 2 * discordant(rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            kendall = surplus / np.sqrt((pairs - tied_x) * (pairs - tied_y))
        pearson = _weighted_pearson(rows, x - x.mean(), y - y.mean())
        parts.append((pearson, _weighted_pearson(rows, rank_x, rank_y), kendall))
    return Correlations(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _group_sums(W: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """(m, n) weights summed within groups -> (m, groups)."""
    cells = group + groups * np.arange(len(W))[:, None]
    return np.bincount(cells.ravel(), W.ravel(), minlength=groups * len(W)).reshape(len(W), -1)


def _pairs_in_groups(W: np.ndarray, group: np.ndarray) -> np.ndarray:
    t = _group_sums(W, group, int(group.max()) + 1)
    return (t * (t - 1) / 2).sum(axis=1)


def _midranks(x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mid-ranks (m, n) of the weighted list, and its number of tied pairs (m,)."""
    values, group = np.unique(x, return_inverse=True)
    t = _group_sums(W, group, len(values))  # (m, groups) how often each value occurs
    middle = np.cumsum(t, axis=1) - t / 2
    middle -= middle.mean(axis=1, keepdims=True)  # a shift changes no correlation
    return middle[:, group], (t * (t - 1) / 2).sum(axis=1)


def _weighted_pearson(W: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    total = np.maximum(W.sum(axis=1), 1)
    mean_x, mean_y, xx, yy, xy = ((W * v).sum(axis=1) / total for v in (x, y, x * x, y * y, x * y))
    var_x, var_y = xx - mean_x**2, yy - mean_y**2
    spread = (var_x > 1e-12 * xx) & (var_y > 1e-12 * yy)  # not constant but for rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread, (xy - mean_x * mean_y) / np.sqrt(var_x * var_y), np.nan)


class _Discordant:
    """Counts discordant pairs of (x, y), each item w_i times, for many w.

    With items in order of x (ties by y) and ``r`` their places in order of y (ties by x), tied
    pairs are in order in both, and a pair is discordant exactly where ``r`` is inverted.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray):
        n = len(x)
        self.side = s = int(np.ceil(np.sqrt(n)))
        self.by_x = np.lexsort((y, x))  # (n,) item at each place
        places = np.argsort(y[self.by_x], kind="stable")  # by y, ties in order of x
        r = np.empty(s * s, dtype=np.int64)
        r[places], r[n:] = np.arange(n), np.arange(n, s * s)  # padded by items that never occur
        self.inverse = np.argsort(r)
        self.cell = np.arange(s * s) // s * s + r // s  # bucket of x, bucket of y
        block = r.reshape(s, s)  # rows: buckets of x
        earlier = np.arange(s)[:, None] < np.arange(s)
        self.in_x = (earlier & (block[:, :, None] > block[:, None, :])).astype(np.float64)
        place = self.inverse.reshape(s, s)  # rows: buckets of y
        apart = place[:, :, None] // s > place[:, None, :] // s  # not counted in in_x already
        self.in_y = (earlier & apart).astype(np.float64)

    def __call__(self, W: np.ndarray) -> np.ndarray:
        """(m, n) weights -> (m,) numbers of discordant pairs."""
        m, s = len(W), self.side
        w = np.zeros((m, s * s))
        w[:, : len(self.by_x)] = W[:, self.by_x]
        count = _within(w, self.in_x) + _within(w[:, self.inverse], self.in_y)
        grid = _group_sums(w, self.cell, s * s).reshape(m, s, s)  # (m, bucket of x, bucket of y)
        before = np.zeros_like(grid)  # weight in earlier buckets of x and later ones of y
        later = grid[:, :-1, :0:-1].cumsum(axis=1).cumsum(axis=2)[:, :, ::-1]
        before[:, 1:, :-1] = later
        return count + (grid * before).sum(axis=(1, 2))


def _within(w: np.ndarray, inverted: np.ndarray) -> np.ndarray:
    """Weighted pairs within buckets: w (m, s * s), inverted (s, s, s) 0/1 -> (m,)."""
    s = len(inverted)
    blocks = w.reshape(len(w), s, s).transpose(1, 0, 2)  # (bucket, m, place)
    # torch multiplies the many small matrices side by side; numpy one after another
    before = torch.bmm(torch.from_numpy(blocks), torch.from_numpy(inverted)).numpy()
    return np.einsum("bmi,bmi->m", before, blocks)


def bootstrap(a, b, resamples: int = 1000, seed: int = 0, level: float = 0.95):
    """The three correlations with percentile intervals over networks drawn with replacement.

    Exact in every resample, Kendall included. The interval says how much the number depends on
    which networks happened to be in the list; it does not cover the noise of training.

    Args:
        a, b: (n,) finite numbers. resamples: how many, 0 for none. seed: of the draws.
    Returns:
        Correlations of three ``Estimate``.
    """
    x, y = pair(a, b)
    value = correlations(x, y)
    if resamples == 0:
        return Correlations(*(Estimate(v, np.nan, np.nan) for v in value))
    rng = np.random.default_rng(mix(seed))
    n = len(x)
    drawn = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples))
    W = np.fromiter(drawn, dtype=(np.int32, n), count=resamples)  # (resamples, n)
    tail = 50 * (1 - level)
    several = np.stack(weighted_correlations(x, y, W))  # (3, resamples)
    ends = np.nanpercentile(several, [tail, 100 - tail], axis=1)  # (2, 3)
    return Correlations(*map(Estimate, value, *ends.tolist()))
