"""Patterns of widths: planted ones are found, null data have none, intervals cover."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from bcnet_lib.digits_bench import DigitsSetting
from bcnet_lib.search import BudgetError
from bcnet_lib.search.budget import draw_within, walk_within
from bcnet_lib.width_patterns import (
    AGREEMENT,
    Widths,
    agreement,
    concordance,
    correlations,
    exchange_p,
    likeness,
    patterns,
    shuffle_p,
    table,
)
from bcnet_lib.width_places import Place

L, K = 12, 20
PLACES = tuple(
    Place(
        name=f"layer{i}",
        kind="stem" if i == 0 else "last" if i == L - 1 else ("inner", "block output")[i % 2],
        shrinks=i == 5,
    )
    for i in range(L)
)


def rows(n, seed=0, pattern=0.0, strength=0.0):
    """Random widths, (n, L), 5 … K, wider by strength times the pattern."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(5, K + 1, (n, L)) + strength * np.asarray(pattern)
    return np.clip(np.rint(drawn), 5, K).astype(int)


# --------------------------------------------------------------------------------- agreement


def test_correlations_are_spearmans_and_a_row_without_order_has_none():
    R = rows(4)
    for s, t in itertools.combinations(range(4), 2):
        assert correlations(R)[s, t] == pytest.approx(spearmanr(R[s], R[t]).statistic)
    assert (correlations(np.vstack([R, np.full(L, 10)]))[4] == 0).all()


def test_agreement_is_the_mean_over_pairs_and_kendalls_w():
    R = rows(6, pattern=np.arange(L), strength=0.5)
    pairs = [spearmanr(R[s], R[t]).statistic for s, t in itertools.combinations(range(6), 2)]
    assert agreement(R).mean == pytest.approx(np.mean(pairs)) and agreement(R).n == 6
    distinct = np.array([np.random.default_rng(s).permutation(L) for s in range(6)])
    ranks = distinct.sum(axis=0)  # Kendall's W where no ranks are tied
    w = 12 * ((ranks - ranks.mean()) ** 2).sum() / (6**2 * (L**3 - L))
    assert concordance(distinct) == pytest.approx(w)
    assert concordance(np.tile(np.arange(L), (3, 1))) == pytest.approx(1)


def test_its_interval_covers_about_as_often_as_it_says():
    rng, pattern = np.random.default_rng(3), np.arange(L)

    def draw(n):
        return pattern + 4 * rng.standard_normal((n, L))

    truth = agreement(draw(1500)).mean
    intervals = [agreement(draw(6)) for _ in range(400)]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.9 <= covered <= 1 and 0.4 < truth < 0.7


def test_two_rows_have_no_interval_and_one_has_nothing_to_agree_with():
    assert np.isinf(agreement(rows(2)).half)
    with pytest.raises(ValueError, match="two or more widths of three or more groups: .1, 12."):
        agreement(rows(1))


# --------------------------------------------------------------------------------- tests


def share_below(p):
    """How often p-values are below 0.05."""
    return np.mean(np.array(p) < 0.05)


def test_null_data_are_rarely_called_a_pattern():
    pool = rows(400, seed=1)
    p = [shuffle_p(rows(5, seed=s), draws=199, seed=s) for s in range(200)]
    assert 0.01 <= share_below(p) <= 0.1
    few = [exchange_p(rows(5, seed=s), rows(5, seed=1000 + s)) for s in range(200)]  # exact
    many = [exchange_p(rows(5, seed=s), pool, draws=199, seed=s) for s in range(200)]
    assert 0.01 <= share_below(few) <= 0.1 and 0.01 <= share_below(many) <= 0.1


def test_a_pattern_that_all_share_is_found_by_shuffling_and_not_by_exchange():
    """A budget makes random widths alike, too: only the exchange test asks for more."""
    both = {"pattern": np.arange(L), "strength": 1.0}
    found, others = rows(8, seed=1, **both), rows(200, seed=2, **both)
    assert shuffle_p(found, draws=999) < 0.01
    assert exchange_p(found, others, draws=999) > 0.05


def test_a_pattern_of_found_widths_alone_is_found_by_both():
    found = rows(6, seed=1, pattern=np.arange(L), strength=2.0)
    assert shuffle_p(found, draws=999) < 0.01
    assert exchange_p(found, rows(6, seed=2)) < 0.05
    assert exchange_p(found, rows(300, seed=2), draws=999) < 0.01


def test_the_exact_exchange_test_counts_every_choice():
    same = np.tile(np.arange(L), (3, 1))
    others = np.array([np.random.default_rng(s).permutation(L) for s in range(3)])
    assert exchange_p(same, others) == pytest.approx(2 / 20)  # 3 of 6, two-sided


# --------------------------------------------------------------------------------- measures


def test_measures_by_hand():
    places = [
        Place(name=n, kind=k, shrinks=s)
        for n, k, s in (("a", "stem", False), ("b", "inner", False), ("c", "block output", True),
                        ("d", "inner", False), ("e", "last", False))
    ]  # fmt: skip
    R = np.array([[0.2, 0.4, 0.6, 0.8, 1.0], [1.0, 0.8, 0.6, 0.4, 0.2]])
    found = patterns(R, places)
    assert found["wider with depth"] == pytest.approx([1, -1])
    assert found["last quarter minus first"] == pytest.approx([0.8, -0.8])
    assert found["where images shrink minus elsewhere"] == pytest.approx([0, 0])
    assert found["block outputs minus inner"] == pytest.approx([0, 0])
    with pytest.raises(ValueError, match="one column a place: .2, 5."):
        patterns(R, places[:4])


def test_a_network_without_blocks_has_no_measure_of_them():
    plain = [Place(name=str(i), kind="layer", shrinks=False) for i in range(L)]
    assert set(patterns(rows(3), plain)) == {"wider with depth", "last quarter minus first"}


PLANTED = {
    "wider with depth": np.arange(L) - 5.5,
    "where images shrink minus elsewhere": [6 * (i in (4, 5, 6)) for i in range(L)],
    "block outputs minus inner": [8 * (p.kind == "block output") for p in PLACES],
}


@pytest.mark.parametrize("measure", PLANTED)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_pattern_is_told_with_its_sign(measure, sign):
    found = rows(8, seed=4, pattern=PLANTED[measure], strength=1.5 * sign)
    told = table({"x": Widths(found=found, reference=rows(500), places=PLACES, K=K)}, draws=999)
    told = told.set_index("measure").told
    assert told[measure] == sign and told[AGREEMENT] == 1


def test_random_widths_are_told_from_random_widths_as_rarely_as_promised():
    pool, alarms = rows(1000), 0
    for s in range(60):
        null = Widths(found=rows(6, seed=50 + s), reference=pool, places=PLACES, K=K)
        alarms += (table({"x": null}, draws=199).told != 0).any()
    assert alarms <= 7  # 5 % of 60 is 3; more than 7 is a chance below 1 in 100


def test_each_set_is_adjusted_by_itself():
    one = Widths(found=rows(6, seed=8), reference=rows(300), places=PLACES, K=K)
    strong = Widths(
        found=rows(6, seed=9, pattern=np.arange(L)), reference=rows(300), places=PLACES, K=K
    )
    alone, both = table({"x": one}, 199), table({"x": one, "y": strong}, 199)
    assert both[both.set == "x"].p.tolist() == alone.p.tolist()


def test_widths_like_the_best_are_known_by_their_order():
    best = rows(20, seed=1, pattern=np.arange(L), strength=1.0)
    like, unlike = likeness(np.array([np.arange(L), np.arange(L)[::-1]]), best)
    assert like == pytest.approx(-unlike) and like > 0.3


# --------------------------------------------------------------------------------- random widths


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_walk_reaches_every_width_within_the_budget_equally_often(share):
    setting = DigitsSetting()
    space = setting.space()
    cost = setting.cost(space)
    budget = share * float(cost.macs(space.full))
    every = setting.widths()
    fits = [tuple(c) for c in every[cost.macs(every) <= budget].tolist()]
    n = 40 * len(fits)
    walked = walk_within(space, cost, budget, np.random.default_rng(0), n, sweeps=20)
    counts = np.array([(walked == c).all(axis=1).sum() for c in fits])
    assert counts.sum() == n  # no other width
    chi2 = ((counts - 40) ** 2 / 40).sum()
    free = len(fits) - 1
    assert abs(chi2 - free) < 4 * np.sqrt(2 * free)


def test_a_walk_goes_where_drawing_gives_up():
    space = DigitsSetting().space()
    cost = DigitsSetting().cost(space)
    budget = float(cost.macs(space.narrowest))
    assert (walk_within(space, cost, budget, np.random.default_rng(0), 3) == 1).all()
    with pytest.raises(BudgetError):
        draw_within(space, cost, budget, np.random.default_rng(0), 1, max_draws=1)
    with pytest.raises(BudgetError, match="below the narrowest"):
        walk_within(space, cost, budget - 1, np.random.default_rng(0), 1)
