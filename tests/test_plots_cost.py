"""Figures of costs say in words what they show."""

import numpy as np
import pandas as pd
import torch
from tiny import cnn

from bcnet_lib import CostTable, WidthSpace
from bcnet_lib.latency import measure_latency
from bcnet_lib.latency_check import check_latency
from bcnet_lib.plots_cost import couplings, predicted_latency, ranks, time_and_macs

X = torch.zeros(1, 1, 8, 8)


def test_couplings_count_the_pairs_that_share_a_layer():
    model = cnn((8, 8, 64))
    space = WidthSpace.from_model(model, X, K=4)
    figure = couplings(CostTable(model, space, X).pairwise(), space.full - space.base)
    assert "2 of 3 pairs share a layer" in figure.alt
    macs = CostTable(model, space, X).layers(space.full)
    largest = macs["6"] / sum(macs.values())
    assert f"groups 2 and 3 with {largest:.0%}" in figure.alt


def test_ranks_give_the_correlation_of_each_measure():
    x = np.arange(1, 20)
    alt = ranks({"MACs": x, "parameters": x**2, "latency": -x}, "MACs").alt
    assert "parameters with rank correlation 1.00; latency with rank correlation -1.00" in alt


def test_predicted_latency_gives_both_errors():
    model = cnn()
    space = WidthSpace.from_model(model, X, K=4)

    def timer(module, *inputs):
        return 1.0 + sum(p.numel() for p in module.parameters())

    options = {"timer": timer, "progress": False}
    table = measure_latency(model, space, repeats=1, **options)
    check = check_latency(model, space, table, n=8, **options)
    figure = predicted_latency(check)
    errors = check.errors["median"]
    assert f"of 8 networks: median error {errors['sum of layers']:.0%}" in figure.alt
    assert len(figure.axes[0].lines[2].get_xdata()) == 4


def test_time_and_macs_are_shares_of_their_sums():
    alt = time_and_macs(pd.Series({"a": 1.0, "b": 3.0}), pd.Series({"a": 5})).alt
    assert alt.endswith("b: 75 % and 0 %; a: 25 % and 100 %")
