"""Every channel that must change together is found together; what cannot change says why."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from zoo import Net, conv, head

from bcnet_lib.graph import GraphError, Run, discover, layer_ops

X = torch.empty(1, 3, 16, 16)


def groups(graph):
    return {g.name: g.width for g in graph.groups}


@pytest.mark.parametrize(("name", "counts"), zoo.GROUPS.items())
def test_torchvision_networks_have_the_groups_counted_by_hand(name, counts):
    model = zoo.make(name, 1000, device="meta")  # discovery reads no weight
    graph = discover(model, torch.empty(1, 3, 224, 224))
    following = sum(g.follows is not None for g in graph.groups)
    assert (len(graph.groups) - following, following) == counts
    assert graph.grow_error is None
    assert all("training only" in why for why in graph.frozen.values())  # GoogLeNet's two heads


# ---------------------------------------------------------------------------- who belongs together


def test_layers_that_are_added_share_a_group():
    graph = discover(zoo.make("resnet18", device="meta"), torch.empty(1, 3, 64, 64))
    first = graph.groups[0]
    assert (first.name, first.width) == ("conv1", 64)
    assert first.layers == ("conv1", "layer1.0.conv2", "layer1.1.conv2")
    assert [g.name for g in graph.groups[1:3]] == ["layer1.0.conv1", "layer1.1.conv1"]


def test_image_and_classes_stay():
    graph = discover(nn.Sequential(conv(3, 8), head(8)), X)
    assert groups(graph) == {"0": 8}
    assert graph.axes["0.weight"][1] == (Run(None, 3),)
    assert graph.axes["1.2.weight"] == ((Run(None, 3),), (Run(0, 8),))


def test_concatenation_and_flatten_make_runs():
    def run(net, x):
        return net.fc(torch.cat([net.a(x), net.b(x)], 1).flatten(1))

    model = Net(run, a=conv(3, 4, stride=4), b=conv(3, 6, stride=4), fc=nn.Linear(10 * 16, 3))
    axis = discover(model, X).axes["fc.weight"][1]
    assert axis == (Run(0, 4, repeat=16), Run(1, 6, repeat=16))  # 4x4 positions a channel


def test_depthwise_layers_copy_the_group_before_them():
    model = nn.Sequential(conv(3, 8), conv(8, 16, groups=8), conv(16, 6), head(6))
    graph = discover(model, X)
    assert groups(graph) == {"0": 8, "2": 6}
    assert graph.axes["1.weight"][0] == (Run(0, 8, repeat=2),)  # two filters a channel
    assert graph.axes["2.weight"][1] == (Run(0, 8, repeat=2),)


def test_grouped_convolutions_keep_whole_blocks():
    graph = discover(nn.Sequential(conv(3, 12), conv(12, 12, groups=3), head(12)), X)
    assert [(g.width, g.multiple) for g in graph.groups] == [(12, 4)]


def test_blocks_of_several_layers_need_a_common_multiple():
    model = nn.Sequential(
        *(
            conv(3, 24),
            conv(24, 24, groups=6),
            nn.GroupNorm(3, 24),
            conv(24, 24, groups=4),
            head(24),
        )
    )
    assert discover(model, X).groups[0].multiple == 12  # blocks of 4 and 6, norm in thirds


def test_halves_of_a_gated_layer_go_together():
    def run(net, x):
        value, gate = net.a(x).chunk(2, dim=1)
        return net.h(value * torch.sigmoid(gate))

    graph = discover(Net(run, a=conv(3, 8), h=head(4)), X)
    assert groups(graph) == {"a": 4}
    assert graph.axes["a.weight"][0] == (Run(0, 4), Run(0, 4))


def test_a_module_used_twice_has_equal_ends():
    model = Net(lambda net, x: net.h(net.b(F.relu(net.b(net.a(x))))), a=conv(3, 8), b=conv(8, 8))
    model.h = head(8)
    assert [g.layers for g in discover(model, X).groups] == [("a", "b")]


def test_layers_with_one_weight_go_together():
    model = nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 8), head(8))
    model[2].weight = model[1].weight
    assert [g.layers for g in discover(model, X).groups] == [("0", "1")]


def test_transposed_convolutions_have_their_axes_the_other_way_round():
    graph = discover(nn.Sequential(conv(3, 8), nn.ConvTranspose2d(8, 6, 2, stride=2), head(6)), X)
    assert groups(graph) == {"0": 8, "1": 6}
    assert graph.axes["1.weight"][:2] == ((Run(0, 8),), (Run(1, 6),))


def test_squeeze_layers_follow_the_group_they_gate():
    def run(net, x):
        y = net.a(x)
        return net.h(y * net.expand(F.relu(net.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid())

    model = Net(run, a=conv(3, 8), squeeze=conv(8, 2, 1), expand=conv(2, 8, 1), h=head(8))
    found = discover(model, X).groups
    assert [(g.name, g.follows) for g in found] == [("a", None), ("squeeze", "a")]
    assert found[0].layers == ("a", "expand")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_groups_are_the_same_at_every_image_size(name):
    model = zoo.make(name, device="meta")
    large = discover(model, torch.empty(1, 3, 224, 224))
    assert any(g.follows for g in large.groups)
    for px in (16, 32, 64):  # 16: the last feature maps have one position
        assert discover(model, torch.empty(1, 3, px, px)).groups == large.groups, px


MEANS = {
    "mean": lambda y: y.mean((2, 3), keepdim=True),
    "two means": lambda y: y.mean(3, keepdim=True).mean(2, keepdim=True),
    "flat mean": lambda y: y.flatten(2).mean(2)[:, :, None, None],
    "adaptive": lambda y: F.adaptive_avg_pool2d(y, 1),
    "kernel of the map's size": lambda y: F.avg_pool2d(y, y.shape[2:]),
    "mean and maximum": lambda y: F.adaptive_max_pool2d(y, 1) + y.mean((2, 3), keepdim=True),
}


@pytest.mark.parametrize("px", [1, 8])
@pytest.mark.parametrize("mean", MEANS.values(), ids=MEANS)
def test_gates_are_known_by_their_pooling_not_by_their_size(mean, px):
    def run(net, x):
        for a, squeeze, expand in ((net.a, net.s, net.e), (net.b, net.t, net.f)):
            y = F.adaptive_avg_pool2d(a(x), x.shape[2:])  # no global pooling, except at 1x1
            x = y + y * expand(F.relu(squeeze(mean(y)))).sigmoid().expand_as(y)
        return net.h(x)

    model = Net(run, a=conv(3, 8), s=conv(8, 2, 1), e=conv(2, 8, 1), h=head(6))
    model.b, model.t, model.f = conv(8, 6), conv(6, 3, 1), conv(3, 6, 1)
    found = discover(model, torch.empty(1, 3, px, px)).groups
    assert [(g.name, g.follows) for g in found] == [
        ("a", None),
        ("s", "a"),
        ("b", None),
        ("t", "b"),
    ]


def learned_scale(net, x):
    return net.h(net.b(net.a(x).mean((2, 3), keepdim=True)) * net.scale)


def gate_without_layers(net, x):
    y = net.b(net.a(x))
    return net.h(y * y.mean((2, 3), keepdim=True).sigmoid())


def gated_before(net, x):
    y = net.b(net.a(x))
    return net.h(y * y.mean((2, 3), keepdim=True).sigmoid() * net.c(x))


def mean_over_channels(net, x):
    return net.h(net.c(x) * net.b(net.a(net.d(x).mean(1, keepdim=True).expand_as(x))))


def mean_of_colours(net, x):
    return net.h(net.c(x) * net.b(net.a(x.mean(1, keepdim=True).expand_as(x))))


PRODUCTS = [learned_scale, gate_without_layers, gated_before, mean_over_channels, mean_of_colours]


@pytest.mark.parametrize("px", [1, 8])
@pytest.mark.parametrize("run", PRODUCTS)
def test_layers_before_a_product_without_squeeze_are_searched(run, px):
    model = Net(run, a=conv(3, 8), b=conv(8, 6, 1), c=conv(3, 6), d=conv(3, 4), h=head(6))
    model.scale = nn.Parameter(torch.ones(1, 6, 1, 1))
    found = discover(model, torch.empty(1, 3, px, px)).groups
    assert "a" in {g.name for g in found if g.follows is None}


@pytest.mark.parametrize(
    "layer",
    [
        *(nn.BatchNorm2d(8), nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8)),
        *(FrozenBatchNorm2d(8), nn.PReLU(8), nn.LocalResponseNorm(3), nn.Dropout2d(0.1)),
        *(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Softmax(1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_normalisation_activation_and_pooling_follow_their_input(layer):
    graph = discover(nn.Sequential(conv(3, 8), layer, conv(8, 6), head(6)), X)
    assert groups(graph) == {"0": 8, "2": 6} and not graph.frozen
    own = [axes[0] for name, axes in graph.axes.items() if name.startswith("1.") and axes]
    assert own == [(Run(0, 8),)] * len(own)


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions_work_alike(dims):
    kind, pool = getattr(nn, f"Conv{dims}d"), getattr(nn, f"AdaptiveAvgPool{dims}d")
    norm = getattr(nn, f"BatchNorm{dims}d")
    model = nn.Sequential(kind(3, 8, 3), norm(8), pool(1), nn.Flatten(), nn.Linear(8, 3))
    assert groups(discover(model, torch.empty(1, 3, *[8] * dims))) == {"0": 8}


# ---------------------------------------------------------------------------- what stays, and why


def cumsum(net, x):
    return net.h(net.b(net.a(x).cumsum(1)))


def attention(net, x):
    return net.h(net.b(x) * torch.sigmoid(net.a(x)))


def halved(net, x):
    return net.h(net.b(net.a(x)[:, :4]))


def viewed(net, x):
    return net.h(net.b(net.a(x).view(-1, 8, 16, 16)))


HELD = {
    "an operation without a rule": (cumsum, 8, "goes through 'cumsum', which has no rule"),
    "one map gates all channels": (attention, 1, "is one channel broadcast over many"),
    "half of the channels": (halved, 8, "reaches 'b' in an order that is not whole groups"),
    "a size in forward()": (viewed, 8, "cannot shrink: "),
}


@pytest.mark.parametrize(("run", "width", "why"), HELD.values(), ids=HELD)
def test_what_cannot_change_is_kept_and_the_rest_is_searched(run, width, why):
    inner = {attention: 3, halved: 4}.get(run, 8)
    model = Net(run, a=conv(3, width), b=conv(inner, 8), h=head(8))
    graph = discover(model, X)
    assert graph.frozen["a"].startswith(why)
    assert "b" in groups(graph)
    with pytest.raises(GraphError, match="strict=True.*\n  'a' " + re.escape(why)):
        discover(model, X, strict=True)


def test_channels_that_meet_padding_stay_and_the_others_are_searched():
    def run(net, x):
        return net.h(net.b(x) + F.pad(net.a(x), (0, 0, 0, 0, 2, 2)))

    graph = discover(Net(run, a=conv(3, 4), b=conv(3, 8), h=head(8)), X)
    assert graph.axes["a.weight"][0] == (Run(0, 4),)
    assert graph.axes["b.weight"][0] == (Run(None, 2), Run(0, 4), Run(None, 2))
    assert graph.frozen == {"b": "meets channels that stay"}


def test_shuffled_channels_stay():
    graph = discover(nn.Sequential(conv(3, 8), nn.ChannelShuffle(2), conv(8, 6), head(6)), X)
    assert groups(graph) == {"2": 6}
    assert "'2' in an order that is not whole groups (split or shuffled)" in graph.frozen["0"]


def test_grouped_convolutions_with_unequal_ends_stay():
    model = nn.Sequential(conv(3, 8), conv(8, 12, groups=4), conv(12, 6), head(6))
    graph = discover(model, X)
    assert groups(graph) == {"2": 6}
    assert graph.frozen["0"] == (
        "conv '1' groups=4, 8 -> 12 is not supported: only depthwise or equal in/out grouped "
        "convolutions can change width"
    )


def test_layers_can_be_fixed_by_name_or_prefix():
    model = zoo.make("mobilenet_v2", device="meta")
    x = torch.empty(1, 3, 64, 64)
    free = discover(model, x)
    graph = discover(model, x, fixed=["features.18", "features.0.0"])
    assert set(groups(free)) - set(groups(graph)) == {"features.0.0", "features.18.0"}
    assert graph.frozen["features.18.0"] == "was fixed by the caller"


def test_heads_used_in_training_only_are_not_searched():
    graph = discover(zoo.make("googlenet", device="meta"), torch.empty(1, 3, 96, 96))
    assert graph.frozen["aux1.conv.conv"] == "is used in training only"
    assert not any(layer.startswith("aux") for op in graph.ops for layer in [op.layer])


class UpTo(nn.Module):
    """A forward with an upper limit written into it."""

    def forward(self, x):
        if x.shape[1] > 8:
            raise RuntimeError("at most 8 channels")
        return x


def test_a_model_that_can_only_shrink_says_why_it_cannot_grow():
    graph = discover(nn.Sequential(conv(3, 8), UpTo(), head(8)), X)
    assert groups(graph) == {"0": 8} and graph.grow_error == "at most 8 channels"


ERRORS = {
    "nothing to search": (
        nn.Sequential(nn.Flatten(), nn.Linear(768, 3)),
        {},
        "Sequential has no layer whose width can change",
    ),
    "only an unsupported layer": (
        nn.Sequential(conv(3, 8), conv(8, 12, groups=4), head(12)),
        {},
        r"no layer whose width can change: '0' conv '1' groups=4, 8 -> 12 is not supported",
    ),
    "wrong image": (
        nn.Sequential(conv(4, 8), head(8)),
        {},
        r"cannot be traced on \(1, 3, 16, 16\)",
    ),
    "a size in forward()": (
        Net(lambda net, x: net.fc(net.stem(x).view(-1, 8 * 256)), stem=conv(3, 8)),
        {},
        r"none of 'stem' can shrink.*\n.*view\(-1, 512\)",
    ),
    "fixed names nothing": (
        nn.Sequential(conv(3, 8), head(8)),
        {"fixed": ["stem"]},
        "fixed='stem' names no layer that makes channels; there are: 0, 1.2",
    ),
}
ERRORS["a size in forward()"][0].fc = nn.Linear(8 * 256, 3)


@pytest.mark.parametrize(("model", "options", "text"), ERRORS.values(), ids=ERRORS)
def test_errors_name_the_layer_and_what_to_do(model, options, text):
    with pytest.raises(GraphError, match=text):
        discover(model, X, **options)


def test_errors_of_another_image_size_give_the_size():
    model = Net(lambda net, x: net.fc(net.a(x).flatten(1)), a=conv(3, 4), fc=nn.Linear(1024, 3))
    graph = discover(model, X)
    assert layer_ops(model, graph, X) is graph.ops
    with pytest.raises(GraphError, match=r"cannot run on images of shape \(3, 8, 8\)"):
        layer_ops(model, graph, torch.empty(1, 3, 8, 8))


def test_discovery_leaves_the_model_as_it_was():
    model = zoo.make("mobilenet_v3_small").eval()
    before = copy.deepcopy(model.state_dict())
    discover(model, torch.empty(1, 3, 64, 64))
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
