"""Which channels and kernels of a real supernet are trained, counted from its own windows."""

import itertools

import numpy as np
import pytest
import tiny
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bcnet_lib import BC, UA, BCv2, Cyclic, Supernet, WidthSpace
from bcnet_lib.fairness import (
    channel_uses,
    expected_channel_uses,
    expected_kernel_uses,
    kernel_uses,
    step_passes,
    unevenness,
)

LEFT, RIGHT = 0, 1
PRINCIPLES = [UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic()]


def supernet(name, principle, K, base):
    model = zoo.make(name)
    space = WidthSpace.from_model(model, torch.empty(1, 3, 224, 224), K=K, base=base)
    return Supernet(model, space, principle, seed=0)


def every_width(space):
    """All width vectors of a small space, (n, L)."""
    return np.array(list(itertools.product(*space.candidates)))


# ---------------------------------------------------------------------------- complements


@pytest.fixture(scope="module")
def mobilenet():
    return {K: supernet("mobilenet_v2", BCv2(), K, K // 4) for K in (8, 20)}


def test_where_units_are_whole_channels_every_channel_is_trained_exactly_twice(mobilenet):
    net = mobilenet[8]  # 8 divides all 25 groups
    for k in range(2, 9):  # so every group meets each of its (c, complement)
        for uses in channel_uses(net, step_passes(net, [k] * 25, complement=True)).values():
            assert (uses == 2).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_widths_that_differ_between_the_groups_tile_just_as_well(mobilenet, seed):
    net = mobilenet[8]
    (c,) = net.space.sample(np.random.default_rng(seed), 1)
    uses = channel_uses(net, step_passes(net, c, complement=True)).values()
    assert all((u == 2).all() for u in uses)


@pytest.mark.parametrize("base", range(1, 9))
def test_the_tiling_holds_for_every_base(base):
    net = tiny.supernet(BCv2(), base=base)
    for k in range(base, 9):
        for uses in channel_uses(net, step_passes(net, [k] * 3, complement=True)).values():
            assert (uses == 2).all()


@pytest.mark.parametrize(
    ("name", "K"),
    [
        *(("mobilenet_v2", 20), ("resnet18", 20), ("resnext50_32x4d", 20)),
        *(("efficientnet_b0", 20), ("regnet_y_400mf", 8)),
    ],
)
def test_otherwise_two_tiles_overlap_by_one_block_at_most_and_leave_no_gap(name, K):
    net = supernet(name, BCv2(), K, K // 4)
    space, overlaps = net.space, 0
    for k in range(K // 4, K + 1):
        c = np.full(space.L, k)
        rest = space.complement(c, BCv2())
        for tiles in ([(c, LEFT), (rest, RIGHT)], [(c, RIGHT), (rest, LEFT)]):
            uses = channel_uses(net, tiles)
            for group in space.groups:
                u = uses[group.name]
                assert u.min() == 1 and u.max() <= 2
                assert (u == 2).sum() in (0, group.multiple)
                overlaps += (u == 2).any()
    assert overlaps  # there was something to round


def test_under_bc_the_full_width_trains_every_channel_twice_without_a_complement():
    net = tiny.supernet(BC(), base=1)
    for uses in channel_uses(net, step_passes(net, [8] * 3)).values():
        assert (uses == 2).all()


def test_under_bc_the_stand_in_for_it_trains_the_ends_a_third_time():
    net = tiny.supernet(BC(), base=1)
    uses = channel_uses(net, step_passes(net, [8] * 3, complement=True))
    assert uses["0"].tolist() == [3, 2, 2, 2, 2, 2, 2, 3]  # 8 channels, one a unit
    assert uses["6"].tolist() == [3, 3] + [2] * 12 + [3, 3]  # 16 channels


def test_under_bc_with_a_base_widths_without_a_complement_are_not_fair():
    net = tiny.supernet(BC(), base=3)
    for k in range(3, 9):
        uses = channel_uses(net, step_passes(net, [k] * 3, complement=True))["0"]
        assert (uses == 2).all() == (BC().complement(k, 8, 3) is not None) == (k <= 5)


def test_under_ua_a_complement_leaves_the_last_channels_out():
    net = tiny.supernet(UA(), base=1)
    uses = channel_uses(net, step_passes(net, [5] * 3, complement=True))["0"]
    assert uses.tolist() == [2, 2, 2, 1, 1, 0, 0, 0]


# ---------------------------------------------------------------------------- what training touches


@pytest.mark.parametrize("principle", PRINCIPLES, ids=repr)
def test_gradients_reach_exactly_the_channels_and_kernels_that_are_counted(principle):
    net = tiny.supernet(principle, base=2)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for path in range(net.n_paths):
        net.zero_grad()
        net(x, [5, 3, 6], path=path).square().sum().backward()
        passes = [([5, 3, 6], path)]
        grad = net.net[3].weight.grad  # (out, in, 3, 3), between groups '0' and '3'
        counted = kernel_uses(net, passes, out="3", into="0")
        assert ((grad != 0).any(3).any(2).numpy() == counted.astype(bool)).all()
        bias = net.net[4].bias.grad  # (out,), of the normalisation behind it
        assert ((bias != 0).numpy() == channel_uses(net, passes)["3"].astype(bool)).all()


# ---------------------------------------------------------------------------- expectations


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("principle", PRINCIPLES, ids=repr)
def test_expectations_are_means_over_all_widths(principle, complement):
    net = tiny.supernet(principle, K=4, base=2)
    C = every_width(net.space)
    passes = [p for c in C for p in step_passes(net, c, complement)]
    expected = expected_channel_uses(net, complement)
    for name, uses in channel_uses(net, passes).items():
        np.testing.assert_allclose(expected[name], uses / len(passes))
    for out, into in (("3", "0"), ("6", "3"), ("3", "3")):
        counted = kernel_uses(net, passes, out, into) / len(passes)
        np.testing.assert_allclose(
            expected_kernel_uses(net, out, into, complement), counted, atol=1e-12
        )


def test_equal_channel_counts_do_not_make_equal_kernel_counts():
    for principle, base in ((BC(), 1), (BCv2(), 3), (Cyclic(), 3)):
        net = tiny.supernet(principle, base=base)
        channels = expected_channel_uses(net)
        kernels = expected_kernel_uses(net, out="3", into="0")
        assert all(np.ptp(uses) < 1e-12 for uses in channels.values()), principle
        assert kernels.max() > 1.25 * kernels.min(), principle


def test_kernels_between_the_first_and_the_last_base_units_are_never_trained_by_bcv2():
    net = tiny.supernet(BCv2(), base=3)  # 8 channels and base 3: 11 channels, one a unit
    for complement in (False, True):
        kernels = expected_kernel_uses(net, "3", "0", complement)
        never = np.zeros((11, 11), dtype=bool)
        never[:3, -3:] = never[-3:, :3] = True
        assert ((kernels == 0) == never).all()


def test_squeeze_layers_are_counted_too():
    net = supernet("mobilenet_v3_large", UA(), 20, 5)
    followers = [g for g in net.space.graph.groups if g.follows]
    uses = expected_channel_uses(net)
    assert followers
    for group in followers:  # a squeeze layer starts at its first channel, like its leader
        assert uses[group.name].size == group.width and uses[group.name][0] == 1


def test_a_group_that_is_not_there_is_named():
    with pytest.raises(KeyError, match=r"no group '4' in this supernet; it has \['0', '3', '6'\]"):
        kernel_uses(tiny.supernet(), [], out="4", into="0")


def test_unevenness_by_hand():
    """Two channels of four are used by two passes, two by one."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    space = WidthSpace.from_model(model, torch.zeros(1, 1, 4, 4), K=4)
    net, passes = Supernet(model, space, UA()), [([4], 0), ([2], 0)]
    by_hand = np.std([2, 2, 1, 1]) / 1.5
    apart = (0 + np.std([1, 1, 0, 0]) / 0.5) / 2
    assert unevenness(net, passes, block=2) == pytest.approx((by_hand, by_hand))
    assert unevenness(net, passes, block=1) == pytest.approx((by_hand, apart))
