"""Figures of training dynamics and of scoring statistics say what they show."""

import numpy as np

from bcnet_lib.intervals import mean_interval
from bcnet_lib.plots_dynamics import by_size, spread_dots, through_training, unit_rows


def test_lines_through_training_tell_the_first_and_the_last_look():
    lines = {
        "UA": {4: [0.5, 0.7], 400: [0.4, 0.4]},
        "BC + complement": {4: [0.1, 0.1], 400: [0.2, 0.4]},
        "full width only": {4: [0.2, 0.2], 400: [0.2, 0.2]},
    }
    figure = through_training({"spread of uses": lines, "spread of gradient": lines})
    assert "spread of gradient, UA: 0.60 to 0.40 ± 0.00" in figure.alt
    upper, lower = figure.axes
    assert upper.get_xscale() == lower.get_xscale() == "log"
    styles = {line.get_label(): line.get_linestyle() for line in upper.lines}
    assert styles == {"UA": "-", "BC + complement": "--", "full width only": ":"}


def test_one_seed_has_no_band():
    assert not through_training({"spread": {"UA": {4: [0.5], 8: [0.4]}}}).axes[0].collections


def test_dots_of_a_spread_stand_in_rows_with_the_floor():
    values = {"UA": {"uses": [0.4, 0.6], "gradient": [0.8, 1.0]}}
    figure = spread_dots(values, "spread", mean_interval([0.2, 0.2]))
    assert figure.alt == "spread. UA, uses: 0.50 ± 1.27; UA, gradient: 0.90 ± 1.27"
    (ax,) = figure.axes
    seeds = [sorted(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert [0.4, 0.6] in seeds and [0.8, 1.0] in seeds and [0.2, 0.2] in seeds


def test_units_are_bars_dots_and_crosses():
    uses, gradient = np.ones((2, 3)), np.array([[1.2, 0.6, 1.2], [1.4, 0.4, 1.2]])
    figure = unit_rows({"BC": (uses, gradient)}, predicted={"BC": [1.3, 0.4, 1.3]})
    ax = figure.axes[0]
    assert "gradient 1.30 ± 1.27, 0.50 ± 1.27, 1.20 ± 0.00" in figure.alt
    assert [bar.get_height() for bar in ax.patches] == [1, 1, 1]
    assert [1.3, 0.4, 1.3] in [list(line.get_ydata()) for line in ax.lines]


def test_running_statistics_stand_apart_from_the_sizes():
    points = {"16": [0.7, 0.8], "128": [0.6, 0.8], "running": [0.5, 0.5]}
    figure = by_size({"Kendall": {"UA": points}, "repeat": {"UA": {"16": [0.9, 0.9]}}})
    first = figure.axes[0]
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["16", "128", "running"]
    joined = [line for line in first.lines if line.get_linestyle() == "-" and line.get_lw() == 1.3]
    assert [len(line.get_xdata()) for line in joined] == [2]
    assert "Kendall, UA: 0.75 ± 0.64 at 16" in figure.alt and "0.50 ± 0.00 at running" in figure.alt
