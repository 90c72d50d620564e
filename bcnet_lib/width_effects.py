r"""Where width pays: a complete benchmark taken apart into effects of single groups and of pairs.

On a table of *all* networks the mean accuracy is a sum of parts that are orthogonal, so each part
is a plain average and their variances add up:

.. math:: a(c) = \mu + \sum_i f_i(c_i) + \sum_{i<j} f_{ij}(c_i, c_j) + \text{(three and more)}

Runs are noisy, and noise spreads over all parts by their degrees of freedom: with a variance
:math:`\sigma^2` of one run, R runs and n networks, a part of d degrees of freedom has a variance of
:math:`d\,\sigma^2 / (R n)` where there is no effect at all. What is above that is signal.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Effects", "effects", "held_out", "main_effects", "smoothed", "widths_by_budget"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """The parts of a benchmark's mean accuracy, in points of accuracy."""

    mean: float
    """Of all networks, percent."""
    main: np.ndarray
    """(L, K): what width k + 1 of a group adds to the mean; rows sum to 0."""
    pairs: dict
    """(i, j) with i < j, from 0 -> (K, K): what two widths add together; rows, columns sum to 0."""
    variance: float
    """Of the networks' mean accuracies, points squared."""
    noise: float
    """Variance of one run, from the spread of the runs of each network, points squared."""
    runs: int
    """Runs of every network."""
    n: int
    """Networks."""

    @property
    def additive(self) -> np.ndarray:
        """(n,) mean accuracies that main effects alone predict, in the order of the table."""
        return _additive(self.mean, self.main)

    @property
    def smooth(self) -> np.ndarray:
        """(n,) mean accuracies that effects of one and of two groups predict, in table order."""
        return _smooth(self.additive, self.pairs)

    @property
    def smooth_error(self) -> float:
        """Standard deviation of one entry of ``smooth`` from run noise, the same for all networks.

        A balanced table spreads the 1 + L (K - 1) + L (L - 1) / 2 (K - 1)^2 fitted numbers equally.
        """
        L, K = self.main.shape
        fitted = 1 + L * (K - 1) + math.comb(L, 2) * (K - 1) ** 2
        return math.sqrt(self.noise / self.runs * fitted / self.n)

    def shares(self) -> pd.DataFrame:
        """How the variance splits: a row for the additive part, the pairs, and all the rest.

        Columns: ``dof``; ``share`` of the variance; ``noise``, the share that run noise alone gives
        a part with so many degrees of freedom; ``above``, their difference; ``half``, half of its
        95 % interval, taking runs as normal with one variance.
        """
        L, K = self.main.shape
        parts = {
            "one group": (L * (K - 1), float((self.main**2).mean(axis=1).sum())),
            "two groups": (
                math.comb(L, 2) * (K - 1) ** 2,
                float(sum((p**2).mean() for p in self.pairs.values())),
            ),
        }
        spent = [sum(part[k] for part in parts.values()) for k in (0, 1)]
        parts["three and more"] = (self.n - 1 - spent[0], self.variance - spent[1])
        rows = [self._share(dof, value) for dof, value in parts.values()]
        return pd.DataFrame(rows, index=pd.Index(parts, name="part"))

    def pair_shares(self) -> np.ndarray:
        """(L, L) share of the variance above noise of every pair; NaN on the diagonal."""
        L, K = self.main.shape
        table = np.full((L, L), np.nan)
        for (i, j), part in self.pairs.items():
            share = self._share((K - 1) ** 2, float((part**2).mean()))
            table[i, j] = table[j, i] = share["above"]
        return table

    def _share(self, dof: int, value: float) -> dict:
        unit = self.noise / (self.runs * self.n)  # variance that noise gives one degree of freedom
        spread = 2 * dof * unit**2 + 4 * unit * max(value - dof * unit, 0)  # of the part itself
        known = 2 * (dof * unit) ** 2 / (self.n * (self.runs - 1))  # of what noise is taken to be
        return {
            "dof": dof,
            "share": value / self.variance,
            "noise": dof * unit / self.variance,
            "above": (value - dof * unit) / self.variance,
            "half": 1.96 * math.sqrt(spread + known) / self.variance,
        }


def main_effects(y, L: int, K: int) -> np.ndarray:
    """Mean of a column over all networks with a width, less the mean of all.

    Args:
        y: (K^L,) a number a network, in the order of the table. L: groups. K: widths.
    Returns:
        (L, K) float64.
    """
    return _main(_grid(y, L, K))


def effects(bench) -> Effects:
    """Take a complete benchmark apart.

    Args:
        bench: ``ChannelBench`` with at least two runs.
    Raises:
        ValueError: where there is one run only, which says nothing about noise.
    """
    n, runs = bench.accuracies.shape
    if runs < 2:
        raise ValueError(f"'{bench.name}' has one run a network: noise needs at least two")
    grid = _grid(bench.mean, bench.L, bench.K)
    return Effects(
        mean=float(grid.mean()),
        main=_main(grid),
        pairs=_pairs(grid),
        variance=float(grid.var()),
        noise=float(bench.accuracies.var(axis=1, ddof=1).mean()),
        runs=runs,
        n=n,
    )


def smoothed(bench) -> np.ndarray:
    """(n, runs) accuracies of which only effects of one and of two groups are left, run by run.

    Much of the noise of single networks is gone. Runs stay independent of one another, and the mean
    over runs is ``Effects.smooth``.
    """
    columns = []
    for run in bench.accuracies.T:
        grid = _grid(run, bench.L, bench.K)
        columns.append(_smooth(_additive(float(grid.mean()), _main(grid)), _pairs(grid)))
    return np.column_stack(columns)


def held_out(accuracies, macs, budget: float, top: int = 1) -> tuple[float, float]:
    """Accuracy of the best networks within a budget: as chosen, and as judged by another run.

    The best of many noisy numbers are the best partly by luck. So networks are chosen by the mean
    of all runs but one and judged by that one; every run judges once, and the mean is taken.

    Args:
        accuracies: (n, runs), those of a ``ChannelBench`` or ``smoothed``. macs: (n,).
        budget: MACs. top: how many networks to choose.
    Returns:
        mean accuracy of the ``top`` best by all runs, judged by the same runs; and by a run that
        had no part in the choice. Percent.
    Raises:
        ValueError: where fewer than ``top`` networks fit.
    """
    rows = np.flatnonzero(np.asarray(macs) <= budget)
    if len(rows) < top:
        raise ValueError(f"{len(rows)} networks fit {budget:,} MACs, too few to choose {top}")
    accuracies = np.asarray(accuracies)[rows]  # (m, runs)
    judged = []
    for run in range(accuracies.shape[1]):
        known = np.delete(accuracies, run, axis=1).mean(axis=1)
        judged.append(accuracies[_best(known, top), run].mean())
    seen = accuracies.mean(axis=1)
    return float(seen[_best(seen, top)].mean()), float(np.mean(judged))


def widths_by_budget(bench, shares, top: int = 20) -> np.ndarray:
    """Mean width of every group among the best networks within each budget.

    Args:
        shares: (B,) budgets as shares of the widest network's MACs. top: how many networks.
    Returns:
        (L, B) float64, in units; NaN where fewer than ``top`` networks fit.
    """
    out = np.full((bench.L, len(shares)), np.nan)
    for b, share in enumerate(shares):
        rows = np.flatnonzero(bench.macs <= share * bench.macs[-1])
        if len(rows) >= top:
            out[:, b] = bench.C[rows[_best(bench.mean[rows], top)]].mean(axis=0)
    return out


def _best(values, top: int) -> np.ndarray:
    return np.argsort(-values, kind="stable")[:top]


def _grid(y, L: int, K: int) -> np.ndarray:
    y = np.asarray(y, dtype=np.float64)
    if y.shape != (K**L,):
        raise ValueError(f"effects need all {K**L:,} networks of {L} groups, got shape {y.shape}")
    return y.reshape((K,) * L)


def _main(grid: np.ndarray) -> np.ndarray:
    L = grid.ndim
    means = [grid.mean(axis=tuple(g for g in range(L) if g != i)) for i in range(L)]  # (K,) each
    return np.array(means) - grid.mean()


def _pairs(grid: np.ndarray) -> dict:
    L, main, pairs = grid.ndim, _main(grid), {}
    for i, j in itertools.combinations(range(L), 2):
        others = tuple(g for g in range(L) if g not in (i, j))
        part = grid.mean(axis=others) - grid.mean()
        pairs[i, j] = part - main[i][:, None] - main[j][None, :]  # (K, K)
    return pairs


def _additive(mean: float, main: np.ndarray) -> np.ndarray:
    total = np.full((1,), mean)
    for effect in main:  # the last group counts fastest
        total = (total[:, None] + effect).ravel()
    return total


def _smooth(additive: np.ndarray, pairs: dict) -> np.ndarray:
    L = max(j for _, j in pairs) + 1
    K = len(next(iter(pairs.values())))
    C = np.indices((K,) * L).reshape(L, -1)  # (L, n) widths from 0
    return additive + sum(part[C[i], C[j]] for (i, j), part in pairs.items())
