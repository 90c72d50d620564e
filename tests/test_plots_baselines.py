"""Figures of the plain searches say in words what they show."""

import numpy as np
import pandas as pd

from bcnet_lib.plots_baselines import best_of_n, greedy_way, score_cloud


def test_the_cloud_counts_all_networks_and_names_the_marked_ones():
    share, score = np.linspace(0.1, 1, 50), np.linspace(0.5, 0.9, 50)
    figure = score_cloud(share, score, {"uniform": ([0.2, 0.4], [0.6, 0.7])}, 0.5)
    assert "all 50 networks, 50 to 90 %. uniform: 70 % at 40% of the MACs" in figure.alt
    cloud, marked, budget = figure.axes[0].lines
    assert len(cloud.get_xdata()) == 50 and marked.get_ydata().tolist() == [60, 70]
    assert list(budget.get_xdata()) == [0.5, 0.5]


def test_best_of_n_gives_both_ends_and_the_other_searches():
    x = [1, 10, 100]
    figure = best_of_n(x, [0.5, 0.7, 0.8], [0.3, 0.6, 0.8], [0.7, 0.8, 0.8], 0.8,
                       {"greedy": (47, 0.75)})  # fmt: skip
    assert "50.0 % with 1 network to 80.0 % with 100" in figure.alt
    assert figure.alt.endswith("greedy: 75.0 % with 47")
    assert figure.axes[0].get_xscale() == "log"


def test_greedys_way_shows_tried_and_taken_widths():
    rows = [(0, 4, 4, 0.9, 10, True), (1, 3, 4, 0.8, 8, False), (1, 4, 3, 0.85, 9, True)]
    names = ["generation", "c1", "c2", "score", "macs", "taken"]
    figure = greedy_way(pd.DataFrame(rows, columns=names), budget=9, full=10)
    assert "1 steps and 3 evaluations, from [4, 4] at 90.0 % to [4, 3] at 85.0 % and 90%" in (
        figure.alt
    )
    tried, taken, _ = figure.axes[0].lines
    assert len(tried.get_xdata()) == 3 and len(taken.get_xdata()) == 2
    bold = [t.get_text() for t in figure.axes[1].texts if t.get_fontweight() == "bold"]
    assert bold == ["3"]
