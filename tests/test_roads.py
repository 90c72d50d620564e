"""The comparison of methods: equal passes, one budget, paired seeds, a record that says so."""

from dataclasses import asdict
from pathlib import Path

import pytest

from bcnet_lib.results import Record
from bcnet_lib.roads import DISTILLED, METHODS, Setting, main, make_record

pytest.importorskip("torch_pruning")
ROOT = Path(__file__).parents[1]
TINY = Setting(passes=28, epochs=2, randoms=2, population=4, generations=1)


@pytest.fixture(scope="module")
def record():
    return make_record(TINY, [0], progress=False)


def test_every_method_has_a_row_within_the_budget_at_equal_passes(record):
    table = record.frame().set_index("method")
    assert list(table.index) == [*METHODS, *DISTILLED]
    assert (table.budget <= 1).all() and table.budget["uniform"] == 1
    assert table.accuracy.between(0, 1).all()
    passes = table.passes.drop(["uniform", "uniform, distilled"])
    assert passes.between(TINY.passes - 5, TINY.passes + 1).all()
    assert table.taught[list(DISTILLED)].eq(TINY.passes).all()
    assert table.taught.sum() == 2 * TINY.passes
    widths = table[[f"c{i + 1}" for i in range(5)]]
    assert widths.loc["TAS"].equals(widths.loc["TAS, distilled"])
    assert record.headline.endswith("10 methods at 28 passes, digits")


def test_the_record_of_the_chapter_compares_all_methods_on_the_same_terms():
    record = Record.load(ROOT / "figures/other_roads/digits/results.json")
    setting = Setting()
    assert record.parameters == asdict(setting) | {"seeds": record.parameters["seeds"]}
    assert len(record.parameters["seeds"]) >= 8
    for method in (*METHODS, *DISTILLED):
        assert len(record.values("accuracy", method=method)) == len(record.parameters["seeds"])
        assert (record.values("budget", method=method) <= 1).all()
        passes = record.values("passes", method=method)
        assert (abs(passes - (0 if "uniform" in method else setting.passes)) <= 5).all()


def test_the_command_writes_a_record(record, tmp_path, monkeypatch, capsys):
    asked = []

    def quick(setting, seeds):
        asked.append((setting.passes, list(seeds)))
        return record

    monkeypatch.setattr("bcnet_lib.roads.make_record", quick)
    main(["--seeds", "3", "--passes", "70", "--out", str(tmp_path / "a" / "results.json")])
    assert asked == [(70, [0, 1, 2])]
    assert Record.load(tmp_path / "a" / "results.json").rows == record.rows
    assert record.headline in capsys.readouterr().out
