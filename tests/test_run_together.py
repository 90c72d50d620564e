"""``bcnet_lib run`` by two processes: the widths and numbers of one, for every network."""

import os
import signal
import time

import pytest
import together_run
from folders import fake_imagenet
from test_distributed import finish, torchrun

from bcnet_lib import load
from bcnet_lib.results import Record


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return fake_imagenet(tmp_path_factory.mktemp("data"), train=4, val=3)


@pytest.fixture(scope="module")
def both(images, tmp_path_factory):
    """Folders of one process and of two, which were killed on the way and went on."""
    alone, two = (tmp_path_factory.mktemp(name) for name in ("alone", "two"))
    environment = os.environ | {"BCNET_DATA": str(images)}
    process = torchrun("together_run.py", two, env=environment)
    while not (two / "resnet18/search.done").exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(int((two / "1.pid").read_text()), signal.SIGKILL)
    status, _ = finish(process)  # torchrun ends the other one
    assert status != 0 and not (two / "resnet18/report.json").exists()
    process = torchrun("together_run.py", two, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCNET_DATA", str(images))
        together_run.main(alone)
    status, said = finish(process)
    assert status == 0, said
    return alone, two


@pytest.mark.filterwarnings("ignore:.*never occur in the")  # of so short a training
@pytest.mark.parametrize("model", together_run.MODELS)
def test_two_processes_find_the_widths_of_one(both, model):
    alone, two = (Record.load(folder / model / "report.json") for folder in both)
    assert alone.parameters["processes"] == 1 and two.parameters["processes"] == 2
    assert len(alone.rows) == len(two.rows) == 2 + (model == "mobilenet_v2")
    for mine, theirs in zip(alone.rows, two.rows, strict=True):
        for field in ("name", "widths", "channels", "macs", "params", "passes"):
            assert mine[field] == theirs[field], field
        # stated tolerance: one image of 4 or of 12, whose outputs rounding may swap
        assert abs(mine["val"] - theirs["val"]) <= 100 / 4
        assert abs(mine["test"] - theirs["test"]) <= 100 / 12
    score = [r.parameters["search"]["score"] for r in (alone, two)]
    assert abs(score[0] - score[1]) <= 1 / 4
    networks = [load(f / model / "networks/found-0").state_dict() for f in both]
    for name, value in networks[0].items():
        if value.is_floating_point():
            assert (value - networks[1][name]).abs().max() <= 1e-3 * (1 + value.abs().max()), name
