"""Filters: the fold over groups gives what filtering and scipy give one by one."""

import numpy as np
import pytest
from scipy import stats

from bcnet_lib.filters import FilterError, all_filters, cost_bands, keep, kendall_by_filter


def one_by_one(C, scores, target, K):
    """tau-b under every filter, the slow way."""
    out = []
    for forbidden in all_filters(K, C.shape[1]):
        rows = keep(C, forbidden) & ~np.isnan(scores)
        few = rows.sum() < 2
        out.append(np.nan if few else stats.kendalltau(scores[rows], target[rows]).statistic)
    return np.array(out)


def test_there_are_as_many_filters_as_architectures_and_the_first_forbids_the_narrowest():
    F = all_filters(4, 3)
    assert F.shape == (64, 3) and F[0].tolist() == [1, 1, 1] and F[-1].tolist() == [4, 4, 4]
    assert len(np.unique(F, axis=0)) == 64


def test_a_filter_keeps_what_uses_no_forbidden_width():
    C = all_filters(4, 7)
    assert keep(C, [1] * 7).sum() == 3**7
    assert np.array_equal(keep(C, [1] * 7), (C >= 2).all(axis=1))
    assert keep(C, [0, 0, 0, 2, 0, 0, 0]).sum() == 3 * 4**6
    assert keep(C, [0] * 7).all()


@pytest.mark.parametrize(("K", "L"), [(4, 4), (3, 4), (2, 6), (5, 3), (4, 1), (14, 2), (20, 2)])
def test_the_fold_equals_scipy_under_every_filter(K, L):
    rng = np.random.default_rng(K * 10 + L)
    C = all_filters(K, L)
    target = rng.normal(size=len(C)) + C.sum(axis=1)
    scores = target + 2 * rng.normal(size=len(C))
    got, want = kendall_by_filter(C, scores, target), one_by_one(C, scores, target, K)
    assert got.shape == (K**L,)
    np.testing.assert_allclose(got, want, atol=1e-12, equal_nan=True)


def test_ties_in_both_and_missing_scores_count_as_in_scipy():
    rng = np.random.default_rng(1)
    C = all_filters(4, 4)
    target = rng.integers(0, 6, len(C)).astype(float)
    scores = (target + rng.integers(-3, 4, len(C))).astype(float)
    scores[[0, 17, 100, 255]] = np.nan
    got, want = kendall_by_filter(C, scores, target), one_by_one(C, scores, target, 4)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_filter_where_all_scores_are_equal_has_no_correlation():
    C = all_filters(2, 2)
    got = kendall_by_filter(C, [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0])
    assert np.isnan(got).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda C, a, b: (C[1:], a[1:], b[1:]), "all 3\\^2 architectures"),
        (lambda C, a, b: (C[::-1], a, b), "lexicographic"),
        (lambda C, a, b: (C, a[1:], b), "as many scores"),
        (lambda C, a, b: (C, a, b * np.nan), "target holds NaN"),
        (lambda C, a, b: (C, a / 0, b), "infinity"),
        (lambda C, a, b: (C[:, 0], a, b), "must be \\(n, L\\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    C = all_filters(3, 2)
    with np.errstate(divide="ignore"), pytest.raises(FilterError, match=words):
        kendall_by_filter(*change(C, np.arange(1.0, 10.0), np.arange(9.0)))


def test_a_filter_of_another_length_is_refused():
    with pytest.raises(FilterError, match="one forbidden width a group"):
        keep(all_filters(3, 2), [1, 1, 1])


def test_bands_hold_equally_many_and_no_cheaper_network_is_in_a_dearer_band():
    cost = np.random.default_rng(0).integers(0, 50, 103)
    band = cost_bands(cost, 10)
    assert set(np.bincount(band)) == {10, 11}
    assert all(cost[band == k].max() <= cost[band == k + 1].min() for k in range(9))
    assert cost_bands([5, 5, 1, 5], 2).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("bands", [0, 5])
def test_there_are_no_empty_bands(bands):
    with pytest.raises(FilterError, match="1..n"):
        cost_bands([1, 2, 3, 4], bands)
