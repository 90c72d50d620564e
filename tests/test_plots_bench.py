"""Figures of a benchmark say in words what they show."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from bcnet_lib import plots_bench as figures
from bcnet_lib.width_effects import effects, main_effects, widths_by_budget


class Toy(SimpleNamespace):
    """What the figures ask of a ``ChannelBench``."""

    def __len__(self):
        return len(self.C)

    def index(self, C):
        return (np.asarray(C) - 1) @ self.K ** np.arange(self.L)[::-1]


@pytest.fixture(scope="module")
def bench():
    """A made-up benchmark of 3 groups with 4 widths, where only the second matters."""
    C = np.array(list(itertools.product(range(1, 5), repeat=3)))
    accuracies = 80 + C[:, [1]] + np.random.default_rng(0).normal(0, 0.01, (len(C), 3))
    costs = {"macs": 1_000_000 * C.prod(axis=1), "params": 2_000_000 * C.sum(axis=1)}
    mean = accuracies.mean(axis=1)
    return Toy(name="toy", L=3, K=4, C=C, accuracies=accuracies, mean=mean, **costs)


def test_histograms_give_the_ranges(bench):
    alt = figures.histograms({"toy": bench}).alt
    assert "accuracy 81.0 to 84.0 %" in alt and "MACs 1.0 to 64.0 M" in alt


def test_curves_and_maps_name_the_group_that_matters(bench):
    parts = effects(bench)
    assert "c2 +3.0" in figures.main_curves({"toy": parts}).alt
    assert "toy: largest c" in figures.pair_map({"toy": parts.pair_shares()}).alt
    gain = parts.main[:, -1] - parts.main[:, 0]
    price = main_effects(bench.macs, 3, 4)
    price = (price[:, -1] - price[:, 0]) / bench.macs[-1]
    assert "most per MAC c2" in figures.worth({"toy": gain}, {"toy": price}).alt
    widths = widths_by_budget(bench, [0.1, 0.5, 1.0], top=4)
    assert "toy at 50%: c1" in figures.budget_widths({"toy": widths}, [0.1, 0.5, 1.0], 4).alt


def test_front_tells_how_far_it_is_above_another_run(bench):
    rows = bench.index([[1, k, 1] for k in (1, 2, 3, 4)])
    judged = (bench.macs[rows], bench.mean[rows] - [0, 0.1, 0.25, 0.2])
    alt = figures.front(bench, "toy", rows, judged, (bench.macs[rows], bench.mean[rows])).alt
    assert "4 on the Pareto front, from 81.0" in alt and "up to 0.25 points below" in alt


def test_best_epochs_gives_the_gain_at_the_end():
    alt = figures.best_epochs([1, 10], {"independent": [0, 1.54]}, [0, 2.15]).alt
    assert "independent: 1.5 standard deviations at 10" in alt and "bound: 2.1" in alt
