"""Operations counted by hand on networks of one or two layers."""

import pytest
import small
import torch
import torch.nn.functional as F
import zoo
from torch import nn

from bcnet_lib import UA, CostTable, Supernet, WidthSpace
from bcnet_lib.traffic import Traffic

FLOAT = 4  # bytes


def count(run):
    with Traffic() as traffic:
        run()
    return {op.name: (op.macs, op.bytes) for op in traffic.operations}, traffic


def test_a_convolution_forward_and_backward():
    x, conv = torch.randn(2, 3, 8, 8), nn.Conv2d(3, 4, 3, padding=1, bias=False)
    images, out, weight = 2 * 3 * 64, 2 * 4 * 64, 4 * 3 * 9
    macs = out * 3 * 9
    ops, traffic = count(lambda: F.relu(conv(x), inplace=True).sum().backward())
    assert ops["convolution"] == (macs, FLOAT * (images + weight + out))
    assert ops["relu_"] == (0, FLOAT * 2 * out)
    assert ops["sum"] == (0, FLOAT * (out + 1))
    # reads the output's gradient, one number that is expanded, and the mask; writes a gradient
    assert ops["threshold_backward"] == (0, FLOAT * (1 + out + out))
    # of the weight alone: images need no gradient
    assert ops["convolution_backward"] == (macs, FLOAT * (out + images + weight + weight))
    assert traffic.macs == 2 * macs
    x.requires_grad_()
    ops, traffic = count(lambda: conv(x).square().sum().backward())
    assert ops["convolution_backward"][0] == 2 * macs
    assert traffic.macs == 3 * macs


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_and_transposed_convolutions(groups):
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    conv = nn.Conv2d(4, 8, 3, groups=groups)
    assert count(lambda: conv(x).sum().backward())[1].macs == 3 * 2 * 8 * 16 * 9 * 4 // groups
    up = nn.ConvTranspose2d(4, 8, 2, stride=2, groups=groups)
    assert count(lambda: up(x).sum().backward())[1].macs == 3 * 2 * 4 * 36 * 4 * 8 // groups


def test_linear_layers_and_matrix_products():
    x, linear = torch.randn(5, 6), nn.Linear(6, 7)
    ops, _ = count(lambda: linear(x))
    assert ops == {"addmm": (5 * 6 * 7, FLOAT * (7 + 5 * 6 + 6 * 7 + 5 * 7))}
    a, b = torch.randn(3, 4, 5), torch.randn(3, 5, 6)
    assert count(lambda: a @ b)[0]["bmm"] == (3 * 4 * 5 * 6, FLOAT * 3 * (20 + 30 + 24))


def test_views_and_reserved_memory_are_free():
    x = torch.zeros(4, 6)
    ops, _ = count(lambda: (x.t()[1:].detach().view(5, 4), torch.empty(100), x.expand(9, 4, 6)))
    assert ops == {}
    assert count(lambda: x.expand(9, 4, 6).clone())[0]["clone"] == (0, FLOAT * (24 + 9 * 24))


def test_writing_and_gathering():
    x, y, rows = torch.zeros(100, 6), torch.ones(100, 6), torch.tensor([3, 5])
    assert count(lambda: x.zero_())[0]["zero_"] == (0, FLOAT * 600)
    assert count(lambda: x.copy_(y))[0]["copy_"] == (0, FLOAT * 1200)
    assert count(lambda: x.add_(y))[0]["add_"] == (0, FLOAT * 1800)
    assert count(lambda: torch.add(x, y, out=x))[0]["add"] == (0, FLOAT * 1800)
    assert count(lambda: x[rows])[0]["index"] == (0, FLOAT * 24 + 16)
    half = torch.zeros(10, dtype=torch.bfloat16)
    assert count(lambda: half.float())[0]["_to_copy"] == (0, 10 * (2 + 4))


@pytest.mark.parametrize("name", small.NETWORKS)
def test_a_path_takes_the_macs_of_the_cost_table(name):
    model, x = small.NETWORKS[name](), torch.randn(3, 1, 8, 8)
    net = Supernet(model, small.space(model), UA(), seed=0)
    for c in ([1] * net.space.L, [2] * net.space.L, [4] * net.space.L):
        assert count(lambda c=c: net(x, c))[1].macs == 3 * net.cost.macs(c)


def test_torchvision_networks_take_the_macs_of_the_cost_table():
    for name in ("mobilenet_v2", "resnet18"):
        model, x = zoo.make(name, device="meta"), torch.empty(1, 3, 64, 64, device="meta")
        space = WidthSpace.from_model(model, x)
        assert count(lambda m=model, x=x: m.eval()(x))[1].macs == CostTable(model, space, x).macs(
            space.full
        )
