"""Figures of widths say what they show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from bcnet_lib.plots_widths import SHADES, measures, over_depth
from bcnet_lib.width_places import Place

PLACES = [
    Place(name=n, kind=k, shrinks=s)
    for n, k, s in (("a", "stem", False), ("b", "inner", True), ("c", "last", False))
]


def test_any_width_vector_is_drawn_beside_its_base_network():
    figure = over_depth({"one": [0.2, 0.5, 1.0]}, PLACES, uniform=0.5)
    (ax,) = figure.axes
    assert [b.get_height() for b in ax.patches] == [0.2, 0.5, 1.0]
    assert [to_hex(b.get_facecolor()) for b in ax.patches] == [
        to_hex(SHADES[p.kind]) for p in PLACES
    ]
    assert (
        "Images shrink at group 2." in figure.alt and "A uniform network is at 0.50" in figure.alt
    )
    assert "widest group 3 (1.00), narrowest 1 (0.20)" in figure.alt
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["stem", "inner", "last", "images shrink", "uniform"]


def test_several_seeds_are_dots_around_their_mean():
    figure = over_depth({"two": np.array([[0.2, 0.4, 0.6], [0.4, 0.8, 0.6]])}, PLACES)
    (ax,) = figure.axes
    assert [b.get_height() for b in ax.patches] == pytest.approx([0.3, 0.6, 0.6])
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    assert sorted(dots.get_ydata()) == [0.2, 0.4, 0.4, 0.6, 0.6, 0.8]
    assert "two, 2 seeds" in figure.alt


def test_a_vector_of_another_network_is_refused():
    with pytest.raises(ValueError, match="'one' has 2 widths, the network 3 groups"):
        over_depth({"one": [0.2, 0.5]}, PLACES)


def test_what_is_sure_is_filled_and_said():
    rows = [("BC, x", "trend", 0.5, 0.1, 0.1, 1), ("UA, y", "trend", 0.1, np.inf, 0.1, 0)]
    table = pd.DataFrame(rows, columns=["set", "measure", "found", "half", "random", "told"])
    figure = measures(table)
    marks = [m for m in figure.axes[0].lines if m.get_marker() == "o"]
    assert [to_hex(m.get_markerfacecolor()) for m in marks] == ["#0072b2", "#ffffff"]
    assert figure.alt.endswith("below: trend, BC, x: +0.40. Of 2, the others could not be told.")
