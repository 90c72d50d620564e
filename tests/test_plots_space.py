"""Figures of widths and their cost say in words what they show."""

import numpy as np
import pytest

from bcnet_lib import BC
from bcnet_lib.plots_space import (
    budget_plane,
    macs_histogram,
    printed_against_counted,
    supernet_growth,
    uses_by_total,
)


def test_budget_plane_counts_the_pairs_that_fit():
    w = np.arange(1, 5) / 4
    figure = budget_plane(np.outer(w, w), 0.5)
    assert "12 of 16 pairs" in figure.alt  # c_1 c_2 <= 8
    assert figure.axes[0].get_title(loc="left").startswith("12 of 16 widths fit 50%")


def test_macs_histogram_says_how_many_exceed_the_budget():
    alt = macs_histogram({"toy": [0.2, 0.4, 0.5, 0.7]}, 0.5).alt
    assert "toy: mean 45%, 25.0% above the budget" in alt


def test_printed_against_counted_names_the_wrong_units():
    u = np.arange(1, 7)
    figure = printed_against_counted(BC().cardinality(6, 3), np.where(u <= 3, 4 + u, 7), "Eq. 19")
    assert "wrong for 2 of 6 units, units 5 to 6" in figure.alt
    assert "wrong for 0 of 6 units;" in printed_against_counted(u, u, "right").alt


@pytest.mark.parametrize(("low", "said"), [([1, 4, 2], "T = 9 with 4"), ([1, 3, 2], "none")])
def test_uses_by_total_names_the_fair_layers(low, said):
    assert uses_by_total([8, 9, 10], low, [5, 4, 6]).alt.endswith(f"only for {said}")


def test_supernet_growth_gives_both_ends_of_every_curve():
    alt = supernet_growth([1, 2], {"built": [1.1, 1.2], "square": [1.2, 1.5]}).alt
    assert "built: 1.10 at 1 to 1.20 at 2" in alt and "square: 1.20 at 1 to 1.50 at 2" in alt
