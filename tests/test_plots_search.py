"""Figures of evolutionary search say what they show; the slider holds what it was given."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from bcnet_lib.plots_search import (
    crossover,
    front_slider,
    fronts,
    mutation,
    ranked,
    regret_curves,
)

HISTORY = pd.DataFrame(
    {
        "generation": [0, 0, 0, 1, 1],
        "score": [0.5, 0.7, 0.6, 0.8, 0.6],
        "macs": [10, 30, 40, 35, 20],
    }
)


def test_ranked_counts_the_fronts():
    points = [[1, 1.0], [2, 2], [3, 1], [2.5, 1.5]]
    figure = ranked(points, [0, 0, 1, 0], [np.inf, 1.5, np.inf, np.inf])
    assert "4 networks by MACs and score in 2 fronts of 3, 1" in figure.alt
    assert [t.get_text() for t in figure.axes[0].texts] == ["∞", "1.50", "∞", "∞"]


def test_crossover_names_the_genes_of_the_second_parent():
    figure = crossover([[0, 0, 0], [9, 9, 9]], [[0, 9, 0], [9, 0, 9]])
    assert "child 1: groups 2; child 2: groups 1, 3" in figure.alt


def test_mutation_says_how_often_nothing_changes():
    alt = mutation({"eta = 3": [1, 2, 2, 3], "eta = 20": [2, 2, 2, 2]}, 2, 4).alt
    assert "eta = 3: unchanged in 50%; eta = 20: unchanged in 100%" in alt


def test_regret_curves_give_the_last_value_of_each_method():
    curves = {
        "random search": np.array([[0.04, 0.02], [0.02, 0.0]]),
        "other": np.full((2, 2), 0.01),
    }
    figure = regret_curves(curves)
    assert "after 2 networks, mean of 2 seeds. random search: 1.00; other: 1.00" in figure.alt
    assert figure.axes[0].get_yscale() == "log" and len(figure.axes[0].lines) == 2


def test_fronts_are_stairs_up_to_the_same_end():
    a = pd.DataFrame({"score": [0.5, 0.9], "macs": [10, 50]})
    figure = fronts({"true": a, "random search": a[:1]}, full=100)
    assert "true: 2 networks up to 90.0%; random search: 1 networks up to 50.0%" in figure.alt
    assert figure.axes[0].lines[2].get_xdata().tolist() == [0.1, 0.5]


@pytest.fixture(scope="module")
def slider():
    return front_slider(HISTORY, full=100, budget=50)


def test_the_slider_has_a_step_a_generation(slider):
    data = json.loads(re.search(r'json">(.*?)</script>', slider.html, re.S).group(1))
    assert [len(group) for group in data["dots"]] == [3, 2]
    assert [len(line) for line in data["lines"]] == [2, 4]  # 0.6 and 0.8 come in between
    assert data["said"][1] == ("generation 2 of 2: 5 networks scored, 4 on the front, best 80.0 %")
    assert 'max="1" value="1"' in slider.html and slider.html.count("<circle cx") == 5 + 1


def test_the_slider_needs_nothing_from_outside(slider):
    assert "http" not in slider.html and "src=" not in slider.html
    assert repr(slider) == f"Figure: {slider.alt}" and "best 80.0 %" in slider.alt
    bundle = slider._repr_mimebundle_()
    assert bundle["text/html"] == slider.html and bundle["text/plain"] == repr(slider)


def test_dots_lie_higher_for_higher_scores_and_further_right_for_more_macs(slider):
    data = json.loads(re.search(r'json">(.*?)</script>', slider.html, re.S).group(1))
    (x1, y1), (x2, y2), _ = data["dots"][0]
    assert x2 > x1 and y2 < y1
