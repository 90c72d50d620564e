"""The sandwich rule and in-place distillation: which widths are trained, on what, and how often."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_train import assert_same_run, trainer
from tiny import RECIPE, supernet

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.principles import BC, UA, BCv2, Cyclic
from bcnet_lib.recipe import Recipe
from bcnet_lib.train import TrainingError

PLAIN = Recipe(epochs=1, batch_size=64, lr=0.1, momentum=0, weight_decay=0)


@pytest.fixture(scope="module")
def data():
    return load("digits")


def sandwich(net, data, recipe=RECIPE, **options):
    return trainer(net, data, recipe, update="sandwich", **options)


@pytest.mark.parametrize("random_widths", [0, 1, 2, 3])
@pytest.mark.parametrize("principle", [UA(), BC(), BCv2()])
def test_a_step_trains_the_widest_the_narrowest_and_random_widths(data, principle, random_widths):
    net = supernet(principle)
    run = sandwich(net, data, random_widths=random_widths).fit(max_steps=4)
    n = (2 + random_widths) * net.n_paths
    assert run.passes_per_step == n and run.passes == 4 * n == len(run.records)
    r = run.records
    for t in range(4):
        rows = slice(t * n, (t + 1) * n)
        C, paths = r.widths[rows], r.paths[rows]
        assert (r.steps[rows] == t).all()
        assert paths.tolist() == [*range(net.n_paths)] * (2 + random_widths)
        C = C.reshape(2 + random_widths, net.n_paths, 3)
        assert (C[:, :1] == C).all()  # all paths of a width
        assert C[0, 0].tolist() == [8] * 3 and C[1, 0].tolist() == [2] * 3
    if random_widths:
        drawn = r.widths.reshape(4, 2 + random_widths, net.n_paths, 3)[:, 2:]
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("distill", [False, True])
@pytest.mark.parametrize("principle", [UA(), BCv2()])
def test_a_step_follows_the_mean_loss_of_the_sandwich(data, principle, distill, at_once):
    net = supernet(principle)
    before = copy.deepcopy(net)
    run = sandwich(net, data, PLAIN, distill=distill, at_once=at_once, seed=3).fit(max_steps=1)
    (x, y), *_ = data.train.batches(64, seed=3, epoch=0)
    r, losses = run.records, []
    for c, path in zip(r.widths, r.paths.tolist(), strict=True):
        logits = before(x, c, path=path)
        target = y
        if distill and len(losses) >= net.n_paths:  # the widest's paths come first
            with torch.no_grad():
                target = before(x, before.space.full, path=path).softmax(1)
        losses.append(F.cross_entropy(logits, target))
    np.testing.assert_allclose(r.losses, [v.item() for v in losses], rtol=1e-5)
    expected = torch.autograd.grad(sum(losses) / len(losses), list(before.parameters()))
    after = dict(net.named_parameters())
    for (name, p), g in zip(before.named_parameters(), expected, strict=True):
        torch.testing.assert_close(after[name], p - 0.1 * g, msg=name)


def test_labels_reach_the_others_only_through_the_widest(data):
    """In one step the narrower widths of a distilled sandwich do not see the labels."""
    wrong = replace(data, train=replace(data.train, y=(data.train.y + 1) % 10))
    for distill in (True, False):
        a, b = (sandwich(supernet(UA()), d, distill=distill).fit(max_steps=1).records
                for d in (data, wrong))  # fmt: skip
        assert a.losses[0] != b.losses[0]
        assert np.array_equal(a.losses[1:], b.losses[1:]) == distill


def test_distillation_lowers_the_loss_of_the_narrowest_on_labels(data):
    net = supernet(UA())
    x, y = data.val.take(slice(None))

    def loss():
        with torch.no_grad():
            return F.cross_entropy(net(x, net.space.narrowest), y).item()

    first = loss()
    sandwich(net, data, replace(RECIPE, epochs=10, lr=0.2), distill=True).fit()
    assert loss() < 0.9 * first


def test_widths_come_from_the_given_sampler(data):
    fixed = np.array([3, 4, 5])
    run = sandwich(supernet(UA()), data, sample=lambda rng, n: np.tile(fixed, (n, 1)))
    C = run.fit(max_steps=2).records.widths.reshape(2, 4, 3)
    assert (C[:, 2:] == fixed).all()


@pytest.mark.parametrize("distill", [False, True])
def test_a_run_in_pieces_equals_an_uninterrupted_one(data, tmp_path, distill):
    options = {"distill": distill, "random_widths": 1, "seed": 5}
    recipe = replace(RECIPE, augment=True)
    whole = sandwich(supernet(UA(), dropout=0.3), data, recipe, **options).fit()
    for seed, steps in ((0, 3), (7, None)):
        net = supernet(UA(), dropout=0.3, seed=seed)
        piece = sandwich(net, data, recipe, checkpoint=tmp_path / "net.pt", **options)
        piece.fit(max_steps=steps)
    assert_same_run(whole, piece)


def test_a_checkpoint_of_other_settings_is_refused(data, tmp_path):
    file = tmp_path / "net.pt"
    sandwich(supernet(UA()), data, checkpoint=file).fit(max_steps=1)
    with pytest.raises(CheckpointError, match="distill is True, was False"):
        sandwich(supernet(UA()), data, checkpoint=file, distill=True)
    with pytest.raises(CheckpointError, match="random_widths is 3, was 2"):
        sandwich(supernet(UA()), data, checkpoint=file, random_widths=3)
    with pytest.raises(CheckpointError, match="update is 'both', was 'sandwich'"):
        trainer(supernet(UA()), data, checkpoint=file)


@pytest.mark.parametrize(
    ("principle", "options", "message"),
    [
        (UA(), {"update": "both", "distill": True}, "distill=True needs update='sandwich'"),
        (BC(), {"complement": True}, "trains no complement"),
        (Cyclic(), {}, "all paths of a width, and Cyclic has 8"),
        (UA(), {"random_widths": -1}, "at least 0, got -1"),
        (UA(), {"random_widths": 1.5}, "at least 0, got 1.5"),
    ],
)
def test_what_does_not_go_together_is_refused(data, principle, options, message):
    with pytest.raises(ValueError, match=message):
        trainer(supernet(principle), data, **{"update": "sandwich"} | options)


def test_a_loss_that_is_not_finite_stops_before_the_step(data):
    net = supernet(UA())
    run = sandwich(net, data, distill=True).fit(max_steps=1)
    with torch.no_grad():
        net.net[0].weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"nan at step 1 .*widths \[8, 8, 8\]"):
        run.fit()
    assert run.step == 1


def test_mixed_precision_distils_in_float32(data):
    net = supernet(UA())
    run = sandwich(net, data, replace(RECIPE, amp=True), distill=True).fit(max_steps=2)
    exact = sandwich(supernet(UA()), data, distill=True).fit(max_steps=2)
    np.testing.assert_allclose(run.records.losses, exact.records.losses, rtol=0.05)
