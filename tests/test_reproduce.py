"""`make reproduce`: what counts as the same numbers, and what it says about others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bcnet_lib import prior_records, reproduce, roads
from bcnet_lib.ablations import EXPERIMENTS, chapter
from bcnet_lib.intervals import mean_interval
from bcnet_lib.reproduce import MAKERS, compare, settings_of
from bcnet_lib.results import Measured, Record
from tests.arithmetic import SUMS

ROOT = Path(__file__).parents[1]


def record(change=lambda row: {}, seeds=8, parameters=None, **options) -> Record:
    """Two methods, one number a seed; widths and seconds depend on the run."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for method, level in (("UA", 1), ("BC", 2)):
            row = {"seed": seed, "method": method, "level": level, "seconds": rng.random()}
            row |= {"accuracy": 90 + rng.random(), "widths": f"{seed} 2", "kendall": None}
            rows.append(row | change(row))
    settings = {"steps": 3, "seeds": list(range(seeds)), "core_seconds": 1}
    return Record.new(
        "accuracies",
        rows,
        **{"experiment": "x", "profile": "digits", "missing": "kendall: no benchmark"} | options,
        parameters=settings | (parameters or {}),
        measured=Measured(),
    )  # fmt: skip


def test_equal_rows_are_identical_whatever_the_time():
    again = record(lambda row: {"seconds": 1.0}, parameters={"core_seconds": 9, "libraries": ["a"]})
    assert compare(record(), again).state == "identical"


def test_settings_are_what_no_seed_changes():
    assert settings_of(record().frame()) == ["method", "level"]


def test_means_within_the_combined_intervals_agree_although_no_row_is_equal():
    found = compare(record(), record(lambda row: {"accuracy": row["accuracy"] + 0.1}))
    assert found.state == "within" and not found.differs
    values = [r["accuracy"] for r in record().rows if r["method"] == "UA"]
    other = [r["accuracy"] for r in record().rows if r["method"] == "BC"]
    allowed = [np.sqrt(2) * mean_interval(v, 0.999).half for v in (values, other)]
    assert found.farthest == pytest.approx(0.1 / min(allowed))


def test_one_setting_outside_is_named_with_its_numbers():
    shift = {"UA": 0.0, "BC": 3.0}
    found = compare(
        record(), record(lambda row: {"accuracy": row["accuracy"] + shift[row["method"]]})
    )
    (said,) = found.differs
    assert found.state == "outside" and found.farthest > 1
    assert said.startswith("accuracy at method BC, level 2") and "committed 90." in said


def test_other_widths_alone_do_not_count_but_other_constants_do():
    assert compare(record(), record(lambda row: {"widths": "9 9"})).state == "within"
    assert compare(record(), record(lambda row: {"level": row["level"] + 1})).state == "outside"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (record(parameters={"steps": 4}), "setting steps: committed 3, now 4"),
        (record(lambda row: {"new": 1}), "columns: committed"),
        (record(lambda row: {"kendall": 0.5}), "kendall"),
    ],
)
def test_what_cannot_be_compared_is_outside(other, says):
    found = compare(record(), other)
    assert found.state == "outside" and says in " ".join(found.differs)


def test_rows_of_a_single_seed_are_compared_in_the_mean():
    def losses(shift=0.0, widths="2 3"):
        rng = np.random.default_rng(1)
        rows = [
            {"seed": 0, "path": i % 2, "loss": rng.normal(2, 0.1) + shift, "widths": widths}
            for i in range(50)
        ]
        options = {"experiment": "y", "profile": "digits", "parameters": {}}
        return Record.new("losses", rows, measured=Measured(), **options)

    assert compare(losses(), losses(0.01)).state == "within"
    assert compare(losses(), losses(1.0)).state == "outside"
    assert compare(losses(), losses(0.01, "2 4")).differs == ("widths: other text",)
    one = replace(losses(), rows=losses().rows[:1])
    two = replace(losses(0.1), rows=losses(0.1).rows[:1])
    assert "one number each" in compare(one, two).differs[0]


# ---------------------------------------------------------------------------- the command


@pytest.fixture
def sums(monkeypatch, tmp_path):
    monkeypatch.setitem(EXPERIMENTS, "sums", SUMS)
    monkeypatch.setattr(reproduce, "MAKERS", MAKERS | {"sums": reproduce._experiment})
    monkeypatch.chdir(tmp_path)
    chapter.make(SUMS, "digits", folder="cells", out_root="figures")
    return Path("figures/sums/digits/results.json")


def test_records_are_computed_anew_in_a_fresh_folder(sums, capsys):
    assert reproduce.main([]) == 0
    assert "sums: identical (8 rows" in capsys.readouterr().out
    (folder,) = Path("_build/reproduce").iterdir()
    assert len(list((folder / "cells/parts").glob("*.json"))) == 32
    assert Record.load(folder / "records" / Path(*sums.parts[1:])).rows == Record.load(sums).rows


def test_a_record_with_other_numbers_makes_the_command_fail(sums, capsys):
    old = Record.load(sums)
    replace(old, rows=[r | {"total": r["total"] + 1000} for r in old.rows]).save(sums)
    before = sums.read_bytes()
    assert reproduce.main(["--only", "sums"]) == 1
    assert "outside" in (said := capsys.readouterr().out) and "total at all rows" in said
    assert sums.read_bytes() == before


def test_a_run_that_fails_is_no_agreement(sums, monkeypatch, capsys):
    monkeypatch.setenv("BCNET_TEST_FAIL", "32 1 2")
    assert reproduce.main([]) == 1
    assert "sums: failed" in (said := capsys.readouterr().out) and "no luck with 1 and 2" in said


def test_a_record_that_nothing_makes_is_no_agreement(sums, capsys):
    other = Path("figures/lost/digits/results.json")
    other.parent.mkdir(parents=True)
    other.write_bytes(sums.read_bytes())
    assert reproduce.main(["--only", "lost"]) == 1
    assert "lost: outside: nothing here computes this record" in capsys.readouterr().out


def test_unknown_names_are_refused(sums, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["--only", "product"])
    assert "--only product: figures has records of sums" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, says", [(["--jobs", "0"], "--jobs 0: at least"), (["--device", "tpu"], "no such dev")]
)
def test_wrong_options_are_named(sums, capsys, options, says):
    with pytest.raises(SystemExit):
        reproduce.main(options)
    assert says in capsys.readouterr().err


def test_every_committed_record_of_digits_can_be_computed_anew():
    names = {p.parents[1].name for p in (ROOT / "figures").glob("*/digits/results.json")}
    assert {"ranking", "other_roads", "prior_records"} <= names <= set(MAKERS)


def test_the_recorded_losses_are_made_by_the_recorded_settings():
    path = ROOT / "figures/prior_records/digits/results.json"
    assert json.loads(path.read_text())["parameters"] == vars(prior_records.Setting())


def test_a_short_training_gives_the_rows_of_the_committed_losses():
    old = Record.load(ROOT / "figures/prior_records/digits/results.json")
    short = prior_records.make_record(
        prior_records.Setting(epochs=1, batch_size=360, warmup_epochs=0)
    )
    assert list(short.rows[0]) == list(old.rows[0])
    assert [r["widths"] for r in short.rows] == [r["widths"] for r in old.rows[: len(short.rows)]]
    assert 0 < len(short.rows) < len(old.rows)


def test_the_comparison_of_other_methods_is_asked_for_with_the_recorded_settings(monkeypatch):
    old = Record.load(ROOT / "figures/other_roads/digits/results.json")
    asked = []

    def compare_once(setting, seed):
        asked.append((setting, seed))
        return [row for row in old.rows if row["seed"] == seed]

    monkeypatch.setattr(roads, "compare", compare_once)
    assert compare(old, MAKERS["other_roads"](old, None, 1)).state == "identical"
    assert asked == [(roads.Setting(), seed) for seed in old.parameters["seeds"]]
