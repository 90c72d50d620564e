"""MetaPruning: generated weights, cropped as UA crops them, trained and searched as a supernet."""

import numpy as np
import pytest
import small
import torch
import zoo

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.evaluate import evaluate
from bcnet_lib.principles import UA
from bcnet_lib.recipe import Recipe
from bcnet_lib.search import BudgetError
from bcnet_lib.search.metapruning import Hypernet, MetaPruning
from bcnet_lib.space import WidthSpace
from bcnet_lib.supernet import Supernet
from bcnet_lib.train import SupernetTrainer

RECIPE = Recipe(epochs=3, batch_size=64, lr=0.1)


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


def method(data, network="residual", share=0.5, **options):
    model = small.NETWORKS[network]()
    space = small.space(model)
    full = CostTable(model, space, torch.zeros(1, 1, 8, 8)).macs(space.full)
    options = {"budget": share * full, "hidden": 4, "progress": False} | options
    return MetaPruning(model, space, data, RECIPE, **options)


@pytest.mark.parametrize("network", small.NETWORKS)
def test_untrained_it_is_the_plain_ua_supernet(data, network):
    model = small.NETWORKS[network]()
    space = small.space(model)
    net, plain = Hypernet(model, space, seed=5), Supernet(model, space, UA(), seed=5)
    for c in space.sample(np.random.default_rng(0), 5):
        assert torch.equal(net(data.train.x[:8], c), plain(data.train.x[:8], c))
    assert net.cost.macs(space.full) == plain.cost.macs(space.full)


@pytest.mark.parametrize("network", small.NETWORKS)
def test_a_width_runs_the_weights_generated_for_it(data, network):
    run = method(data, network).fit()
    net, space, x = run.net, run.net.space, data.train.x[:8]
    for c in space.sample(np.random.default_rng(1), 4):
        with torch.no_grad():
            generated = net.weights(c)
            plain = Supernet(small.NETWORKS[network](), space, UA())
            state = dict(net.supernet.net.named_parameters()) | generated
            for name, p in plain.net.named_parameters():
                p.copy_(state[name])
            assert torch.equal(net(x, c), plain(x, c))
            assert torch.equal(net(x, c), net(x, c))  # nothing is left behind
    narrow, wide = net.weights(space.narrowest), net.weights(space.full)
    assert all(not torch.equal(narrow[n], wide[n]) for n in net.names)
    kinds = {n.rpartition(".")[2] for n in net.names}
    assert kinds == {"weight"} and len(net.names) == len([*zoo_layers(net)])


def zoo_layers(net):
    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)
    return (m for m in net.supernet.net.modules() if isinstance(m, kinds))


def test_the_small_networks_learn(data):
    run = method(data)
    before = {n: p.detach().clone() for n, p in run.net.named_parameters()}
    run.fit()
    assert run.passes == run.trainer.step == run.trainer.total_steps
    still = {n for n, p in run.net.named_parameters() if torch.equal(before[n], p)}
    assert not still


@pytest.mark.parametrize("network", ["residual", "mobile"])
def test_search_scores_generated_weights_within_the_budget(data, network):
    run = method(data, network).fit()
    found = run.search(population=8, generations=3)
    assert found.macs == run.cost.macs(found.best) <= run.budget
    assert found.history.macs.max() <= run.budget
    assert found.score == evaluate(run.net, found.best, data)
    again = method(data, network).fit().search(population=8, generations=3)
    assert again.history.equals(found.history)


def test_an_interrupted_training_ends_as_one_that_was_not(data, tmp_path):
    whole, file = method(data, seed=2).fit(), tmp_path / "meta"
    method(data, seed=2, checkpoint=file).fit(max_steps=5)
    resumed = method(data, seed=2, checkpoint=file)
    assert resumed.passes == 5
    resumed.fit()
    for a, b in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(a, b)
    options = {"population": 8, "generations": 3}
    search = tmp_path / "search"
    part = resumed.search(population=8, generations=1, checkpoint=search)
    found = resumed.search(**options, checkpoint=search)
    assert found.history.equals(whole.search(**options).history)
    assert part.evaluations < found.evaluations
    with pytest.raises(CheckpointError, match="hidden=8"):
        method(data, seed=2, checkpoint=file, hidden=8)
    plain = Supernet(small.residual(), resumed.net.space, UA(), seed=2)
    with pytest.raises(CheckpointError, match="principle"):
        SupernetTrainer(plain, data, RECIPE, seed=2, checkpoint=file)


def test_errors_come_before_the_training(data):
    with pytest.raises(BudgetError, match="below the narrowest"):
        method(data, share=0.001)
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        method(data, hidden=0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_it_runs_on_torchvision_networks(name):
    data = load("fake", size=64, shape=(3, 32, 32))
    model = zoo.make(name)
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=4)
    recipe = Recipe(epochs=1, batch_size=4, lr=0.01)
    run = MetaPruning(model, space, data, recipe, budget=3e6, hidden=1, progress=False)
    run.fit(max_steps=2)
    found = run.search(population=2, generations=1)
    assert found.macs <= 3e6 and run.passes == 2
