"""Searches on a table of all scores: the table is right, and the study repeats exactly."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import cnn

from bcnet_lib import CostTable, WidthSpace
from bcnet_lib.search import evolve, random_search
from bcnet_lib.search.result import Scores
from bcnet_lib.search.study import ScoreTable, coverage, regret, study


def make(widths=(5, 12, 16), K=6):
    model, x = cnn(widths), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=K)
    cost = CostTable(model, space, x)
    return ScoreTable.of(space, cost, lambda C: np.sqrt(C).sum(axis=1) - 0.05 * C[:, 0] * C[:, 2])


TABLE = make()
FULL = TABLE.cost.macs(TABLE.space.full)
BUDGET = FULL / 2


def random(table, budget, seed):
    return random_search(table, None, budget=budget, n=30, seed=seed, score=table, progress=False)


def evolved(table, budget, seed):
    return evolve(
        table, None, budget=budget, population=8, generations=5, seed=seed, score=table,
        progress=False,
    )  # fmt: skip


def test_the_table_holds_every_network_once_and_finds_it_again():
    assert len(TABLE.C) == TABLE.space.networks == 5 * 6 * 6  # 5 channels in 6 units
    assert len(np.unique(TABLE.C, axis=0)) == len(TABLE.C)
    assert [TABLE(c) for c in TABLE.C] == TABLE.scores.tolist()


def test_its_best_and_front_are_those_of_the_budget():
    macs = TABLE.cost.macs(TABLE.C)
    assert TABLE.best(BUDGET) == TABLE.scores[macs <= BUDGET].max() < TABLE.best(FULL)
    inside = TABLE.inside(BUDGET)
    assert len(inside) == (macs <= BUDGET).sum() and inside.macs.max() <= BUDGET
    params = TABLE.cost.params(TABLE.C)
    limit = float(np.median(params))
    assert TABLE.best(limit, "params") == TABLE.scores[params <= limit].max()
    front = TABLE.front(BUDGET)
    assert front.score.is_monotonic_increasing and front.score.iloc[-1] == TABLE.best(BUDGET)


def test_regret_falls_to_what_the_search_left():
    scores = Scores(score=lambda c: float(c[0]))
    for width in (3, 1, 7, 5):
        scores(np.array([width, 1]), macs=width)
    result = scores.result()
    assert regret(result, 10.0, 6).tolist() == [7, 7, 3, 3, 3, 3]
    assert regret(result, 7.0, 2).tolist() == [4, 4]


def test_coverage_is_one_for_the_true_front_and_less_for_less():
    true = TABLE.front(BUDGET)
    floor = TABLE.scores.min()
    assert coverage(true, true, BUDGET, floor) == 1
    one = true.iloc[-1:]
    found = evolved(TABLE, BUDGET, 0).front
    assert coverage(one, true, BUDGET, floor) < coverage(found, true, BUDGET, floor) <= 1
    steps = pd.DataFrame({"score": [1.0, 3.0], "macs": [2, 4]})
    single = pd.DataFrame({"score": [3.0], "macs": [4]})
    assert coverage(single, steps, 10, 0.0) == pytest.approx(18 / 20)


def test_a_study_repeats_exactly_and_has_a_result_a_seed():
    methods = {"random": random, "evolution": evolved}
    best = TABLE.best(BUDGET)
    a, b = (study(methods, TABLE, budget=BUDGET, seeds=range(4)) for _ in "ab")
    for name in methods:
        curves = np.stack([regret(result, best, 30) for result in a[name]])  # (seeds, 30)
        np.testing.assert_array_equal(curves, [regret(result, best, 30) for result in b[name]])
        assert curves.shape == (4, 30) and (curves >= 0).all()
        assert (np.diff(curves, axis=1) <= 0).all() and len(np.unique(curves, axis=0)) > 1
