"""The networks cost what the paper prints; one function makes any of them, and a reader's own."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import StochasticDepth

from bcnet_lib import CostTable, WidthSpace, load, save
from bcnet_lib.networks import NETWORKS, NetworkError, make

SIZES = {  # MACs, parameters, groups
    "digits_cnn": (924_780, 33_280, 5),
    "vgg16_cifar": (313_201_664, 14_724_042, 13),
    "vgg19_cifar": (398_136_320, 20_035_018, 16),
    "mobilenet_v2_cifar": (296_473_088, 2_236_682, 25),
    "macro_mobilenet": (211_281_920, 1_804_170, 7),
    "macro_resnet": (1_436_226_560, 15_356_170, 7),
    "resnet18": (1_814_073_344, 11_689_512, 12),
    "resnet34": (3_663_761_408, 21_797_672, 20),
    "resnet50": (4_089_184_256, 25_557_032, 37),
    "mobilenet_v2": (300_774_272, 3_504_872, 25),
    "efficientnet_b0": (385_814_752, 5_288_548, 24),
    "proxylessnas_mobile": (320_427_584, 4_080_512, 28),
}


def test_every_network_has_its_size_pinned():
    assert set(SIZES) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_parameters_and_groups(name):
    model, x = make(name), torch.empty(1, *NETWORKS[name].image)
    space = WidthSpace.from_model(model, x)
    cost = CostTable(model, space, x)
    here = (int(cost.macs(space.full)), int(cost.params(space.full)), space.L)
    assert here == SIZES[name]
    assert sum(p.numel() for p in model.parameters()) == SIZES[name][1]


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_those_that_pytorch_counts(name):
    model = make(name).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *NETWORKS[name].image, device="meta"))
    assert counter.get_total_flops() == 2 * SIZES[name][0]


@pytest.mark.parametrize(
    ("name", "macs", "params", "groups"),
    [
        ("proxylessnas_mobile", 320e6, 4.08e6, 28),
        ("mobilenet_v2", 300e6, 3.5e6, 25),
        ("resnet50", 4.1e9, 25.6e6, 37),
        ("vgg19_cifar", 398e6, 20.0e6, 16),
        ("mobilenet_v2_cifar", 296.5e6, 2.24e6, 25),
    ],
)
def test_sizes_are_those_in_print(name, macs, params, groups):
    here = SIZES[name]
    assert abs(here[0] - macs) < 0.005 * macs
    assert abs(here[1] - params) < 0.005 * params
    assert here[2] == groups


@pytest.mark.parametrize("name", NETWORKS)
def test_any_classes_and_image_channels(name):
    image = NETWORKS[name].image
    model = make(name, classes=3, channels=4).to("meta").eval()
    assert model(torch.empty(2, 4, *image[1:], device="meta")).shape == (2, 3)


def test_a_new_first_convolution_differs_in_its_input_alone():
    own, other = make("resnet18").conv1, make("resnet18", channels=1).conv1
    assert (own.in_channels, other.in_channels) == (3, 1)
    assert repr(own).replace("Conv2d(3,", "Conv2d(1,") == repr(other)
    assert make("resnet18", channels=3).conv1.in_channels == 3


def test_dropout_of_a_network_is_set_with_its_stochastic_depth():
    def rates(model):
        drops = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
        return drops, [m.p for m in model.modules() if isinstance(m, StochasticDepth)]

    own, off, half = (rates(make("efficientnet_b0", dropout=d)) for d in (None, 0, 0.5))
    assert own[0] == {0.2} and max(own[1]) == pytest.approx(0.1875)
    assert off[0] == {0.0} and set(off[1]) == {0.0}
    assert half[0] == {0.5} and max(half[1]) == pytest.approx(0.5)
    assert half[1] == pytest.approx([p * 0.5 / 0.1875 for p in own[1]])


def own_network(channels_inside: int = 6, num_classes: int = 7) -> nn.Module:
    layers = nn.Conv2d(3, channels_inside, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(channels_inside, num_classes))


def not_a_network():
    return "a string"


def test_a_function_of_ones_own():
    model = make(f"{__name__}:own_network", channels_inside=5)
    assert (model[0].out_channels, model[-1].out_features) == (5, 7)
    model = make(f"{__name__}:own_network", classes=2, channels=1)
    assert model(torch.zeros(1, 1, 4, 4)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenet", {}, "unknown network 'mobilenet': known are 'digits_cnn'"),
        ("no.such:thing", {}, "'no.such:thing' cannot be imported"),
        (f"{__name__}:missing", {}, "cannot be imported"),
        (f"{__name__}:SIZES", {}, "is a dict, not a function"),
        (f"{__name__}:not_a_network", {}, "is a str, not an nn.Module"),
        ("resnet18", {"depth": 3}, r"resnet18\(depth=3, num_classes=1000\) fails"),
        ("digits_cnn", {"dropout": 0.5}, "no dropout layer to set dropout=0.5"),
        ("mobilenet_v2", {"dropout": 1.5}, "at least 0 and below 1, got 1.5"),
        ("resnet18", {"channels": 0}, "channels must be a positive integer, got 0"),
    ],
)
def test_errors_say_what_was_asked(name, options, message):
    with pytest.raises(NetworkError, match=message):
        make(name, **options)


def test_a_saved_network_names_the_function(tmp_path):
    words = {"name": "digits_cnn", "classes": 4, "channels": 2}
    model, x = make(**words), torch.randn(2, 2, 8, 8)
    space = WidthSpace.from_model(model, x, K=10)
    small = space.build(model, [3] * 5, seed=0).eval()
    save(tmp_path / "small", small, space, [3] * 5, factory=make, **words)
    assert torch.equal(load(tmp_path / "small")(x), small(x))
