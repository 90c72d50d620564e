r"""Do found widths share a pattern over depth? Measures of width vectors, and tests of them.

A width vector is taken as relative widths :math:`r_i = c_i / K`. Two vectors agree by the rank
correlation of their groups; n vectors by its mean over pairs, :math:`\bar\rho`, which is Kendall's
W on another scale: :math:`W = (1 + (n - 1)\,\bar\rho) / n`. A uniform vector has no order to share:
it agrees with nothing, at 0.

A budget alone makes a pattern, for groups that cost much must be narrow. So what is found is
compared with random widths of the same budget. After Su et al., arXiv 2203.13714, section 8.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata, ttest_1samp

from .data import mix
from .intervals import Interval, holm, mean_interval
from .width_places import Place

__all__ = [
    "AGREEMENT",
    "Widths",
    "agreement",
    "concordance",
    "correlations",
    "exchange_p",
    "likeness",
    "patterns",
    "shuffle_p",
    "table",
]

AGREEMENT = "agree with one another"
DRAWS = 9999  # of tests that cannot try every arrangement


@dataclass(frozen=True, kw_only=True, eq=False)
class Widths:
    """Widths found by several seeds, and random ones of the same network and budget."""

    found: np.ndarray
    """(n, L), in units, one a seed."""
    reference: np.ndarray
    """(m, L), in units, m large: what the budget alone makes of widths, by ``walk_within``."""
    places: Sequence[Place]
    """(L,) of the groups."""
    K: int
    """Units of the full width."""


# ------------------------------------------------------------------------------- agreement


def correlations(R) -> np.ndarray:
    """Spearman's rank correlation of every two rows: (n, L) -> (n, n).

    A row without order (all groups equal) correlates with nothing, not even itself.
    """
    unit = _ranks(R)
    return unit @ unit.T


def _ranks(R) -> np.ndarray:
    """Ranks of the groups in each row, centred and of length 1; 0 in a row without order."""
    ranks = rankdata(np.asarray(R, dtype=float), axis=1)  # (n, L)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, norms, out=np.zeros_like(ranks), where=norms > 0)


def agreement(R) -> Interval:
    r"""Mean rank correlation of two rows, over all pairs, with its jackknife interval.

    .. math:: \bar\rho = \binom{n}{2}^{-1} \sum_{s < t} \rho(r_s, r_t)

    The mean over pairs is one over rows as well, of :math:`n \bar\rho - (n - 1) \bar\rho_{-s}`,
    where row s is left out; their spread gives the interval. Two rows have a mean and no interval.

    Args:
        R: (n, L) widths, one row a seed, n >= 2.
    Raises:
        ValueError: for a single row, or fewer than three groups.
    """
    rho = _checked(R)  # (n, n)
    n = len(rho)
    if n == 2:
        return Interval(float(rho[0, 1]), math.inf, 2)
    own = rho.sum(axis=1)  # (n,)
    all_of = own.sum() / 2
    without = (all_of - own) / math.comb(n - 1, 2)
    return mean_interval(n * all_of / math.comb(n, 2) - (n - 1) * without)


def concordance(R) -> float:
    """Kendall's W of the rows: 1 if all order the groups alike, about 1 / n if by chance."""
    n = len(R)
    return (1 + (n - 1) * agreement(R).mean) / n


def _checked(R) -> np.ndarray:
    R = np.asarray(R)
    if R.ndim != 2 or len(R) < 2 or R.shape[1] < 3:
        raise ValueError(f"agreement needs two or more widths of three or more groups: {R.shape}")
    rho = correlations(R)
    np.fill_diagonal(rho, 0)
    return rho


def shuffle_p(R, draws: int = DRAWS, seed: int = 0) -> float:
    """Chance that rows whose groups are shuffled, each row by itself, agree as much as these.

    Args:
        R: (n, L). draws: random arrangements. seed: of them.
    Returns:
        one-sided p, at least 1 / (draws + 1).
    """
    seen, unit = _checked(R).sum(), _ranks(R)  # unit: (n, L)
    rng = np.random.default_rng(mix(seed, 11))
    sums = np.zeros((draws, unit.shape[1]))
    for row in unit:
        sums += rng.permuted(np.broadcast_to(row, sums.shape), axis=1)
    drawn = (sums**2).sum(axis=1) - (unit**2).sum()  # (draws,) rho over ordered pairs, as seen
    return _p(drawn, seen)[0]


def exchange_p(found, others, draws: int = DRAWS, seed: int = 0) -> float:
    """Whether found widths agree more, or less, among themselves than others do: an exchange test.

    If nothing told found widths from the others, any n of them would do for the found ones: the
    difference of the two agreements is compared with that of such choices.

    Args:
        found: (n, L). others: (m, L), n and m at least 2.
        draws: how many choices of n; every choice is taken where there are no more than that.
        seed: of the choices.
    Returns:
        two-sided p.
    """
    n, m = len(_checked(found)), len(_checked(others))
    rho = _checked(np.concatenate([found, others]))  # (n + m, n + m)
    if every := math.comb(n + m, n) <= draws:
        chosen = np.array(list(itertools.combinations(range(n + m), n)))
    else:
        rng = np.random.default_rng(mix(seed, 12))
        chosen = np.array([rng.choice(n + m, size=n, replace=False) for _ in range(draws)])
    within = rho[chosen[:, :, None], chosen[:, None, :]].sum(axis=(1, 2))  # (choices,)
    rest = rho.sum() - 2 * rho.sum(axis=0)[chosen].sum(axis=1) + within
    drawn = within / (n * (n - 1)) - rest / (m * (m - 1))
    seen = rho[:n, :n].sum() / (n * (n - 1)) - rho[n:, n:].sum() / (m * (m - 1))
    upper, lower = (_share(drawn, seen, s) for s in (1, -1)) if every else _p(drawn, seen)
    return min(1.0, 2 * min(upper, lower))


def _share(drawn: np.ndarray, seen: float, sign: int) -> float:
    return float((sign * (drawn - seen) >= -1e-9).mean())


def _p(drawn: np.ndarray, seen: float) -> tuple[float, float]:
    """Shares of draws at least as large, and as small, the seen value counted as one of them."""
    n = len(drawn)
    return tuple((_share(drawn, seen, sign) * n + 1) / (n + 1) for sign in (1, -1))


# ------------------------------------------------------------------------------- patterns


def _depth(R: np.ndarray, places) -> np.ndarray:
    order = np.arange(R.shape[1])[None]
    return correlations(np.concatenate([order, R]))[0, 1:]


def _ends(R: np.ndarray, places) -> np.ndarray:
    n = max(1, R.shape[1] // 4)
    return R[:, -n:].mean(axis=1) - R[:, :n].mean(axis=1)


def _by(chosen: Sequence[bool], rest: Sequence[bool], R: np.ndarray) -> np.ndarray | None:
    if not any(chosen) or not any(rest):
        return None
    return R[:, np.array(chosen)].mean(axis=1) - R[:, np.array(rest)].mean(axis=1)


def _shrinking(R: np.ndarray, places) -> np.ndarray | None:
    near = [any(p.shrinks for p in places[max(0, i - 1) : i + 2]) for i in range(len(places))]
    return _by(near, [not n for n in near], R)


def _outputs(R: np.ndarray, places) -> np.ndarray | None:
    kinds = [p.kind for p in places]
    return _by([k == "block output" for k in kinds], [k == "inner" for k in kinds], R)


PATTERNS = {
    "wider with depth": _depth,
    "last quarter minus first": _ends,
    "where images shrink minus elsewhere": _shrinking,
    "block outputs minus inner": _outputs,
}
"""Measures of width vectors (n, L) at their places: the first a rank correlation of relative width
and depth, the others differences of mean relative width. Where images shrink are the groups that
do it and their neighbours. None where a network has no such groups."""


def patterns(R, places: Sequence[Place]) -> dict[str, np.ndarray]:
    """Every measure of ``PATTERNS`` that the network knows, of relative widths (n, L): (n,)."""
    R = np.asarray(R, dtype=float)
    if R.ndim != 2 or R.shape[1] != len(places):
        raise ValueError(f"widths (n, {len(places)}) are needed, one column a place: {R.shape}")
    measured = {name: measure(R, places) for name, measure in PATTERNS.items()}
    return {name: values for name, values in measured.items() if values is not None}


def likeness(R, best) -> np.ndarray:
    """Mean rank correlation of each row of R with the rows of ``best``: (n, L), (m, L) -> (n,)."""
    rho = correlations(np.concatenate([R, best]))
    return rho[: len(R), len(R) :].mean(axis=1)


def table(sets: Mapping[str, Widths], draws: int = DRAWS) -> pd.DataFrame:
    """Found widths against random ones of the same budget, a row a set and measure.

    Agreement is tested by exchange, the other measures by t-tests over seeds against the mean of
    the reference; those of a set are adjusted together by Holm.

    Returns:
        columns set; measure; found, half (mean and half of its 95 % interval); random (mean of the
        reference); p (adjusted); told: 1 surely above random, -1 surely below, 0 could not tell.
    """
    rows = [row for name, widths in sets.items() for row in _rows(name, widths, draws)]
    frame = pd.DataFrame(rows)
    frame["p"] = frame.groupby("set", sort=False).p.transform(holm)
    above = np.sign(frame.found - frame.random).astype(int)
    frame["told"] = np.where(frame.p < 0.05, above, 0)
    return frame


def _rows(name: str, widths: Widths, draws: int) -> list[dict]:
    R, reference = widths.found / widths.K, widths.reference / widths.K
    mean, other = agreement(R), agreement(reference).mean
    p = exchange_p(R, reference, draws)
    rows = [_row(name, AGREEMENT, mean, other, p)]
    random = patterns(reference, widths.places)
    for measure, values in patterns(R, widths.places).items():
        other = float(random[measure].mean())
        p = 1.0 if np.ptp(values) == 0 else float(ttest_1samp(values, other).pvalue)
        rows.append(_row(name, measure, mean_interval(values), other, p))
    return rows


def _row(name: str, measure: str, mean: Interval, random: float, p: float) -> dict:
    about = {"set": name, "measure": measure, "found": mean.mean, "half": mean.half}
    return about | {"random": random, "p": p}
