"""The memory meter counts what autograd saves: once, exactly, and only while it is alive."""

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from bcnet_lib import BCv2
from bcnet_lib.memory import SavedActivations, peak_memory

FLOAT = 4  # bytes


def batch(n=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 10


def test_a_linear_layer_saves_its_input_and_relu_its_output():
    net, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(7, 3)
    with SavedActivations(net) as meter:
        net(x)
    assert meter.peak == (7 * 3 + 7 * 5) * FLOAT  # the second layer's input is ReLU's output
    with SavedActivations(net, x) as meter:
        net(x)
    assert meter.peak == 7 * 5 * FLOAT


def test_memory_that_two_operations_save_counts_once():
    x = torch.randn(10, requires_grad=True)
    with SavedActivations() as meter:
        y = x * x + x.view(2, 5).square().sum()
    assert meter.live == meter.peak == 10 * FLOAT
    del y


def test_what_is_saved_is_freed_by_the_backward_pass_or_with_the_graph():
    x = torch.randn(10, requires_grad=True)
    with SavedActivations() as meter:
        (x.exp() * x).sum().backward()
        assert meter.live == 0
        graph = x.exp().sum()
        assert meter.live == 10 * FLOAT
        del graph
        assert meter.live == 0
    assert meter.peak == 20 * FLOAT


def test_a_meter_can_outlive_its_block():
    x = torch.randn(10, requires_grad=True)
    with SavedActivations() as meter:
        loss = x.exp().sum()
    loss.backward()
    assert meter.live == 0 and torch.equal(x.grad, x.detach().exp())


def test_nothing_is_saved_without_gradients():
    net = tiny.cnn()
    with SavedActivations(net) as meter, torch.no_grad():
        net(batch()[0])
    assert meter.peak == 0


def gradients(net):
    return [p.grad.clone() for p in net.parameters()]


def test_measuring_does_not_change_gradients():
    net, (x, y) = tiny.supernet(), batch()

    def step():
        net.zero_grad()
        F.cross_entropy(net(x, net.space.full, 1), y).backward()

    step()
    before = gradients(net)
    peak_memory(step, net, x)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(net), strict=True))


def test_two_paths_one_after_another_need_the_memory_of_one():
    """The paper's reason for Eq. 22 holds against both losses at once, not one after another."""
    net, (x, y) = tiny.supernet(BCv2()), batch()
    c = net.space.sample(np.random.default_rng(0), 1)[0]

    def loss(path):
        return F.cross_entropy(net(x, c, path), y)

    def one_after_another():
        loss(0).backward()
        loss(1).backward()

    single = [peak_memory(lambda p=p: loss(p).backward(), net, x, y).saved for p in (0, 1)]
    at_once = peak_memory(lambda: (loss(0) + loss(1)).backward(), net, x, y).saved
    assert peak_memory(one_after_another, net, x, y).saved == max(single)
    assert at_once == sum(single)


def test_without_cuda_there_is_no_allocator_peak():
    assert peak_memory(lambda: None).allocated is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_allocator_holds_at_least_what_autograd_saves():
    net, (x, y) = tiny.supernet().cuda(), [t.cuda() for t in batch(512)]
    peak = peak_memory(
        lambda: F.cross_entropy(net(x, net.space.full), y).backward(), net, x, y, device="cuda"
    )
    assert 0 < peak.saved <= peak.allocated
