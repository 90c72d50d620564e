"""Evolution: near a known optimum, its rules as stated, and repeatable after an interruption."""

import json

import numpy as np
import pytest
from landscape import COST, FULL, HALF, NET, SPACE, everything, gain, problem, quiet, same, score

from bcnet_lib.checkpoint import CheckpointError, read
from bcnet_lib.search import evolution, evolve, random_search, uniform


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
    with pytest.raises(ValueError, match="survivors must be an integer of at least 2, got 1"):
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
    with pytest.raises(ValueError, match="got 'energy'"):
        quiet(evolve, NET, None, budget=HALF, objectives="energy")


def test_one_objective_may_be_its_name():
    options = {"budget": HALF, "population": 4, "generations": 2}
    a, b = (quiet(evolve, NET, None, objectives=o, **options) for o in ("params", ("params",)))
    assert a.objectives == ("params",)
    same(a, b)


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
    again = 2 * [calls[0]]  # each time it goes on, the first width proves the score
    assert sorted(calls) == sorted([*set(calls), *again]) and len(set(calls)) == whole.evaluations
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
