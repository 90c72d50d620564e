"""Subsets of a benchmark: what a ranking number becomes when some architectures are left out.

A filter forbids one width in every group and keeps the architectures that use none of them. On K
widths in L groups there are K^L filters, as many as architectures; the one that forbids width 1
everywhere is what the authors' released script looks at. ``kendall_by_filter`` gives Kendall's
tau-b under *every* filter, exactly, from one pass over all pairs of architectures: sums over pairs
are folded group by group, from (K^L)^2 pairs down to K^L filters. No torch.
"""

import itertools
from collections.abc import Sequence

import numpy as np

__all__ = ["FilterError", "all_filters", "cost_bands", "keep", "kendall_by_filter"]


class FilterError(ValueError):
    """A filter, or scores for filters, that do not fit the architectures."""


def all_filters(K: int, L: int) -> np.ndarray:
    """Every filter: the width that is forbidden in each group, in lexicographic order.

    Returns:
        (K^L, L) int64, values 1..K; row 0 forbids the narrowest width everywhere.
    """
    return np.array(list(itertools.product(range(1, K + 1), repeat=L)), dtype=np.int64)


def keep(C, forbidden: Sequence[int]) -> np.ndarray:
    """Which architectures a filter keeps: those with ``C[:, g] != forbidden[g]`` in all groups.

    Args:
        C: (n, L) widths. forbidden: L widths, 0 where a group is free.
    Returns:
        (n,) bool.
    Raises:
        FilterError: if there is not one forbidden width a group.
    """
    C, forbidden = np.asarray(C), np.asarray(forbidden)
    if C.ndim != 2 or forbidden.shape != (C.shape[1],):
        raise FilterError(
            f"a filter names one forbidden width a group (0: none): got {forbidden.tolist()} for "
            f"architectures of shape {C.shape}"
        )
    return np.not_equal(C, forbidden).all(axis=1)


def cost_bands(cost, bands: int = 10) -> np.ndarray:
    """The networks in parts of equal size by cost: which part each belongs to, 0 the cheapest.

    Networks of equal cost are taken in order. Part sizes differ by at most one.

    Args:
        cost: (n,) MACs, parameters or milliseconds. bands: 1..n.
    Returns:
        (n,) int64, values 0..bands - 1.
    Raises:
        FilterError: if there are more bands than networks, or none.
    """
    cost = np.asarray(cost)
    if cost.ndim != 1 or not 1 <= bands <= len(cost):
        raise FilterError(f"{bands} bands of costs of shape {cost.shape}: there must be 1..n")
    place = np.empty(len(cost), dtype=np.int64)
    place[np.argsort(cost, kind="stable")] = np.arange(len(cost))
    return place * bands // len(cost)


def kendall_by_filter(C, scores, target) -> np.ndarray:
    r"""Kendall's tau-b between scores and target under every filter that forbids one width a group.

    .. math:: \tau_b = \frac{\sum_{i<j} \mathrm{sgn}(a_i - a_j)\,\mathrm{sgn}(b_i - b_j)}
              {\sqrt{(N - N_a)(N - N_b)}}

    with N pairs of kept architectures, of which N_a are tied in the scores and N_b in the target.

    Args:
        C: (K^L, L) *all* architectures in lexicographic order, widths 1..K, K >= 2.
        scores: (K^L,), NaN where an architecture has no score; it then counts in no pair.
        target: (K^L,) what is to be predicted, no NaN.
    Returns:
        (K^L,) float64 in the order of ``all_filters(K, L)``; NaN where a filter leaves no two
        architectures that differ in both.
    Raises:
        FilterError: if C is not the complete grid, or lengths do not agree, or target has NaN.
    """
    C, a, b = np.asarray(C), np.asarray(scores, dtype=float), np.asarray(target, dtype=float)
    if C.ndim != 2 or len(C) < 2:
        raise FilterError(f"architectures must be (n, L), n >= 2, got shape {C.shape}")
    K, L = int(C.max()), C.shape[1]
    if len(C) != K**L or not np.array_equal(C, all_filters(K, L)):
        raise FilterError(
            f"filters need all {K}^{L} architectures in lexicographic order, got {len(C):,} rows: "
            "use the table of a ChannelBench as it is"
        )
    if a.shape != (len(C),) or b.shape != (len(C),):
        raise FilterError(
            f"{len(C):,} architectures need as many scores and targets, got {a.shape} and {b.shape}"
        )
    if not np.isfinite(b).all():
        raise FilterError("the target holds NaN or infinity: only scores may be missing")
    if np.isinf(a).any():
        raise FilterError("the scores hold infinity: use NaN for a missing score")
    there = ~np.isnan(a)
    a, b = _ranks(a, there), _ranks(b, there)
    net = _concordance(a, b, K, L)  # ordered pairs, twice the unordered
    n = _fold(there[None].astype(float), K, L)[0]
    pairs = n * (n - 1)
    split = (pairs - _tied(a, K, L)) * (pairs - _tied(b, K, L))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(split > 0, net / np.sqrt(split), np.nan)


def _ranks(values, there) -> np.ndarray:
    """Dense ranks from 1 among those there, 0 elsewhere; (n,) int32, equal values the same rank."""
    ranks = np.zeros(len(values), dtype=np.int32)
    ranks[there] = np.unique(values[there], return_inverse=True)[1] + 1
    return ranks


def _fold(x, K: int, L: int) -> np.ndarray:
    """(m, K^L) over architectures -> (m, K^L) over filters: sums over what each filter keeps."""
    for g in range(L):
        x = x.reshape(len(x), K**g, K, -1)
        x = x.sum(axis=2, keepdims=True) - x  # all widths of group g but the forbidden one
    return x.reshape(len(x), -1)


def _tied(ranks, K: int, L: int, chunk: int = 128) -> np.ndarray:
    """Ordered pairs with equal rank under every filter, from how often each filter keeps a rank."""
    often = np.bincount(ranks)
    often[0] = 0  # not there
    values = np.flatnonzero(often > 1)
    total = np.zeros(K**L)
    for start in range(0, len(values), chunk):
        is_value = ranks == values[start : start + chunk, None]  # (chunk, K^L)
        n = _fold(is_value.astype(np.float32), K, L).astype(float)
        total += (n * (n - 1)).sum(axis=0)
    return total


def _concordance(a, b, K: int, L: int) -> np.ndarray:
    """Ordered concordant minus discordant pairs under every filter, (K^L,) float64."""
    R = len(a) // K  # architectures with one width of the first group
    # exact in every type: two folds stay below K^4, all folds below K^2 (K - 1)^(2 (L - 1))
    whole = np.float32 if K**2 * (K - 1) ** (2 * L - 2) < 2**24 else np.float64
    out = np.zeros((K, R, R), dtype=np.int16 if K**4 < 2**15 else whole)  # by forbidden width
    parts = [slice(k * R, (k + 1) * R) for k in range(K)]
    for i, rows in enumerate(parts):
        for j in range(i, K):
            signs = _signs(a[rows], a[parts[j]]) * _signs(b[rows], b[parts[j]])  # (R, R)
            for forbidden in range(K):
                if forbidden not in (i, j):
                    out[forbidden] += signs if i == j else 2 * signs  # (j, i) folds to the same
    x = out
    for _ in range(L - 1):  # fold one more group: K x K pairs of widths to K forbidden widths
        R //= K
        x = x.reshape(-1, K, R, K, R)
        if x.shape[0] >= K**2:
            x = x.astype(whole, copy=False)
        rows, columns = x.sum(axis=3, dtype=x.dtype), x.sum(axis=1, dtype=x.dtype)
        diagonal = np.einsum("fkrks->fkrs", x)
        all_ = rows.sum(axis=1, dtype=x.dtype)[:, None]
        x = all_ - rows - columns.transpose(0, 2, 1, 3) + diagonal
        x = x.reshape(-1, R, R)
    return x.reshape(-1).astype(float)


def _signs(u, v) -> np.ndarray:
    """(len(u), len(v)) int8 signs of differences of ranks; 0 where one of them is missing."""
    signs = np.sign(u[:, None] - v[None]).astype(np.int8)
    if not (u.all() and v.all()):
        signs[u == 0] = 0
        signs[:, v == 0] = 0
    return signs
