"""DMCP: the walk over widths, gates as scaled weights, and widths within the budget."""

import numpy as np
import pytest
import small
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.recipe import Recipe
from bcnet_lib.search import TAS, MetaPruning
from bcnet_lib.search.dmcp import DMCP, markov
from bcnet_lib.space import WidthSpace

RECIPE = Recipe(epochs=3, batch_size=64, lr=0.1)


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


def method(data, network="residual", K=4, share=0.5, **options):
    model = small.NETWORKS[network]()
    space = small.space(model, K=K)
    recipe = options.pop("recipe", RECIPE)
    cost = CostTable(model, space, torch.zeros(1, 1, 8, 8))
    share = share * cost.macs(space.full)
    return DMCP(model, space, data, recipe, budget=share, progress=False, **options)


def randomise(run, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for t in run.logits:
            t.copy_(scale * torch.randn(t.shape, generator=generator))


def test_probabilities_are_those_of_the_walk():
    logits = torch.tensor([0.5, -1.0, 2.0])
    q, P = markov(logits)
    p = torch.sigmoid(logits).numpy()
    rng, ends = np.random.default_rng(0), np.zeros(4)
    for _ in range(20_000):
        k = 0
        while k < 3 and rng.random() < p[k]:
            k += 1
        ends[k] += 1
    np.testing.assert_allclose(P, ends / ends.sum(), atol=0.015)
    np.testing.assert_allclose(q, [1, p[0], p[0] * p[1], p.prod()], rtol=1e-6)
    np.testing.assert_allclose(q, P.flip(0).cumsum(0).flip(0), rtol=1e-6)
    assert [t.tolist() for t in markov(torch.zeros(0))] == [[1.0], [1.0]]


def test_it_starts_with_all_candidates_equally_likely(data):
    for P in method(data, K=8).probabilities():
        np.testing.assert_allclose(P, 1 / len(P), rtol=1e-5)


@pytest.mark.parametrize("network", small.NETWORKS)
def test_scaled_weights_are_gates_on_what_layers_read(data, network):
    run = method(data, network)
    randomise(run)
    x, gates, hooks = data.train.x[:16], run.gates(), []
    for name, _, runs in run._read:
        factors = []
        for length, group, repeat in runs:
            one = torch.ones(length) if group is None else gates[group].repeat_interleave(repeat)
            factors.append(one)
        factor = torch.cat(factors)

        def gate(module, args, factor=factor):
            (y,) = args
            return (y * factor.view(1, -1, *[1] * (y.dim() - 2)),)

        layer = run.net.net.get_submodule(name.removesuffix(".weight"))
        hooks.append(layer.register_forward_pre_hook(gate))
    expected = run.net(x, run.space.full)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(run.forward(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [n for n in small.NETWORKS if n != "mobile"])
def test_gates_of_zero_and_one_are_a_width(data, network):
    """(A squeeze layer keeps its full width under gates, so 'mobile' is left out.)"""
    run = method(data, network)
    x = data.train.x[:16]
    for c in run.space.sample(np.random.default_rng(0), 5):
        with torch.no_grad():
            for t, candidates, w in zip(run.logits, run.space.candidates, c, strict=True):
                t.copy_(torch.where(torch.from_numpy(candidates[1:] <= w), 200.0, -200.0))
        torch.testing.assert_close(run.forward(x), run.net(x, c), rtol=1e-4, atol=1e-5)


def test_a_step_trains_widest_narrowest_and_random_networks_then_the_gates(data):
    run = method(data, recipe=Recipe(epochs=4, batch_size=64, lr=0.1), warmup=0.5)
    start = round(0.5 * run.total_steps)
    before = [t.detach().clone() for t in run.logits]
    run.fit(max_steps=start)
    assert run.passes == 4 * start
    assert all(torch.equal(a, b) for a, b in zip(before, run.logits, strict=True))
    run.fit(max_steps=1)
    assert run.passes == 4 * start + 5
    assert any(not torch.equal(a, b) for a, b in zip(before, run.logits, strict=True))
    history = run.search().history
    assert history.structure[:start].isna().all() and history.structure[start:].notna().all()


def test_weights_follow_the_mean_loss_of_the_networks_drawn(data):
    recipe = Recipe(epochs=1, batch_size=32, lr=0.1, momentum=0, weight_decay=0)
    run = method(data, recipe=recipe, randoms=0)
    x, y = data.train.x[:32], data.train.y[:32]
    run.optimizer.zero_grad(set_to_none=True)
    for loss, share in run._weight_losses(x, y):
        (loss * share).backward()
    got = {n: p.grad.clone() for n, p in run.net.named_parameters()}
    run.optimizer.zero_grad(set_to_none=True)
    widths = (run.space.full, run.space.narrowest)
    torch.stack(
        [torch.nn.functional.cross_entropy(run.net(x, c), y) for c in widths]
    ).mean().backward()
    for name, p in run.net.named_parameters():
        torch.testing.assert_close(got[name], p.grad, msg=name)


def test_the_cost_term_is_silent_near_the_budget_and_pulls_elsewhere(data):
    run = method(data)
    x, y = data.train.x[:16], data.train.y[:16]
    expected = float(run.expected(run.distribution()).detach()) * run.full_macs
    for factor, sign in ((1.02, 0), (0.5, 1), (2.0, -1)):
        run.budget = expected * factor
        price = run._structure_losses(x, y)[1]
        assert float(price.detach()) == pytest.approx(2 * abs(np.log(factor)) * abs(sign), rel=1e-4)
        grads = torch.autograd.grad(price, run.logits)
        assert all((sign * g >= 0).all() for g in grads)


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_expected_macs_move_towards_the_budget(data, share):
    recipe = Recipe(epochs=30, batch_size=64, lr=0.1)
    run = method(data, share=share, recipe=recipe)
    found = run.fit().search()
    assert abs(found.expected_macs / run.budget - 1) < 0.25
    assert found.macs <= run.budget


@pytest.mark.parametrize("kind", [TAS, DMCP, MetaPruning])
def test_a_group_with_one_width_takes_part(data, kind):
    model = small.residual()
    space = WidthSpace.from_model(model, torch.zeros(1, 1, 8, 8), K=4, base=[4, 1])
    assert [len(c) for c in space.candidates] == [1, 4]
    run = kind(model, space, data, RECIPE, budget=9e3, progress=False).fit(max_steps=4)
    found = run.search(population=4, generations=2) if kind is MetaPruning else run.search()
    assert found.best[0] == 4 and found.macs <= 9e3


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.15, 0.95), seed=st.integers(0, 1000))
def test_the_widths_derived_are_never_over_budget(share, seed):
    run = method(load("digits", size=600), "mobile", share=share)
    randomise(run, seed, scale=10)
    found = run.search()
    assert found.macs == run.cost.macs(found.best) <= run.budget
    assert all(w in c for w, c in zip(found.best, run.space.candidates, strict=True))


def test_a_seed_gives_the_same_result_also_after_an_interruption(data, tmp_path):
    whole = method(data, seed=3).fit().search()
    file = tmp_path / "dmcp"
    method(data, seed=3, checkpoint=file).fit(max_steps=3)
    resumed = method(data, seed=3, checkpoint=file)
    assert resumed.step == 3
    found = resumed.fit().search()
    assert found.best.tolist() == whole.best.tolist() and found.history.equals(whole.history)
    assert all(np.array_equal(p, q) for p, q in zip(found.P, whole.P, strict=True))
    with pytest.raises(CheckpointError, match="randoms is 1, was 2"):
        method(data, seed=3, checkpoint=file, randoms=1)
    with pytest.raises(ValueError, match="warmup < 1"):
        method(data, warmup=1.0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_it_runs_on_torchvision_networks(name):
    data = load("fake", size=64, shape=(3, 32, 32))
    model = zoo.make(name)
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=4)
    recipe = Recipe(epochs=1, batch_size=4, lr=0.01)
    run = DMCP(model, space, data, recipe, budget=3e6, warmup=0, randoms=1, progress=False)
    run.budget = run.full_macs * 0.5
    found = run.fit(max_steps=2).search()
    assert found.macs <= run.budget and run.passes == 8 and len(found.best) == space.L
