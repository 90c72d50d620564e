"""Rank statistics against scipy, against counting by hand, and against hand-made ties."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bcnet_lib import ranking
from bcnet_lib.correlation import Estimate, bootstrap, correlations, weighted_correlations
from bcnet_lib.ranking import (
    additive_model,
    cross_validated,
    noise_ceiling,
    top_overlap,
    top_regret,
)


def tied_lists(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(6, size=n)
    return x.astype(float), (x + rng.integers(4, size=n)).astype(float)


# ------------------------------------------------------------------ correlations


@pytest.mark.parametrize("n", [5, 40, 300])
def test_correlations_are_scipy_s(n):
    x, y = tied_lists(n, n)
    found = correlations(x, y)
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.kendall == pytest.approx(stats.kendalltau(x, y, variant="b").statistic)


def test_kendall_counts_ties_as_by_hand():
    """x = 1 1 2 3, y = 1 2 2 0: of six pairs one is tied in x, one in y, one agrees, three do not.

    So tau-b is (1 - 3) / sqrt((6 - 1)(6 - 1)).
    """
    assert correlations([1, 1, 2, 3], [1, 2, 2, 0]).kendall == pytest.approx(-2 / 5)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2], [1, 2, 3], r"same length are needed, got \(2,\) and \(3,\)"),
        ([1, 2, np.nan], [1, 2, 3], "first list holds nan at position 2"),
        ([1, 2, 3], [1, np.inf, 3], "second list holds inf at position 1"),
        ([1, 1, 1], [1, 2, 3], "first list has 3 equal values"),
        ([1], [2], "first list has 1 equal values"),
    ],
)
def test_lists_that_cannot_be_compared_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        correlations(a, b)


@pytest.mark.parametrize("n", [2, 3, 9, 10, 77, 200])
def test_weights_mean_repeating_a_pair_so_often(n):
    """Every weighting against scipy on the list written out; ties in x, in y and in both."""
    x, y = tied_lists(n, n + 1)
    x[0], y[-1] = 9.0, 11.0
    W = np.random.default_rng(n).integers(0, 4, (30, n))
    W[0], W[1] = 1, W[1] > 1  # the list itself, a subset
    found = np.stack(weighted_correlations(x, y, W), axis=1)  # (30, 3)
    for row, w in zip(found, W, strict=True):
        a, b = np.repeat(x, w), np.repeat(y, w)
        if len(set(a)) > 1 and len(set(b)) > 1:
            np.testing.assert_allclose(row, correlations(a, b), atol=1e-12)
        else:
            assert np.isnan(row).all()


def test_weights_must_be_counts():
    for weights in (np.ones(3), np.ones((1, 2)), [[1, 2, -1]], [[1, 0.5, 1]]):
        with pytest.raises(ValueError, match=r"whole numbers >= 0 of shape \(m, 3\)"):
            weighted_correlations([1, 2, 3], [1, 2, 4], weights)


def test_bootstrap_resamples_networks_and_its_values_are_the_plain_ones():
    x, y = tied_lists(200, 3)
    found = bootstrap(x, y, 400, seed=1)
    rng = np.random.default_rng(7)
    drawn = [rng.integers(200, size=200) for _ in range(400)]
    byhand = np.array([correlations(x[i], y[i]) for i in drawn])
    for estimate, value, column in zip(found, correlations(x, y), byhand.T, strict=True):
        assert estimate.value == value
        assert estimate.low < value < estimate.high
        low, high = np.percentile(column, [2.5, 97.5])
        width = high - low
        assert abs(estimate.low - low) < 0.25 * width > abs(estimate.high - high)
    assert bootstrap(x, y, 400, seed=1) == found != bootstrap(x, y, 400, seed=2)


def test_bootstrap_interval_covers_the_correlation_of_the_population():
    """Kendall of a bivariate normal is (2/pi) arcsin(rho); 95 % of 200 intervals, within chance."""
    rng = np.random.default_rng(0)
    true, inside = 2 / np.pi * np.arcsin(0.6), 0
    for _ in range(200):
        x, e = rng.normal(size=(2, 100))
        k = bootstrap(x, 0.6 * x + 0.8 * e, 200).kendall
        inside += k.low < true < k.high
    assert 178 <= inside <= 200


def test_no_resamples_give_no_interval():
    estimate = bootstrap([1, 2, 3], [1, 3, 2], 0).kendall
    assert np.isnan(estimate.low) and str(estimate) == "0.333"
    assert f"{Estimate(0.5, 0.4, 0.625):.2f}" == "0.50 (0.40 to 0.62)"


# ------------------------------------------------------------------ the top


def every_way(values):
    """All rankings, best first, that break the ties of values."""
    groups = [
        list(itertools.permutations(np.flatnonzero(values == v)))
        for v in sorted(set(values), reverse=True)
    ]
    return [list(itertools.chain(*way)) for way in itertools.product(*groups)]


@pytest.mark.parametrize("seed", range(6))
def test_top_overlap_and_regret_are_means_over_all_ways_to_break_ties(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(3, size=(2, 7)).astype(float)
    x[:2], y[:2] = (0, 1), (1, 0)  # neither is constant
    for k in range(1, 8):
        shares = [len(set(a[:k]) & set(b[:k])) / k for a in every_way(x) for b in every_way(y)]
        lost = [y.max() - max(y[i] for i in a[:k]) for a in every_way(x)]
        assert top_overlap(x, y, k) == pytest.approx(np.mean(shares))
        assert top_regret(x, y, k) == pytest.approx(np.mean(lost), abs=1e-12)


def test_top_by_hand():
    """Scores 5 4 4 1, accuracies 90 92 91 93: the two best are the first and one of a tie."""
    x, y = [5, 4, 4, 1], [90, 92, 91, 93]
    assert top_regret(x, y, 1) == 3.0
    assert top_regret(x, y, 2) == pytest.approx((1 + 2) / 2)
    assert top_regret(x, y, 3) == 1.0 and top_regret(x, y, 4) == 0.0
    assert top_overlap(x, y, 1) == 0.0
    assert top_overlap(x, y, 2) == pytest.approx(0.25)  # 92 is drawn half the time, 93 never


@pytest.mark.parametrize("k", [0, 4, 1.5, True])
def test_a_top_that_is_none_is_refused(k):
    for f in (top_overlap, top_regret):
        with pytest.raises(ValueError, match=r"of 3 networks: it must be a number in 1\.\.3"):
            f([1, 2, 3], [1, 2, 4], k)


# ------------------------------------------------------------------ ceilings and baselines


def test_noise_ceiling_finds_what_the_noise_leaves():
    """Normal accuracies and noise of the same variance: Pearson of two seeds is 1/2, of one seed
    against two others' mean 1/sqrt(3), of the truth against the mean of three sqrt(3/4)."""
    rng = np.random.default_rng(0)
    acc = rng.normal(90, 1, (20_000, 1)) + rng.normal(0, 1, (20_000, 3))
    ceiling = noise_ceiling(acc)
    assert ceiling.one_seed.pearson == pytest.approx(0.5, abs=0.02)
    assert ceiling.one_seed.kendall == pytest.approx(2 / np.pi * np.arcsin(0.5), abs=0.02)
    assert ceiling.rest.pearson == pytest.approx(3**-0.5, abs=0.02)
    assert ceiling.perfect.pearson == pytest.approx(0.75**0.5, abs=0.02)
    assert (ceiling.runs, ceiling.n) == (3, 20_000)


def test_noise_may_depend_on_accuracy():
    """A crowd of good, quiet networks and a tail of bad, noisy ones: known here by their truth."""
    rng = np.random.default_rng(0)
    truth = 96 - np.abs(rng.normal(0, 6, 20_000))
    acc = truth[:, None] + rng.normal(size=(20_000, 3)) * (0.5 + 0.15 * (96 - truth))[:, None]
    real, found = correlations(truth, acc.mean(1)), noise_ceiling(acc).perfect
    np.testing.assert_allclose(found, real, atol=0.015)


def test_noise_ceiling_is_the_plain_mean_over_pairs_of_seeds():
    acc = np.random.default_rng(1).normal(size=(50, 3)) + np.arange(50)[:, None] / 10
    pairs = [correlations(acc[:, i], acc[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(noise_ceiling(acc).one_seed, np.mean(pairs, axis=0))


def test_noise_may_be_that_of_two_kinds_of_networks():
    """Half the networks spread wide with much noise, half close together with little."""
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.normal(70, 8, 1000), rng.normal(95, 1, 1000)])
    sd = np.repeat([5.0, 0.5], 1000)[:, None]
    acc = true[:, None] + sd * rng.normal(size=(2000, 3))
    reached = correlations(true, acc.mean(axis=1)).kendall
    assert noise_ceiling(acc).perfect.kendall == pytest.approx(reached, abs=0.02)


def test_noise_ceiling_needs_repeated_runs_and_something_to_rank():
    with pytest.raises(ValueError, match=r"two runs or more are needed, got \(5, 1\)"):
        noise_ceiling(np.arange(5.0)[:, None])
    with pytest.raises(ValueError, match="differ more than the networks do"):
        noise_ceiling([[0, 10], [11, 0], [0, 12], [12, 0]])


def test_additive_model_finds_its_own_coefficients():
    C = np.array(list(itertools.product(range(1, 5), repeat=3)))
    y = 90 + np.log(C) @ [0.5, 0.0, 2.0]
    np.testing.assert_allclose(additive_model(C, y), [90, 0.5, 0, 2], atol=1e-9)
    np.testing.assert_allclose(cross_validated(C, y), y)


def test_cross_validation_does_not_see_the_network_it_predicts():
    C = np.array(list(itertools.product(range(1, 5), repeat=3)))
    y = 90 + np.log(C) @ [0.5, 0.0, 2.0]
    spoiled = y.copy()
    spoiled[7] += 1000.0
    alone = cross_validated(C, spoiled, folds=len(y))[7]
    assert alone == pytest.approx(y[7])
    with pytest.raises(ValueError, match=r"folds=1 is outside 2\.\.64"):
        cross_validated(C, y, folds=1)


def test_baselines_of_a_benchmark_are_named_and_scored():
    class Bench:
        C = np.array(list(itertools.product(range(1, 5), repeat=3)))
        mean = 90 + np.log(C) @ [0.5, 0.1, 2.0]
        params, macs = C.sum(axis=1), C.prod(axis=1)

    found = ranking.baselines(Bench, top=(1, 5))
    assert list(found.index) == ["params", "macs", "additive"]
    assert found.loc["additive", "kendall"] == pytest.approx(1)
    assert found.loc["macs", "kendall"] == correlations(Bench.macs, Bench.mean).kendall
    assert found.loc["params", "overlap 5"] == top_overlap(Bench.params, Bench.mean, 5)
