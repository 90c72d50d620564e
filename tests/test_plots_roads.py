"""Figures of the other methods say what they show."""

import numpy as np
import pytest

from bcnet_lib.plots_roads import expected_course, paired_dots, ranked_channels, width_map


def test_a_width_map_names_the_likeliest_and_the_chosen_width():
    tables = [np.array([0.1, 0.7, 0.2]), np.array([0.5, 0.5])]
    candidates = [np.array([2, 3, 4]), np.array([2, 4])]
    figure = width_map(tables, candidates, [4, 2], ["a", "b"])
    assert (
        "a: highest 0.70 at width 3, chosen 4; b: highest 0.50 at width 2, chosen 2" in figure.alt
    )
    grid = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(grid.filled(np.nan), [[0.1, 0.7, 0.2], [0.5, np.nan, 0.5]])
    assert len(figure.axes[0].patches) == 4


def test_a_course_is_told_in_shares_of_the_budget():
    figure = expected_course({"TAS": [200, 150, 100], "DMCP": [50.0, 90.0]}, budget=100)
    assert figure.alt.endswith("TAS: 2.00 to 1.00; DMCP: 0.50 to 0.90")
    tas, dmcp = figure.axes[0].lines[:2]
    assert tas.get_ydata().tolist() == [2, 1.5, 1] and dmcp.get_linestyle() == "--"
    assert tas.get_xdata()[-1] == dmcp.get_xdata()[-1] == 100


def test_ranked_channels_fill_the_most_important_ones():
    figure = ranked_channels([np.array([0.5, 1.5, 1.0])], [2], ["conv 1"])
    kept, dropped = figure.axes[0].lines
    assert kept.get_xdata().tolist() == [1.5, 1.0] and dropped.get_xdata().tolist() == [0.5]
    assert figure.alt.endswith("conv 1: 2 of 3 kept")


@pytest.mark.parametrize("shift,text", [(2.0, "+2.0"), (-2.0, "-2.0"), (0.0, "+0.0")])
def test_paired_dots_are_differences_seed_by_seed(shift, text):
    reference = [90.0, 80.0, 85.0, 88.0]
    values = [r + shift + e for r, e in zip(reference, (0.1, -0.1, 0.2, -0.2), strict=True)]
    figure = paired_dots({"m": values}, reference, "points")
    assert f"m: {text} ± 0.3" in figure.alt
    colors = {line.get_color() for line in figure.axes[0].lines[2:3]}
    assert len(colors) == 1
    dots = figure.axes[0].lines[1].get_xdata()
    np.testing.assert_allclose(dots, np.subtract(values, reference))
    figure.draw_without_rendering()
