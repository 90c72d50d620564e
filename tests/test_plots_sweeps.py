"""Figures of sweeps say what they show."""

import numpy as np
import pytest

from bcnet_lib.plots_sweeps import differences, losses, properties, sweep


def test_a_sweep_tells_every_mean_with_its_interval():
    curves = {"BC": {4: [96.0, 97.0], 30: [95.0, 97.0]}, "random": {4: [90.0, 91.0], 30: [91, 91]}}
    figure = sweep(curves, "units K")
    assert "2 seeds. BC: 96.50 ± 6.35 at 4, 96.00 ± 12.71 at 30; random: 90.50" in figure.alt
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["4", "30"]
    dots = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert sorted(y for line in dots for y in line.get_ydata()) == [90, 91, 91, 91, 95, 96, 97, 97]


def test_a_single_seed_is_drawn_without_an_interval():
    figure = sweep({"BC": {1: [96.0], 2: [97.0]}}, "l_s")
    assert "96.00 (no interval) at 1" in figure.alt and not figure.legends


def test_differences_show_zero_and_what_could_be_found():
    figure = differences({"K = 6": [0.1, 0.3]}, found={"K = 6": 0.4})
    assert figure.alt.endswith("K = 6: 0.20 ± 1.27, found from 0.40")
    (band,) = figure.axes[0].collections
    x = band.get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == (-0.4, 0.4)


def test_properties_are_shares_or_numbers():
    shown = {
        "networks": {"": {1: 100.0, 2: 10.0}},
        "fits": {"": {1: 0.5, 2: 0.25}},
    }
    figure = properties(shown, "l_s", log=["networks"], percent=["fits"])
    assert figure.alt.endswith("networks: 100 to 10; fits: 50 % to 25 %")
    first, second = figure.axes[:2]
    assert first.get_yscale() == "log" and second.lines[0].get_ydata().tolist() == [50, 25]


@pytest.mark.parametrize(
    "values,says", [([np.nan, -0.5, 0.0], "-0.50 at 30 %"), ([np.nan] * 3, "never fits")]
)
def test_a_budget_that_nothing_fits_is_left_out(values, says):
    figure = losses({"l_s = 2": values}, [0.2, 0.3, 0.4], "points lost")
    assert says in figure.alt
