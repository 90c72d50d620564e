"""Sweeps of K and of the smallest width: what is shared, counted and concluded."""

from dataclasses import replace

import numpy as np
import pytest

from bcnet_lib.ablations import EXPERIMENTS, base_width, run
from bcnet_lib.ablations.cells import Where
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.ablations.sweeps import found_row, space_row, supernet_row
from bcnet_lib.models import digits_cnn
from bcnet_lib.profiles import PROFILES
from bcnet_lib.results import Measured, Record

GROUP_NUMBER, BASE_WIDTH = EXPERIMENTS["group_number"], EXPERIMENTS["base_width"]
SMOKE = PROFILES["base_width"]["smoke"]


def few(experiment, *values):
    """The experiment at profile smoke, with fewer values of its setting."""
    smoke = replace(experiment.profiles["smoke"], values=values)
    return replace(experiment, profiles={"smoke": smoke})


def record(experiment, rows, values):
    return Record.new(
        "made up",
        rows,
        experiment=experiment.name,
        profile="digits",
        parameters={"values": values, "K": 10},
        measured=Measured(),
    )


# ------------------------------------------------------------------------------------------- rows


def test_every_k_is_searched_and_compared_with_random_and_uniform_widths(tmp_path):
    rows = run(few(GROUP_NUMBER, 4, 30), "smoke", Where(folder=tmp_path), seeds=1).rows
    asked = [(K, search) for K in (4, 30) for search in ("evolution", "uniform", "random")]
    assert [(r["K"], r["search"]) for r in rows] == asked
    assert {r["passes"] for r in rows if r["search"] == "evolution"} == {SMOKE.passes}
    for r in rows:
        widths = np.array(r["widths"].split(), dtype=int)
        problem = problem_of(replace(PROFILES["group_number"]["smoke"], K=r["K"]))
        assert r["macs"] == pytest.approx(
            problem.cost.macs(widths) / problem.cost.macs(problem.space.full), abs=1e-5
        )
        assert r["macs"] <= 0.25 and r["networks"] == r["K"] ** 5
        assert (r["score"] is None) == (r["search"] != "evolution")
        if r["search"] == "uniform":  # half of 4 is too wide for a quarter of the MACs
            assert set(widths) == {1 if r["K"] == 4 else 14}


def test_where_the_printed_total_is_bc_its_supernet_is_trained_once(tmp_path):
    made = run(few(BASE_WIDTH, 1, 2), "smoke", Where(folder=tmp_path), seeds=1)
    # BC and BCv2 at l_s = 1, all three at l_s = 2
    assert len(list((tmp_path / "supernets").glob("*.json"))) == 5
    table = made.frame().set_index(["base", "method"])
    one, two = (table.loc[(b, "BCv2, paper's total")] for b in (1, 2))
    assert one["accuracy"] == table.loc[(1, "BC"), "accuracy"]
    assert one["widths"] == table.loc[(1, "BC"), "widths"]
    assert two["widths"] != table.loc[(2, "BC"), "widths"]
    assert all(int(w) >= 2 for row in table.loc[2, "widths"] for w in row.split())
    assert made.headline.startswith("test accuracy (%) of widths found with BCv2 at l_s = 2")


def test_the_space_is_counted_as_by_enumeration():
    profile = replace(PROFILES["group_number"]["smoke"], K=4)
    problem = problem_of(profile)
    every = np.stack(np.meshgrid(*[range(1, 5)] * 5), axis=-1).reshape(-1, 5)
    macs = problem.cost.macs(every)
    full = float(problem.cost.macs(problem.space.full))
    row = space_row(profile, None, int(full))
    assert row["macs"] == 1 and row["networks"] == len(every)
    assert row["fits"] == pytest.approx((macs <= problem.budget).mean(), abs=0.03)
    assert row["pass_macs"] == pytest.approx(macs.mean() / full, rel=0.03)


@pytest.mark.parametrize("method,units", [("BC", 10), ("BCv2", 15), ("BCv2, paper's total", 14)])
def test_weights_of_a_widened_supernet_are_those_of_a_wider_network(method, units):
    def weights(channels):
        return sum(p.numel() for p in digits_cnn((channels,) * 5).parameters())

    held = supernet_row(replace(SMOKE, base=5), None, method)["params"]
    assert held == pytest.approx(weights(3 * units) / weights(30), rel=0.02)


def test_one_training_has_no_spread():
    result = {"score": 0.5, "evaluations": 7, "widths": [1, 2], "accuracies": [90.0]}
    assert found_row(result)["spread"] is None
    row = found_row(result | {"accuracies": [90.0, 92.0, 94.0]})
    assert row["accuracy"] == 92 and row["spread"] == 2 and row["widths"] == "1 2"


# --------------------------------------------------------------------------------------- findings

LUCK = np.array([0.3, -0.2, 0.1, -0.3, 0.2, 0.0, -0.1, 0.05])


def spread(rows):
    """Rows with the luck of their seed, and a little of their own."""
    rng = np.random.default_rng(0)
    own = 0.03 * rng.normal(size=len(rows))
    return [
        r | {"accuracy": r["accuracy"] + LUCK[r["seed"]] + e}
        for r, e in zip(rows, own, strict=True)
    ]


def by_k(*means):
    """A record over K = 4, 6, 10, 30 with these mean accuracies."""
    values = (4, 6, 10, 30)
    rows = [
        {"seed": s, "K": K, "search": "evolution", "accuracy": m}
        for K, m in zip(values, means, strict=True)
        for s in range(len(LUCK))
    ]
    return record(GROUP_NUMBER, spread(rows), values)


@pytest.mark.parametrize(
    "means,verdict,says",
    [
        ((96.0, 96.2, 97.0, 96.4), "reproduced", "both ends: K = 10."),
        ((96.0, 96.5, 97.0, 97.5), "contradicted", "in the middle: K = 30."),
        ((97.5, 97.0, 96.5, 96.0), "contradicted", "in the middle: K = 4."),
        ((96.0, 96.5, 97.0, 96.99), "trend only", "K = 10 is better than K = 4, not surely"),
        ((96.5, 96.5, 96.5, 96.5), "not reproduced", "No K"),
    ],
)
def test_a_best_k_must_beat_both_ends(means, verdict, says):
    (finding,) = GROUP_NUMBER.findings(by_k(*means))
    assert finding.claim == "group-number" and finding.verdict == verdict
    assert says in finding.note


def test_the_interval_is_of_the_best_middle_against_the_better_end():
    (finding,) = GROUP_NUMBER.findings(by_k(96.0, 96.5, 97.0, 96.4))
    assert finding.what == "K = 10, best of the middle, minus K = 30, the better end"
    assert finding.ours.mean == pytest.approx(0.6, abs=0.05) and finding.ours.n == len(LUCK)


def by_base(bcv2, bc=(96.0,) * 4):
    values = (1, 2, 3, 5)
    means = {"BC": bc, "BCv2": bcv2, "BCv2, paper's total": bc}
    rows = [
        {"seed": s, "base": b, "method": m, "accuracy": a}
        for m, accuracies in means.items()
        for b, a in zip(values, accuracies, strict=True)
        for s in range(len(LUCK))
    ]
    return record(BASE_WIDTH, spread(rows), values)


@pytest.mark.parametrize(
    "bcv2,moderate,bcv2_better",
    [
        ((96.0, 96.6, 96.6, 96.2), "reproduced", "reproduced"),
        ((96.0, 96.6, 96.6, 96.6), "trend only", "reproduced"),
        ((96.6, 96.6, 96.6, 96.2), "trend only", "reproduced"),
        ((96.6, 95.6, 95.6, 95.2), "contradicted", "contradicted"),
        ((96.0, 96.3, 96.3, 96.9), "contradicted", "reproduced"),
        ((96.0, 96.0, 96.0, 96.0), "not reproduced", "not reproduced"),
    ],
)
def test_a_moderate_width_must_help_and_a_large_one_cost(bcv2, moderate, bcv2_better):
    first, second = BASE_WIDTH.findings(by_base(bcv2))
    assert (first.claim, first.verdict) == ("base-width", moderate)
    assert (second.claim, second.verdict) == ("bcv2-better", bcv2_better)


def test_bcv2_is_compared_where_narrow_widths_are_left_out_only():
    _, finding = BASE_WIDTH.findings(by_base((99.0, 96.3, 96.6, 96.0)))
    assert finding.ours.mean == pytest.approx(0.3, abs=0.05)  # l_s = 1 does not count


def test_one_seed_and_few_values_decide_nothing():
    rows = [
        {"seed": 0, "K": K, "search": "evolution", "accuracy": a}
        for K, a in ((4, 90.0), (10, 99.0), (30, 90.0))
    ]
    (finding,) = GROUP_NUMBER.findings(record(GROUP_NUMBER, rows, (4, 10, 30)))
    assert finding.verdict == "not reproduced"
    assert GROUP_NUMBER.findings(record(GROUP_NUMBER, rows, (4, 10))) == []
    assert BASE_WIDTH.findings(record(BASE_WIDTH, rows, (2, 4, 5))) == []


def test_all_three_methods_differ_where_there_is_a_smallest_width():
    asked = list(base_width._asked(replace(SMOKE, values=(3,)), 0))
    assert len({cell for *_, cell in asked}) == len(base_width.METHODS) + 1
