"""Costs of widths are exactly those of the networks built at these widths."""

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
import zoo
from randomnet import RandomNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from zoo import conv, head

from bcnet_lib import CostTable, GraphError, WidthSpace
from bcnet_lib.graph import to_meta
from bcnet_lib.resize import resize

X = torch.empty(1, 3, 224, 224)


def measured(model, space, c, x=X):
    """MACs and parameters of the network built at widths c, on the meta device."""
    net = resize(to_meta(model), space.graph, space.all_channels(space.channels(c))).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(x.to("meta"))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2, sum(p.numel() for p in net.parameters())


def summed(pairwise, k):
    """MACs from tables of single groups and of pairs, at k = c - base."""
    total = pairwise.constant + sum(u[i] for u, i in zip(pairwise.unary, k, strict=True))
    return total + sum(t[k[i], k[j]] for (i, j), t in pairwise.pairs.items())


@pytest.mark.parametrize("name", [*zoo.GROUPS, "shufflenet_v2_x1_0"])
def test_macs_and_parameters_equal_those_of_built_networks(name):
    model = zoo.make(name, 1000, device="meta")
    space = WidthSpace.from_model(model, X, K=20, base=5)
    cost = CostTable(model, space, X)
    C = space.sample(np.random.default_rng(0), 3)
    C[0] = space.full
    macs, params, pairwise = cost.macs(C), cost.params(C), cost.pairwise()
    assert macs.shape == params.shape == (3,) and macs.dtype == params.dtype == np.int64
    for c, m, p in zip(C, macs, params, strict=True):
        assert (m, p) == measured(model, space, c)
        assert m == sum(cost.layers(c).values())
        assert m == summed(pairwise, c - space.base)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_cost_what_is_counted(seed):
    model, x = RandomNet(seed), torch.empty(1, 3, 8, 8)
    space = WidthSpace.from_model(model, x, K=5)
    cost = CostTable(model, space, x)
    for c in space.sample(np.random.default_rng(seed), 3):
        assert (cost.macs(c), cost.params(c)) == measured(model, space, c, x)
        assert cost.macs(c) == summed(cost.pairwise(), c - space.base)


@pytest.mark.parametrize(
    ("name", "macs", "params"), [("mobilenet_v2", 300.8e6, 3.50e6), ("resnet50", 4.1e9, 25.6e6)]
)
def test_full_networks_cost_what_the_paper_says(name, macs, params):
    model = zoo.make(name, 1000, device="meta")
    space = WidthSpace.from_model(model, X)
    cost = CostTable(model, space, X)
    assert abs(cost.macs(space.full) - macs) < 0.005 * macs
    assert abs(cost.params(space.full) - params) < 0.005 * params


def test_one_vector_gives_one_number():
    model, space, x = tiny.cnn(), tiny.space(), torch.empty(1, 1, 8, 8)
    cost = CostTable(model, space, x)
    assert type(cost.macs(space.full)) is int and type(cost.params(space.full)) is int
    assert cost.macs(space.full) == 64 * 9 * 8 + 16 * 9 * 8 * 8 + 16 * 9 * 8 * 16 + 16 * 10
    assert cost.params(space.full) == sum(p.numel() for p in model.parameters())
    assert cost.macs(np.empty((0, 3), dtype=int)).shape == (0,)


def test_macs_count_one_image_and_follow_its_size():
    model, space = tiny.cnn(), tiny.space()
    small, batch, large = (torch.empty(s) for s in ((1, 1, 8, 8), (64, 1, 8, 8), (1, 1, 16, 16)))
    macs = [CostTable(model, space, x).macs(space.full) for x in (small, batch, large)]
    assert macs[0] == macs[1]
    assert macs[2] - 160 == 4 * (macs[0] - 160)  # the linear layer sees one position


def test_computed_weights_count():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return F.conv2d(x, weight, self.bias, padding=1)

    model, x = nn.Sequential(conv(3, 8), Standardised(8, 8, 3), conv(8, 6), head(6)), X[..., :8, :8]
    space = WidthSpace.from_model(model, x, K=2)
    assert [g.name for g in space.groups] == ["2"]
    cost = CostTable(model, space, x)
    for c in ([1], [2]):
        assert (cost.macs(c), cost.params(c)) == measured(model, space, c, x)


def test_layers_are_named_and_those_used_twice_add_up():
    model = zoo.Net(lambda net, x: net.h(net.b(net.b(net.a(x)))), a=conv(3, 8), b=conv(8, 8))
    model.h = head(8)
    x = torch.empty(1, 3, 4, 4)
    space = WidthSpace.from_model(model, x, K=4)
    layers = CostTable(model, space, x).layers([2])
    assert layers == {"a": 16 * 27 * 4, "b": 2 * 16 * 36 * 4, "h.2": 4 * 3}


def test_an_image_size_the_model_cannot_take_is_named():
    model = nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(8 * 64, 3))
    space = WidthSpace.from_model(model, torch.empty(1, 3, 8, 8))
    with pytest.raises(GraphError, match=r"cannot run on images of shape \(3, 16, 16\)"):
        CostTable(model, space, torch.empty(1, 3, 16, 16))


def test_costs_too_large_to_be_exact_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2**13, 1), head(2**13))
    x = torch.empty(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=2)
    assert CostTable(model, space, x).macs([2]) == 64 * 2**13 + 3 * 2**13
    huge = CostTable(model, space, torch.empty(1, 1, 2**20, 2**21, device="meta"))
    with pytest.raises(OverflowError, match="too large to be exact"):
        huge.macs([2])
