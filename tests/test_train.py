"""Training: the losses are Eqs. 10, 11 and 22, and an interrupted run ends as one that was not."""

import copy
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import RECIPE, cnn, space, supernet

from bcnet_lib.checkpoint import CheckpointError, read_state
from bcnet_lib.data import DataError, load
from bcnet_lib.principles import BC, UA, BCv2, Cyclic
from bcnet_lib.recipe import Recipe
from bcnet_lib.train import SupernetTrainer, TrainingError, train_from_scratch


@pytest.fixture(scope="module")
def data():
    return load("digits")


def trainer(net, data, recipe=RECIPE, **options):
    return SupernetTrainer(net, data, recipe, progress=False, **options)


def assert_same_run(a, b):
    """Weights, optimiser and records are equal bit for bit."""
    for (name, p), (_, q) in zip(a.net.named_parameters(), b.net.named_parameters(), strict=True):
        assert torch.equal(p, q), name
    for s, t in zip(a.optimizer.state.values(), b.optimizer.state.values(), strict=True):
        assert torch.equal(s["momentum_buffer"], t["momentum_buffer"])
    assert len(a.records) > 0 and a.step == b.step
    assert a.records.to_frame().equals(b.records.to_frame())


# the losses


def gradients(net, x, y, turns):
    """Gradients of the mean loss over (widths, path) turns, computed in one go."""
    net = copy.deepcopy(net)
    loss = sum(F.cross_entropy(net(x, c, path=p), y) for c, p in turns) / len(turns)
    return dict(zip((n for n, _ in net.named_parameters()), _grad(loss, net), strict=True))


def _grad(loss, net):
    return torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("complement", [False, True], ids=["Eq. 10", "Eq. 11"])
def test_a_step_follows_the_mean_loss_of_all_paths(data, complement, at_once):
    net = supernet(BCv2())
    plain = Recipe(epochs=1, batch_size=64, lr=0.1, momentum=0, weight_decay=0)
    run = trainer(net, data, plain, complement=complement, at_once=at_once, seed=3)
    before = copy.deepcopy(net)
    run.fit(max_steps=1)
    (x, y), *_ = data.train.batches(64, seed=3, epoch=0)
    c = run.records.widths[0]
    widths = [c, net.space.complement(c, BCv2())] if complement else [c]
    expected = gradients(before, x, y, [(w, p) for w in widths for p in (0, 1)])
    assert run.passes == 2 * len(widths) == run.passes_per_step
    after = dict(net.named_parameters())
    for name, p in before.named_parameters():
        torch.testing.assert_close(after[name], p - 0.1 * expected[name], msg=name)


def test_recorded_losses_are_those_of_the_paths_before_the_step(data):
    net = supernet(BC())
    before = copy.deepcopy(net)
    run = trainer(net, data, seed=1).fit(max_steps=1)
    (x, y), *_ = data.train.batches(RECIPE.batch_size, seed=1)
    r = run.records
    for c, path, loss in zip(r.widths, r.paths, r.losses, strict=True):
        assert F.cross_entropy(before(x, c, path=int(path)), y).item() == pytest.approx(loss)
    assert list(r.to_frame().columns) == ["step", "path", "loss", "c1", "c2", "c3"]


def test_label_smoothing_and_weight_decay_take_part(data):
    losses, norms = [], []
    for recipe in (RECIPE, replace(RECIPE, label_smoothing=0.3, weight_decay=0.5)):
        net = supernet()
        run = trainer(net, data, recipe).fit(max_steps=8)
        losses.append(run.records.losses[0])
        norms.append(sum(p.norm() for p in net.parameters()))
    assert losses[0] != losses[1] and norms[1] < norms[0]


def covered(net, c, path):
    """Units of every layer that a path uses, as sets."""
    pairs = zip(c, net.space.base, strict=True)
    windows = [net.principle.paths(int(w), net.space.K, int(b))[path] for w, b in pairs]
    return [set(range(*w)) for w in windows]


def test_alternating_with_the_complement_tiles_the_layer_in_every_two_batches(data):
    net = supernet(BCv2())
    run = trainer(net, data, update="alternate", complement=True).fit(max_steps=16)
    r = run.records
    assert r.paths.tolist() == [0, 1, 1, 0] * 4  # left c, right c̄, right c, left c̄
    assert run.passes == run.step == 16 and run.passes_per_step == 1
    for t in range(0, 16, 2):
        pairs = zip(
            covered(net, r.widths[t], r.paths[t]),
            covered(net, r.widths[t + 1], r.paths[t + 1]),
            net.units,
            strict=True,
        )
        for a, b, total in pairs:
            assert a.isdisjoint(b) and a | b == set(range(total))
    for t in range(0, 16, 4):  # the draw is kept until all four turns are taken
        assert np.array_equal(r.widths[t], r.widths[t + 2])
        assert np.array_equal(r.widths[t + 1], r.widths[t + 3])


def test_alternating_takes_left_and_right_of_a_width_in_turn(data):
    r = trainer(supernet(BC()), data, update="alternate").fit(max_steps=12).records
    assert r.paths.tolist() == [0, 1] * 6 and r.steps.tolist() == list(range(12))
    assert np.array_equal(r.widths[0::2], r.widths[1::2])
    assert len(np.unique(r.widths, axis=0)) > 3


def test_ua_has_one_path_and_cyclic_draws_one_of_its_starts(data):
    assert trainer(supernet(UA()), data).fit(max_steps=5).passes == 5
    recipe = replace(RECIPE, epochs=10)
    run = trainer(supernet(Cyclic()), data, recipe).fit(max_steps=60)
    assert run.passes == 60 and run.passes_per_step == 1
    assert set(run.records.paths) == set(range(8))


def test_widths_come_from_the_given_sampler(data):
    net = supernet()
    fixed = np.array([[3, 4, 5]])
    run = trainer(net, data, sample=lambda rng, n: np.repeat(fixed, n, 0)).fit(max_steps=3)
    assert (run.records.widths == fixed).all()


def test_training_repeats_with_its_seed_and_leaves_the_global_generator_alone(data):
    a, b, c = (trainer(supernet(dropout=0.5), data, seed=s) for s in (1, 1, 2))
    state = torch.get_rng_state()
    for run in (a, b, c):
        run.fit(max_steps=6)
    assert_same_run(a, b)
    assert not np.array_equal(a.records.losses, c.records.losses)
    assert torch.equal(state, torch.get_rng_state())


def test_training_lowers_the_loss(data):
    losses = trainer(supernet(UA()), data, replace(RECIPE, epochs=10, lr=0.2)).fit().records.losses
    assert losses[-16:].mean() < 0.8 * losses[:16].mean()


def test_mixed_precision_keeps_the_weights_in_float32(data):
    net = supernet()
    run = trainer(net, data, replace(RECIPE, amp=True)).fit(max_steps=3)
    exact = trainer(supernet(), data).fit(max_steps=3)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    np.testing.assert_allclose(run.records.losses, exact.records.losses, rtol=0.05)
    assert not np.array_equal(run.records.losses, exact.records.losses)


# stopping and going on


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("update", ["both", "alternate"])
def test_a_run_in_pieces_equals_an_uninterrupted_one(data, tmp_path, update, complement):
    recipe = replace(RECIPE, augment=True)
    options = {"update": update, "complement": complement, "seed": 5}
    whole = trainer(supernet(dropout=0.3), data, recipe, **options).fit()
    assert whole.step == whole.total_steps == 24
    file = tmp_path / "supernet.pt"
    for seed, steps in ((0, 3), (7, 7), (9, None)):  # amid an epoch, and a cycle of four turns
        torch.rand(3)
        net = supernet(dropout=0.3, seed=seed)  # all but the first take the file's weights
        piece = trainer(net, data, recipe, checkpoint=file, **options).fit(max_steps=steps)
    assert_same_run(whole, piece)
    assert trainer(supernet(), data, recipe, checkpoint=file, **options).fit().step == 24


def test_another_fit_goes_on_where_the_last_one_stopped(data):
    whole = trainer(supernet(), data).fit(max_steps=9)
    pieces = trainer(supernet(), data)
    assert pieces.fit(minutes=0).step == 0
    assert pieces.fit(max_steps=4).fit(max_steps=5, minutes=60).step == 9
    assert_same_run(whole, pieces)


CHILD = """
import sys, time, torch
torch.set_num_threads(1)
from tiny import RECIPE, supernet
from bcnet_lib.data import load
from bcnet_lib.train import SupernetTrainer

class Slow(SupernetTrainer):
    def _train_step(self, x, y):
        losses = super()._train_step(x, y)
        print(self.step, flush=True)
        time.sleep(0.05)
        return losses

options = dict(complement=True, checkpoint=sys.argv[1], checkpoint_every=3, progress=False)
Slow(supernet(), load("digits"), RECIPE, **options).fit()
"""


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_weights(data, tmp_path):
    file, here = tmp_path / "supernet.pt", Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", CHILD, str(file)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for line in child.stdout:
            if int(line) >= 7:
                break
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        after = trainer(supernet(seed=9), data, complement=True, checkpoint=file)
        assert after.step == 6
        assert_same_run(trainer(supernet(), data, complement=True).fit(), after.fit())
    finally:
        torch.set_num_threads(threads)


def test_a_checkpoint_holds_no_pickled_objects(data, tmp_path):
    file = tmp_path / "supernet.pt"
    trainer(supernet(), data, update="alternate", checkpoint=file).fit(max_steps=3)
    state = read_state(file)  # torch.load(weights_only=True)
    assert state["step"] == 3 and state["records"]["widths"].shape == (3, 3)


def test_a_failed_write_leaves_the_old_checkpoint(data, tmp_path, monkeypatch):
    file = tmp_path / "supernet.pt"
    run = trainer(supernet(), data, checkpoint=file).fit(max_steps=2)
    old = file.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        run.fit(max_steps=1)
    assert file.read_bytes() == old and os.listdir(tmp_path) == ["supernet.pt"]


def flip(content):
    return content[:-50] + bytes([content[-50] ^ 1]) + content[-49:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [(flip, "damaged"), (lambda b: b[:500], "damaged"), (lambda b: b"PK", "no checkpoint")],
)
def test_a_damaged_checkpoint_is_refused(data, tmp_path, damage, message):
    file = tmp_path / "supernet.pt"
    trainer(supernet(), data, checkpoint=file).fit(max_steps=1)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"supernet\.pt' .*{message}.*delete it"):
        trainer(supernet(), data, checkpoint=file)


def test_a_checkpoint_of_other_settings_is_refused_and_they_are_named(data, tmp_path):
    file = tmp_path / "supernet.pt"
    trainer(supernet(), data, checkpoint=file).fit(max_steps=1)
    others = {
        r"recipe\.lr is 0\.2, was 0\.05": lambda: (supernet(), data, replace(RECIPE, lr=0.2), {}),
        "complement is True, was False": lambda: (supernet(), data, RECIPE, {"complement": True}),
        "seed is 1, was 0": lambda: (supernet(), data, RECIPE, {"seed": 1}),
        "principle is 'BC": lambda: (supernet(BC()), data, RECIPE, {}),
        r"space\.K is 4, was 8": lambda: (supernet(K=4), data, RECIPE, {}),
        r"data\.seed is 1, was 0": lambda: (supernet(), load("digits", seed=1), RECIPE, {}),
    }
    for message, make in others.items():
        net, d, recipe, options = make()
        with pytest.raises(CheckpointError, match=message):
            trainer(net, d, recipe, checkpoint=file, **options)


# what goes wrong


def test_a_loss_that_is_not_finite_stops_before_the_step(data):
    net = supernet()
    run = trainer(net, data, replace(RECIPE, lr=1e30, momentum=0, warmup_epochs=0))
    run.fit(max_steps=1)
    with torch.no_grad():
        net.net[0].weight.fill_(math.inf)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(TrainingError, match=r"nan at step 1 of 24, widths \[.*path 0.*lr=1e\+30"):
        run.fit()
    assert run.step == 1
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"update": "left"}, ValueError, "'both', 'alternate' or 'sandwich', got 'left'"),
        ({"checkpoint_every": 5}, ValueError, "needs a checkpoint file"),
        ({"recipe": replace(RECIPE, batch_size=2000)}, DataError, "2000 .*'train' of 1078"),
    ],
)
def test_wrong_settings_are_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        trainer(supernet(), data, **options)


# from scratch


def test_from_scratch_learns_repeats_and_reports(data):
    recipe = replace(RECIPE, epochs=8, lr=0.2, augment=True)
    nets = [space().build(cnn(dropout=0.1), c=[8, 8, 8], seed=0) for _ in range(2)]
    a = train_from_scratch(nets[0], data, recipe, seed=4)
    torch.rand(3)  # the global generator has no say, not even in dropout
    b = train_from_scratch(nets[1], data, recipe, seed=4)
    assert a.test_accuracy > 0.5 and a.val_accuracy > 0.5
    assert (a.val_accuracy, a.test_accuracy) == (b.val_accuracy, b.test_accuracy)
    assert a.history.equals(b.history) and a.history.epoch.tolist() == list(range(1, 9))
    assert a.history.loss.iloc[-1] < a.history.loss.iloc[0]
    assert not a.model.training


def test_from_scratch_measures_the_last_weights_with_running_statistics(data):
    net = space().build(cnn(), c=[8, 8, 8], seed=0)
    result = train_from_scratch(net, data, RECIPE)
    with torch.no_grad():
        right = (result.model.eval()(data.test.x).argmax(1) == data.test.y).sum()
    assert result.model is net and result.test_accuracy == int(right) / len(data.test)


def test_from_scratch_looks_at_the_test_split_only_when_asked(data):
    blind = replace(data, test=None)
    with pytest.raises(AttributeError):
        train_from_scratch(cnn(), blind, RECIPE)


def test_from_scratch_takes_fractions_of_an_epoch(data):
    half = train_from_scratch(cnn(), data, replace(RECIPE, epochs=1.5), eval_test=False)
    assert len(half.history) == 2 and half.test_accuracy is None


def test_from_scratch_stops_when_the_loss_is_not_finite(data):
    net = cnn()
    with torch.no_grad():
        net[0].weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="Sequential is nan at step 0 of 24"):
        train_from_scratch(net, data, RECIPE)
