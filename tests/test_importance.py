"""Importance pruning: what is unimportant goes, and widths stay within the budget."""

import sys

import numpy as np
import pytest
import small
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import RECIPE, cnn
from tiny import space as tiny_space
from torch import nn

from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.graph import GraphError
from bcnet_lib.search import BudgetError
from bcnet_lib.search.importance import CRITERIA, Ranking, bn_l1, channel_importances, importance
from bcnet_lib.space import WidthSpace
from bcnet_lib.train import train_from_scratch

pytest.importorskip("torch_pruning")


def marked(strong):
    """The tiny network, in whose layers only the first ``strong[i]`` channels matter."""
    model = cnn()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.0) if p.dim() == 1 else p.copy_(torch.randn(p.shape) * 0.01)
        for layer, n in zip((0, 3, 6), strong, strict=True):
            order = torch.randperm(len(model[layer].weight))[:n]  # anywhere, not leftmost
            model[layer].weight[order] += 3 * torch.randn_like(model[layer].weight[order])
            model[layer + 1].weight.fill_(0.01)
            model[layer + 1].weight[order] = 1.0
    return model


@pytest.mark.parametrize("criterion", ["magnitude", "bn_scale"])
@pytest.mark.parametrize("strong", [(4, 4, 8), (2, 6, 12), (8, 2, 4)])
def test_the_channels_that_matter_are_the_width(criterion, strong):
    torch.manual_seed(0)
    model = marked(strong)
    space = tiny_space()  # K = 8: channels 8, 8, 16
    wanted = np.array([strong[0], strong[1], strong[2] // 2])
    cost = CostTable(model, space, torch.zeros(1, 1, 8, 8))
    found = importance(model, space, budget=cost.macs(wanted), criterion=criterion)
    assert isinstance(found, Ranking) and criterion in repr(found)
    np.testing.assert_array_equal(found.best, wanted)
    assert found.macs == cost.macs(wanted)


def test_bn_scales_are_read_as_they_are():
    model, space = cnn(), tiny_space()
    scales = [torch.rand(n) - 0.5 for n in (8, 8, 16)]
    for layer, g in zip((1, 4, 7), scales, strict=True):
        model[layer].weight.data = g.clone()
    for got, g in zip(channel_importances(model, space, "bn_scale"), scales, strict=True):
        np.testing.assert_allclose(got, g.abs() / g.abs().mean(), rtol=1e-5)


def test_a_kernel_that_repeats_others_is_the_least_important_to_fpgm():
    model, space = cnn(), tiny_space()
    with torch.no_grad():
        model[0].weight[:3] = model[0].weight[:3].mean(0)
        for p in (model[3].weight, model[6].weight, model[-1].weight):
            p.fill_(0.1)  # readers tell nothing apart
    values = channel_importances(model, space, "fpgm")[0]
    assert set(np.argsort(values)[:3]) == {0, 1, 2}


@settings(max_examples=25, deadline=None)
@given(
    share=st.floats(0.15, 0.95),
    seed=st.integers(0, 1000),
    network=st.sampled_from(["residual", "mobile", "concat"]),
    criterion=st.sampled_from(["magnitude", "fpgm"]),
)
def test_widths_are_never_over_budget(share, seed, network, criterion):
    torch.manual_seed(seed)
    model = small.NETWORKS[network]()
    space = small.space(model, K=5)
    cost = CostTable(model, space, torch.zeros(1, 1, 8, 8))
    budget = share * cost.macs(space.full)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    if budget < cost.macs(space.narrowest):
        with pytest.raises(BudgetError):
            importance(model, space, budget=budget)
        return
    found = importance(model, space, budget=budget, cost=cost, criterion=criterion)
    assert found.macs == cost.macs(found.best) <= budget
    assert all(w in c for w, c in zip(found.best, space.candidates, strict=True))
    for values, group in zip(found.importances, space.groups, strict=True):
        assert values.shape == (group.width,) and values.mean() == pytest.approx(1)
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    again = importance(model, space, budget=budget, criterion=criterion)
    np.testing.assert_array_equal(found.best, again.best)


def test_the_penalty_of_network_slimming_shrinks_scales():
    data = load("digits", size=600)
    total = []
    for penalty in (None, bn_l1(0.0), bn_l1(0.02)):
        torch.manual_seed(0)
        model = cnn()
        trained = train_from_scratch(model, data, RECIPE, penalty=penalty)
        total.append(sum(float(model[i].weight.detach().abs().sum()) for i in (1, 4, 7)))
        assert trained.passes == 3 * (len(data.train) // RECIPE.batch_size)
    assert total[0] == total[1] > total[2]
    model = cnn()
    assert float(bn_l1(0.5)(model).detach()) == pytest.approx(0.5 * (8 + 8 + 16))
    with pytest.raises(ValueError, match="not be negative"):
        bn_l1(-1)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_it_ranks_torchvision_networks(name, criterion):
    model = zoo.make(name)
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
    found = importance(model, space, budget=3e6, criterion=criterion)
    assert found.macs <= 3e6 and len(found.best) == space.L


def test_what_the_package_cannot_do_is_said_to_be_its(monkeypatch):
    model = zoo.make("shufflenet_v2_x0_5")
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=4)
    message = r"torch-pruning fails on ShuffleNetV2 \(ZeroDivisionError: .*use another method"
    with pytest.raises(GraphError, match=message):
        importance(model, space, budget=5e5)

    def fail(*_, **__):
        raise KeyError("node")

    monkeypatch.setattr("torch_pruning.DependencyGraph.get_pruning_group", fail)
    with pytest.raises(GraphError, match=r"fails on Sequential at group '0' \(KeyError: 'node'\)"):
        importance(cnn(), tiny_space(), budget=1e4)


def test_errors_say_what_to_do(monkeypatch):
    model, space = cnn(), tiny_space()
    with pytest.raises(ValueError, match="one of magnitude, bn_scale, fpgm, got 'l2'"):
        importance(model, space, budget=1e4, criterion="l2")
    with pytest.raises(ValueError, match="'0' has 6 channels.*full network"):
        importance(cnn((6, 8, 16)), space, budget=1e4)
    bare = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), zoo.head(8))
    at = WidthSpace.from_model(bare, torch.zeros(1, 1, 8, 8), K=4)
    with pytest.raises(GraphError, match="'0' has no normalisation"):
        importance(bare, at, budget=2e3, criterion="bn_scale")
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"pip install 'bcnet_lib\[pruning\]'"):
        importance(model, space, budget=1e4)
