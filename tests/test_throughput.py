"""Throughput reports: counts are exact, shares are what the counts say; times are not tested."""

import json

import numpy as np
import pytest
import tiny
import torch

from bcnet_lib import BCv2, SupernetTrainer
from bcnet_lib.data import load
from bcnet_lib.prefix import prefix_macs
from bcnet_lib.throughput import (
    Limits,
    Throughput,
    _at,
    _report,
    main,
    measure_limits,
    scoring_throughput,
    to_frame,
    training_throughput,
)
from bcnet_lib.traffic import Operation, Traffic

LIMITS = Limits(device="slide rule", dtype="float32", macs_per_second=100.0, bytes_per_second=10.0)


@pytest.fixture(scope="module")
def data():
    return load("digits")


def test_shares_of_the_time_by_hand():
    operations = [
        Operation(name="convolution", macs=300, bytes=10),  # 3 s of arithmetic, 1 s of memory
        Operation(name="relu", macs=0, bytes=20),  # 2 s of memory
    ]
    report = _report("work", seconds=10.0, passes=2, batch=5, operations=operations, limits=LIMITS)
    assert (report.macs, report.bytes) == (300, 30)
    assert (report.arithmetic, report.memory, report.roofline) == (0.3, 0.3, 0.5)
    assert report.memory_bound == 2 / 5
    assert report.images_per_second == 2 * 5 / 10


@pytest.mark.parametrize("options", [{}, {"complement": True}, {"update": "alternate"}])
def test_training_counts_every_pass_of_the_steps_that_are_timed(data, options):
    net = tiny.supernet(BCv2())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    size = {"steps": 2, "warmup": 1, "repeats": 1, "limits": LIMITS}
    report = training_throughput(net, data, tiny.RECIPE, **size, **options)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    seen = SupernetTrainer(net, data, tiny.RECIPE, progress=False, **options).fit(3).records
    widths = seen.widths[seen.steps >= 1]
    layers = [net.cost.layers(c) for c in widths]
    # forward, gradients of weights, and of inputs but for the images
    passes = [3 * sum(macs.values()) - macs["0"] for macs in layers]
    assert report.macs == tiny.RECIPE.batch_size * sum(passes)
    assert report.passes == len(widths) and report.batch == tiny.RECIPE.batch_size
    assert report.images_per_second * report.seconds == pytest.approx(report.passes * 128)


def test_counts_at_a_batch_size_follow_from_two_small_ones(data):
    net = tiny.supernet()

    def few(n):
        net.zero_grad()
        with Traffic() as traffic:
            net(data.train.x[:n], [3, 5, 8], 1).square().sum().backward()
        return traffic.operations

    few(2)
    assert _at(few, 37) == few(37)
    first = next(op for op in _at(few, 37) if op.name == "convolution")
    assert first.macs == 37 * 64 * 3 * 9  # three channels of the one-channel image
    assert first.bytes == 4 * (37 * 64 + 3 * 9 + 37 * 64 * 3)


@pytest.mark.parametrize("share", [True, False])
def test_scoring_counts_what_is_computed(data, share):
    net = tiny.supernet(BCv2())
    C = net.space.sample(np.random.default_rng(0), 6)
    options = {"batch_size": 135, "share": share, "repeats": 1, "limits": LIMITS}
    report = scoring_throughput(net, data, C, **options)
    macs = prefix_macs(net.cost, C)[share]
    assert report.macs == len(data.val) * 2 * macs
    assert (report.batch, report.passes) == (135, 6 * 2 * 2)


def test_reports_are_plain_numbers(data):
    reports = [
        scoring_throughput(tiny.supernet(), data, limits=LIMITS, repeats=1, share=share)
        for share in (False, True)
    ]
    plain = json.loads(json.dumps(reports[0].to_dict()))
    assert Throughput(**{**plain, "limits": Limits(**plain["limits"])}) == reports[0]
    frame = to_frame(reports)
    assert frame.loc[reports[1].work, "macs"] == reports[1].macs < reports[0].macs
    assert "images/s (slide rule, float32" in str(reports[0])


def test_limits_are_measured_on_this_device():
    limits = measure_limits(seconds=0.01)
    assert limits.macs_per_second > 1e6 and limits.bytes_per_second > 1e6
    assert (limits.dtype, measure_limits(amp=True, seconds=0).dtype) == ("float32", "bfloat16")


def test_the_command_prints_limits_and_four_reports(capsys):
    small = ["--batch", "8", "--images", "8", "--steps", "1", "--fast"]
    assert main(["--network", "digits_cnn", *small]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "GB/s" in lines[0]
    for line, part in zip(
        lines[1:], ("'both'", "'both + complement'", "one by one", "shared prefixes"), strict=True
    ):
        assert part in line and "bfloat16" in line
