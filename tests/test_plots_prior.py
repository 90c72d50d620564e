"""Figures of prior sampling say it in words too."""

import numpy as np
import pytest
from tiny import supernet

from bcnet_lib.plots_prior import (
    alternations,
    distributions,
    dual,
    envelope,
    error_map,
    populations,
    region,
)
from bcnet_lib.search import fit_prior
from bcnet_lib.search.qcqp import QCQP, lower_envelope


def test_the_lower_envelope_lies_below_all_points_and_is_convex():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = np.sort(rng.random(9)), rng.random(9)
        corners = lower_envelope(x, y)
        below = np.interp(x, x[corners], y[corners])
        assert (below <= y + 1e-12).all() and corners[0] == 0 and corners[-1] == 8
        slopes = np.diff(y[corners]) / np.diff(x[corners])
        assert (np.diff(slopes) > 0).all()
        mean, p = rng.random() * (x[-1] - x[0]) + x[0], rng.dirichlet(np.ones(9), 500)
        near = np.abs(p @ x - mean) < 1e-2
        assert (p[near] @ y >= np.interp(p[near] @ x, x[corners], y[corners]) - 1e-12).all()


def test_error_map_counts_the_widths_that_never_occurred():
    figure = error_map(np.array([[np.nan, 2.0], [1.0, 0.5]]))
    assert "2 groups and 2 widths, from 0.50 to 2.00 nats; 1 cells are empty" in figure.alt


def test_envelope_tells_the_best_mixture():
    assert "2 corners, and is 2.00 at a mean of 2 channels" in envelope([1, 2, 3], [3, 4, 1], 2).alt


def test_region_and_dual_and_alternations_tell_their_numbers():
    pairs = {(0, 1): np.outer([1, 2, 4], [1, 2, 4]) / 6}
    errors = (np.array([3.0, 2.0, 1.0]),) * 2
    problem = QCQP(errors=errors, unary=(np.zeros(3),) * 2, pairs=pairs)
    figure = region(problem, ([1, 2, 4], [1, 2, 4]), path=[(4, 1.0), (4, 1.5)], best=(4, 1.5))
    assert "optimum at (4.0, 1.5)" in figure.alt and "end at (4.0, 1.5)" in figure.alt
    figure = dual([0, 1, 2], [1.0, 2.0, 1.5], [(1, 2), (3, 0.5)], 2.1)
    assert "rises to 2.000 at a price of 1.00" in figure.alt and "found is 2.100" in figure.alt
    assert "a ends at 2.000; the bound is 1.500" in alternations({"a": [3, 2]}, 1.5).alt
    figure.draw_without_rendering()


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_distributions_say_how_many_groups_are_undecided(temperature):
    net = supernet(K=8, base=2)
    E = 1 / np.arange(1, 9) + np.zeros((3, 1))
    prior = fit_prior(E, net.cost, 0.4 * net.cost.macs(net.space.full), temperature=temperature)
    figure = distributions({"a": prior, "b": prior})
    assert f"a: {prior.undecided} of 3 groups undecided" in figure.alt
    figure.draw_without_rendering()


def test_populations_give_mean_and_interval():
    figure = populations({"random": np.array([1.0, 2.0, 3.0]), "prior": np.array([1.0, 1.0, 1.0])})
    assert "random: 2.00 ± 2.48; prior: 1.00 ± 0.00" in figure.alt
