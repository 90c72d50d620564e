"""Two processes on one machine: the numbers of one, one file each, and one end for both."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
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
    alone, two, images = (tmp_path_factory.mktemp(name) for name in ("alone", "two", "images"))
    fake_imagenet(images)
    process = torchrun("together_checks.py", two, images)
    together_checks.main(alone, images)
    status, said = finish(process)
    assert status == 0, said
    files = (alone / "0.pt", two / "0.pt", two / "1.pt")
    assert len(list(two.glob("*.pt"))) == 2
    return [torch.load(file) for file in files]


def named(found, *ends):
    """Names of what all have, by their last word."""
    return [name for name in found[0] if name.endswith(ends)]


def test_both_processes_end_with_the_same_numbers(found):
    _, first, second = found
    for name, value in first.items():
        assert name.startswith("own ") or torch.equal(value, second[name]), name


def test_two_processes_train_as_one_up_to_rounding(found):
    alone, first, _ = found
    names = [n for n in named(found, "weights", "losses", "statistics") if "unsynced" not in n]
    for way in together_checks.WAYS:
        assert {f"{way}: weights", f"{way}: losses"} <= set(names)
    assert len(names) == 40
    for name in names:
        assert torch.allclose(alone[name], first[name], rtol=1e-4, atol=1e-5), name
    for name in named(found, "widths"):
        assert torch.equal(alone[name], first[name]), name


def test_two_processes_find_the_widths_of_one_and_measure_its_accuracies(found):
    alone, first, _ = found
    names = named(found, "found", "measured")
    assert len(names) == 2 + 5
    for name in names:
        assert torch.equal(alone[name], first[name]), name
        if not name.startswith("plain"):  # which learns slowly
            assert alone[name][-1] > 0.3, f"{name} tells little: {alone[name]}"


def test_without_synchronised_batchnorm_a_process_sees_its_own_images(found):
    alone, first, _ = found
    names = [name for name in alone if name.startswith("unsynced")]
    assert len(names) == 3
    for name in names:
        assert torch.allclose(alone[name], first[name], rtol=0.5, atol=0.2), name
        assert not torch.allclose(alone[name], first[name], rtol=1e-4), name


def test_batchnorm_on_shares_of_a_batch_is_that_of_the_whole(found):
    for each in found[1:]:
        names = [name for name in each if name.startswith("own batch norm")]
        assert len(names) == 4
        for name in names:
            assert each[name].max() < (1e-12 if "rows" in name else 1e-5), name


def test_gradients_are_those_of_the_whole_batch_after_the_last_pass_alone(found):
    alone, first, second = found
    assert not torch.allclose(first["own gradients"], second["own gradients"], atol=1e-3)
    assert torch.allclose(first["gradients"], alone["gradients"], atol=1e-6)


def test_layers_that_are_never_used_are_left_alone_and_others_must_always_be(found):
    for each in found:
        assert each["unused"].all()
    assert "own message" not in found[0]
    for each in found[1:]:
        assert each["own message"].startswith("'other.weight' of Sometimes has a gradient now")


def test_checkpoints_hold_plain_names_and_know_whether_batchnorm_was_synchronised(found):
    for each in found:
        assert each["names"].all()
    for each in found[1:]:
        assert "sync_batchnorm is False, was True" in each["own refused"]


def test_scores_are_those_of_one_process_exactly(found):
    alone, first, _ = found
    for name in ("many 30", "many 2048", "one 30", "one 2048"):
        assert torch.equal(alone[name], first[name]), name
    for name in ("loss 30", "loss 2048"):
        assert torch.allclose(alone[name], first[name], rtol=1e-6), name


def test_a_trained_network_measures_the_same_again(found):
    for each in found:
        for name in named(found, "measured again"):
            assert each[name] == each[name.removesuffix(" again")][0]


def test_a_stopped_training_goes_on_to_the_same_weights(found):
    for each in found:
        assert each["goes on"].abs().max() == each["parts go on"].abs().max() == 0


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


def test_a_signal_to_torchrun_ends_its_processes(tmp_path):
    process = torchrun("together_waits.py", tmp_path)
    while len(list(tmp_path.glob("*.pid"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process)  # only when nobody is left who could say anything
    assert status != 0 and "SIGTERM" in said


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


def test_machines_with_unequally_many_processes_are_refused(monkeypatch):
    for name, value in {"WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(RuntimeError, match="3 processes on machines of which this one has 2"):  # noqa: SIM117
        with distributed.joined():
            pass


def test_one_process_does_not_import_what_launches_several():
    code = "import bcnet_lib, bcnet_lib.train, sys; print('lightning_fabric' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


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
    process.kill()  # torchrun, which cannot end its processes then: they see that it is gone
    status, _ = finish(process)  # only when nobody is left who could say anything
    assert status == -signal.SIGKILL and not path.exists()
    before = {file: file.read_bytes() for file in trained.iterdir() if file.name[0] != "."}

    again = torchrun("together_small.py", *arguments, env=environment, cwd=tmp_path)
    monkeypatch.setenv("BCNET_DATA", environment["BCNET_DATA"])
    arguments, alone = small(tmp_path, "alone")
    assert together_small.main(list(map(str, arguments))) == 0
    status, said = finish(again)
    assert status == 0, said
    assert all(file.read_bytes() == content for file, content in before.items())
    one, two = Record.load(alone), Record.load(path)
    assert two.parameters["processes"] == [2] and two.parameters["sync_batchnorm"] == [True]
    assert not {"processes", "sync_batchnorm"} & set(one.parameters)
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


def test_the_command_passes_on_whether_batchnorm_is_synchronised(tmp_path, monkeypatch):
    asked = []

    def joined(*arguments, **options):
        asked.append(options["sync_batchnorm"])
        return nullcontext("cpu")

    monkeypatch.setenv("BCNET_DATA", str(fake_imagenet(tmp_path / "data")))
    monkeypatch.setattr(distributed, "joined", joined)
    arguments = [*map(str, small(tmp_path, "alone")[0]), "--minutes", "0"]
    for option in ([], ["--no-sync-batchnorm"]):
        assert together_small.main([*arguments, *option]) == 1
    assert asked == [True, False]


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
