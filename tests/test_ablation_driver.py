"""What runs the ablations: nothing finished is lost, one failure stops no other."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
from joblib import parallel_config, register_parallel_backend
from joblib._parallel_backends import ThreadingBackend
from nbformat.v4 import new_code_cell, new_notebook

from bcnet_lib.ablations import EXPERIMENTS, cells, chapter, driver
from bcnet_lib.ablations.cells import Where, compute
from bcnet_lib.results import Record
from tests.arithmetic import OTHER, SMOKE, SUMS, below, parts_of, total_of

ROOT = Path(__file__).parents[1]
TIMES = {"seconds"}  # of a row: how long its cell took


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Only the experiments of sums are known; runs happen in an empty folder."""
    for name in list(EXPERIMENTS):
        monkeypatch.delitem(EXPERIMENTS, name)
    for e in (SUMS, OTHER):
        monkeypatch.setitem(EXPERIMENTS, e.name, e)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(path: Path) -> list[dict]:
    """Rows of a record without timings."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in Record.load(path).rows]


# ---------------------------------------------------------------------------- the whole command


def test_one_command_makes_all_records_and_the_next_one_changes_nothing(known, capsys):
    assert driver.main(["--out", "out"]) == 0
    assert numbers(Path("out/sums/smoke/results.json")) == [
        {"seed": s, "total": pytest.approx(4 * s + 0.6)} for s in range(3)
    ]
    before = below(known)
    assert driver.main(["--out", "out"]) == 0
    assert below(known) == before
    said = capsys.readouterr().out
    assert said.count("unchanged") >= 2 and "3 totals" in said
    assert "stage 1: 12 cells of sums, other; 12 are there" in said


def test_equal_cells_of_two_experiments_are_computed_once(known):
    driver.main([])
    assert len(below("_build/ablations/cells/parts")) == 12


def test_trials_at_smoke_leave_the_committed_records_alone(known):
    driver.main(["--only", "sums"])
    assert not Path("figures").exists()
    assert Path("_build/ablations/smoke/figures/sums/smoke/results.json").exists()
    driver.main(["--only", "sums", "--profile", "digits"])
    assert [p.as_posix() for p in Path("figures").rglob("*.json")] == [
        "figures/sums/digits/results.json"
    ]


def test_a_failed_cell_stops_no_other_and_the_old_record_stays_whole(known, monkeypatch, capsys):
    driver.main(["--out", "out", "--folder", "before"])
    old = Path("out/sums/smoke/results.json").read_bytes()
    monkeypatch.setenv("BCNET_TEST_FAIL", "32 1 2")
    assert driver.main(["--out", "out"]) == 1
    folder = Path("_build/ablations/cells")
    missing = {parts_of(SMOKE, 1)[2], total_of(SMOKE, 1)}
    every = [cell for stage in SUMS.stages(SMOKE, range(3)) for cell in stage]
    assert {c for c in every if c.load(folder) is None} == missing
    assert Path("out/sums/smoke/results.json").read_bytes() == old
    said = capsys.readouterr().out
    assert "no luck with 1 and 2" in said and "failed" in said and "(before: 3 totals)" in said
    assert "Traceback" in Path("_build/ablations/smoke/log.txt").read_text()

    monkeypatch.delenv("BCNET_TEST_FAIL")
    done = below(folder)
    assert driver.main(["--out", "out"]) == 0
    assert done.items() <= below(folder).items()


def test_experiments_that_do_not_need_a_failed_cell_are_finished(known, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "other", replace(OTHER, profiles={"smoke": SMOKE}))
    two = replace(SMOKE, batch_size=7)  # other settings, other cells
    monkeypatch.setitem(EXPERIMENTS, "sums", replace(SUMS, profiles={"smoke": two}))
    monkeypatch.setenv("BCNET_TEST_FAIL", "7 0 0")
    assert driver.main(["--out", "out"]) == 1
    assert not Path("out/sums").exists() and Path("out/other/smoke/results.json").exists()


def test_when_the_time_is_up_the_command_says_so_and_goes_on_later(known, capsys):
    assert driver.main(["--minutes", "0", "--out", "out"]) == 1
    assert "time up" in capsys.readouterr().out and not Path("out").exists()
    assert driver.main(["--minutes", "10", "--out", "out"]) == 0


def test_cells_of_another_version_of_the_library_are_said_named_and_refused(
    known, monkeypatch, capsys
):
    driver.main(["--only", "sums", "--out", "one"])
    old = cells.CODE
    for module in (cells, chapter, driver):
        monkeypatch.setattr(module, "CODE", "b" * 64)
    assert driver.main(["--only", "sums", "--out", "two"]) == 0
    assert "15 cells" in (said := capsys.readouterr().out) and "another version" in said
    assert Record.load("two/sums/smoke/results.json").parameters["libraries"] == [old]
    assert driver.main(["--only", "sums", "--out", "three", "--same-code"]) == 2
    assert "fresh --folder" in capsys.readouterr().err and not Path("three").exists()


def test_a_record_is_not_replaced_by_one_of_fewer_seeds(known, capsys):
    driver.main(["--only", "sums", "--out", "out"])
    assert driver.main(["--only", "sums", "--out", "out", "--seeds", "2", "--folder", "new"]) == 2
    assert "has 3 seeds, this run 2" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--only", "product"], "--only product: known are sums, other"),
        (["--only", "sums", "--profile", "paper"], "it has no profile 'paper', only smoke, digits"),
        (["--jobs", "0"], "at least one process"),
        (["--scheduler", "tcp://here"], "--scheduler needs --backend"),
        (["--device", "cuda:99"], "no CUDA device"),
        (["--device", "tpu"], "--device tpu: torch knows no such device"),
        (["--minutes", "-1"], "--minutes -1.0: 0 or more"),
        (["--minutes", "nan"], "--minutes nan: 0 or more"),
        (["--folder", "a file/cells"], "--folder a file/cells: cannot write to"),
        (["--out", "a file"], "--out a file: cannot write to"),
    ],
)
def test_wrong_options_are_named(known, monkeypatch, capsys, options, says):
    monkeypatch.setattr(driver.torch.cuda, "device_count", lambda: 0)
    Path("a file").touch()
    with pytest.raises(SystemExit) as stop:
        driver.main(options)
    assert stop.value.code == 2 and says in capsys.readouterr().err
    assert not Path("_build").exists()


def test_make_passes_its_variables_on(tmp_path):
    given = {"PROFILE": "digits", "ONLY": "sums other", "JOBS": "2", "MINUTES": "25"}
    given |= {"DEVICE": "cuda", "BACKEND": "dask", "SCHEDULER": "tcp://here:1"}
    clean = {k: v for k, v in os.environ.items() if k not in given and not k.startswith("MAKE")}
    clean.pop("MFLAGS", None)
    command = ["make", "-n", "-s", "-C", str(ROOT), "ablations"]
    command += [f"{k}={v}" for k, v in given.items()] + ["-o", ".venv/.ready"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=clean).stdout
    words = said.replace("\\\n", " ").split()
    options = " ".join(words[words.index("bcnet_lib.ablations") + 1 :])
    assert options == (
        "--profile digits --jobs 2 --device cuda --only sums other --minutes 25 "
        "--backend dask --scheduler tcp://here:1"
    )


# ---------------------------------------------------------------------------- chapters


def notebook(path: Path, *lines: str) -> None:
    """A chapter: its parameters, and what it does with them."""
    names = ("profile", "seeds", "device", "jobs", "minutes", "out_root", "folder")
    parameters = new_code_cell("\n".join(f"{name} = 0" for name in names))
    parameters.metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [parameters, new_code_cell("\n".join(lines))]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def test_chapters_run_by_papermill_with_what_the_command_was_given(known, capsys):
    notebook(
        Path("chapters/sums.ipynb"),
        "import json, pathlib",
        "given = dict(profile=profile, seeds=seeds, device=device)",
        "pathlib.Path('given.json').write_text(json.dumps(given | dict(folder=folder)))",
        "import shutil",
        "path = pathlib.Path(out_root) / 'sums' / profile",
        "path.mkdir(parents=True)",
        "shutil.copy(pathlib.Path(out_root) / 'other/smoke/results.json', path)",
    )
    notebook(Path("chapters/other.ipynb"), "raise SystemError('a page that breaks')")
    driver.main(["--only", "other", "--out", "out", "--chapters", "none"])
    old = Path("out/other/smoke/results.json").read_bytes()

    assert driver.main(["--out", "out", "--chapters", "chapters", "--jobs", "2"]) == 1
    cells = str(Path("_build/ablations/cells").absolute())
    assert json.loads(Path("chapters/given.json").read_text()) == {
        "profile": "smoke", "seeds": None, "device": "cpu", "folder": cells
    }  # fmt: skip
    logs = Path("_build/ablations/smoke")
    assert (logs / "sums.ipynb").exists()
    assert "a page that breaks" in (logs / "other.log").read_text()
    assert Path("out/other/smoke/results.json").read_bytes() == old
    lines = capsys.readouterr().out.splitlines()
    state = {row.split()[0]: row for row in lines if row.endswith(".log")}
    assert "made" in state["sums"] and "failed" in state["other"]


# ---------------------------------------------------------------------------- other machines


def test_cells_go_to_a_dask_cluster(known):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as machines:
        address = machines.scheduler_address
        pids = {w["pid"] for w in _workers(distributed, address)}
        with driver.cluster("dask", address, 1) as jobs:
            found = compute(SUMS.stages(SMOKE, range(3))[0], Where(folder=known), jobs=jobs)
    assert len(found.done) == 12 and not found.failed and not found.left
    assert {body["result"]["process"] for body in found.done.values()} <= pids
    assert os.getpid() not in pids


class AnswersAtTheEnd(ThreadingBackend):
    """As ray's: it hands out no answer before the last."""

    supports_return_generator = False


def test_cells_go_to_a_backend_that_answers_at_the_end(known):
    register_parallel_backend("at the end", AnswersAtTheEnd)
    with parallel_config(backend="at the end", n_jobs=2):
        found = compute(SUMS.stages(SMOKE, range(3))[0], Where(folder=known), jobs=2)
    assert len(found.done) == 12 and not found.failed and not found.left


def _workers(distributed, address) -> list[dict]:
    with distributed.Client(address) as client:
        return [{"pid": pid} for pid in client.run(os.getpid).values()]


# ---------------------------------------------------------------------------- kills

KILLED = "iterative_updates"


def run_smoke(folder: Path) -> None:
    """A whole run at profile smoke with one seed, in a process group of its own."""
    os.setsid()
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os.chdir(folder)
    options = ["--only", KILLED, "--seeds", "1", "--folder", "cells", "--out", "out"]
    os._exit(driver.main([*options, "--chapters", "none"]))


def start(folder: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=run_smoke, args=(folder,))
    process.start()
    while process.is_alive() and os.getpgid(process.pid) != process.pid:
        time.sleep(0.001)  # it is still in our group
    return process


def results(folder: Path) -> dict[str, dict]:
    """Of every finished cell, by its file's name; each is whole."""
    found = {p.name: json.loads(p.read_text()) for p in (folder / "cells").rglob("*.json")}
    return {name: body["result"] for name, body in found.items()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills process groups of POSIX")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_ten_random_moments_nothing_finished_is_lost_and_the_numbers_are_the_same(
    tmp_path,
):
    record = Path("out") / KILLED / "smoke/results.json"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    began = time.monotonic()
    undisturbed = start(whole)
    undisturbed.join()
    took = time.monotonic() - began
    assert undisturbed.exitcode == 0
    right = results(whole)

    earlier = Record.load(whole / record)
    other = [row | {"accuracy": 1.0} for row in earlier.rows]  # as an older library would have it
    replace(earlier, rows=other, headline="before").save(killed / record)
    old = (killed / record).read_bytes()
    moments = np.sort(np.random.default_rng(0).uniform(0, took, 10))
    before, stopped = {}, 0
    for wait in np.diff(moments, prepend=0):
        process = start(killed)
        process.join(wait)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            stopped += 1
        process.join()
        now = results(killed)
        assert before.items() <= now.items(), "a finished cell was lost or changed"
        assert all(right[name] == result for name, result in now.items())
        if (killed / record).read_bytes() != old:
            assert numbers(killed / record) == numbers(whole / record)
        before = now
    assert stopped >= 5, "runs were over before they could be killed"
    last = start(killed)
    last.join()
    assert last.exitcode == 0
    assert results(killed) == right
    assert numbers(killed / record) == numbers(whole / record)
    assert not list(killed.rglob("*.training"))  # checkpoints of what was being trained
