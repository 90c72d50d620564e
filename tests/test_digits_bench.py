"""The exhaustive benchmark on digits: how it is made, stopped and read, and that it repeats."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bcnet_lib import digits_bench
from bcnet_lib.data import DataError, mix
from bcnet_lib.digits_bench import DigitsSetting, make, read, train_one

TINY = DigitsSetting(channels=(4, 8), K=2, runs=2, epochs=2, batch_size=32)  # 4 networks


@pytest.fixture(scope="module")
def tiny_table(tmp_path_factory):
    return make(TINY, tmp_path_factory.mktemp("bench") / "table.json")


def test_widths_are_all_there_in_lexicographic_order():
    assert TINY.widths().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    widths = DigitsSetting().widths()
    assert len(np.unique(widths, axis=0)) == len(widths) == 4**5


def test_a_table_holds_what_the_trainings_gave(tiny_table):
    bench = read(tiny_table)
    assert bench.setting == TINY
    for row, run in ((0, 0), (3, 1)):
        last, best, val = train_one(TINY, row, run)
        assert bench.right["last"][row, run] == last
        assert bench.right["best"][row, run] == best
        assert bench.right["val"][row, run] == val
    assert bench.accuracies == pytest.approx(100 * bench.right["last"] / 809)
    assert bench.provenance["core_seconds"] > 0


def test_no_two_trainings_share_their_seed(tiny_table):
    right = read(tiny_table).right  # (4, 2) each
    assert (right["last"][:, 0] != right["last"][:, 1]).any()
    widest = DigitsSetting().space()
    seeds = {mix(run, row) for run in range(3) for row in range(widest.networks)}
    assert len(seeds) == 3 * widest.networks


def test_a_stopped_run_goes_on_and_gives_the_same_table(tiny_table, tmp_path):
    path = tmp_path / "table.json"
    journal = make(TINY, path, rows=[2, 0])
    assert journal.name == "table.json.journal" and not path.exists()
    text = journal.read_text()
    journal.write_text(text[:-4])  # killed in the middle of a line: that training is done again
    make(TINY, path)
    assert not journal.exists()
    for kind, right in read(path).right.items():
        assert (right == read(tiny_table).right[kind]).all()


def test_processes_do_not_change_the_table(tiny_table, tmp_path):
    path = make(TINY, tmp_path / "table.json", jobs=2)
    for kind, right in read(path).right.items():
        assert (right == read(tiny_table).right[kind]).all()


def test_a_journal_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "table.json"
    make(TINY, path, rows=[0])
    with pytest.raises(DataError, match="other settings.*delete it"):
        make(DigitsSetting(channels=(4, 8), K=2, runs=2, epochs=3, batch_size=32), path)


def test_a_journal_damaged_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "table.json"
    journal = make(TINY, path, rows=[0])
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0] + "[0, 0, 5\n" + "".join(lines[1:]))
    with pytest.raises(DataError, match="table.json.journal.*is damaged"):
        make(TINY, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"runs": 2', '"runs": 3'),
        lambda text: "[]",
        lambda text: json.dumps({"checksum": "0"}),
    ],
    ids=["truncated", "changed", "another file", "no table"],
)
def test_damaged_tables_are_refused(tiny_table, tmp_path, damage):
    path = tmp_path / "table.json"
    path.write_text(damage(tiny_table.read_text()))
    with pytest.raises(DataError, match="table.json.*make benchmark-digits"):
        read(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.json' does not exist"):
        read(tmp_path / "nowhere.json")


def test_two_tables_are_compared(tiny_table):
    a = read(tiny_table)
    assert digits_bench.compare(a, read(tiny_table)).startswith("equal to the table")
    right = {kind: counts.copy() for kind, counts in a.right.items()}
    right["last"][0, 0] += 6
    assert "Kendall" in digits_bench.compare(a, replace(a, right=right))
    other = replace(a, setting=DigitsSetting())
    assert "different settings" in digits_bench.compare(a, other)


# ------------------------------------------------------------------- the table that is shipped


def test_the_shipped_table_is_complete_and_plausible():
    bench = read()
    assert bench.setting == DigitsSetting()
    n = len(bench.C)
    for right in bench.right.values():
        assert right.shape == (n, 3)
    assert (bench.right["best"] >= bench.right["last"]).all()
    assert bench.images == {"test": 809, "val": 395}
    data = bench.setting.data()
    assert bench.images == {"test": len(data.test), "val": len(data.val)}
    assert bench.provenance["data"] == data.describe()["train"]["sha256"]  # the very same images


def test_a_handful_of_networks_trained_again_find_their_recorded_accuracies():
    """Another processor rounds otherwise, and a run then ends like one with another seed.

    So a retrained run may differ from the recorded one by what two seeds differ by: the tolerance
    is four standard deviations of such a difference; 2.5 on the mean of the handful.
    """
    bench = read()
    rows = np.random.default_rng(4).choice(len(bench.C), size=5, replace=False)
    new = [100 * train_one(bench.setting, int(row), 0)[0] / bench.images["test"] for row in rows]
    spread = np.sqrt(2 * bench.accuracies[rows].var(axis=1, ddof=1).mean())  # of a difference
    difference = np.array(new) - bench.accuracies[rows, 0]
    assert np.abs(difference).max() <= max(4 * spread, 1.0)
    assert abs(difference.mean()) <= max(2.5 * spread / np.sqrt(len(rows)), 0.5)
