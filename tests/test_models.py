"""The networks cost what the paper prints and have the groups the chapters speak of."""

import pytest
import torch

from bcnet_lib import CostTable, WidthSpace
from bcnet_lib.models import digits_cnn, mobilenet_v2_cifar, vgg19_cifar


@pytest.mark.parametrize(
    ("make", "image", "groups", "macs", "params"),
    [
        (vgg19_cifar, (3, 32, 32), 16, 398e6, 20.0e6),
        (mobilenet_v2_cifar, (3, 32, 32), 25, 296.5e6, 2.24e6),
    ],
)
def test_cifar_networks_have_the_size_the_paper_prints(make, image, groups, macs, params):
    model, x = make(), torch.empty(1, *image)
    space = WidthSpace.from_model(model, x)
    cost = CostTable(model, space, x)
    assert groups == space.L
    assert abs(cost.macs(space.full) - macs) < 0.005 * macs
    assert abs(cost.params(space.full) - params) < 0.005 * params


def test_digits_network_has_five_groups_and_runs_at_any_widths():
    model, x = digits_cnn(), torch.zeros(2, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=4)
    assert [g.width for g in space.groups] == [16, 16, 32, 32, 64]
    assert space.build(model, [1, 4, 2, 3, 1])(x).shape == (2, 10)
    assert digits_cnn(widths=(3, 5, 7, 2, 4), classes=3)(x).shape == (2, 3)
