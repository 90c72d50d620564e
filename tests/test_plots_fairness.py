"""Figures of what training touched say it in words too."""

import numpy as np
import pytest

from bcnet_lib.plots_fairness import kernel_maps, running_gap
from bcnet_lib.style import COLORS


def test_kernel_maps_count_the_kernels_that_are_never_used():
    figure = kernel_maps({"BC": np.full((4, 4), 0.5), "BCv2": np.eye(5)}, "uses")
    assert "BC: 0.5 to 0.5, 0 of 16 never; BCv2: 0 to 1, 20 of 25 never" in figure.alt
    assert "uses" in figure.alt
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:2] == ["BC\n0.5", "BCv2\n0 to 1"]


def test_kernel_maps_share_one_scale():
    figure = kernel_maps({"a": np.ones((3, 3)), "b": np.full((3, 3), 4.0), "c": np.zeros((3, 3))})
    limits = {ax.images[0].get_clim() for ax in figure.axes[:3]}
    assert limits == {(0, 4)}


def test_running_gap_tells_the_gap_at_the_end_and_where_it_is_in_passes():
    figure = running_gap(
        {"UA": [3, 6], "BCv2 + complement": [0]}, {"UA": 1, "BCv2 + complement": 2}
    )
    assert figure.alt.endswith("at the end. UA: 6; BCv2 + complement: 0")
    ua, fair = figure.axes[0].lines
    assert ua.get_xdata().tolist() == [0, 1, 2] and ua.get_ydata().tolist() == [0, 3, 6]
    assert fair.get_xdata().tolist() == [0, 2] and fair.get_linestyle() == "--"
    assert ua.get_color() == COLORS["UA"]


@pytest.mark.parametrize("end", [0, 3, 9, 11, 480, 1200])
def test_running_gap_draws_any_gap(end):
    figure = running_gap({"BC": [0, end], "Cyclic": [end, end]}, {"BC": 2, "Cyclic": 1})
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    assert low < 0 and high > end
