"""Where groups stand: kinds, and the groups at which images shrink, of networks that are known."""

from collections import Counter

import pytest
import torch
from torch import nn

from bcnet_lib import WidthSpace
from bcnet_lib.networks import make
from bcnet_lib.width_places import places


def of(name, *shape):
    model = make(name)
    return places(WidthSpace.from_model(model, torch.zeros(1, *shape), K=4))


@pytest.mark.parametrize(
    "name,shape,kinds,shrinks",
    [
        ("mobilenet_v2_cifar", (3, 32, 32), {"inner": 16, "block output": 7},
         ["features.7.conv.0.0", "features.14.conv.0.0"]),
        ("vgg19_cifar", (3, 32, 32), {"layer": 14}, ["7", "14", "27", "40"]),
        ("digits_cnn", (1, 8, 8), {"layer": 3}, ["6"]),
        # shortcuts of the first stage end in the stem, where max pooling shrinks images
        ("resnet18", (3, 64, 64), {"inner": 8, "block output": 2},
         ["conv1", *(f"layer{i}.0.conv{j}" for i in (2, 3, 4) for j in (1, 2))]),
        # gates work at a single position, and shrink nothing
        ("efficientnet_b0", (3, 64, 64), {"inner": 15, "block output": 7},
         [f"features.{i}.0.block.0.0" for i in (2, 3, 4, 6)]),
    ],
)  # fmt: skip
def test_known_networks(name, shape, kinds, shrinks):
    found = of(name, *shape)
    assert found[0].kind == "stem" and found[-1].kind != "stem"
    assert Counter(p.kind for p in found) == kinds | {"stem": 1, "last": 1}
    assert [p.name for p in found if p.shrinks] == shrinks


def test_strides_decide_and_not_the_size_of_the_image():
    """The same places for images of 8 x 8, where the last maps have four positions."""
    assert of("mobilenet_v2_cifar", 3, 8, 8) == of("mobilenet_v2_cifar", 3, 32, 32)


def test_the_last_group_is_the_one_the_classes_read():
    """Wherever it stands: ResNet's last stage is read by its last block as well."""
    kinds = [p.kind for p in of("resnet18", 3, 64, 64)]
    assert kinds.index("last") == len(kinds) - 2 and kinds[-1] == "inner"


def test_depthwise_convolutions_make_a_group_an_inner_one():
    block = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 24, 1), nn.Conv2d(24, 24, 3, stride=2, padding=1, groups=24),
        nn.Conv2d(24, 8, 1), nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    found = places(WidthSpace.from_model(block, torch.zeros(1, 3, 8, 8), K=4))
    assert [p.kind for p in found] == ["stem", "inner", "block output", "last"]
    assert [p.shrinks for p in found] == [False, True, False, False]
