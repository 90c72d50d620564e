"""Searches: never over the budget, consistent with their history, and refusing nonsense."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape import (
    COST,
    FULL,
    HALF,
    LEAST,
    NET,
    SPACE,
    everything,
    gain,
    problem,
    quiet,
    same,
    score,
)
from tiny import RECIPE, supernet

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.evaluate import evaluate
from bcnet_lib.search import BudgetError, SearchResult, evolve, random_search, uniform
from bcnet_lib.search.budget import draw_within, shrink_within, widen_within
from bcnet_lib.search.result import pareto_front
from bcnet_lib.train import SupernetTrainer

# what every search holds to


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.001, 0.999), seed=st.integers(0, 100))
def test_no_search_returns_or_scores_a_width_over_the_budget(share, seed):
    budget = LEAST + share * (FULL - LEAST)
    asked = []

    def spy(c):
        asked.append(c)
        return score(c)

    found = evolve(
        NET, None, budget=budget, population=6, generations=3, seed=seed, score=spy, progress=False
    )
    assert COST.macs(np.array(asked)).max() <= budget
    assert found.history.macs.max() <= budget and found.macs == COST.macs(found.best) <= budget
    assert COST.macs(uniform(SPACE, COST, budget)) <= budget
    try:
        found = quiet(random_search, NET, None, budget=budget, n=3, seed=seed, max_draws=50_000)
    except BudgetError:
        assert (COST.macs(everything(SPACE)) <= budget).mean() < 3e-3
    else:
        assert found.history.macs.max() <= budget and found.macs == COST.macs(found.best)


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 100))
def test_nothing_is_over_a_budget_of_parameters(share, seed):
    least, most = COST.params(SPACE.narrowest), COST.params(SPACE.full)
    budget = least + share * (most - least)
    options = {"budget": budget, "measure": "params", "seed": seed}
    found = quiet(evolve, NET, None, population=6, generations=3, **options)
    C = found.history[["c1", "c2", "c3"]].to_numpy()
    np.testing.assert_array_equal(found.history.params, COST.params(C))
    assert (
        COST.params(C).max() <= budget
        and COST.params(uniform(SPACE, COST, budget, "params")) <= budget
    )
    rng = np.random.default_rng(seed)
    narrow = shrink_within(SPACE, COST, budget, SPACE.sample(rng, 20), rng, "params")
    wide = widen_within(SPACE, COST, budget, narrow, rng, "params")
    assert COST.params(narrow).max() <= budget and COST.params(wide).max() <= budget
    assert COST.params(draw_within(SPACE, COST, most, rng, 5, measure="params")).max() <= most


def test_budgets_speak_of_their_measure():
    cases = {
        "params": (
            r"positive number of parameters",
            r"budget of 1e-06 M parameters is below .* M par",
        ),
        "macs": (r"positive number of MACs", r"budget of 1e-06 M MACs is below .* M MACs \(all 3"),
    }
    for measure, (wrong, low) in cases.items():
        with pytest.raises(BudgetError, match=wrong):
            uniform(SPACE, COST, -1, measure)
        with pytest.raises(BudgetError, match=low):
            quiet(evolve, NET, None, budget=1, measure=measure)
    with pytest.raises(ValueError, match="one of 'macs', 'params', 'latency', got 'flops'"):
        uniform(SPACE, COST, HALF, "flops")
    with pytest.warns(UserWarning, match=r"M parameters holds the whole network"):
        uniform(SPACE, COST, 1e9, "params")


@pytest.mark.parametrize("search", [evolve, random_search])
def test_a_result_is_consistent_with_its_history(search):
    result = quiet(search, NET, None, budget=HALF)
    names = ["c1", "c2", "c3"]
    history = result.history
    assert list(history.columns) == ["generation", *names, "score", "macs"]
    assert result.evaluations == len(history) == len(history[names].drop_duplicates())
    C = history[names].to_numpy()
    np.testing.assert_array_equal(history.macs, COST.macs(C))
    np.testing.assert_array_equal(history.score, [score(c) for c in C])
    assert result.score == history.score.max() == score(result.best)
    assert result.front.iloc[-1].score == result.score
    assert f"score={result.score:.4f}" in repr(result) and isinstance(result, SearchResult)
    trace = result.trace()
    assert trace.best.is_monotonic_increasing and trace.best.iloc[-1] == result.score
    assert trace.evaluations.iloc[-1] == len(history)


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"score": rng.integers(0, 30, 200), "macs": rng.integers(0, 30, 200)})
    points = set(zip(table.score, table.macs, strict=True))
    expected = {
        (s, m)
        for s, m in points
        if not any(s2 >= s and m2 <= m and (s2, m2) != (s, m) for s2, m2 in points)
    }
    front = pareto_front(table)
    assert set(zip(front.score, front.macs, strict=True)) == expected
    assert len(front) == len(expected) and front.macs.is_monotonic_increasing


def test_of_equal_scores_the_cheapest_is_best():
    result = evolve(
        NET, None, budget=HALF, population=10, generations=4, score=lambda c: 1.0, progress=False
    )
    assert result.macs == result.history.macs.min() and len(result.front) == 1


@pytest.mark.parametrize("search", [evolve, random_search])
def test_a_seed_gives_the_same_search(search):
    options = {"population": 10, "generations": 5} if search is evolve else {"n": 40}
    a, b, c = (quiet(search, NET, None, budget=HALF, seed=s, **options) for s in (1, 1, 2))
    same(a, b)
    assert not a.history.equals(c.history)


@pytest.mark.parametrize("search", [evolve, random_search])
def test_groups_with_few_channels_are_searched_by_distinct_networks(search):
    net = problem(widths=(5, 6, 64), K=16)  # 5 and 6 channels in 16 units
    assert [len(c) for c in net.space.candidates] == [5, 6, 16]
    options = {"population": 20, "generations": 10} if search is evolve else {"n": 150}
    result = quiet(search, net, None, budget=net.cost.macs(net.space.full) * 0.6, **options)
    C = result.history[["c1", "c2", "c3"]].to_numpy()
    for i, candidates in enumerate(net.space.candidates):
        assert set(C[:, i]) <= set(candidates)
    assert len(np.unique(net.space.channels(C), axis=0)) == len(C)


# uniform


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.77, 1.0])
def test_uniform_is_the_widest_equal_share_that_fits(share):
    c = uniform(SPACE, COST, max(LEAST, share * FULL * (1 - 1e-9)))
    assert len(set(c)) == 1 and c.dtype == np.int64
    assert COST.macs(c) <= share * FULL
    if share < 1:
        assert COST.macs(c + 1) > share * FULL


def test_uniform_holds_to_each_groups_own_smallest_width():
    net = problem(base=[1, 5, 9])
    least = net.cost.macs(net.space.narrowest)
    assert uniform(net.space, net.cost, least).tolist() == [1, 5, 9]
    c = uniform(net.space, net.cost, HALF)
    assert c[0] == c[1] and c[2] == max(9, c[0])


# random


def test_random_widths_are_uniform_over_those_within_the_budget():
    net = problem(K=3)
    budget = net.cost.macs(net.space.full) * 0.5
    inside = [tuple(c) for c in everything(net.space) if net.cost.macs(c) <= budget]
    assert 10 < len(inside) < 27
    rng, n = np.random.default_rng(0), 60 * len(inside)
    drawn = [tuple(draw_within(net.space, net.cost, budget, rng, 1)[0]) for _ in range(n)]
    counts = [drawn.count(c) for c in inside]
    assert sum(counts) == n
    assert max(abs(k - 60) for k in counts) < 5 * math.sqrt(60)


def test_random_search_can_ask_for_every_width_there_is():
    net = problem(K=3)
    budget = net.cost.macs(net.space.full) * 0.5
    inside = net.cost.macs(everything(net.space)) <= budget
    result = quiet(random_search, net, None, budget=budget, n=int(inside.sum()))
    assert result.evaluations == inside.sum()
    assert result.score == gain(everything(net.space)[inside]).max()


def test_random_search_says_how_few_draws_fit():
    message = r"only 0 of the 5 .* 0 of 1,000 uniform draws fit \(share 0.*use evolve"
    with pytest.raises(BudgetError, match=message):
        quiet(random_search, NET, None, budget=LEAST, n=5, max_draws=1000)


def test_narrowing_and_widening_end_where_the_budget_does():
    rng = np.random.default_rng(0)
    C = SPACE.sample(rng, 200)
    narrow = shrink_within(SPACE, COST, HALF, C, rng)
    fitted = COST.macs(C) <= HALF
    assert COST.macs(narrow).max() <= HALF
    assert np.array_equal(narrow[fitted], C[fitted]) and (narrow <= C).all()
    wide = widen_within(SPACE, COST, HALF, narrow, rng)
    assert COST.macs(wide).max() <= HALF and (wide >= narrow).all()
    for c in wide:  # not one more unit fits anywhere
        more = [c + step for step in np.eye(3, dtype=int) if (c + step <= 16).all()]
        assert all(COST.macs(m) > HALF for m in more)
    full = widen_within(SPACE, COST, FULL, narrow[:5], rng)
    assert (full == 16).all()


# with a supernet


@pytest.fixture(scope="module")
def trained():
    data = load("digits")
    return SupernetTrainer(supernet(), data, RECIPE, progress=False).fit().net, data


def test_without_a_score_widths_are_judged_by_the_supernet_on_the_validation_split(trained):
    net, data = trained
    budget = net.cost.macs(net.space.full) / 2
    options = {"budget": budget, "progress": False}
    for result in (
        evolve(net, data, population=6, generations=3, **options),
        random_search(net, data, n=12, **options),
    ):
        assert result.score == evaluate(net, result.best, data.val) > 0
        assert result.macs == net.cost.macs(result.best) <= budget
    onto_train = random_search(net, data, n=3, split="train", **options)
    assert onto_train.score == evaluate(net, onto_train.best, data.train)


def test_a_search_checkpoint_is_refused_for_other_weights(trained, tmp_path):
    net, data = trained
    options = {"budget": net.cost.macs(net.space.full) / 2, "population": 4, "generations": 1}
    options |= {"checkpoint": tmp_path / "search.json", "progress": False}
    same(evolve(net, data, **options), evolve(net, data, **options))
    with pytest.raises(CheckpointError, match=r"supernet\.weights is"):
        evolve(supernet(seed=1), data, **options)


# budgets


SEARCHES = [
    lambda budget: uniform(SPACE, COST, budget),
    lambda budget: quiet(random_search, NET, None, budget=budget, n=5),
    lambda budget: quiet(evolve, NET, None, budget=budget, population=4, generations=1),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_impossible_budgets_are_refused_with_both_numbers(search):
    with pytest.raises(BudgetError, match=r"0\.0009 M MACs is below .* M MACs \(all 3 groups"):
        search(900)
    for budget in (0, -5e6, math.nan, "150M", None):
        with pytest.raises(BudgetError, match="budget must be a positive number of MACs, got"):
            search(budget)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_budget_that_binds_nothing_is_warned_about(search):
    with pytest.warns(UserWarning, match="holds the whole network"):
        search(FULL)


def test_the_smallest_budget_has_one_answer():
    assert uniform(SPACE, COST, LEAST).tolist() == SPACE.narrowest.tolist()
    result = quiet(evolve, NET, None, budget=LEAST, population=4, generations=2)
    assert result.best.tolist() == SPACE.narrowest.tolist()


@pytest.mark.parametrize("search", [evolve, random_search])
def test_a_score_that_is_no_number_is_refused_with_its_width(search):
    with pytest.raises(ValueError, match=r"score of widths \[\d+, \d+, \d+\] is nan"):
        search(NET, None, budget=HALF, score=lambda c: math.nan, progress=False)


@pytest.mark.parametrize(
    ("search", "name", "least"),
    [
        (evolve, "population", 2),
        (evolve, "generations", 1),
        (evolve, "survivors", 2),
        (random_search, "n", 1),
        (random_search, "max_draws", 1),
    ],
)
def test_sizes_that_are_no_whole_numbers_are_refused(search, name, least):
    for value in (least - 1, -3, 5.0, 2.5, "8", True):
        message = rf"{name} must be an integer of at least {least}, got {re.escape(repr(value))}$"
        with pytest.raises(ValueError, match=message):
            quiet(search, NET, None, budget=HALF, **{name: value})


def test_sizes_may_be_of_numpy(tmp_path):
    options = {"population": np.int64(4), "generations": np.int32(2), "survivors": np.int64(2)}
    plain = {name: int(value) for name, value in options.items()}
    file = tmp_path / "search"
    found = quiet(evolve, NET, None, budget=HALF, checkpoint=file, **options)
    same(found, quiet(evolve, NET, None, budget=HALF, checkpoint=file, **plain))


@pytest.mark.parametrize("search", [evolve, random_search])
@pytest.mark.parametrize(
    "as_type", [torch.tensor, np.float32, np.float64, np.array, lambda s: torch.tensor([s])]
)
def test_a_score_may_be_anything_that_is_one_number(search, as_type):
    options = {"population": 4, "generations": 2} if search is evolve else {"n": 8}
    result = search(
        NET, None, budget=HALF, score=lambda c: as_type(score(c)), progress=False, **options
    )
    assert type(result.score) is float and result.score == float(as_type(score(result.best)))


@pytest.mark.parametrize("value", [None, "high", torch.ones(2), np.ones(2), math.inf, 1j])
def test_a_score_of_another_kind_is_refused_with_its_width(value):
    with pytest.raises(ValueError, match=r"score of widths \[\d+, \d+, \d+\] is .*no finite num"):
        random_search(NET, None, budget=HALF, score=lambda c: value, progress=False)


class Stop(Exception):
    pass


def test_an_interrupted_random_search_ends_as_one_that_was_not(tmp_path):
    asked, stops = [], [27]

    def counted(c):
        if len(asked) in stops:
            raise Stop
        asked.append(tuple(c))
        return score(c)

    options = {"budget": HALF, "n": 40, "seed": 3}
    whole = quiet(random_search, NET, None, **options)
    options |= {"checkpoint": tmp_path / "scores", "progress": False, "score": counted}
    with pytest.raises(Stop):
        random_search(NET, None, **options)
    first = asked[0]
    stops.clear(), asked.clear()
    same(whole, random_search(NET, None, **options))
    assert asked[0] == first and len(asked) == 1 + 20  # one proves the score, 20 were on file
    asked.clear()
    longer = random_search(NET, None, **options | {"n": 45})
    assert len(asked) == 1 + 5 and longer.evaluations == 45  # all 40 were on file
    others = {"seed is 4, was 3": {"seed": 4}, "budget is": {"budget": FULL / 3}}
    for message, other in others.items():
        with pytest.raises(CheckpointError, match=message):
            random_search(NET, None, **options | other)
