r"""How well a score ranks networks: correlations, what trusting the top costs, and what to expect.

Ties are never broken in somebody's favour: Kendall is tau-b, Spearman takes mid-ranks, and top-k
overlap and regret are expectations over all ways to break them. Correlations are in -1..1, regret
is in percentage points of accuracy.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaln

from .correlation import Correlations, Estimate, bootstrap, correlations, pair
from .data import mix

__all__ = [
    "NoiseCeiling",
    "Ranking",
    "additive_model",
    "baselines",
    "cross_validated",
    "noise_ceiling",
    "rank",
    "top_overlap",
    "top_regret",
]


class NoiseCeiling(NamedTuple):
    """What rankings by accuracy itself reach, because a training run is noisy."""

    one_seed: Correlations
    """One seed against another, the mean over all pairs."""
    rest: Correlations
    """One seed against the mean of the other seeds, the mean over seeds."""
    perfect: Correlations
    """A predictor that knows each network's true accuracy, against the mean of the runs."""
    runs: int
    n: int


# ------------------------------------------------------------------ the top of a ranking


def _membership(values: np.ndarray, k: int) -> np.ndarray:
    """(n,) chance of each to be among the k largest when ties are broken at random."""
    edge = np.partition(values, -k)[-k]
    above, at = values > edge, values == edge
    return np.where(above, 1.0, np.where(at, (k - above.sum()) / at.sum(), 0.0))


def _check_top(x: np.ndarray, k: int) -> None:
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k <= len(x):
        raise ValueError(f"the top {k!r} of {len(x)} networks: it must be a number in 1..{len(x)}")


def top_overlap(scores, accuracy, k: int) -> float:
    """Share of the k best by score that are among the k best by accuracy.

    Where ties stand at the edge, of either list, it is the expectation over all ways to break
    them.

    Args:
        scores, accuracy: (n,) finite numbers, larger is better. k: 1..n.
    """
    x, y = pair(scores, accuracy)
    _check_top(x, k)
    return float(_membership(x, k) @ _membership(y, k) / k)


def top_regret(scores, accuracy, k: int) -> float:
    """Accuracy lost by trusting the top k: the best of all, minus the best of the k.

    As if the k best by score were trained and the most accurate kept. Where several scores tie
    at the edge, it is the expectation over all ways to choose among them.

    Args:
        scores, accuracy: (n,) finite numbers, larger is better. k: 1..n.
    """
    x, y = pair(scores, accuracy)
    _check_top(x, k)
    edge = np.partition(x, -k)[-k]
    sure, tied = y[x > edge], np.sort(y[x == edge])
    r, m = k - len(sure), len(tied)
    # the largest of r drawn from m without replacement is the j-th smallest with
    # probability C(j - 1, r - 1) / C(m, r)
    j = np.arange(r, m + 1)
    chance = np.exp(_log_choose(j - 1, r - 1) - _log_choose(m, r))
    best = np.maximum(tied[r - 1 :], sure.max(initial=-np.inf))
    return float(chance @ (y.max() - best))


def _log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


# ------------------------------------------------------------------ what to compare with


def noise_ceiling(accuracies, draws: int = 20, seed: int = 0) -> NoiseCeiling:
    r"""How well accuracy ranks accuracy: what one more training of every network would reach.

    The true accuracies are not known. For the perfect predictor the means of the runs are put on a
    scale g on which runs are equally noisy wherever they lie, as bad networks may be noisier,

    .. math:: g(a) = \int^a \frac{da'}{\sigma_\text{run}(a')},

    and drawn in there towards their own mean until their variance is the one left without noise,
    :math:`\mathrm{Var}(g) - 1 / R`. New means are made of them by normal noise of variance
    :math:`1 / R`; ``perfect`` is the mean over ``draws`` of them, back on the scale of accuracies.
    An estimate, not a bound.

    Args:
        accuracies: (n, R) one column a run, R >= 2, finite.
        draws: simulated repetitions for ``perfect``. seed: of their noise.
    Raises:
        ValueError: for one run, constant columns, NaN or infinity, or where the runs differ more
            than the networks do, so that there is nothing to rank.
    """
    acc = np.asarray(accuracies, dtype=np.float64)
    if acc.ndim != 2 or acc.shape[1] < 2:
        raise ValueError(f"accuracies (n, runs) of two runs or more are needed, got {acc.shape}")
    n, runs = acc.shape
    pairs = [(i, j) for i in range(runs) for j in range(i)]
    one = [correlations(acc[:, i], acc[:, j]) for i, j in pairs]
    rest = [correlations(a, np.delete(acc, i, 1).mean(1)) for i, a in enumerate(acc.T)]
    mean, variance = acc.mean(axis=1), acc.var(axis=1, ddof=1)
    grid, scale = _even_noise(mean, variance)
    seen = np.interp(mean, grid, scale)  # (n,)
    spread, noise = seen.var(ddof=1), 1 / runs
    if spread <= noise:
        raise ValueError(
            f"the runs of a network differ more than the networks do (variance of the means "
            f"{mean.var(ddof=1):.3g}, of which noise {variance.mean() / runs:.3g}): there is "
            "nothing to rank"
        )
    known = seen.mean() + (seen - seen.mean()) * np.sqrt(1 - noise / spread)
    rng = np.random.default_rng(mix(seed))
    accuracy = partial(np.interp, xp=scale, fp=grid)
    again = [
        correlations(accuracy(known), accuracy(known + rng.normal(0, noise**0.5, n)))
        for _ in range(draws)
    ]
    return NoiseCeiling(*(_mean(c) for c in (one, rest, again)), runs=runs, n=n)


def _even_noise(mean, variance, least: int = 50, most: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies, and their places on a scale where the noise of a run has standard deviation 1.

    The variance of runs is pooled among ``least`` networks or more with neighbouring means, in up
    to ``most`` groups, and its root taken to be linear between them.
    """
    order = np.argsort(mean, kind="stable")
    groups = np.array_split(order, max(1, min(most, len(mean) // least)))
    at = np.array([mean[g].mean() for g in groups])
    sd = np.sqrt([variance[g].mean() for g in groups])
    sd = np.maximum(sd, 1e-9 * (np.ptp(mean) + 1))  # runs that never differ
    room = 10 * sd.max()
    grid = np.linspace(mean.min() - room, mean.max() + room, 4001)
    steps = np.diff(grid) / np.interp((grid[1:] + grid[:-1]) / 2, at, sd)
    return grid, np.concatenate([[0.0], np.cumsum(steps)])


def _mean(several: Iterable[Correlations]) -> Correlations:
    return Correlations(*np.mean(list(several), axis=0).tolist())


def additive_model(C, accuracy) -> np.ndarray:
    r"""Coefficients of :math:`\hat a(c) = \beta_0 + \sum_i \beta_i \ln c_i` by least squares.

    Args:
        C: (n, L) widths in units. accuracy: (n,).
    Returns:
        (1 + L,) float64; the intercept first.
    """
    return np.linalg.lstsq(_features(C), np.asarray(accuracy, dtype=np.float64), rcond=None)[0]


def _features(C) -> np.ndarray:
    C = np.asarray(C)
    return np.column_stack([np.ones(len(C)), np.log(C)])  # (n, 1 + L)


def cross_validated(C, accuracy, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Each network's accuracy, predicted by the additive model of the networks of other folds.

    Args:
        C: (n, L) widths. accuracy: (n,). folds: 2..n parts, drawn at random by seed.
    Returns:
        (n,) float64.
    """
    y = np.asarray(accuracy, dtype=np.float64)
    if not 2 <= folds <= len(y):
        raise ValueError(f"folds={folds} is outside 2..{len(y)}, the number of networks")
    fold = np.random.default_rng(mix(seed)).permutation(len(y)) % folds
    out, features = np.empty(len(y)), _features(C)
    for k in range(folds):
        out[fold == k] = features[fold == k] @ additive_model(C[fold != k], y[fold != k])
    return out


def baselines(bench, rows=None, top=(1, 10, 100), folds: int = 10, seed: int = 0) -> pd.DataFrame:
    """What a supernet must beat, ranked against the same mean accuracies.

    Parameters and MACs know nothing of accuracy. The additive model of log widths is cross-
    validated: it knows no network it scores, but the trained accuracies of all other folds.

    Args:
        bench: a ``ChannelBench``. rows: (n,) row numbers to use; None: all.
        top: the k of overlap and regret. folds: of the cross-validation, at most n. seed: of it.
    Returns:
        one row for ``params``, ``macs`` and ``additive``; columns ``pearson``, ``spearman``,
        ``kendall``, ``overlap k`` and ``regret k``; NaN where a baseline is the same for all.
    """
    rows = np.arange(len(bench.C)) if rows is None else rows
    mean = bench.mean[rows]
    scores = {
        "params": bench.params[rows],
        "macs": bench.macs[rows],
        "additive": cross_validated(bench.C[rows], mean, min(folds, len(mean)), seed),
    }
    table = {name: _figures(score, mean, top) for name, score in scores.items()}
    return pd.DataFrame.from_dict(table, orient="index")


def _figures(score, mean, top) -> dict[str, float]:
    if (score == score[0]).all():  # a few networks of the same cost
        names = [*Correlations._fields, *(f"{n} {k}" for k in top for n in ("overlap", "regret"))]
        return dict.fromkeys(names, np.nan)
    out = correlations(score, mean)._asdict()
    for k in top:
        out[f"overlap {k}"] = top_overlap(score, mean, k)
        out[f"regret {k}"] = top_regret(score, mean, k)
    return out


# ------------------------------------------------------------------ all of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """How well scores rank a benchmark's networks, and what to read it against."""

    pearson: Estimate
    spearman: Estimate
    kendall: Estimate
    """Against the mean of the runs, with bootstrap 95 % intervals over networks."""
    overlap: dict[int, float]
    """k to the share of the k best by score that are among the k most accurate."""
    regret: dict[int, float]
    """k to percentage points lost by keeping the best of the k best by score."""
    n: int
    """Networks that were scored."""
    resamples: int
    """Bootstrap resamples behind the intervals."""
    bench: object = field(repr=False)
    """The benchmark."""
    rows: np.ndarray = field(repr=False)
    """(n,) its row numbers that were scored."""

    @cached_property
    def ceiling(self) -> NoiseCeiling:
        """The seed-to-seed noise ceiling on the same networks."""
        return noise_ceiling(self.bench.accuracies[self.rows])

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """The baselines on the same networks."""
        return baselines(self.bench, self.rows, tuple(self.overlap))

    def to_frame(self) -> pd.DataFrame:
        """One row a figure: value, low and high, then baselines and noise ceilings beside it.

        A noise ceiling is NaN for overlap and regret; so is an interval. Where the runs give no
        ceiling (``noise_ceiling`` says why), its columns are NaN.
        """
        own = {n: getattr(self, n) for n in Correlations._fields}
        for k in self.overlap:
            own[f"overlap {k}"] = Estimate(self.overlap[k], np.nan, np.nan)
            own[f"regret {k}"] = Estimate(self.regret[k], np.nan, np.nan)
        frame = pd.DataFrame.from_dict(own, orient="index", columns=list(Estimate._fields))
        frame = frame.join(self.baselines.T)
        try:
            ceiling = self.ceiling._asdict()
        except ValueError:
            ceiling = dict.fromkeys(NoiseCeiling._fields, Correlations(np.nan, np.nan, np.nan))
        for name in ("one_seed", "perfect"):
            frame[name] = pd.Series(ceiling[name]._asdict())
        return frame

    def _repr_html_(self) -> str:
        what = f"<p>{self.n:,} networks of '{self.bench.name}', against the mean of the runs</p>"
        return what + self.to_frame().to_html(float_format="{:.3f}".format, na_rep="")


def rank(
    scores, bench, rows=None, *, top=(1, 10, 100), resamples: int = 1000, seed: int = 0
) -> Ranking:
    """Compare scores with the mean accuracies of a benchmark.

    Args:
        scores: (n,) finite numbers, larger is better.
        bench: a ``ChannelBench``. rows: (n,) row number of each score; None: all rows in order.
        top: the k of overlap and regret, one or several. resamples: of the bootstrap, 0 for no
            intervals. seed: of the bootstrap.
    Raises:
        ValueError: if scores are constant, not finite or of the wrong length, a k is above n, or
            resamples are no number.
    """
    if not isinstance(resamples, (int, np.integer)) or resamples < 0:
        raise ValueError(f"{resamples!r} bootstrap resamples: it must be an integer, 0 for none")
    top = (top,) if np.ndim(top) == 0 else tuple(top)
    rows = np.arange(len(bench.C)) if rows is None else np.asarray(rows)
    x, mean = pair(scores, bench.mean[rows])
    if large := [k for k in top if isinstance(k, (int, np.integer)) and k > len(x)]:
        raise ValueError(
            f"the top {large[0]} of {len(x)} networks: pass the k to look at, such as top=(1,)"
        )
    overlap = {int(k): top_overlap(x, mean, k) for k in top}
    regret = {int(k): top_regret(x, mean, k) for k in top}
    three = bootstrap(x, mean, resamples, seed)
    return Ranking(
        **three._asdict(),
        overlap=overlap,
        regret=regret,
        n=len(x),
        resamples=resamples,
        bench=bench,
        rows=rows,
    )
