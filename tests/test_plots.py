"""Figures show what the numbers are, in one look, and are the same file at every run."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from bcnet_lib import BC, UA, BCv2, Cyclic, plots

PRINCIPLES = [UA(), BC(), BCv2(), Cyclic()]


def bars(ax):
    return [p for p in ax.patches if isinstance(p, Rectangle)]


def used_cells(figure, row):
    return [
        round(p.get_x() + 0.46)
        for p in bars(figure.axes[0])
        if round(p.get_y() + 0.42) == row and to_hex(p.get_facecolor()) != plots_pale()
    ]


def plots_pale():
    from bcnet_lib.style import PALE

    return PALE.lower()


def labels(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


# ---------------------------------------------------------------------------- one look


def test_the_same_principle_has_the_same_colour_in_every_figure():
    for p in PRINCIPLES:
        expected = plots.COLORS[p.name].lower()
        counts = {p.name + " + complement": p.cardinality(6)}
        dots = plots.accuracy_dots({p.name + " alternate": [0.5, 0.6]}).axes[0].lines[0]
        loss = plots.loss_curve({p.name: [2.0, 1.0]}).axes[0].lines[0]
        assert to_hex(bars(plots.cardinality([p], 6).axes[0])[0].get_facecolor()) == expected
        assert to_hex(bars(plots.unit_counts(counts).axes[0])[0].get_facecolor()) == expected
        assert to_hex(bars(plots.paths_grid(p, 6).axes[0])[0].get_facecolor()) == expected
        assert to_hex(dots.get_markerfacecolor()) == to_hex(loss.get_color()) == expected


def test_the_colours_are_distinct_and_the_papers_bcv2_keeps_its_own():
    assert len(set(plots.COLORS.values())) == 4 == len(plots.COLORS)
    assert plots.color_of(BCv2(overlap="paper")) == plots.color_of(BCv2()) == plots.COLORS["BCv2"]
    assert plots.label_of(BCv2(overlap="paper")) == "BCv2 (paper)"
    assert plots.color_of("random") not in plots.COLORS.values()


def test_type_is_large_enough_for_a_phone():
    """At 360 CSS pixels a figure of the text's width still shows every letter at 8 pixels."""
    figures = [
        plots.cardinality([*PRINCIPLES], 12),
        plots.paths_grid(Cyclic(), 6),
        plots.tiling(BC(), 2),
        plots.accuracy_dots({"UA": [0.9, 0.91]}),
    ]
    for figure in figures:
        texts = figure.findobj(lambda t: isinstance(t, mpl.text.Text) and t.get_text().strip())
        smallest = min(t.get_fontsize() for t in texts)
        assert smallest / 72 * 360 / figure.get_figwidth() >= 7.8, figure


def test_the_readers_own_style_is_left_alone_until_asked_for():
    with mpl.rc_context():
        before = dict(mpl.rcParams)
        plots.cardinality([UA()], 6)
        assert dict(mpl.rcParams) == before
        plots.use_style()
        assert mpl.rcParams["font.size"] == 12


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_figure_is_the_same_file_at_every_run(tmp_path, suffix):
    files = [
        plots.save(plots.cardinality(PRINCIPLES, 12, 4), tmp_path / f"{i}.{suffix}").read_bytes()
        for i in range(2)
    ]
    assert files[0] == files[1]
    assert b"dc:date" not in files[0] and b"Software" not in files[0]


def test_a_notebook_gets_a_sharp_picture_and_its_words():
    figure = plots.cardinality([BC()], 6)
    data, metadata = figure._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == repr(figure) == f"Figure: {figure.alt}"
    assert metadata["image/png"] == {"width": 640, "alt": figure.alt}
    assert figure.alt == "Uses of each unit, l = 6, base 1. BC: all 7 over 6 units"


# ---------------------------------------------------------------------------- content


@pytest.mark.parametrize("base", [1, 3])
def test_cardinality_draws_a_bar_and_a_formula_dot_for_every_unit(base):
    figure = plots.cardinality(PRINCIPLES, 8, base)
    assert len(figure.axes) == 4
    for ax, p in zip(figure.axes, PRINCIPLES, strict=True):
        heights = [b.get_height() for b in bars(ax)]
        assert heights == p.cardinality(8, base).tolist()
        assert ax.lines[0].get_ydata().tolist() == p.cardinality_formula(8, base).tolist()
        assert ax.get_title(loc="left").startswith(p.name + ": ")


def test_paths_grid_has_a_row_for_each_path_and_the_counts_below():
    figure = plots.paths_grid(BC(), 6)
    rows = labels(figure.axes[0].yaxis)
    assert rows == [f"c = {c} {s}" for c in range(1, 7) for s in ("left", "right")] + ["uses"]
    assert used_cells(figure, 4) == [1, 2, 3] and used_cells(figure, 5) == [4, 5, 6]
    counts = [t.get_text() for t in figure.axes[0].texts]
    assert counts == ["7"] * 6


def test_paths_grid_of_cyclic_sums_the_windows_of_a_width():
    figure = plots.paths_grid(Cyclic(), 4, 2)
    assert labels(figure.axes[0].yaxis) == ["c = 2", "c = 3", "c = 4", "uses"]
    assert [t.get_text() for t in figure.axes[0].texts] == [*"2222", *"3333", *"4444", *"9999"]


def test_tiling_shows_a_width_and_its_complement_meeting():
    figure = plots.tiling(BCv2(), 5, 6, 2)
    assert labels(figure.axes[0].yaxis) == [
        "c = 5 left",
        "c̄ = 3 right",
        "c̄ = 3 left",
        "c = 5 right",
        "uses",
    ]
    assert used_cells(figure, 0) + used_cells(figure, 1) == list(range(1, 9))
    assert used_cells(figure, 2) + used_cells(figure, 3) == list(range(1, 9))
    assert [t.get_text() for t in figure.axes[0].texts] == ["2"] * 8


def test_tiling_says_when_there_is_no_complement():
    figure = plots.tiling(BC(), 6, 6)
    assert len(labels(figure.axes[0].yaxis)) == 3 and "no complement" in figure.alt
    with pytest.raises(ValueError, match="Cyclic has 6"):
        plots.tiling(Cyclic(), 2, 6)


def test_kernel_counts_prints_small_matrices_and_not_large_ones():
    m = np.arange(12).reshape(3, 4)
    figure = plots.kernel_counts(m)
    assert [t.get_text() for t in figure.axes[0].texts] == [str(i) for i in range(12)]
    assert labels(figure.axes[0].yaxis) == ["1", "2", "3"]
    assert not plots.kernel_counts(np.ones((30, 20))).axes[0].texts
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        plots.kernel_counts([1, 2, 3])


def test_unit_counts_draws_measured_counts_and_their_mean():
    figure = plots.unit_counts({"UA": [3, 2, 1], "BC": [2, 2, 2]})
    assert [b.get_height() for b in bars(figure.axes[0])] == [3, 2, 1]
    assert set(figure.axes[0].lines[0].get_ydata()) == {2}
    assert "UA: 1 to 3 over 3 units" in figure.alt


def test_widths_bar_stands_the_found_network_before_its_base():
    figure = plots.widths_bar([8, 16], {"uniform": [4, 8], "found": [6, 5]}, names=["a", "b"])
    assert len(figure.axes) == 2
    assert [b.get_height() for b in bars(figure.axes[1])] == [8, 16, 6, 5]
    assert labels(figure.axes[1].xaxis) == ["a", "b"]
    assert figure.axes[0].get_title(loc="left") == "uniform: 50 % of all channels"
    with pytest.raises(ValueError, match="found has 3 groups, the base network 2"):
        plots.widths_bar([8, 16], [1, 2, 3])


def test_pareto_joins_the_front_in_order_of_macs():
    front = pd.DataFrame({"macs": [3e6, 1e6, 2e6], "score": [0.9, 0.7, 0.8]})
    history = pd.DataFrame({"macs": [4e6, 2e6], "score": [0.6, 0.5]})
    figure = plots.pareto(front, history, budget=2.5e6)
    cloud, line, budget = figure.axes[0].lines
    assert line.get_xdata().tolist() == pytest.approx([1, 2, 3])
    assert line.get_ydata().tolist() == pytest.approx([70, 80, 90])
    assert len(cloud.get_xdata()) == 2 and budget.get_xdata()[0] == pytest.approx(2.5)
    assert figure.axes[0].get_xlabel() == "MACs (million)"
    assert "front of 3 networks, up to 90.0 % at 3 million MACs" in figure.alt


def test_accuracy_dots_shows_every_seed_mean_and_interval():
    figure = plots.accuracy_dots({"UA": [0.90, 0.92, 0.94], "one": [0.5]})
    seeds, interval, mean, one, one_mean = figure.axes[0].lines
    assert sorted(seeds.get_xdata()) == pytest.approx([90, 92, 94])
    low, high = interval.get_xdata()
    assert (high - low) / 2 == pytest.approx(4.303 * 2 / 3**0.5, rel=1e-3)
    assert mean.get_xdata()[0] == pytest.approx(92)
    assert one.get_xdata().tolist() == [50] and one_mean.get_xdata()[0] == 50
    assert "UA: 92.0 ± 5.0, n = 3" in figure.alt


def test_memory_bars_prints_mebibytes():
    figure = plots.memory_bars({"one path": 2**20, "both at once": 3 * 2**20})
    assert [b.get_width() for b in bars(figure.axes[0])] == [1, 3]
    assert [t.get_text().strip() for t in figure.axes[0].texts] == ["1.0", "3.0"]


def test_loss_curve_smooths_without_hiding_the_raw_steps():
    figure = plots.loss_curve([4.0, 2.0, 0.0], smooth=2)
    raw, mean = figure.axes[0].lines
    assert raw.get_ydata().tolist() == [4, 2, 0] and mean.get_ydata().tolist() == [3, 1]
    assert mean.get_xdata().tolist() == [2, 3]


def test_the_readmes_figure_is_what_the_code_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plots.main()
    drawn = (tmp_path / "figures/readme/cardinality.svg").read_text()
    assert (tmp_path / "figures/readme/cardinality.png").stat().st_size > 10_000
    assert re.search(r"<svg", drawn) and len(re.findall('id="axes_', drawn)) == 4
