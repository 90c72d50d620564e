"""TAS: mixed weights are mixed features, expected MACs are exact, widths stay within the budget."""

import itertools

import numpy as np
import pytest
import small
import torch
import torch.nn.functional as F
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.cost import CostTable
from bcnet_lib.data import DataError, load
from bcnet_lib.graph import GraphError
from bcnet_lib.recipe import Recipe, TrainingError
from bcnet_lib.search.learned import ExpectedMACs, LearnedWidths
from bcnet_lib.search.tas import TAS, interpolate
from bcnet_lib.space import WidthSpace

RECIPE = Recipe(epochs=3, batch_size=64, lr=0.1)


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


def method(data, network="residual", K=4, share=0.5, **options):
    model = small.NETWORKS[network]()
    space = small.space(model, K=K)
    options = {"recipe": RECIPE, "progress": False} | options
    recipe = options.pop("recipe")
    cost = CostTable(model, space, torch.zeros(1, 1, 8, 8))
    share = share * cost.macs(space.full)
    return TAS(model, space, data, recipe, budget=share, **options)


def test_interpolation_averages_neighbouring_channels():
    t = torch.arange(6.0)[:, None] + torch.tensor([0.0, 10.0])  # (6, 2)
    np.testing.assert_allclose(interpolate(t, 3)[:, 0], [0.5, 2.5, 4.5])
    wide = interpolate(t.T[:, :2], 4, dim=1)
    np.testing.assert_allclose(wide, [[0, 0, 1, 1], [10, 10, 11, 11]])
    assert interpolate(t, 6) is t
    for n in (1, 4, 5, 7, 13):
        expected = F.adaptive_avg_pool1d(t.T[None], n)[0].T
        torch.testing.assert_close(interpolate(t, n), expected)


@pytest.mark.parametrize("network", small.NETWORKS)
def test_running_mixed_weights_equals_mixing_the_features(data, network):
    run = method(data, network)
    space, net = run.space, run.net
    x = data.train.x[:16]
    for _ in range(5):
        drawn = run.draw()
        mixed = run.forward(x, drawn)
        hooks = []
        for g, n, (pair, q) in zip(space.groups, run.channels, drawn, strict=True):
            a, b = (n[k] for k in pair)

            def mix(module, args, y, a=a, b=b, q=q):
                both = [interpolate(y.narrow(1, 0, m), max(a, b), 1) for m in (a, b)]
                return q[0] * both[0] + q[1] * both[1]

            hooks += [net.net.get_submodule(name).register_forward_hook(mix) for name in g.layers]
        columns = zip(space.candidates, drawn, strict=True)
        c = np.array([max(w[k] for k in pair) for w, (pair, _) in columns])
        expected = net(x, c)
        for hook in hooks:
            hook.remove()
        torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-5)


def test_two_widths_are_drawn_without_replacement_by_their_probabilities(data):
    run = method(data)
    with torch.no_grad():
        run.logits[0].copy_(torch.tensor([2.0, 0.0, 1.0, -1.0]))
    p = run.probabilities()[0]
    n = 4000
    counts = np.zeros((4, 4))
    for _ in range(n):
        (a, b), q = run.draw()[0]
        counts[a, b] += 1
        assert a != b and float(q.sum().detach()) == pytest.approx(1) and q[0] >= q[1]
    expected = np.outer(p, p) / (1 - p)[:, None]
    np.fill_diagonal(expected, 0)
    spread = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(counts / n - expected) <= 4.5 * spread + 1e-9).all()


@pytest.mark.parametrize("network", small.NETWORKS)
def test_expected_macs_are_those_of_all_networks_by_enumeration(data, network):
    run = method(data, network, K=3)
    space, rng = run.space, np.random.default_rng(1)
    P = [rng.dirichlet(np.ones(len(c))) for c in space.candidates]
    C = np.array(list(itertools.product(*space.candidates)))
    chance = np.array([np.prod(row) for row in itertools.product(*P)])
    expected = (chance @ run.cost.macs(C)) / run.cost.macs(space.full)
    got = ExpectedMACs(space, run.cost)([torch.tensor(p, dtype=torch.float32) for p in P])
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_weights_and_distribution_learn_from_different_images_in_turn(data):
    run = method(data)
    first, second = (set(map(bytes, h.x.numpy())) for h in run.halves)
    assert not first & second and len(run.halves[0]) == len(data.train) // 2
    before = [t.detach().clone() for t in run.logits]
    weights = {n: p.detach().clone() for n, p in run.net.named_parameters()}
    run.fit(max_steps=1)
    assert run.passes == 2 and run.step == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, run.logits, strict=True))
    assert any(not torch.equal(weights[n], p) for n, p in run.net.named_parameters())
    losses = run._structure_losses(data.train.x[:32], data.train.y[:32])
    at = {n: p.detach().clone() for n, p in run.net.named_parameters()}
    grads = torch.autograd.grad(sum(losses), run.logits)
    assert all(g.abs().sum() > 0 for g in grads)
    assert all(torch.equal(at[n], p) for n, p in run.net.named_parameters())


def test_the_cost_term_follows_the_most_probable_network(data):
    """It pulls down or up while that network is off the budget, by the log of the expected MACs."""
    run = method(data)
    likely = [c[int(t.argmax())] for c, t in zip(run.space.candidates, run.logits, strict=True)]
    macs = run.cost.macs(np.array(likely))
    for factor, sign in ((0.9, 1), (0.96, 0), (1.04, 0), (1.1, -1)):
        run.budget = macs * factor
        price = run._price()
        expected = torch.log(run.expected(run.distribution()))
        torch.testing.assert_close(price, sign * expected)
        grads = torch.autograd.grad(price, run.logits)
        moved = [t.detach() - g for t, g in zip(run.logits, grads, strict=True)]
        after = run.expected([F.softmax(t, dim=0) for t in moved])
        assert np.sign(round(float(run.expected(run.distribution()).detach() - after), 9)) == sign


@pytest.mark.parametrize("share", [0.25, 0.7])
def test_expected_macs_move_towards_the_budget(data, share):
    run = method(data, share=share, recipe=Recipe(epochs=30, batch_size=64, lr=0.1))
    start = float(run.expected(run.distribution()).detach()) * run.full_macs
    found = run.fit().search()
    assert abs(found.expected_macs - run.budget) < 0.4 * abs(start - run.budget)
    assert found.macs <= run.budget
    assert len(found.history) == run.step == run.total_steps and run.passes == 2 * run.step


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.15, 0.95), seed=st.integers(0, 1000), network=st.sampled_from(["mobile"]))
def test_the_widths_derived_are_never_over_budget(share, seed, network):
    run = method(load("digits", size=600), network, share=share)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for t in run.logits:
            t.copy_(20 * torch.randn(t.shape, generator=rng))
    found = run.search()
    assert isinstance(found, LearnedWidths) and "MACs" in repr(found)
    assert found.macs == run.cost.macs(found.best) <= run.budget
    assert all(w in c for w, c in zip(found.best, run.space.candidates, strict=True))
    assert all(p.sum() == pytest.approx(1) for p in found.P)


def same(a, b):
    assert a.best.tolist() == b.best.tolist() and a.history.equals(b.history)
    assert all(np.array_equal(p, q) for p, q in zip(a.P, b.P, strict=True))


def test_a_seed_gives_the_same_result_also_after_an_interruption(data, tmp_path):
    whole = method(data, seed=3).fit().search()
    file = tmp_path / "tas"
    part = method(data, seed=3, checkpoint=file).fit(max_steps=4)
    assert part.step == 4
    resumed = method(data, seed=3, checkpoint=file)
    assert resumed.step == 4 and resumed.passes == 8
    same(whole, resumed.fit().search())
    other = method(data, seed=4).fit().search()
    assert not other.history.equals(whole.history)
    with pytest.raises(CheckpointError, match="cost_weight is 1.0, was 2.0"):
        method(data, seed=3, checkpoint=file, cost_weight=1.0)


def test_errors_name_what_is_wrong(data):
    with pytest.raises(DataError, match="train, first half"):
        method(data, recipe=Recipe(epochs=1, batch_size=300, lr=0.1))
    with pytest.raises(TrainingError, match="structure_lr"):
        method(data, recipe=Recipe(epochs=1, batch_size=64, lr=1e30)).fit()

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 1, 3, 3))

        def forward(self, x):
            return F.conv2d(x, self.weight)

    model = nn.Sequential(Own(), nn.ReLU(), zoo.head(8, 10))
    space = WidthSpace.from_model(model, torch.zeros(1, 1, 8, 8), K=4)
    with pytest.raises(GraphError, match="'0' is a Own"):
        TAS(model, space, data, RECIPE, budget=1.5e3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_it_runs_on_torchvision_networks(name):
    data = load("fake", size=64, shape=(3, 32, 32))
    model = zoo.make(name)
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=4)
    run = TAS(model, space, data, Recipe(epochs=1, batch_size=4, lr=0.01), budget=3e6)
    run.budget = run.full_macs * 0.5
    found = run.fit(max_steps=2).search()
    assert found.macs <= run.budget and run.passes == 4 and len(found.best) == space.L
