"""A search space counts, draws, checks and builds exactly the networks it says it holds."""

from math import prod

import numpy as np
import pytest
import tiny
import torch
import zoo
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from zoo import Net, conv, head

from bcnet_lib import BC, UA, BCv2, GraphError, WidthError, WidthSpace
from bcnet_lib.graph import ChannelGraph, ChannelGroup

X = torch.empty(1, 3, 16, 16)


def one_group(width, K, base=1, multiple=1) -> WidthSpace:
    group = ChannelGroup(name="stem", width=width, layers=("stem",), multiple=multiple)
    graph = ChannelGraph(groups=(group,), axes={}, ops=(), frozen={}, example_shape=(3, 8, 8))
    return WidthSpace(K=K, base=np.array([base]), graph=graph)


layers = st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 4))


# ---------------------------------------------------------------------------- counting


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 6))
def test_rounded_channels_are_the_nearest_multiple_that_is_a_width(n, multiple, block):
    (got,) = one_group(block, 1, multiple=block).rounded([n], multiple)
    allowed = [m for m in range(1, 400) if m % multiple == 0 and m % block == 0]
    assert got == max(m for m in allowed if abs(m - n) == min(abs(a - n) for a in allowed))


def test_rounding_takes_many_and_refuses_no_multiple():
    space = one_group(64, 8)
    assert space.rounded([[3], [11], [12], [20]]).tolist() == [[8], [8], [16], [24]]
    for wrong in (0, 2.0, True):
        with pytest.raises(WidthError, match="must be a positive integer"):
            space.rounded([8], wrong)


def test_mobilenet_v2_has_25_groups_of_20_widths():
    model = zoo.make("mobilenet_v2", 1000, device="meta")
    space = WidthSpace.from_model(model, torch.empty(1, 3, 224, 224), K=20)
    assert space.L == 25 and space.full.tolist() == [20] * 25
    assert [g.name for g in space.groups][:2] == ["features.0.0", "features.1.conv.1"]
    assert space.size == 20**25
    # its layer of 16 channels has only 16 different widths
    assert space.networks == 16 * 20**24
    assert "25 groups, K=20, base=1, 2.68e+32 networks" in repr(space)


@given(layers)
def test_channels_are_the_smallest_whole_number_of_blocks_that_holds_the_units(layer):
    blocks, K, multiple = layer
    space = one_group(blocks * multiple, K, multiple=multiple)
    c = np.arange(1, K + 1)
    n = space.channels(c[:, None])[:, 0]
    exact = c * blocks / K  # blocks, before rounding
    assert (n % multiple == 0).all() and n[-1] == blocks * multiple
    assert ((n // multiple >= exact) & (n // multiple < exact + 1)).all()


@given(layers, st.data())
def test_candidates_are_the_different_networks(layer, data):
    blocks, K, multiple = layer
    base = data.draw(st.integers(1, K))
    space = one_group(blocks * multiple, K, base, multiple)
    (candidates,) = space.candidates
    n = space.channels(candidates[:, None])[:, 0]
    every = space.channels(np.arange(base, K + 1)[:, None])[:, 0]
    assert len(set(n)) == len(n) == space.networks and set(n) == set(every)
    assert candidates[-1] == K and space.narrowest[0] == candidates[0]


def test_sampling_is_uniform_over_different_widths_and_repeats():
    space = one_group(4, K=8)  # two widths for each number of channels
    drawn = space.sample(np.random.default_rng(0), 20_000)
    assert drawn.shape == (20_000, 1) and drawn.dtype == np.int64
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [2, 4, 6, 8]
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(20_000 * 0.25 * 0.75)
    assert (space.sample(np.random.default_rng(0), 20_000) == drawn).all()


def test_size_counts_width_vectors_and_networks_counts_different_ones():
    space = tiny.space(K=20, base=3)
    assert space.size == 18**space.L
    assert space.networks == prod(map(len, space.candidates)) < space.size
    assert space.channels(space.full).tolist() == [8, 8, 16]


# ---------------------------------------------------------------------------- complement


@pytest.mark.parametrize("base", [1, 3])
def test_width_and_complement_fill_a_bcv2_layer_exactly(base):
    space, p = tiny.space(K=8, base=base), BCv2()
    for c in space.sample(np.random.default_rng(0), 50):
        rest = space.complement(c, p)
        total = [p.total(8, base)] * space.L
        assert (c + rest == total).all()
        whole = space.channels(c) + space.channels(rest)
        assert (whole == space.total_channels(p)).all()  # K divides these layers


def test_where_there_is_no_complement_the_nearest_width_stands_in():
    space = tiny.space(K=8, base=1)
    assert space.complement([8, 3, 8], BC()).tolist() == [1, 5, 1]
    assert BC().complement(8, 8) is None


@given(layers, st.data())
def test_where_units_are_no_whole_channels_the_complement_is_off_by_one_block_at_most(layer, data):
    blocks, K, multiple = layer
    base = data.draw(st.integers(1, K))
    space = one_group(blocks * multiple, K, base, multiple)
    c = np.array([data.draw(st.integers(base, K))])
    both = space.channels(c) + space.channels(space.complement(c, BCv2()))
    assert abs(int(both[0]) - int(space.total_channels(BCv2())[0])) <= multiple


# ---------------------------------------------------------------------------- building


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121", "convnext_tiny"])
def test_built_networks_are_plain_and_have_the_channels_asked_for(name):
    model, x = zoo.make(name), torch.randn(2, 3, 64, 64)
    space = WidthSpace.from_model(model, x, K=7, base=2)  # 7 divides nothing here
    c = space.sample(np.random.default_rng(0), 1)[0]
    small = space.build(model, c, seed=0)
    assert type(small) is type(model) and small.training
    layers = dict(small.named_modules())
    for group, n in zip(space.groups, space.channels(c), strict=True):
        made = [m for k, m in layers.items() if k in group.layers and hasattr(m, "weight")]
        counts = {m.weight.shape[0] for m in made}
        assert counts == {n}, group.name
    assert small(x).shape == (2, 10)


def test_seeds_decide_the_weights_and_the_models_own_are_not_used():
    model = tiny.cnn()
    space = tiny.space(model)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    one, same, other = (space.build(model, space.full, seed=s) for s in (0, 0, 1))
    weights = [[p.detach() for p in m.parameters()] for m in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(*weights[:2], strict=True))
    assert not torch.equal(weights[0][0], weights[2][0])
    assert not (weights[0][0] == 7.0).any()


def test_networks_can_be_wider_than_the_model():
    model = tiny.cnn()
    wide = tiny.space(model).build(model, channels=[11, 8, 40])
    assert [m.out_channels for m in wide if isinstance(m, nn.Conv2d)] == [11, 8, 40]
    assert wide(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_squeeze_layers_keep_their_ratio():
    def run(net, x):
        y = net.a(x)
        return net.h(y * net.expand(net.squeeze(y.mean((2, 3), keepdim=True)).relu()).sigmoid())

    model = Net(run, a=conv(3, 16), squeeze=conv(16, 6, 1), expand=conv(6, 16, 1), h=head(16))
    space = WidthSpace.from_model(model, X, K=16)
    assert space.L == 1 and [g.name for g in space.graph.groups] == ["a", "squeeze"]
    counts = space.all_channels(space.channels(np.arange(1, 17)[:, None]))
    assert counts[:, 1].tolist() == [-(-6 * n // 16) for n in range(1, 17)]
    assert space.build(model, [5]).squeeze.weight.shape == (2, 5, 1, 1)


def test_every_group_can_have_its_own_smallest_width():
    space = WidthSpace.from_model(tiny.cnn(), torch.zeros(1, 1, 8, 8), K=8, base=[2, 3, 8])
    assert space.narrowest.tolist() == [2, 3, 8]
    assert space.total_channels(BCv2()).tolist() == [10, 11, 32]
    assert space.total_channels(UA()).tolist() == [8, 8, 16]


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("c", "text"),
    [
        ([1, 2], r"3 entries \('0' … '6'\), got shape \(2,\)"),
        ([[[4, 4, 4]]], r"got shape \(1, 1, 3\)"),
        ([4, 4, 9], r"width 9 for group '6' is outside 2..8 \(units of 2 channels; .* has 16\)"),
        ([[8, 8, 8], [4, 1, 4]], "width 1 for group '3' is outside 2..8"),
        ([4, 4.5, 4], "integer numbers of units, got .*4.5"),
        ([4.0, 4.0, 4.0], "got whole floats"),
        (["4", "4", "4"], "integer numbers of units, got"),
        ([True, True, True], "integer numbers of units, got"),
    ],
)
def test_wrong_widths_are_named(c, text):
    with pytest.raises(WidthError, match=text):
        tiny.space().check(c)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"K": 0}, "K must be a positive integer number of units, got 0"),
        ({"K": 2.5}, "K must be a positive integer number of units, got 2.5"),
        ({"K": 8, "base": 9}, "base 9 for group '0' is not an integer in 1..8"),
        ({"K": 8, "base": [1, 0, 1]}, "base 0 for group '3'"),
        ({"K": 8, "base": [1, 1]}, "base has 2 entries, the model has 3 groups"),
        ({"K": 3, "exact": True}, r"K=3 does not divide .* 3 of 3 groups: '0' \(8\).*divide 8 to"),
    ],
)
def test_wrong_settings_are_named(options, text):
    with pytest.raises(WidthError, match=text):
        WidthSpace.from_model(tiny.cnn(), torch.zeros(1, 1, 8, 8), **options)


def test_a_number_of_units_that_divides_is_exact():
    space = WidthSpace.from_model(tiny.cnn(), torch.zeros(1, 1, 8, 8), K=8, exact=True)
    assert space.channels([1, 1, 1]).tolist() == [1, 1, 2]


def test_build_refuses_what_it_cannot_build():
    model = nn.Sequential(conv(3, 8), conv(8, 8, groups=4), head(8))
    space = WidthSpace.from_model(model, X, K=4)
    with pytest.raises(WidthError, match="either c .* or channels, and not both"):
        space.build(model)
    with pytest.raises(WidthError, match="either c .* or channels, and not both"):
        space.build(model, [4], channels=[8])
    with pytest.raises(WidthError, match="5 channels for group '0': not a positive multiple of 2"):
        space.build(model, channels=[5])
    with pytest.raises(WidthError, match="channels must be 1 integers"):
        space.build(model, channels=[2, 2])


def test_a_strict_space_refuses_frozen_layers():
    model = Net(lambda net, x: net.h(net.b(net.a(x).cumsum(1))), a=conv(3, 8), b=conv(8, 8))
    model.h = head(8)
    assert WidthSpace.from_model(model, X).L == 1
    with pytest.raises(GraphError, match="'a' goes through 'cumsum'"):
        WidthSpace.from_model(model, X, strict=True)
