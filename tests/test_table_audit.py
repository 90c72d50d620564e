"""The ways in which Tables 4 and 5 could have been computed, on an invented benchmark."""

import itertools

import numpy as np
import pandas as pd
import pytest

from bcnet_lib.bench import MAKERS, MAXIMA, ChannelBench
from bcnet_lib.correlation import correlations
from bcnet_lib.plots_tables import by_runs, by_subset
from bcnet_lib.table_audit import accuracies, costs, every_choice, networks, random_subsets


def invented(name):
    C = np.array(list(itertools.product(range(1, 5), repeat=7)))
    acc = 90 + C.sum(1, keepdims=True) / 20 + np.random.default_rng(0).normal(0, 0.2, (len(C), 3))
    options = {"maxima": MAXIMA[name], "image": (3, 32, 32), "maker": MAKERS[name]}
    zeros = np.zeros(len(C), dtype=np.int64)
    parts = {"mean": acc.mean(1), "std": acc.std(1, ddof=1), "provenance": {}, "name": name}
    bench = ChannelBench(C=C, accuracies=acc, macs=zeros, params=zeros.copy(), **parts, **options)
    counts = {"macs": bench.cost.macs(C), "params": bench.cost.params(C)}
    return ChannelBench(C=C, accuracies=acc, **counts, **parts, **options)


@pytest.fixture(scope="module")
def mobilenet():
    return invented("mobilenet")


def test_costs_are_counted_another_way_and_not_merely_renamed(mobilenet):
    """By hand for the widest network: 1024 x 10 classifier weights, a 3x3 stem of 128 on 16x16."""
    macs, params = (costs(mobilenet, what) for what in ("macs", "params"))
    full = {name: int(v[-1]) for name, v in macs.items() if name != "its logarithm"}
    assert full["as released"] - full["without the classifier"] == 10_240
    assert full["as released"] - full["without the stem"] == 256 * 27 * 128
    assert full["as released"] - full["without the last 1x1"] == 64 * 256 * 1024
    deep = 9 * (256 * (768 + 768) + 64 * (768 + 1536))  # the third has stride 2
    assert full["as released"] - full["without depthwise layers"] == deep
    late = 9 * 768 + 768 * 256 + 2 * 256 * 1536 + 9 * 1536 + 256 * 1024
    assert full["all layers at 16x16"] - full["as released"] == (256 - 64) * late
    normal = 2 * (3 * 128 + 2 * 3 * 768 + 2 * 256 + 2 * 1536 + 1024) + 10  # and ten biases
    assert params["as released"][-1] - params["without normalisation"][-1] == normal
    np.testing.assert_array_equal(params["MACs instead"], macs["as released"])
    assert all(len(v) == 4**7 for v in (*macs.values(), *params.values()))
    with pytest.raises(ValueError, match="must be 'macs' or 'params'"):
        costs(mobilenet, "latency")


def test_layers_that_a_network_does_not_have_are_not_left_out():
    names = set(costs(invented("resnet"), "macs"))
    assert {"without the stem", "all layers at 16x16"} < names
    assert not names & {"without depthwise layers", "without the last 1x1"}


def test_accuracies_and_networks_are_those_their_names_say(mobilenet):
    ways, acc = accuracies(mobilenet), mobilenet.accuracies
    np.testing.assert_array_equal(ways["run 2 alone"], acc[:, 1])
    np.testing.assert_allclose(ways["runs 1 and 3"], (acc[:, 0] + acc[:, 2]) / 2)
    np.testing.assert_array_equal(ways["median"], np.sort(acc)[:, 1])
    assert len(ways) == 11
    kept = networks(mobilenet)
    assert [int(k.sum()) for k in kept.values()] == [4**7, 3**7, 3**7]


def test_every_choice_begins_with_the_plain_one(mobilenet):
    table = every_choice(mobilenet)
    plain = table.drop_duplicates("what")
    for _, row in plain.iterrows():
        expected = correlations(getattr(mobilenet, row.what), mobilenet.mean)
        np.testing.assert_allclose([row.pearson, row.spearman, row.kendall],
                                   100 * np.array(expected))  # fmt: skip
    assert (plain.accuracy == "mean of the runs").all() and (plain.cost == "as released").all()
    assert not table.duplicated(["what", "accuracy", "networks", "cost"]).any()


def test_bands_of_random_subsets_narrow_and_the_whole_is_one_point():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = x + rng.normal(size=400)
    bands = random_subsets(x, y, (20, 100, 400), draws=50)
    kendall = bands[bands.coefficient == "kendall"]
    width = (kendall.high - kendall.low).to_numpy()
    assert width[0] > width[1] > width[2] and width[2] == pytest.approx(0)
    assert kendall.low.iloc[-1] == pytest.approx(100 * correlations(x, y).kendall)
    with pytest.raises(ValueError, match=r"subset of 401 networks: .* 3\.\.400"):
        random_subsets(x, y, (401,))


def test_figures_say_what_they_show():
    rows = [("A", 1, 50, 51, 40), ("A", 1, 52, 53, 42), ("A", 3, 60, 61, 50)]
    found = pd.DataFrame(rows, columns=["row", "runs", "pearson", "spearman", "kendall"])
    figure = by_runs(found, {"A": (60, 61, 45)})
    assert "A: Kendall 41 % with one run, 50 % with 3, 45 % printed" in figure.alt
    columns = ["row", "size", "coefficient", "low", "high"]
    bands = pd.DataFrame(
        [("A", 100, "kendall", 40, 60), ("A", 1000, "kendall", 48, 52)], columns=columns
    )
    assert "lies in the band up to 100 networks" in by_subset(bands, {"A": (60, 61, 45)}).alt
    assert "lies in the band at no size drawn" in by_subset(bands, {"A": (60, 61, 5)}).alt
