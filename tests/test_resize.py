"""Networks of other widths: attributes, buffers and initial weights are what they should be."""

from math import sqrt

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from zoo import conv, head

from bcnet_lib.graph import discover
from bcnet_lib.resize import initialise, resize

X = torch.zeros(2, 3, 8, 8)


def resized(model, *channels):
    return resize(model, discover(model, X), channels)


def test_attributes_agree_with_the_parameters():
    model = nn.Sequential(
        *(conv(3, 8), nn.BatchNorm2d(8), nn.PReLU(8), conv(8, 16, groups=8)),
        *(nn.GroupNorm(1, 16), conv(16, 12), conv(12, 12, groups=3), nn.ConvTranspose2d(12, 6, 2)),
        *(nn.InstanceNorm2d(6, affine=True), head(6)),
    )
    text = repr(resized(model, 5, 8, 10))
    for part in (
        "Conv2d(3, 5,",
        "BatchNorm2d(5,",
        "PReLU(num_parameters=5)",
        "Conv2d(5, 10, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=5)",
        "GroupNorm(1, 10,",
        "Conv2d(10, 8,",
        "Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2)",
        "ConvTranspose2d(8, 10,",
        "InstanceNorm2d(10,",
        "Linear(in_features=10, out_features=3",
    ):
        assert part in text


def test_the_model_itself_does_not_change():
    model = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), head(8))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    initialise(resized(model, 4), model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("channels", [3, 8, 11])
def test_running_statistics_are_reset_and_other_tables_keep_their_entries(channels):
    norm, frozen = nn.BatchNorm2d(8), FrozenBatchNorm2d(8)
    norm.running_mean.fill_(5.0)
    norm.num_batches_tracked.fill_(9)
    frozen.weight = torch.arange(8.0)
    out = resized(nn.Sequential(conv(3, 8), norm, frozen, head(8)), channels)
    assert out[1].running_mean.tolist() == [0.0] * channels
    assert out[1].running_var.tolist() == [1.0] * channels
    assert out[1].num_batches_tracked == 0
    assert out[2].weight.tolist() == [float(i % 8) for i in range(channels)]


def test_initial_weights_have_the_stated_spread():
    model = nn.Sequential(
        *(conv(3, 400), nn.BatchNorm2d(400), conv(400, 400, groups=400), conv(400, 500, 1)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(500, 300)),
    )
    with torch.no_grad():
        model[1].weight.fill_(3.0)
    net = resized(model, 400, 500)
    initialise(net, model, torch.Generator().manual_seed(0))
    for layer, std in (
        (net[0], sqrt(2 / (400 * 9))),
        (net[2], sqrt(2 / 9)),  # depthwise: its own output only
        (net[3], sqrt(2 / 500)),
        (net[4][2], sqrt(1 / 500)),
    ):
        assert abs(layer.weight.std() / std - 1) < 0.05
        assert not layer.bias.any()
    assert (net[1].weight == 1).all() and not net[1].bias.any()


def test_parameters_without_a_rule_keep_their_values_or_their_spread():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = conv(3, 8), head(8)
            self.constant = nn.Parameter(torch.full((8, 1, 1), 1e-6))  # as ConvNeXt's layer scale
            self.spread = nn.Parameter(torch.linspace(0, 2, 8).view(8, 1, 1))
            self.scalar = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return self.head(self.conv(x) * self.constant * self.spread * self.scalar)

    model = Scaled()
    net = initialise(resized(model, 2000), model, torch.Generator().manual_seed(0))
    assert (net.constant == 1e-6).all() and net.scalar == 0.5
    assert abs(net.spread.mean() - 1) < 0.1
    assert abs(net.spread.std() / model.spread.std() - 1) < 0.1
    same = initialise(resized(model, 8), model)
    assert torch.equal(same.spread, model.spread)
