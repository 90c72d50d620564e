"""Greedy slimming: within the budget, optimal where theory says so, the same after a break."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape import problem
from tiny import RECIPE, supernet

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.evaluate import evaluate
from bcnet_lib.search import BudgetError, greedy
from bcnet_lib.train import SupernetTrainer

NET = problem(K=8)
SPACE, COST = NET.space, NET.cost
FULL, LEAST = COST.macs(SPACE.full), COST.macs(SPACE.narrowest)
NAMES = ["c1", "c2", "c3"]


class EqualCost:
    """Every unit of every group costs the same: what the theory of greedy methods needs."""

    def macs(self, C):
        return np.asarray(C).sum(axis=-1)


def score(c):
    """Layers matter differently, and neighbours should agree."""
    c = np.asarray(c) / 8
    layers = 3 * c[0] ** 0.5 + 1 * c[1] ** 0.3 + 2 * c[2] ** 0.8
    return float(layers - 0.5 * (np.diff(c) ** 2).sum())


def quiet(net=NET, **options):
    return greedy(net, None, progress=False, **{"score": score} | options)


def way(result):
    return result.history[result.history.taken]


def same(a, b):
    assert a.best.tolist() == b.best.tolist() and (a.score, a.macs) == (b.score, b.macs)
    pd.testing.assert_frame_equal(a.front, b.front)
    pd.testing.assert_frame_equal(a.history, b.history)


# the budget


@settings(max_examples=40, deadline=None)
@given(
    share=st.floats(0, 0.999),
    seed=st.integers(0, 1000),
    step=st.integers(1, 9),
    per_cost=st.booleans(),
    base=st.lists(st.integers(1, 8), min_size=3, max_size=3),
)
def test_greedy_never_returns_a_width_over_the_budget(share, seed, step, per_cost, base):
    if base == [8] * 3:
        base[0] = 7  # at least two networks
    net = problem(K=8, base=base)
    least, full = net.cost.macs(net.space.narrowest), net.cost.macs(net.space.full)
    budget = least + share * (full - least)
    table = np.random.default_rng(seed).random((9, 9, 9))
    result = quiet(
        net, budget=budget, step=step, per_cost=per_cost, score=lambda c: table[tuple(c)]
    )
    net.space.check(result.best)
    assert result.macs == net.cost.macs(result.best) <= budget
    assert result.front.macs.max() <= budget
    history = result.history
    np.testing.assert_array_equal(history.fits, history.macs <= budget)
    np.testing.assert_array_equal(history.macs, net.cost.macs(history[NAMES].to_numpy()))
    assert result.score == history.score[history.fits].max()
    assert way(result).fits.tolist()[-1] and not way(result).fits[:-1].any()  # ends where it fits


def test_impossible_budgets_are_refused_and_slack_ones_warned_about():
    with pytest.raises(BudgetError, match="below the narrowest network"):
        quiet(budget=LEAST - 1)
    with pytest.raises(BudgetError, match="positive number of MACs"):
        quiet(budget=float("nan"))
    with pytest.warns(UserWarning, match="holds the whole network"):
        result = quiet(budget=FULL)
    assert result.best.tolist() == SPACE.full.tolist() and result.evaluations == 1


def test_the_smallest_budget_ends_at_the_narrowest_network():
    result = quiet(budget=LEAST)
    assert result.best.tolist() == SPACE.narrowest.tolist() and result.macs == LEAST
    assert len(way(result)) == 1 + sum(len(c) - 1 for c in SPACE.candidates)


# the rule


def test_every_step_takes_the_best_of_all_ways_to_narrow_one_group():
    history = quiet(budget=FULL / 3).history
    taken = history[history.taken]
    assert taken.generation.tolist() == list(range(len(taken)))
    before = SPACE.full
    for t, row in list(taken.iterrows())[1:]:
        tried = history[history.generation == row.generation]
        expected = [before - e for e in np.eye(3, dtype=int) if (before - e >= 1).all()]
        assert tried[NAMES].to_numpy().tolist() == np.array(expected).tolist()
        assert history.score[t] == tried.score.max()
        before = row[NAMES].to_numpy(dtype=int)


def test_the_number_of_evaluations_is_one_and_the_open_groups_of_every_step():
    asked = []

    def spy(c):
        asked.append(tuple(c))
        return score(c)

    result = quiet(budget=FULL / 4, score=spy)
    open_groups = [(row > 1).sum() for row in way(result)[NAMES].to_numpy()[:-1]]
    assert result.evaluations == 1 + sum(open_groups) == len(asked) == len(set(asked))


def test_of_equal_scores_the_step_that_saves_most_is_taken_and_then_the_first_group():
    flat = way(quiet(budget=FULL * 0.5, score=lambda c: 0.0))
    c = SPACE.full
    for row in flat[NAMES].to_numpy()[1:]:
        macs = [COST.macs(c - e) for e in np.eye(3, dtype=int)]
        c = c - np.eye(3, dtype=int)[np.argmin(macs)]
        assert row.tolist() == c.tolist()
    equal = way(quiet(budget=18, cost=EqualCost(), score=lambda c: 0.0))
    assert equal[NAMES].to_numpy()[1:].tolist() == [[w, 8, 8] for w in (7, 6, 5, 4, 3, 2)]


def test_the_variant_compares_scores_lost_per_cost_saved():
    value = np.array([3.0, 2.0, 1.9])  # of a unit of each group

    def linear(c):
        return float(c @ value)

    first = way(quiet(budget=FULL * 0.99, score=linear))[NAMES].to_numpy()[1]
    assert first.tolist() == [8, 8, 7]
    saved = np.array([FULL - COST.macs(SPACE.full - e) for e in np.eye(3, dtype=int)])
    cheapest = int(np.argmin(value / saved))
    assert cheapest != 2
    first = way(quiet(budget=FULL * 0.99, score=linear, per_cost=True))[NAMES].to_numpy()[1]
    assert np.flatnonzero(first < 8).tolist() == [cheapest]


def test_a_step_may_skip_candidates_and_ends_at_the_narrowest():
    net = problem(K=8, base=3)
    C = way(quiet(net, budget=net.cost.macs([3, 3, 3]), step=2))
    values = set(np.unique(C[NAMES].to_numpy()))
    assert values == {8, 6, 4, 3}
    with pytest.raises(ValueError, match="step must be a positive number of candidates, got 0"):
        quiet(budget=FULL / 2, step=0)


def test_groups_with_few_channels_are_narrowed_by_whole_channels():
    net = problem(widths=(5, 6, 64), K=16)
    C = quiet(net, budget=net.cost.macs(net.space.full) / 3).history[NAMES].to_numpy()
    assert len(np.unique(net.space.channels(C), axis=0)) == len(C)


@pytest.mark.parametrize("per_cost", [False, True])
def test_the_budget_may_be_of_parameters_or_latency(per_cost):
    def latency(C):  # the second group costs nothing: narrowing it saves nothing
        return 0.5 * np.asarray(C)[..., 0] + 0.25 * np.asarray(C)[..., 2]

    cost = SimpleNamespace(macs=COST.macs, params=COST.params, latency=latency)
    for measure, budget in {"params": COST.params(SPACE.full) / 3, "latency": 2.0}.items():
        options = {"cost": cost, "measure": measure, "per_cost": per_cost}
        result = quiet(budget=budget, **options)
        assert getattr(cost, measure)(result.best) <= budget
        C = result.history[NAMES].to_numpy()
        np.testing.assert_array_equal(result.history[measure], getattr(cost, measure)(C))
        np.testing.assert_array_equal(result.history.fits, result.history[measure] <= budget)
        if per_cost and measure == "latency":
            assert way(result).c2.tolist()[-1] == 8  # what saves nothing is never narrowed


# what theory says


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.integers(3, 23))
def test_on_a_separable_concave_score_with_equal_costs_greedy_is_optimal(seed, budget):
    rng = np.random.default_rng(seed)
    gains = -np.sort(-rng.integers(0, 1000, (3, 8)), axis=1)  # falling: concave
    table = np.concatenate([np.zeros((3, 1)), gains.cumsum(axis=1)], axis=1)

    def separable(c):
        return float(table[np.arange(3), c].sum())

    result = quiet(budget=budget, cost=EqualCost(), score=separable)
    C = np.array(list(itertools.product(*SPACE.candidates)))  # (512, 3)
    for n in range(budget, 24):  # the whole way is optimal, each width for its own cost
        best = max(separable(c) for c in C[C.sum(axis=1) <= n])
        here = way(result).set_index("macs").score
        assert here[n] == best
    assert result.score == here[budget] and result.macs <= budget


def test_greedy_can_miss_the_optimum_where_the_score_is_not_concave():
    def needs_both(c):  # the first group is worth little until it is gone altogether
        return float(-0.1 * (8 - c[1]) - (0.3 if c[0] < 8 else 0.0))

    result = quiet(budget=10, cost=EqualCost(), score=needs_both)
    C = np.array(list(itertools.product(*SPACE.candidates)))
    best = max(needs_both(c) for c in C[C.sum(axis=1) <= 10])
    assert result.score < best


# stopping and going on


class Stop(Exception):
    pass


def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path):
    asked = []

    def counted(c):
        asked.append(tuple(c))
        return score(c)

    whole = quiet(budget=FULL / 4, score=counted)
    asked.clear()
    file = tmp_path / "greedy.json"
    for last in (2, 5):

        def stop(step, history, last=last):
            assert history.generation.max() == step
            if step == last:
                raise Stop

        with pytest.raises(Stop):
            quiet(budget=FULL / 4, score=counted, checkpoint=file, callback=stop)
    same(whole, quiet(budget=FULL / 4, score=counted, checkpoint=file))
    again = 2 * [tuple(SPACE.full)]  # each time it goes on, the first width proves the score
    assert sorted(asked) == sorted([*set(asked), *again]) and len(set(asked)) == whole.evaluations


def test_a_checkpoint_of_another_search_is_refused(tmp_path):
    options = {"budget": FULL / 2, "checkpoint": tmp_path / "greedy.json"}
    quiet(**options)
    for message, other in {
        "step is 2, was 1": {"step": 2},
        "per_cost is True, was False": {"per_cost": True},
        "budget is": {"budget": FULL / 3},
    }.items():
        with pytest.raises(CheckpointError, match=message):
            quiet(**options | other)


def test_the_trace_starts_where_the_first_width_fits():
    result = quiet(budget=FULL / 2)
    trace = result.trace()
    fits = result.history.groupby("generation").fits.any().cummax()
    assert trace.best.notna().tolist() == fits.tolist()
    assert trace.best.iloc[-1] == result.score
    assert trace.evaluations.iloc[-1] == result.evaluations


def test_without_a_score_the_supernet_judges():
    data = load("digits")
    net = SupernetTrainer(supernet(), data, RECIPE, progress=False).fit().net
    budget = net.cost.macs(net.space.full) / 2
    a, b = (greedy(net, data, budget=budget, progress=False) for _ in range(2))
    same(a, b)
    assert a.score == evaluate(net, a.best, data.val) > 0
    assert a.macs == net.cost.macs(a.best) <= budget
