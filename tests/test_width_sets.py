"""Widths of all records: read by rows, beside random ones that keep the same budget."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bcnet_lib import CostTable, WidthSpace
from bcnet_lib.ablations import EXPERIMENTS
from bcnet_lib.ablations.width_sets import SETS, best_by_run, places_of, read, released
from bcnet_lib.networks import make
from bcnet_lib.paper_tables import read_folder
from bcnet_lib.profiles import PROFILES
from bcnet_lib.results import Record

FIGURES = Path(__file__).parents[1] / "figures"
PAPER = read_folder(Path(__file__).parents[1] / "book/data/paper")


def test_a_set_holds_the_rows_it_names_one_a_seed():
    record = Record.load(FIGURES / "group_number/digits/results.json")
    widths = read(FIGURES, draws=20, names=["BC, K = 30"])["BC, K = 30"]
    rows = [r for r in record.rows if r["K"] == 30 and r["search"] == "evolution"]
    assert [" ".join(map(str, c)) for c in widths.found.tolist()] == [r["widths"] for r in rows]
    assert widths.K == 30 and len(widths.places) == widths.found.shape[1] == 5
    assert widths.reference.shape == (20, 5)


@pytest.mark.parametrize("name", [n for n in SETS if "MobileNetV2" not in n])
def test_found_and_random_widths_keep_the_smallest_width_and_are_of_one_space(name):
    (widths,) = read(FIGURES, draws=40, names=[name]).values()
    for C in (widths.found, widths.reference):
        assert C.min() >= SETS[name].change.get("base", 1) and C.max() <= widths.K
    if SETS[name].record in EXPERIMENTS:
        profile = EXPERIMENTS[SETS[name].record].profiles["digits"]
        assert len(widths.found) == profile.seeds
    assert (widths.found != widths.found[0]).any()


def test_records_that_are_not_there_are_left_out(tmp_path):
    assert read(tmp_path) == {}


def test_places_need_no_images():
    profile = PROFILES["found_widths"]["cifar10-vgg19"]
    assert [p.kind for p in places_of(profile)] == ["stem", *["layer"] * 14, "last"]


def test_the_best_widths_are_chosen_by_each_run_for_itself():
    C = np.array([[i, 5 - i] for i in range(6)])
    bench = SimpleNamespace(
        C=C, macs=np.arange(6), accuracies=np.array([[i, -i] for i in range(6)], dtype=float)
    )
    best = best_by_run(bench, 3, top=2)
    assert best.tolist() == [[[3, 2], [2, 3]], [[0, 5], [1, 4]]]  # (runs, top, L)
    with pytest.raises(ValueError, match="4 networks fit 3 MACs, too few to choose 5"):
        best_by_run(bench, 3, top=5)


def test_released_widths_stand_beside_random_ones_that_fit_and_that_cost_as_much():
    rows = [w for n, w in PAPER.widths.items() if n.startswith("released-mbv2-50m")]
    sets = released(rows, draws=40)
    assert set(sets) == {"any cost", "as costly"}
    for widths in sets.values():
        assert len(widths.found) == len(rows) == 2 and widths.K == 20
        assert widths.reference.min() >= widths.found.min() == 2
    assert len(sets["any cost"].reference) == 40
    model, x = make("mobilenet_v2"), torch.zeros(1, 3, 224, 224)
    cost = CostTable(model, WidthSpace.from_model(model, x, K=20), x)
    assert cost.macs(sets["any cost"].reference).max() <= 50e6
    costly = cost.macs(sets["as costly"].reference)
    assert (costly >= cost.macs(sets["as costly"].found).min()).all() and costly.max() <= 50e6


@pytest.mark.parametrize(
    "names, message",
    [
        (["released-mbv2-150m", "released-mbv2-50m-min2"], "of one network, K and budget"),
        (["autoslim-mbv2-207m"], "widths in units"),
        (["released-mbv2-150m-min7"], "none of 1 widths needs 150,000,000 MACs or less"),
    ],
)
def test_released_widths_that_cannot_be_compared_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        released([PAPER.widths[n] for n in names])
