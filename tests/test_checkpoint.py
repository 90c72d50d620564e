"""Checkpoints of trainings: written on the way, and of this network or refused by name."""

import numpy as np
import pytest
import small
import torch
from torch import nn

from bcnet_lib import checkpoint
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.principles import UA
from bcnet_lib.recipe import Recipe
from bcnet_lib.search.dmcp import DMCP
from bcnet_lib.search.metapruning import MetaPruning
from bcnet_lib.search.tas import TAS
from bcnet_lib.supernet import Supernet
from bcnet_lib.train import SupernetTrainer

RECIPE = Recipe(epochs=6, batch_size=64, lr=0.1)
DATA = load("digits", size=600)
METHODS = (TAS, DMCP, MetaPruning)


def chain(kernel=3):
    layers = [nn.Conv2d(1, 8, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(8)]
    layers += [nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 10))


def make(method, kernel=3, **options):
    model = chain(kernel)
    space = small.space(model)
    if method is SupernetTrainer:
        net = Supernet(model, space, UA(), seed=0)
        return SupernetTrainer(net, DATA, RECIPE, progress=False, **options)
    return method(model, space, DATA, RECIPE, budget=2e4, progress=False, **options)


class Killed(Exception):
    pass


def kill_after(steps, trainer):
    step = trainer._train_step

    def until(*batch):
        if trainer.step == steps:
            raise Killed
        return step(*batch)

    trainer._train_step = until


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_goes_on_from_its_last_checkpoint(method, tmp_path):
    options = {"checkpoint": tmp_path / "state", "checkpoint_every": 4}
    killed = make(method, **options)
    trainer = getattr(killed, "trainer", killed)
    assert trainer.total_steps > 10
    kill_after(10, trainer)
    with pytest.raises(Killed):
        killed.fit()
    resumed = make(method, **options)
    assert getattr(resumed, "trainer", resumed).step == 8
    resumed.fit()
    whole = make(method).fit()
    state = resumed.net.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in whole.net.state_dict().items())
    if method is not MetaPruning:
        a, b = whole.search(), resumed.search()
        assert a.history.equals(b.history) and a.best.tolist() == b.best.tolist()
        np.testing.assert_array_equal(np.concatenate(a.P), np.concatenate(b.P))


@pytest.mark.parametrize("method", METHODS)
def test_checkpoints_on_the_way_need_a_file(method, tmp_path):
    for options in ({"checkpoint_every": 5}, {"checkpoint_every": 0, "checkpoint": tmp_path / "s"}):
        with pytest.raises(ValueError, match=r"checkpoint_every=\d needs a checkpoint file and at"):
            make(method, **options)


@pytest.mark.parametrize("method", [*METHODS, SupernetTrainer])
def test_a_network_of_the_same_groups_with_other_kernels_is_named(method, tmp_path):
    file = tmp_path / "state"
    make(method, checkpoint=file).fit(max_steps=1)
    message = r"state' belongs to another network: \S*0\.weight is 8x1x5x5 here, 8x1x3x3 in"
    with pytest.raises(CheckpointError, match=message):
        make(method, kernel=5, checkpoint=file)


@pytest.mark.parametrize("method", [*METHODS, SupernetTrainer])
def test_a_whole_file_of_another_kind_is_named(method, tmp_path):
    file = tmp_path / "state"
    for content in (b'{"settings": {}, "scores": []}', b"", b"3"):
        checkpoint.write(file, content)
        with pytest.raises(CheckpointError, match="state' is a whole file of bcnet_lib, but of an"):
            make(method, checkpoint=file)
    for other in ([1, 2], {"a": 1}):
        checkpoint.write_state(file, other)
        with pytest.raises(CheckpointError, match="state' is"):
            make(method, checkpoint=file)


def test_a_missing_parameter_is_named():
    net = nn.Linear(2, 3)
    state = net.state_dict()
    with pytest.raises(CheckpointError, match="bias is 3 here, missing in the file"):
        checkpoint.load_weights("f", net, {"weight": state["weight"]})
    with pytest.raises(CheckpointError, match="more is missing here, one number in the file"):
        checkpoint.load_weights("f", net, {**state, "more": torch.tensor(1)})
