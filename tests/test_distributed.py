"""Two processes on one machine: the numbers of one, one file each, and one end for both."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import together_checks
import together_small
import torch
from folders import fake_imagenet

from bcnet_lib import Recipe, data, distributed
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.results import Measured, Record
from bcnet_lib.scratch import train_from_scratch, train_in_parts

HERE = Path(__file__).parent


def torchrun(script, *arguments, **options):
    """Start a script of this folder in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(HERE / script), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes, **options)


def finish(process, seconds=300):
    """Wait for the end: (exit status, what was said)."""
    try:
        said, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process has, and what each of two has."""
    alone, two = (tmp_path_factory.mktemp(name) for name in ("alone", "two"))
    process = torchrun("together_checks.py", two)
    together_checks.main(alone)
    status, said = finish(process)
    assert status == 0, said
    files = (alone / "0.pt", two / "0.pt", two / "1.pt")
    assert len(list(two.glob("*.pt"))) == 2
    return [torch.load(file) for file in files]


def test_both_processes_end_with_the_same_numbers(found):
    _, first, second = found
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_train_as_one_where_there_is_no_batchnorm(found):
    alone, first, _ = found
    names = [n for n in alone if n.partition(": ")[2] in ("weights", "losses", "widths")]
    assert len(names) == 4 * 3 + 1
    for name in (*names, "scratch: history"):
        assert torch.allclose(alone[name], first[name], rtol=1e-4, atol=1e-6), name
        assert name.endswith("widths") or not torch.equal(alone[name], torch.zeros(1)), name


def test_batchnorm_sees_the_images_of_its_own_process(found):
    alone, first, _ = found
    assert torch.allclose(alone["statistics"], first["statistics"], rtol=0.5, atol=0.2)
    assert not torch.allclose(alone["statistics"], first["statistics"], rtol=1e-4)


def test_scores_are_those_of_one_process_exactly(found):
    alone, first, _ = found
    for name in ("many 30", "many 2048", "one 30", "one 2048"):
        assert torch.equal(alone[name], first[name]), name
    for name in ("loss 30", "loss 2048"):
        assert torch.allclose(alone[name], first[name], rtol=1e-6), name


def test_a_trained_network_measures_the_same_again(found):
    for each in found:
        assert each["measured"][0] == each["measured again"][0]


def test_a_stopped_training_goes_on_to_the_same_weights(found):
    for each in found:
        assert each["goes on"].abs().max() == 0


def test_the_clock_of_the_first_process_decides_for_all(found):
    assert found[1]["steps in time"].tolist() == found[2]["steps in time"].tolist() == [0, 3]


def test_a_process_that_fails_ends_the_others_and_says_why(tmp_path):
    root = fake_imagenet(tmp_path)
    train = data.load("imagenet-32", root, val=0.25).train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(data.mix(0, 0)))
    file = train.folder / train.files[int(order[17])].decode()  # of the second batch's second share
    file.write_bytes(b"no image")
    status, said = finish(torchrun("together_fails.py", root))
    assert status != 0
    assert f"[rank1]: bcnet_lib.cifar10.DataError: image '{file}' cannot be read" in said


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.joined("cuda") as device:
        assert device == "cuda"
        assert distributed.place() == (0, 1) and distributed.is_first()
        assert distributed.first("mine") == "mine"
        assert distributed.call_first(lambda: 3) == 3


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "9")
    monkeypatch.setenv("LOCAL_RANK", "8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RuntimeError, match="process 8 of this machine has no GPU"):  # noqa: SIM117
        with distributed.joined("cuda"):
            pass


# ------------------------------------------------------------ profile `paper` of an experiment


def small(tmp_path, which):
    """Arguments of ``together_small``, and the record it makes."""
    record = tmp_path / which / together_small.NAME / "paper" / "results.json"
    return ["--folder", tmp_path / f"{which}-cells", "--out", tmp_path / which], record


def test_profile_paper_alone_and_by_two_processes_that_were_killed(tmp_path, monkeypatch):
    environment = os.environ | {"BCNET_DATA": str(fake_imagenet(tmp_path / "data"))}
    arguments, path = small(tmp_path, "two")
    process = torchrun("together_small.py", *arguments, env=environment, cwd=tmp_path)
    trained = tmp_path / "two-cells" / "supernets"
    while not list(trained.glob("*.json")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(int((tmp_path / "1.pid").read_text()), signal.SIGKILL)
    status, _ = finish(process)  # torchrun ends the other one
    assert status != 0 and not path.exists()
    before = {file: file.read_bytes() for file in trained.iterdir() if file.name[0] != "."}

    again = torchrun("together_small.py", *arguments, env=environment, cwd=tmp_path)
    monkeypatch.setenv("BCNET_DATA", environment["BCNET_DATA"])
    arguments, alone = small(tmp_path, "alone")
    assert together_small.main(list(map(str, arguments))) == 0
    status, said = finish(again)
    assert status == 0, said
    assert all(file.read_bytes() == content for file, content in before.items())
    one, two = Record.load(alone), Record.load(path)
    assert two.parameters["processes"] == [2] and "processes" not in one.parameters
    assert [list(row) for row in one.rows] == [list(row) for row in two.rows]
    for row, other in zip(one.rows, two.rows, strict=True):
        for same in ("seed", "K", "search", "passes", "uneven"):  # uneven: the same widths drawn
            assert row[same] == other[same]
        assert 0 <= row["accuracy"] <= 100 and 0 <= other["accuracy"] <= 100
    drawn = [r["widths"] for r in (*one.rows, *two.rows) if r["search"] == "random"]
    assert drawn[0] == drawn[1]
    assert said.count("test accuracy (%)") == 1  # one of them speaks


def test_without_time_nothing_is_kept_and_the_exit_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BCNET_DATA", str(fake_imagenet(tmp_path / "data")))
    arguments, path = small(tmp_path, "alone")
    assert together_small.main([*map(str, arguments), "--minutes", "0"]) == 1
    assert "the time is up" in capsys.readouterr().out
    assert not path.exists()


def test_what_would_fail_in_the_end_is_refused_at_once(tmp_path, capsys):
    path = tmp_path / together_small.NAME / "paper" / "results.json"
    rows = [{"seed": s, "accuracy": 90.0} for s in range(2)]
    options = {"experiment": together_small.NAME, "profile": "paper", "measured": Measured()}
    Record.new("made up", rows, parameters={"seeds": [0, 1]}, **options).save(path)
    for wrong, says in ((["--seeds", "1"], "has 2 seeds, this run 1"), (["--seeds", "0"], "seed")):
        with pytest.raises(SystemExit):
            together_small.main(["--out", str(tmp_path), *wrong])
        assert says in capsys.readouterr().err


# ------------------------------------------------------------ training from scratch in parts


@pytest.fixture(scope="module")
def fake():
    return data.load("fake", size=300, seed=1)


RECIPE = Recipe(epochs=2.5, batch_size=32, lr=0.05)


def test_training_in_parts_is_training_in_one_go(fake, tmp_path):
    whole = train_from_scratch(together_checks.plain(0.3), fake, RECIPE, seed=4)
    options = {"seed": 4, "checkpoint": tmp_path / "state"}
    asked = iter([False, True])
    stopped = train_in_parts(
        together_checks.plain(0.3), fake, RECIPE, over=lambda: next(asked), **options
    )
    assert stopped is None
    after = train_in_parts(together_checks.plain(0.3), fake, RECIPE, **options)
    for a, b in zip(
        whole.model.state_dict().values(), after.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert whole.history.equals(after.history) and whole.passes == after.passes
    assert (whole.val_accuracy, whole.test_accuracy) == (after.val_accuracy, after.test_accuracy)
    assert not (tmp_path / "state").exists()


def test_parts_of_another_training_are_refused(fake, tmp_path):
    asked = iter([False, True, True])
    options = {"checkpoint": tmp_path / "state", "over": lambda: next(asked)}
    train_in_parts(together_checks.plain(), fake, RECIPE, seed=4, **options)
    with pytest.raises(CheckpointError, match="seed is 5, was 4"):
        train_in_parts(together_checks.plain(), fake, RECIPE, seed=5, **options)
