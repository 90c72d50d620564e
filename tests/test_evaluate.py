"""Evaluation: Eq. 12 is a mean over paths, with the statistics of the batch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import RECIPE, cnn, supernet

from bcnet_lib.data import DataError, load
from bcnet_lib.evaluate import _Batches, accuracy, evaluate, evaluate_many
from bcnet_lib.principles import BC, UA, BCv2, Cyclic, WidthError
from bcnet_lib.train import SupernetTrainer, train_from_scratch


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture(scope="module")
def trained(data):
    net = supernet(BC())
    return SupernetTrainer(net, data, RECIPE, progress=False).fit().net


C = np.array([[8, 8, 8], [2, 2, 2], [3, 7, 5], [8, 2, 4]])


@pytest.mark.filterwarnings("ignore")  # the exported network's running statistics are not used
def test_a_score_is_the_mean_accuracy_of_the_exported_left_and_right_networks(trained, data):
    x, y = data.val.x, data.val.y
    for c in C:
        paths = []
        for path in (0, 1):
            plain = trained.export(c, path=path).train()  # batch statistics, one batch of 270
            paths.append((plain(x).argmax(1) == y).float().mean().item())
        assert evaluate(trained, c, data.val) == pytest.approx(np.mean(paths))
        assert evaluate(trained, c, data.val, paths=[1]) == pytest.approx(paths[1])


def test_many_widths_score_as_they_do_one_by_one(trained, data):
    scores = evaluate_many(trained, C, data.val)
    per_path = evaluate_many(trained, C, data.val, per_path=True)
    assert scores.shape == (4,) and per_path.shape == (4, 2)
    assert scores.tolist() == [evaluate(trained, c, data.val) for c in C]
    np.testing.assert_array_equal(per_path.mean(1), scores)
    assert per_path[0, 0] == per_path[0, 1]  # at full width both paths are the whole network
    assert (per_path[1:, 0] != per_path[1:, 1]).any()
    assert evaluate_many(trained, np.empty((0, 3), dtype=int), data.val).shape == (0,)


def test_data_is_scored_on_its_search_validation_split(trained, data):
    assert evaluate(trained, C[2], data) == evaluate(trained, C[2], data.val)
    assert evaluate(trained, C[2], data) != evaluate(trained, C[2], data.test)


def test_a_split_is_cut_into_equal_batches_with_no_small_rest(data):
    def sizes(n):
        return [len(y) for _, y in _Batches(data.val, n)]

    assert sizes(2048) == sizes(270) == [270]
    assert sizes(269) == [135, 135]
    assert sizes(100) == [90, 90, 90]
    assert max(sizes(64)) <= 64 and sum(sizes(64)) == 270 and np.ptp(sizes(64)) <= 1


def test_the_batch_size_changes_the_statistics(trained, data):
    assert (evaluate_many(trained, C, data, batch_size=8) != evaluate_many(trained, C, data)).any()


@pytest.mark.parametrize(("principle", "n"), [(UA(), 1), (BCv2(), 2), (Cyclic(), 8)])
def test_every_path_counts_unless_a_subset_is_named(data, principle, n):
    net = supernet(principle)
    per_path = evaluate_many(net, C, data, per_path=True)
    assert per_path.shape == (4, n)
    np.testing.assert_array_equal(evaluate_many(net, C, data), per_path.mean(1))
    np.testing.assert_array_equal(evaluate_many(net, C, data, paths=[n - 1]), per_path[:, -1])


def test_the_loss_is_the_mean_cross_entropy_over_paths(trained, data):
    losses = evaluate_many(trained, C, data.val, metric="loss", batch_size=100, per_path=True)
    split = data.val
    for c, row in zip(C, losses, strict=True):
        for path, loss in enumerate(row):
            total = 0.0
            for x, y in _Batches(split, 100):
                with torch.no_grad():
                    total += F.cross_entropy(trained(x, c, path), y).item() * len(y)
            assert loss == pytest.approx(total / len(split), rel=1e-5)
    with pytest.raises(ValueError, match="metric must be one of accuracy, loss, got 'top5'"):
        evaluate_many(trained, C, split, metric="top5")


def test_evaluation_changes_nothing(trained, data):
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    trained.train()
    trained.net[1].eval()
    try:
        evaluate_many(trained, C, data)
        assert trained.training and trained.net[0].training and not trained.net[1].training
    finally:
        trained.train()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trained.parameters())
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())


def test_plain_networks_are_measured_with_running_statistics(data):
    net = train_from_scratch(cnn(), data, RECIPE).model.train()
    whole = accuracy(net, data.test)
    assert net.training and 0.1 < whole < 1
    assert whole == accuracy(net, data.test, batch_size=1)
    with torch.no_grad():
        right = net.eval()(data.test.x).argmax(1) == data.test.y
    assert whole == int(right.sum()) / 449


def test_bad_input_is_refused_by_name(trained, data):
    with pytest.raises(WidthError, match=r"width 9 for group '3' is outside 2\.\.8"):
        evaluate(trained, [8, 9, 8], data)
    with pytest.raises(WidthError, match="3 entries"):
        evaluate_many(trained, [[8, 8]], data)
    with pytest.raises(ValueError, match=r"paths=\[2\].*0\.\.1"):
        evaluate(trained, C[0], data, paths=[2])
    with pytest.raises(DataError, match="batch size .* got 0"):
        evaluate(trained, C[0], data, batch_size=0)
    with pytest.raises(ValueError, match=r"images must be \(B, 1, 8, 8\)"):
        evaluate(trained, C[0], load("fake", size=60, shape=(3, 8, 8)))


def test_outputs_that_are_not_finite_are_no_score(data):
    net, plain = supernet(), cnn()
    with torch.no_grad():
        net.net[0].weight.fill_(math.nan)
        plain[0].weight.fill_(math.nan)
    with pytest.raises(
        ValueError, match=r"widths \[3, 7, 5\], path 0, gives outputs .* not finite"
    ):
        evaluate(net, [3, 7, 5], data)
    with pytest.raises(ValueError, match="Sequential gives outputs"):
        accuracy(plain, data.val)
