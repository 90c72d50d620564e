"""A network of so many times the MACs has the same groups, wider by one factor."""

import numpy as np
import pytest
import small
import torch
from torch import nn

from bcnet_lib import CostTable, WidthSpace, load, save
from bcnet_lib.networks import NETWORKS, make
from bcnet_lib.widen import widened


def table(model, x, K=1):
    space = WidthSpace.from_model(model, x, K=K)
    return CostTable(model, space, x), space


@pytest.mark.parametrize("name", ["digits_cnn", "vgg19_cifar", "resnet50", "efficientnet_b0"])
def test_half_as_many_macs_again_take_about_1_23_times_the_width(name):
    model, x = make(name), torch.empty(1, *NETWORKS[name].image)
    wide, factor = widened(model, x)
    (before, space), (after, grown) = table(model, x), table(wide, x)
    assert 1.2 < factor < 1.25
    tolerance = 0.02 if name == "digits_cnn" else 0.003  # 30 channels: one more is a lot
    ratio = after.macs(grown.full) / before.macs(space.full)
    assert ratio == pytest.approx(1.5, rel=tolerance)
    assert type(wide) is type(model)
    assert [g.name for g in grown.groups] == [g.name for g in space.groups]
    for a, b in zip(space.groups, grown.groups, strict=True):
        assert abs(b.width - factor * a.width) <= 0.5 * a.multiple + 1e-6, a.name


def test_no_other_factor_comes_nearer():
    model, x = small.mobile(), torch.empty(1, 1, 8, 8)
    cost, space = table(model, x)
    width = np.array([g.width for g in space.groups])
    for times in (1.1, 1.5, 2.0, 3.7):
        wide, factor = widened(model, x, times)
        goal = times * cost.macs(space.full)
        after, grown = table(wide, x)
        reached = abs(after.macs(grown.full) - goal)
        others = np.linspace(1, 2.5, 3001)[:, None] * width  # (n, L)
        every = cost.macs_of(np.floor(others + 0.5).astype(np.int64))
        assert reached <= abs(every - goal).min()
        assert 1 < factor < times


@pytest.mark.parametrize("network", small.NETWORKS.values(), ids=small.NETWORKS)
def test_a_wide_network_computes_and_its_macs_are_those_of_the_table(network):
    model, x = network(), torch.zeros(2, 1, 8, 8)
    cost, space = table(model, x)
    wide, _ = widened(model, x, 1.5, seed=0)
    after, grown = table(wide, x)
    counts = np.array([g.width for g in grown.groups])
    assert cost.macs_of(counts) == after.macs(grown.full)
    assert np.array_equal(cost.macs_of(np.stack([counts, counts])), [cost.macs_of(counts)] * 2)
    assert cost.macs_of(space.channels(space.full)) == cost.macs(space.full)
    assert wide(x).shape == model(x).shape and wide.training


def test_seeds_and_one_times_the_macs():
    model, x = small.residual(), torch.zeros(1, 1, 8, 8)
    same, factor = widened(model, x, 1.0, seed=3)
    assert factor == 1.0
    shapes = [p.shape for p in model.parameters()]
    assert [p.shape for p in same.parameters()] == shapes
    again, other = widened(model, x, 1.0, seed=3)[0], widened(model, x, 1.0, seed=4)[0]
    pairs = list(zip(same.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, b) for a, _, b in pairs)


def test_a_width_found_in_the_wide_network_is_saved_as_one_of_the_network(tmp_path):
    model, x = make("digits_cnn"), torch.randn(2, 1, 8, 8)
    wide, _ = widened(model, x)
    space = WidthSpace.from_model(wide, x, K=10)
    c = [10, 3, 10, 2, 9]  # wider than the model's 30 channels in some layers
    assert max(space.channels(c)) > 30 > min(space.channels(c))
    found = space.build(wide, c, seed=0)
    save(tmp_path / "found", found, space, c, factory=make, name="digits_cnn")
    assert torch.equal(load(tmp_path / "found")(x), found(x))


@pytest.mark.parametrize("times", [0.5, float("nan"), float("inf")])
def test_times_out_of_range_are_refused(times):
    with pytest.raises(ValueError, match=f"times={times!r} must be 1 or more"):
        widened(small.residual(), torch.zeros(1, 1, 8, 8), times)


class Fixed(nn.Module):
    """A small searched path beside a large layer from the image to the outputs."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 50, 3)
        self.beside = nn.Conv2d(1, 50, 9, padding=3)

    def forward(self, x):
        return (self.last(self.first(x)) + self.beside(x)).mean((2, 3))


def test_a_network_that_cannot_grow_so_far_is_refused():
    model, x = Fixed(), torch.zeros(1, 1, 8, 8)
    assert widened(model, x, 1.5)[1] > 1.5  # MACs grow more slowly than widths here
    message = r"times=4.0: widths of .* times those of the model have only .* in layers of fixed"
    with pytest.raises(ValueError, match=message):
        widened(model, x, 4.0)
