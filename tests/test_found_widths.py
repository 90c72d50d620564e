"""Found, uniform and random widths of one network: rows, rules of the verdict, its page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bcnet_lib import CostTable, WidthSpace
from bcnet_lib.ablations import EXPERIMENTS, driver, run, searches
from bcnet_lib.ablations.cells import Where
from bcnet_lib.ablations.found_widths import METHODS, widths_of
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.ablations.verdicts import decide
from bcnet_lib.claims import Claim
from bcnet_lib.networks import NETWORKS, make
from bcnet_lib.profiles import PROFILES
from bcnet_lib.results import Measured, Record
from bcnet_lib.width_patterns import agreement

FOUND = EXPERIMENTS["found_widths"]
SMOKE = PROFILES["found_widths"]["smoke"]
L = 12


# ------------------------------------------------------------------------------------------- rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(FOUND, "smoke", Where(folder=tmp_path_factory.mktemp("cells")), seeds=2)


def test_every_seed_has_a_width_by_each_method_within_the_budget(made):
    asked = [*METHODS, "uniform", "random"]
    assert [(r["seed"], r["method"]) for r in made.rows] == [(s, m) for s in (0, 1) for m in asked]
    problem = problem_of(SMOKE)
    for r in made.rows:
        widths = np.array(r["widths"].split(), dtype=int)
        assert (widths >= SMOKE.base).all() and r["macs"] <= 1
        assert r["macs"] == pytest.approx(problem.cost.macs(widths) / problem.budget, abs=1e-5)
        assert (r["score"] is None) == (r["method"] not in METHODS)
        assert np.mean([float(a) for a in r["accuracies"].split()]) == pytest.approx(
            r["accuracy"], abs=0.01
        )


def test_widths_are_read_by_method_and_seed(made):
    uniform = widths_of(made, method="uniform")
    assert uniform.shape == (2, 5) and (uniform[0] == uniform[1]).all()
    (row,) = (r for r in made.rows if (r["seed"], r["method"]) == (1, "random"))
    assert " ".join(map(str, widths_of(made, method="random")[1])) == row["widths"]


def test_where_no_random_draw_fits_a_walk_finds_one(monkeypatch):
    problem = problem_of(SMOKE)
    drawn = searches._random(problem, 0)
    assert (drawn == searches._random(problem, 0)).all()

    def gives_up(*args):
        raise searches.BudgetError("none fits")

    monkeypatch.setattr(searches, "draw_within", gives_up)
    walked = searches._random(problem, 0)
    assert problem.cost.macs(walked) <= problem.budget and (walked >= SMOKE.base).all()


@pytest.mark.parametrize(
    "profile,millions", [("cifar10", 44), ("cifar10-vgg19", 77), ("digits", 0.265 * 18.504704)]
)
def test_budgets_are_those_of_the_paper(profile, millions):
    p = PROFILES["found_widths"][profile]
    shape = (1, 8, 8) if p.data == "digits" else NETWORKS[p.network].image
    model, x = make(p.network, channels=shape[0]), torch.zeros(1, *shape)
    space = WidthSpace.from_model(model, x, K=p.K, base=p.base)
    full = float(CostTable(model, space, x).macs(space.full))
    assert p.budget * full == pytest.approx(millions * 1e6, rel=2e-4)


# --------------------------------------------------------------------------------------- findings


def record(found, random, seeds=6):
    """A record of widths (seeds, L) by method; accuracies favour found ones by two points."""
    control = np.random.default_rng(9).integers(5, 21, (seeds, L))
    uniform = np.full((seeds, L), 10)
    sets = {METHODS[0]: found, METHODS[1]: control, "uniform": uniform, "random": random}
    rows = [
        {
            "seed": s,
            "method": method,
            "accuracy": 90.0 + 2 * (method == METHODS[0]) + 0.1 * s * (method == "random"),
            "widths": " ".join(map(str, C[s])),
        }
        for s in range(seeds)
        for method, C in sets.items()
    ]
    return Record.new(
        "made up",
        rows,
        experiment="found_widths",
        profile="digits",
        parameters={"seeds": list(range(seeds))},
        measured=Measured(),
    )


def noise(seed, strength=0.0, n=6):
    drawn = np.random.default_rng(seed).integers(5, 21, (n, L)) + strength * np.arange(L)
    return np.rint(drawn).astype(int)


ALIKE, LOOSE = noise(1, strength=6.0), noise(2)


@pytest.mark.parametrize(
    "found,random,verdict",
    [
        (ALIKE, LOOSE, "reproduced"),
        (ALIKE, noise(3, strength=6.0), "trend only"),  # the budget alone does as much
        (LOOSE, noise(3), "not reproduced"),
        (LOOSE, noise(3, strength=6.0), "contradicted"),
    ],
)
def test_a_pattern_must_be_more_than_chance_and_more_than_the_budget(found, random, verdict):
    (finding,) = FOUND.findings(record(found, random))
    assert (finding.claim, finding.verdict) == ("width-patterns", verdict)
    assert finding.ours == agreement(found) and finding.unit == ""
    assert "minus uniform 2.00 ± 0.00; minus random 1.75 ± 0.20" in finding.note


def test_one_seed_decides_nothing():
    assert FOUND.findings(record(ALIKE[:1], LOOSE[:1], seeds=1)) == []


# --------------------------------------------------------------------------------------- its page


def test_a_claim_points_at_the_page_of_the_experiment(tmp_path):
    record(ALIKE, LOOSE).save(tmp_path / "found_widths/digits/results.json")
    about = {"id": "width-patterns", "statement": "s", "place": "p", "kind": "result"}
    decided = decide(Claim(**about, experiment="found_widths"), tmp_path)
    assert decided.verdict == "reproduced"
    assert decided.evidence == ("book/results/widths.ipynb",)


def test_the_driver_runs_the_page_wherever_it_is(tmp_path, monkeypatch):
    asked = []

    class Done:
        returncode = 1

    def called(command, **options):
        asked.append(command)
        return Done

    monkeypatch.setattr(driver.subprocess, "run", called)
    page = tmp_path / "book/results/widths.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text("{}")
    where = Where(folder=tmp_path / "cells")
    options = {"seeds": 1, "out": tmp_path / "figures", "logs": tmp_path}
    chapters = tmp_path / "book/ablations"
    line = driver.page(FOUND, "smoke", where, chapters=chapters, **options)
    assert line.state == "failed" and str(page) in asked[0]
    assert asked[0][asked[0].index("--cwd") + 1] == str(page.parent)


def test_every_experiment_has_a_page():
    chapters = Path(__file__).parents[1] / "book/ablations"
    missing = [e.name for e in EXPERIMENTS.values() if not (chapters / e.notebook).exists()]
    assert missing == []
    assert replace(FOUND, chapter="").notebook == "found_widths.ipynb"
