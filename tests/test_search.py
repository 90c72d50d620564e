"""Searches: never over the budget, near a known optimum, and repeatable after an interruption."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import RECIPE, cnn, supernet

from bcnet_lib.checkpoint import CheckpointError, read
from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.evaluate import evaluate
from bcnet_lib.search import BudgetError, SearchResult, evolution, evolve, random_search, uniform
from bcnet_lib.search.budget import draw_within, shrink_within, widen_within
from bcnet_lib.search.result import pareto_front
from bcnet_lib.space import WidthSpace
from bcnet_lib.train import SupernetTrainer


def problem(widths=(32, 48, 64), K=16, base=1):
    """What a search needs of a supernet when a score is given: a space and its costs."""
    model, x = cnn(widths), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=K, base=base)
    return SimpleNamespace(space=space, cost=CostTable(model, space, x))


NET = problem()
SPACE, COST = NET.space, NET.cost
FULL, LEAST = COST.macs(SPACE.full), COST.macs(SPACE.narrowest)
HALF = FULL / 2


def gain(c):
    """A score with a known optimum: layers matter differently, and neighbours should agree."""
    c = np.asarray(c) / 16
    layers = 3 * c[..., 0] ** 0.5 + 1 * c[..., 1] ** 0.3 + 2 * c[..., 2] ** 0.8
    return layers - 0.5 * (np.diff(c, axis=-1) ** 2).sum(-1)


def score(c):
    return float(gain(c))


def everything(space):
    return np.array(list(itertools.product(*space.candidates)))


def quiet(function, *args, **options):
    return function(*args, score=score, progress=False, **options)


def same(a, b):
    assert a.best.tolist() == b.best.tolist() and (a.score, a.macs) == (b.score, b.macs)
    assert a.evaluations == b.evaluations
    pd.testing.assert_frame_equal(a.front, b.front)
    pd.testing.assert_frame_equal(a.history, b.history)


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


# evolution


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_evolution_comes_within_a_hundredth_of_the_optimum(share):
    C = everything(SPACE)  # 4,096 networks
    budget = share * FULL
    possible = np.sort(gain(C[COST.macs(C) <= budget]))
    options = {"budget": budget, "population": 20, "generations": 15}
    found = [quiet(evolve, NET, None, seed=s, **options) for s in range(3)]
    assert all(f.evaluations <= 300 for f in found)
    spread = possible[-1] - possible[0]
    assert all(possible[-1] - f.score <= 0.01 * spread for f in found)


def test_a_constant_added_to_the_score_changes_nothing():
    def shifted(by):  # in steps of 1/1024, so that the sum is exact
        return lambda c: round(score(c) * 1024) / 1024 + by

    options = {"budget": HALF, "population": 10, "generations": 8, "progress": False}
    a, b = (evolve(NET, None, score=shifted(by), **options) for by in (0, -64))
    assert b.score == a.score - 64
    assert a.history.drop(columns="score").equals(b.history.drop(columns="score"))


def test_evolution_finds_fronts_that_random_search_does_not():
    def volume(result):
        """Area under the best score at each number of MACs, from 0 to the budget."""
        edges = np.append(result.front.macs, HALF)
        return (np.diff(edges) * result.front.score).sum() / HALF

    for seed in range(3):
        evolved = quiet(evolve, NET, None, budget=HALF, population=20, generations=15, seed=seed)
        random = quiet(random_search, NET, None, budget=HALF, n=evolved.evaluations, seed=seed)
        assert volume(evolved) > volume(random) and evolved.score >= random.score


def test_evolution_starts_from_given_widths():
    given_ = uniform(SPACE, COST, HALF)
    result = quiet(
        evolve, NET, None, budget=HALF, population=4, generations=1, initial=[given_, SPACE.full]
    )
    first = result.history[["c1", "c2", "c3"]].to_numpy().tolist()
    assert given_.tolist() in first and SPACE.full.tolist() not in first  # over the budget


def test_evolution_ends_when_a_small_space_has_nothing_new():
    net = problem(K=2)
    result = quiet(evolve, net, None, budget=net.cost.macs(net.space.full) * 0.6, generations=30)
    inside = net.cost.macs(everything(net.space)) <= net.cost.macs(net.space.full) * 0.6
    assert result.evaluations == inside.sum()


def spread_of(C):
    return len({tuple(c) for c in C.tolist()})


def test_a_first_generation_is_filled_up_from_what_is_given():
    one = uniform(SPACE, COST, HALF)
    over = SPACE.full
    given_ = np.stack([one, one, one, over, one])
    names = ["c1", "c2", "c3"]
    for n in (3, 8):
        result = quiet(evolve, NET, None, budget=HALF, population=n, generations=1, initial=given_)
        C = result.history[names].to_numpy()
        assert C[0].tolist() == one.tolist() and len(C) == n == spread_of(C)
        assert (C[1] <= over).all() and COST.macs(C).max() <= HALF
    many = SPACE.sample(np.random.default_rng(0), 50)
    result = quiet(evolve, NET, None, budget=FULL * 0.99, population=5, generations=1, initial=many)
    assert result.history[names].to_numpy().tolist() == many[:5].tolist()
    with pytest.raises(ValueError, match="must be 'random' or an array of widths, got 'prior'"):
        quiet(evolve, NET, None, budget=HALF, initial="prior")


def test_equal_networks_in_a_first_generation_are_one():
    net = problem(widths=(5, 6, 64), K=16)
    a, b = np.array([13, 14, 8]), np.array([15, 16, 8])  # 5 and 6 channels both
    assert (net.space.channels(a) == net.space.channels(b)).all()
    result = quiet(evolve, net, None, budget=net.cost.macs([16] * 3) * 0.9, population=2,
                   generations=1, initial=[a, b, b])  # fmt: skip
    assert result.evaluations == 2


@pytest.mark.parametrize("survivors", [2, 5, None])
def test_the_parents_are_as_many_as_survive(survivors, monkeypatch):
    seen = []

    class Spy(evolution.NSGA2):
        def _advance(self, **kwargs):
            super()._advance(**kwargs)
            seen.append(len(self.pop))

        def _initialize_advance(self, **kwargs):
            super()._initialize_advance(**kwargs)
            seen.append(len(self.pop))

    monkeypatch.setattr(evolution, "NSGA2", Spy)
    options = {"budget": HALF, "population": 12, "generations": 4, "survivors": survivors}
    result = quiet(evolve, NET, None, **options)
    assert seen == [survivors or 12] * 4
    assert result.history.groupby("generation").size().max() == 12
    with pytest.raises(ValueError, match="at least 2 survivors, got 1"):
        quiet(evolve, NET, None, **options | {"survivors": 1})


def test_survivors_are_the_best_of_all_so_far(monkeypatch):
    pops = []

    class Spy(evolution.NSGA2):
        def _advance(self, **kwargs):
            super()._advance(**kwargs)
            pops.append(-self.pop.get("F")[:, 0])

    monkeypatch.setattr(evolution, "NSGA2", Spy)
    result = quiet(evolve, NET, None, budget=HALF, population=10, generations=6, survivors=4,
                   objectives=())  # fmt: skip
    for generation, kept in enumerate(pops, start=1):
        so_far = result.history[result.history.generation <= generation]
        assert sorted(kept, reverse=True) == pytest.approx(sorted(so_far.score)[:-5:-1])


@pytest.mark.parametrize(
    "objectives", [(), ("macs",), ("params",), ("params", "macs"), ["macs", "params"]]
)
def test_objectives_make_the_front(objectives):
    result = quiet(
        evolve, NET, None, budget=HALF, population=12, generations=6, objectives=objectives
    )
    extra = [name for name in objectives if name != "macs"]
    names = ["c1", "c2", "c3", "score", "macs", *extra]
    assert list(result.front.columns) == names
    assert list(result.history.columns) == ["generation", *names]
    points = result.history[[*objectives]].assign(score=-result.history.score).to_numpy()
    front = result.front[[*objectives]].assign(score=-result.front.score).to_numpy()
    dominated = [any((other <= p).all() and (other < p).any() for other in points) for p in points]
    expected = {tuple(p) for p, d in zip(points, dominated, strict=True) if not d}
    assert {tuple(p) for p in front} == expected and len(front) == len(expected)
    assert result.score == result.history.score.max() and result.objectives == tuple(objectives)
    assert f"{result.macs / 1e6:,.4g} M MACs" in repr(result)


def test_unknown_or_repeated_objectives_are_refused():
    with pytest.raises(ValueError, match="one of 'macs', 'params', 'latency', got 'energy'"):
        quiet(evolve, NET, None, budget=HALF, objectives=["energy"])
    with pytest.raises(ValueError, match="name one twice"):
        quiet(evolve, NET, None, budget=HALF, objectives=["macs", "macs"])


def test_report_prints_a_line_a_generation(capsys):
    quiet(evolve, NET, None, budget=HALF, population=4, generations=3, callback=evolution.report)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("generation   3:") and "M MACs" in lines[2]


class Stop(Exception):
    pass


def stop_at(generation):
    def callback(now, result):
        if now == generation:
            raise Stop

    return callback


INITIAL = SPACE.sample(np.random.default_rng(5), 7)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"survivors": 3, "initial": INITIAL},
        {"objectives": ("params", "macs"), "measure": "params"},
    ],
    ids=["plain", "survivors", "objectives"],
)
def test_an_interrupted_evolution_ends_as_one_that_was_not(tmp_path, more):
    budget = (COST.params(SPACE.full) if "measure" in more else FULL) / 2
    options = {"budget": budget, "population": 10, "generations": 8, "seed": 3, "progress": False}
    options |= more
    calls = []

    def counted(c):
        calls.append(tuple(c))
        return score(c)

    whole = evolve(NET, None, score=counted, **options)
    assert len(calls) == len(set(calls)) == whole.evaluations  # every width is scored once
    calls.clear()
    file = tmp_path / "search.json"
    for generation in (2, 5):
        with pytest.raises(Stop):
            evolve(
                NET, None, score=counted, checkpoint=file, callback=stop_at(generation), **options
            )
    same(whole, evolve(NET, None, score=counted, checkpoint=file, **options))
    assert len(calls) == len(set(calls)) == whole.evaluations
    longer = options | {"generations": 10}
    same(
        evolve(NET, None, score=counted, **longer),
        evolve(NET, None, score=counted, checkpoint=file, **longer),
    )


def test_the_callback_sees_each_generation():
    seen = []
    result = quiet(
        evolve,
        NET,
        None,
        budget=HALF,
        population=6,
        generations=4,
        callback=lambda generation, so_far: seen.append((generation, so_far.evaluations)),
    )
    assert [g for g, _ in seen] == [1, 2, 3, 4] and seen[-1][1] == result.evaluations
    assert [n for _, n in seen] == result.trace().evaluations.tolist()


def test_a_search_checkpoint_is_text_and_refuses_damage_and_other_settings(tmp_path):
    file = tmp_path / "search.json"
    options = {"budget": HALF, "population": 6, "generations": 2, "checkpoint": file}
    quiet(evolve, NET, None, **options)
    assert len(json.loads(read(file))["scores"]) > 6
    for message, other in {
        "seed is 1, was 0": {"seed": 1},
        "budget is .*, was": {"budget": HALF * 0.9},
        "population is 8, was 6": {"population": 8},
        "survivors is 3, was None": {"survivors": 3},
        r"objectives is \[\], was \['macs'\]": {"objectives": ()},
    }.items():
        with pytest.raises(CheckpointError, match=message):
            quiet(evolve, NET, None, **options | other)
    with pytest.raises(CheckpointError, match=r"space\.K is 8, was 16"):
        quiet(evolve, problem(K=8), None, **options)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"search\.json' is damaged"):
        quiet(evolve, NET, None, **options)


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


def test_nonsense_sizes_are_refused():
    with pytest.raises(ValueError, match="population >= 2 and generations >= 1, got 1, 50"):
        quiet(evolve, NET, None, budget=HALF, population=1)
    with pytest.raises(ValueError, match="at least 1 width, got 0"):
        quiet(random_search, NET, None, budget=HALF, n=0)
