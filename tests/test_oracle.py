"""torch-pruning, which finds dependencies along the autograd graph, agrees about who is touched."""

import pytest
import torch
import zoo
from torch import nn

from bcnet_lib.graph import discover

tp = pytest.importorskip("torch_pruning")
NAMES = ["resnet18", "mobilenet_v2", "densenet121", "squeezenet1_0", "mnasnet1_0"]


def touched_here(model, graph, index):
    """(layer, "out" or "in") of every parameter axis that holds channels of a group."""
    found = set()
    for name, axes in graph.axes.items():
        layer, _, key = name.rpartition(".")
        if key != "weight":
            continue
        for axis, side in zip(axes, ("out", "in"), strict=False):
            if any(run.group == index for run in axis):
                found.add((layer, side))
    return found


def touched_there(dependencies, model, layer):
    """The same for what torch-pruning changes when it drops channel 0 of a layer."""
    module = model.get_submodule(layer)
    names = {m: name for name, m in model.named_modules()}
    group = dependencies.get_pruning_group(module, tp.prune_conv_out_channels, idxs=[0])
    found = set()
    for dep, _ in group:
        if dep.target.module in names:  # not torch-pruning's own nodes for concat, flatten, ...
            outwards = dependencies.is_out_channel_pruning_fn(dep.handler)
            depthwise = getattr(dep.target.module, "groups", 1) > 1
            norm = isinstance(dep.target.module, nn.BatchNorm2d)
            side = "out" if outwards or depthwise or norm else "in"
            found.add((names[dep.target.module], side))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_dropping_a_channel_touches_the_same_layers(name):
    model, x = zoo.make(name).eval(), torch.zeros(1, 3, 64, 64)
    graph = discover(model, x)
    dependencies = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    for index, group in enumerate(graph.groups):
        here = touched_here(model, graph, index)
        assert here == touched_there(dependencies, model, group.name), group.name
        assert {layer for layer, side in here if side == "out"} >= set(group.layers)
