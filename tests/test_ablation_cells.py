"""Cells: one file each, whole or not at all; failures, time budgets and resuming."""

import json
import os
import time
from dataclasses import dataclass, replace

import pytest

from bcnet_lib.ablations import run
from bcnet_lib.ablations.cells import Cell, CellError, Where, compute, finish
from tests.arithmetic import SMOKE, SUMS


@dataclass(frozen=True, kw_only=True)
class Settings:
    factor: int = 10
    seeds: int = 3
    values: tuple[int, ...] = ()


def times(settings, where, file, *, seed, method="a"):
    """A cell's work: leaves a trace of every call."""
    with open(where.folder / "calls", "a") as calls:
        calls.write(f"{seed} {os.getpid()}\n")
    if method == "fails":
        raise ValueError(f"no number for seed {seed}")
    if method == "slow" and not file.with_suffix(".part").exists():
        file.with_suffix(".part").write_text("begun")
        return None
    return {"value": settings.factor * seed, "method": method}


def calls(folder) -> list[str]:
    return [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


def cell(seed, settings=None, **key) -> Cell:
    return Cell.of("times", times, settings or Settings(), seed=seed, **key)


def test_a_finished_cell_is_not_computed_again(tmp_path):
    where = Where(folder=tmp_path)
    cells = [cell(seed) for seed in range(3)]
    first = compute(cells, where)
    assert [first.done[c]["result"]["value"] for c in cells] == [0, 10, 20]
    again = compute([*cells, cell(3)], where)
    assert again.done[cells[1]] == first.done[cells[1]]
    assert calls(tmp_path) == ["0", "1", "2", "3"]


def test_equal_cells_are_computed_once_and_seeds_of_the_experiment_do_not_count(tmp_path):
    more = cell(1, replace(Settings(), seeds=50, values=(1, 2)))
    found = compute([cell(1), cell(1), more], Where(folder=tmp_path), jobs=2)
    assert calls(tmp_path) == ["1"]
    assert found.done[more]["result"]["value"] == found.done[cell(1)]["result"]["value"] == 10
    bad = [cell(2, s, method="fails") for s in (Settings(), more.settings)]
    failed = compute(bad, Where(folder=tmp_path))
    assert len(failed.failed) == 1 and not failed.left and all(c in failed.failed for c in bad)


def test_a_record_says_where_its_cells_were_computed(tmp_path):
    where = Where(folder=tmp_path)
    assert "devices" not in run(SUMS, "smoke", where).parameters
    path = SUMS.stages(SMOKE, [0])[0][0].path(tmp_path)
    body = json.loads(path.read_text())
    assert body["device"] == "cpu"
    path.write_text(json.dumps(body | {"device": "cuda"}))
    assert run(SUMS, "smoke", where).parameters["devices"] == ["cpu", "cuda"]


def test_other_settings_or_keys_have_other_files(tmp_path):
    paths = {
        c.path(tmp_path)
        for c in (cell(1), cell(2), cell(1, method="b"), cell(1, Settings(factor=3)))
    }
    assert len(paths) == 4


def test_a_failure_is_told_and_the_others_go_on(tmp_path):
    bad = cell(7, method="fails")
    outcome = compute([cell(0), bad, cell(1)], Where(folder=tmp_path))
    assert set(outcome.done) == {cell(0), cell(1)}
    assert "ValueError: no number for seed 7" in outcome.failed[bad]
    assert not bad.path(tmp_path).exists() and not outcome.left


def test_what_runs_out_of_time_is_left_and_goes_on_later(tmp_path):
    slow = cell(4, method="slow")
    first = compute([slow], Where(folder=tmp_path))
    assert first.left == (slow,) and not first.done and not first.failed
    assert compute([slow], Where(folder=tmp_path)).done[slow]["result"]["value"] == 40


def test_nothing_is_begun_when_the_time_is_up(tmp_path):
    outcome = compute([cell(0)], Where(folder=tmp_path, until=time.time() - 1))
    assert outcome.left == (cell(0),) and not (tmp_path / "calls").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": {}, "result": {}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = cell(0).path(tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(CellError, match=f"'{path}' is no whole file of '0-.*': delete it"):
        compute([cell(0)], Where(folder=tmp_path))


def test_a_file_holds_what_decided_its_numbers(tmp_path):
    finish(cell(2), Where(folder=tmp_path))
    body = json.loads(cell(2).path(tmp_path).read_text())
    assert body["identity"] == {"settings": {"factor": 10}, "key": {"seed": 2}}
    assert len(body["library"]) == 64 and body["seconds"] >= 0


def test_processes_side_by_side_give_the_same(tmp_path):
    cells = [cell(seed) for seed in range(6)]
    for folder, jobs in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        compute(cells, Where(folder=tmp_path / folder), jobs=jobs)
    for c in cells:
        one, two = c.load(tmp_path / "one"), c.load(tmp_path / "two")
        assert one["result"] == two["result"]
    one = (tmp_path / "one" / "calls").read_text().splitlines()
    assert {line.split()[1] for line in one} == {str(os.getpid())}
