"""The whole way from a network to a narrower one: numbers, resume, refusals, commands."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bcnet_lib
from bcnet_lib import Recipe, checkpoint, files
from bcnet_lib.__main__ import main
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.evaluate import accuracy
from bcnet_lib.results import Record
from bcnet_lib.run import run
from bcnet_lib.task import Run, Task

HERE = Path(__file__).parent
BRIEF = Recipe(epochs=1, batch_size=64, lr=0.1)
SMALL = Run(
    model="digits_cnn",
    data="digits",
    size=500,
    macs=0.4,
    K=6,
    base=2,
    supernet=replace(BRIEF, epochs=2),
    population=6,
    generations=2,
    retrain=replace(BRIEF, epochs=3),
    retrain_seeds=2,
    baselines=("full", "uniform", "random"),
    seed=3,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder, run(SMALL, folder, progress=False)


def test_every_width_is_within_the_budget_and_trained_as_often_as_asked(done):
    _, record = done
    task = Task(SMALL)
    assert [r["name"] for r in record.rows] == [
        n for n in ("full", "found", "uniform", "random") for _ in range(2)
    ]
    for row in record.rows:
        if row["name"] == "full":
            assert row["macs"] == task.own_macs
            continue
        c = [int(w) for w in row["widths"].split()]
        assert row["macs"] == task.cost.macs(c) <= task.budget == 0.4 * task.own_macs
        model, *_ = task.build(c, seed=0)
        assert row["params"] == sum(p.numel() for p in model.parameters())
        assert row["channels"] == " ".join(map(str, task.space.channels(c)))
        assert 0 <= row["val"] <= 100 and 0 <= row["test"] <= 100
        assert row["passes"] == 3 * (300 // 64)


def test_the_search_is_the_best_of_what_it_scored_and_starts_from_the_prior(done):
    folder, record = done
    found = json.loads(checkpoint.read(folder / "search.done"))
    front = found["front"]
    assert found["score"] == max(front["score"])
    assert 6 <= found["evaluations"] <= 12
    drawn = json.loads(checkpoint.read(folder / "prior.done"))
    task = Task(SMALL)
    C = np.array(drawn["widths"])
    assert len(np.unique(C, axis=0)) == 6 and (task.cost.macs(C) <= task.budget).all()
    scored = checkpoint.read(folder / "search.scores")
    assert all(list(c) in [s[:-1] for s in json.loads(scored)["scores"]] for c in C.tolist())
    assert record.parameters["search"]["score"] == found["score"]


def test_the_report_is_on_disk_and_the_networks_can_be_loaded(done):
    folder, record = done
    assert Record.load(folder / "report.json") == record
    data = Task(SMALL).data
    for row in record.rows:
        if row["name"] in ("found", "full"):
            network = bcnet_lib.load(folder / f"networks/{row['name']}-{row['seed']}")
            assert round(100 * accuracy(network, data.test), 4) == row["test"]
            assert sum(p.numel() for p in network.parameters()) == row["params"]


def test_the_same_call_again_changes_nothing(done):
    folder, record = done
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    again = run(SMALL, folder, progress=False)
    assert again.rows == record.rows
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert set(after) == set(before)
    changed = {p.name for p in after if after[p] != before[p]}
    assert changed <= {"report.json", "seconds.done"}


def test_a_run_of_other_settings_is_refused_by_name(done):
    folder, _ = done
    with pytest.raises(CheckpointError, match=r"supernet\.lr is 0\.2, was 0\.1"):
        run(replace(SMALL, supernet=replace(SMALL.supernet, lr=0.2)), folder, progress=False)


class Killed(BaseException):
    """As a kill: nothing in the library catches it."""


def test_killed_at_every_write_it_ends_with_the_same_numbers(done, tmp_path, monkeypatch):
    write, writes = files.write_whole, 0

    def dies(path, content):
        nonlocal writes
        writes += 1
        if writes > calls:  # each call comes a write further, so that there is progress
            raise Killed
        write(path, content)

    for module in ("checkpoint", "run", "results"):
        monkeypatch.setattr(f"bcnet_lib.{module}.write_whole", dies)
    record, calls = None, 0
    while record is None:
        writes, calls = 0, calls + 1
        assert calls < 60
        try:
            record = run(SMALL, tmp_path, progress=False)
        except Killed:
            assert not (tmp_path / "report.json").exists()
    assert calls > 8  # in supernet, prior, search and trainings
    assert record.rows == done[1].rows


def test_time_over_in_every_stage_it_goes_on_to_the_same_numbers(done, tmp_path):
    record, calls = None, 0
    for calls in range(1, 100):
        minutes = 0 if calls % 2 else 0.005  # alternate, since without time there is no progress
        record = run(SMALL, tmp_path, minutes=minutes, progress=False)
        if record is not None:
            break
    assert calls > 2
    assert record.rows == done[1].rows


def test_a_teacher_changes_the_students_and_not_itself(done, tmp_path):
    taught = run(replace(SMALL, teacher="full", baselines=("full",)), tmp_path, progress=False)
    rows = {(r["name"], r["seed"]): r for r in done[1].rows}
    for row in taught.rows:
        same = rows[row["name"], row["seed"]]
        assert row["widths"] == same["widths"]
        mine, theirs = (
            bcnet_lib.load(folder / f"networks/{row['name']}-{row['seed']}").state_dict()
            for folder in (tmp_path, done[0])
        )
        equal = all(torch.equal(mine[k], theirs[k]) for k in mine)
        assert equal == (row["name"] == "full")
    other = run(
        replace(SMALL, teacher=str(done[0] / "networks/full-0"), baselines=()),
        tmp_path / "folder",
        progress=False,
    )
    assert [r for r in taught.rows if r["name"] == "found"] == other.rows


def test_a_wider_supernet_and_a_budget_in_macs(tmp_path):
    settings = replace(SMALL, macs=1.0, baselines=("uniform",), retrain_seeds=1)
    record = run(settings, tmp_path, progress=False)
    task = Task(settings)
    assert task.budget == task.own_macs
    assert abs(task.cost.macs(task.space.full) / task.own_macs - 1.5) < 0.02
    assert 1.15 < record.parameters["width_factor"] < 1.3
    network = bcnet_lib.load(tmp_path / "networks/found-0")  # grown beyond the factory's widths
    assert sum(p.numel() for p in network.parameters()) == record.rows[0]["params"]
    same = Task(replace(settings, macs=float(task.own_macs)))
    assert same.budget == task.budget


@pytest.mark.parametrize("change, says", [
    ({"model": "resnet19"}, "unknown network 'resnet19'"),
    ({"data": "mnist"}, "unknown data set 'mnist'"),
    ({"model": "own_task.network"}, "did you mean 'own_task:network'"),
    ({"model": "own_task:seven"}, r"gives \(1, 7\) for one image, and data"),
    ({"model": "own_task:two"}, "gives tuple for one image"),
    ({"macs": 0.0001}, "below the narrowest network"),
    ({"update": "sandwich", "complement": True}, "trains no complement"),
    ({"distill": True}, "needs update='sandwich'"),
    ({"principle": "cyclic", "update": "sandwich", "complement": False}, "takes all paths"),
    ({"teacher": "nowhere"}, "nowhere"),
    ({"retrain": replace(BRIEF, batch_size=4096)}, "retrain batch_size=4096 is more than the 300"),
    ({"model": "vgg19_cifar"}, "model 'vgg19_cifar', data 'digits': Sequential cannot be traced"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_starts(change, says, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        run(replace(SMALL, **change), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change, says", [
    ({"principle": "bcv3"}, "known are ua, bc, bcv2, cyclic"),
    ({"base": 7}, "base=7 units are more than the full width, K=6"),
    ({"baselines": ("best",)}, "known are full, uniform, random"),
    ({"population": 1}, "population=1 must be an integer of at least 2"),
    ({"macs": float("nan")}, "macs=nan"),
    ({"times": 0.5}, "times=0.5 must be from 1 to 4"),
])  # fmt: skip
def test_settings_out_of_range_name_the_field(change, says):
    with pytest.raises(ValueError, match=says):
        replace(SMALL, **change)


# -------------------------------------------------------------------------------- command

COMMAND = [
    *("run", "--model", "digits_cnn", "--data", "digits", "--size", "500", "--macs", "0.4"),
    *("--K", "6", "--base", "2", "--epochs", "1", "--batch-size", "64", "--population", "4"),
    *("--generations", "1", "--retrain-epochs", "1", "--retrain-batch-size", "64"),
    *("--baselines", "uniform"),
]


def test_the_command_killed_by_the_system_goes_on(tmp_path, capsys):
    arguments = [*COMMAND, "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bcnet_lib", *arguments], stdout=subprocess.DEVNULL
    )
    while not (tmp_path / "search.done").exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "report.json").exists()
    kept = (tmp_path / "search.done").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "search.done").read_bytes() == kept
    said = capsys.readouterr().out
    assert "found minus this" in said and "uniform" in said
    assert Record.load(tmp_path / "report.json").parameters["K"] == 6


def test_a_refusal_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--model", "digits_cnn", "--base", "30"]) == 2
    said = capsys.readouterr().err
    assert said == "bcnet_lib run: base=30 units are more than the full width, K=20\n"
    assert not os.listdir(tmp_path)
    if not torch.cuda.is_available():
        assert main(["run", "--device", "cuda"]) == 2
        assert "PyTorch sees no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("options, says", [
    (["--device", "gpu"], "--device gpu: known are cpu and cuda"),
    (["--minutes", "-1"], "--minutes -1.0 must be more than 0"),
    (["--rate", "0", "--dry-run"], "--rate 0.0 must be more than 0"),
    (["--processes", "0", "--dry-run"], "--processes 0 must be more than 0"),
    (["--out", "file"], "folder 'file' cannot be made"),
    (["--out", "there"], "Restore them, or give this run a folder of its own (--out)"),
])  # fmt: skip
def test_a_wrong_place_is_refused_by_the_command(options, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("there").mkdir()
    mine = SMALL.to_dict() | {"images": Task(SMALL).data.describe()}
    Path("there/run.json").write_text(json.dumps(mine))
    assert main(["run", *options]) == 2
    assert says in capsys.readouterr().err


def test_a_network_and_images_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    names = ["--model", "own_task:network", "--data", "own_task:images", "--out", str(tmp_path)]
    command = [a for a in COMMAND if a not in ("--size", "500")]
    assert main([*command, "--recipe", "digits", *names]) == 0
    record = Record.load(tmp_path / "report.json")
    assert record.parameters["images"]["shape"] == [3, 12, 12]
