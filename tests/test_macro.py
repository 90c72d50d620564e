"""The benchmark's networks: their groups are c1 … c7, and their costs are the released ones.

Facts about a handful of networks need no data. All 2 x 16,384 are compared where the released
files are found (``BCNET_DATA``, or ``~/.cache/bcnet``).
"""

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bcnet_lib import CostTable, WidthSpace, bench_files, needs
from bcnet_lib.models import macro_mobilenet, macro_resnet

MAKE = {"mobilenet": macro_mobilenet, "resnet": macro_resnet}
MAXIMA = {
    "mobilenet": [128, 768, 768, 768, 256, 1536, 1024],
    "resnet": [256, 256, 256, 512, 512, 512, 512],
}
RELEASED = {  # MACs and parameters of a handful of networks
    "mobilenet": {
        "4444444": (211_281_920, 1_804_170),
        "1111111": (14_285_312, 125_418),
        "4432214": (122_923_008, 716_234),
    },
    "resnet": {"4444444": (1_436_226_560, 15_356_170), "1111111": (90_096_896, 963_658)},
}
IMAGE = torch.empty(1, 3, 32, 32)
both = pytest.mark.parametrize("name", MAKE)


def table(name):
    model = MAKE[name]()
    space = WidthSpace.from_model(model, IMAGE, K=4)
    return space, CostTable(model, space, IMAGE)


@both
def test_groups_are_the_seven_widths_in_their_order(name):
    space, _ = table(name)
    assert [g.width for g in space.groups] == MAXIMA[name]
    assert space.size == 4**7
    names = [g.name for g in space.groups]
    assert names[0] == "stem.0" and [n.split(".")[0] for n in names[1:4]] == [
        "block1",
        "block2",
        "block3",
    ]


@both
def test_widths_given_to_the_constructor_are_the_widths_of_the_groups(name):
    """Seven different numbers, so that none can stand in another's place."""
    widths = (8, 12, 20, 28, 16, 36, 24)
    space = WidthSpace.from_model(MAKE[name](widths), IMAGE, K=4)
    assert tuple(g.width for g in space.groups) == widths


@both
def test_costs_of_a_handful_equal_the_released_ones(name):
    _, cost = table(name)
    for key, (macs, params) in RELEASED[name].items():
        c = [int(d) for d in key]
        assert (cost.macs(c), cost.params(c)) == (macs, params), key


@both
def test_built_networks_have_the_costs_the_table_says(name):
    space, cost = table(name)
    for c in ([1, 2, 3, 4, 1, 2, 3], [4, 1, 1, 2, 3, 1, 2]):
        model = MAKE[name](space.channels(c))
        assert sum(p.numel() for p in model.parameters()) == cost.params(c)
        with FlopCounterMode(display=False) as counter:
            assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
        assert counter.get_total_flops() == 2 * 2 * cost.macs(c)


@both
def test_a_wrong_number_of_widths_is_refused(name):
    with pytest.raises(ValueError, match=r"7 widths .* got 3: \(8, 8, 8\)"):
        MAKE[name]((8, 8, 8))


@both
def test_every_released_row_has_the_macs_and_parameters_of_the_network(name):
    if unmet := needs.missing(["channel_bench_macro"]):
        pytest.skip(unmet[0].say())
    released = json.loads(bench_files.locate(name).read_text())
    assert len(released) == 4**7
    C = np.array([[int(d) for d in key] for key in released])
    _, cost = table(name)
    np.testing.assert_array_equal(cost.macs(C), [row["flops"] for row in released.values()])
    np.testing.assert_array_equal(cost.params(C), [row["params"] for row in released.values()])


@both
def test_layers_of_many_widths_are_those_of_each_and_add_up_to_the_macs(name):
    _, cost = table(name)
    C = np.array([[1, 2, 3, 4, 1, 2, 3], [4, 4, 4, 4, 4, 4, 4]])
    layers = cost.layers(C)
    for i, c in enumerate(C):
        assert {layer: int(macs[i]) for layer, macs in layers.items()} == cost.layers(c)
    np.testing.assert_array_equal(sum(layers.values()), cost.macs(C))
