"""Pictures of channel groups say in words which layers they join."""

import torch
import torch.nn.functional as F
from zoo import Net, conv, head

from bcnet_lib import WidthSpace
from bcnet_lib.plots_graph import coupling, group_widths

X = torch.empty(1, 3, 8, 8)


def residual():
    def run(net, x):
        x = net.stem(x)
        return net.head(x + net.down(F.relu(net.deep(net.up(x)))))

    layers = {"stem": conv(3, 8), "up": conv(8, 16), "deep": conv(16, 16, groups=16)}
    return Net(run, **layers, down=conv(16, 8), head=head(8))


def test_coupling_joins_what_the_addition_joins():
    figure = coupling(WidthSpace.from_model(residual(), X).graph, "a block")
    assert figure.alt.startswith("5 layers of a block in a row, 2 groups, 1 layers that stay. ")
    assert figure.alt.endswith("join stem with down")
    assert len([line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]) == 2  # arcs


def test_coupling_without_additions_joins_nothing():
    graph = WidthSpace.from_model(torch.nn.Sequential(conv(3, 8), conv(8, 8), head(8)), X).graph
    assert coupling(graph, "a chain").alt.endswith("join none")


def test_group_widths_gives_the_channels_of_every_group():
    figure = group_widths(WidthSpace.from_model(residual(), X, K=8, base=2), "a block")
    assert "from 2 to 4 at the smallest width and 8 to 16 at full width: 8 16" in figure.alt
    assert [bar.get_height() for bar in figure.axes[0].patches] == [8, 16, 2, 4]
