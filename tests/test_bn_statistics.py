"""Statistics of scoring: many small batches at once, running ones, and the numbers of a record."""

import numpy as np
import pytest
import torch
from scipy import stats

from bcnet_lib.ablations import EXPERIMENTS, bn_statistics, run, supernets
from bcnet_lib.ablations.bn_statistics import (
    DRAWS,
    _measures,
    _widths,
    images_of,
    in_groups,
    sizes_of,
)
from bcnet_lib.ablations.cells import Where
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.data import Split
from bcnet_lib.evaluate import evaluate_many
from bcnet_lib.methods import METHODS
from bcnet_lib.profiles import PROFILES

BN = EXPERIMENTS["bn_statistics"]
SMOKE = PROFILES["bn_statistics"]["smoke"]


@pytest.fixture(scope="module")
def problem():
    return problem_of(SMOKE)


@pytest.fixture(scope="module")
def net(problem):
    return problem.supernet(METHODS["BC"].principle, 3)


@pytest.mark.parametrize("size", [4, 16, 32])
def test_groups_of_a_batch_score_as_batches_by_themselves(problem, net, size):
    val, C = problem.data.val, problem.C[:12]
    split = Split(x=val.x[:32], y=val.y[:32])
    x = split.x[:size]
    with torch.no_grad(), in_groups(net, size):
        together = net(split.x, C[0], path=1)[:size]
    with torch.no_grad():
        assert torch.allclose(together, net(x, C[0], path=1), atol=1e-5)
    want = evaluate_many(net, C, split, batch_size=size, per_path=True)
    with in_groups(net, size):
        assert (evaluate_many(net, C, split, per_path=True) == want).all()
    if size < 32:  # and not as one batch
        assert not torch.allclose(together, net(split.x, C[0], path=1)[:size], atol=1e-3)


def test_norms_are_as_before_afterwards_whatever_happens(problem, net):
    wrong = pytest.raises(ValueError, match="10 images are no whole number of groups of 4")
    with wrong, in_groups(net, 4):
        net(problem.data.val.x[:10], problem.C[0])
    assert not any("forward" in vars(m) for m in net.modules())


def test_sizes_there_are_too_few_images_for_are_left_out():
    profile = PROFILES["bn_statistics"]["digits"]
    assert sizes_of(profile, 395) == [16, 32, 64, 128, 384]
    assert images_of([16, 32, 64, 128, 384], 395) == 384
    assert images_of([64, 2048], 5000) == 4096
    with pytest.raises(ValueError, match="none is within the 10 images"):
        sizes_of(profile, 10)
    with pytest.raises(ValueError, match="multiples of 210, and there are 100: choose sizes"):
        images_of([7, 30], 100)


@pytest.mark.parametrize("profile", PROFILES["bn_statistics"])
def test_sizes_of_the_profiles_come_out_even(profile):
    values = PROFILES["bn_statistics"][profile].values
    images = 395 if profile in ("smoke", "digits") else 5000
    sizes = sizes_of(PROFILES["bn_statistics"][profile], images)
    assert len(sizes) >= 2 and set(sizes) <= set(values)
    assert all(images_of(sizes, images) % size == 0 for size in sizes)


def test_measures_by_scipy():
    rng = np.random.default_rng(0)
    scores, largest = rng.integers(0, 30, (3, 40)) * 1.0, rng.normal(size=40)
    truth, fits = rng.normal(size=40), rng.random(40) < 0.7
    found = _measures(scores, largest, truth, fits)
    tau = lambda a, b: stats.kendalltau(a, b).statistic  # noqa: E731
    assert found["kendall"] == pytest.approx(np.mean([tau(s, truth) for s in scores]))
    assert found["kendall_of_mean"] == pytest.approx(tau(scores.mean(axis=0), truth))
    assert found["repeat"] == pytest.approx(
        np.mean([tau(scores[a], scores[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    )
    assert found["bias"] == pytest.approx(scores.mean() - largest.mean())
    assert found["spread"] == pytest.approx(scores.std(axis=0, ddof=1).mean())
    alone = _measures(scores[:1], largest, None, fits)
    assert alone["spread"] is alone["same_best"] is alone["kendall"] is alone["regret"] is None


def test_two_scorings_choose_the_same_width_as_often_as_ties_allow():
    fits, truth = np.array([True, True, True, False]), np.arange(4.0)
    one, other = [3.0, 3.0, 1.0, 9.0], [3.0, 1.0, 2.0, 9.0]  # the last is over budget
    found = _measures(np.array([one, other]), np.array(one), truth, fits)
    assert found["same_best"] == pytest.approx(0.5)
    assert found["regret"] == pytest.approx((1.5 + 2.0) / 2)


def test_the_record_of_a_trial(tmp_path, monkeypatch, problem):
    monkeypatch.setattr(bn_statistics, "SAMPLE", 20)
    where = Where(folder=tmp_path)
    record = run(BN, "smoke", where, seeds=1)
    kinds = [(r["method"], r["statistics"], r["size"]) for r in record.rows]
    train = len(problem.data.train)
    assert kinds[:3] == [("UA", "batch", 16), ("UA", "batch", 384), ("UA", "running", train)]
    assert len(kinds) == 6
    for row in record.rows:
        several = (row["statistics"], row["size"]) == ("batch", 16)
        assert (row["spread"] is not None) == several
        assert row["images"] == 384 + (train if row["statistics"] == "running" else 0)
    # by hand: running statistics of one width, from the weights that were kept
    cell = supernets.cell(SMOKE, "BCv2 + complement", 0, 9)
    net, C = supernets.load_net(cell, where), _widths(problem)[0]
    own = net.export(C[3], 1, [problem.data.train.x]).eval()
    rng = np.random.default_rng(bn_statistics.mix(0, 384))
    chosen = np.sort(rng.choice(395, size=384, replace=False))
    right = int((own(problem.data.val.x[chosen]).argmax(1) == problem.data.val.y[chosen]).sum())
    left = bn_statistics._cell(SMOKE, "BCv2 + complement", 0, "running", train)
    assert left.load(tmp_path)["result"]["correct"][0][1][3] == right
    loss = bn_statistics._loss_cells(SMOKE, "UA", 0)[384].load(tmp_path)["result"]["loss"][0]
    ua, val = supernets.load_net(supernets.cell(SMOKE, "UA", 0, 36), where), problem.data.val
    split = Split(x=val.x[chosen], y=val.y[chosen])
    assert loss == pytest.approx(evaluate_many(ua, C, split, metric="loss"), abs=1e-5)
    tau = stats.kendalltau(-np.array(loss), _widths(problem)[1]).statistic
    assert record.rows[1]["kendall_of_loss"] == pytest.approx(tau, abs=0.02)
    assert record.rows[2]["kendall_of_loss"] is None
    batch = bn_statistics._cell(SMOKE, "UA", 0, "batch", 16).load(tmp_path)["result"]["correct"]
    assert np.shape(batch) == (DRAWS, 1, 20)
    assert len({tuple(d[0]) for d in batch}) == DRAWS  # every draw deals the images anew
