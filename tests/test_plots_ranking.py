"""Figures on rankings say what they show, whatever the data."""

import numpy as np
import pytest

from bcnet_lib import plots_ranking as plots
from bcnet_lib.filters import all_filters

TAUS = {"MACs": np.array([0.1, 0.2, 0.6]), "BCNet 3": np.array([0.3, -0.1, 0.5])}


def test_dots_name_every_panel_method_and_set():
    nan = float("nan")
    sets = {"all": (0.53, 0.5, 0.55), "kept": (-0.04, nan, nan)}
    figure = plots.kendall_dots({"MobileNet": {"MACs": sets}, "ResNet": {"MACs": sets}})
    assert "MobileNet, MACs, all: 53" in figure.alt and "ResNet, MACs, kept: -4" in figure.alt
    assert len(figure.axes) == 2
    lines = figure.axes[0].lines
    assert list(lines[0].get_xdata()) == [0.5, 0.55]  # the interval
    assert list(lines[2].get_xdata()) == [-0.04, -0.04]  # none


def test_spread_gives_each_method_s_range():
    at = {"MACs": 0.3, "BCNet 3": 0.2}
    figure = plots.filter_spread(TAUS, {"no filter": at, "released": at})
    assert "under each of 3 filters" in figure.alt and "BCNet 3: -10 to 50" in figure.alt


def test_a_duel_counts_the_filters_above_the_diagonal():
    duels = {"a": tuple(TAUS.values()), "b": tuple(TAUS.values())[::-1]}
    at = {"a": (0.1, 0.2), "b": (0.1, 0.2)}
    figure = plots.filter_duel(duels, ("MACs", "BCNet 3"), {"no filter": at})
    assert "a: BCNet 3 wins under 33.3 %; b: BCNet 3 wins under 66.7 %" in figure.alt


def test_marginal_effects_count_where_the_widest_is_worse():
    C = all_filters(4, 3)
    rises, falls = C.sum(axis=1).astype(float), -np.abs(C - 3).sum(axis=1).astype(float)
    falls[-1] = np.nan
    figure = plots.marginal_effects(C, {"from scratch": rises, "BCNet 3": falls})
    assert "0 of 3 groups for from scratch" in figure.alt
    assert "3 of 3 groups for BCNet 3" in figure.alt


def test_scatter_gives_pearson_of_all_and_of_those_kept():
    accuracy = np.array([1.0, 2.0, 3.0, 4.0])
    scores = np.array([1.0, 2.0, 5.0, 4.0])
    kept = np.array([False, False, True, True])
    figure = plots.scores_against_accuracy({"AutoSlim 3": scores}, accuracy, kept)
    assert "Pearson 85 of all, -100 of those kept" in figure.alt


@pytest.mark.parametrize("draw", [plots.by_budget, lambda s: plots.top_regrets(s, (1, 10, 100))])
def test_lines_have_a_panel_a_space(draw):
    figure = draw({"MobileNet": {"MACs": [0.5, 0.2, 0.1]}, "ResNet": {"MACs": [0.4, 0.3, 0.0]}})
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["MobileNet", "ResNet"]
    assert "MobileNet, MACs" in figure.alt


def test_wins_of_the_worse_give_median_and_largest():
    figure = plots.unequal_wins({"independent": [0.1, 0.3, 0.4], "shared": [0.5]})
    assert "independent: median 30%, up to 40%; shared: median 50%, up to 50%" in figure.alt
