"""The ranking experiment, and what every experiment does with its cells."""

import time

import numpy as np
import pytest
from scipy import stats

from bcnet_lib.ablations import EXPERIMENTS, ExperimentError, ranking, run, supernets
from bcnet_lib.ablations.cells import Where
from bcnet_lib.ablations.problem import Problem
from bcnet_lib.ablations.ranking import RANKING
from bcnet_lib.methods import METHODS
from bcnet_lib.profiles import PROFILES
from bcnet_lib.recipe import TrainingError
from bcnet_lib.results import Record

SMOKE = PROFILES["ranking"]["smoke"]


@pytest.fixture(scope="module")
def problem():
    return Problem(SMOKE)


@pytest.fixture
def few(monkeypatch):
    """Two methods instead of all."""
    monkeypatch.setattr(ranking, "methods_of", lambda problem: ["UA", "BC"])


def test_measures_by_scipy(problem):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, size=(len(problem.C), 2)) / 20  # many ties
    found, score = ranking.measures(scores, problem), scores.mean(axis=1)
    wide = (problem.C > 1).all(axis=1)
    truth = problem.truth
    assert found["kendall"] == pytest.approx(stats.kendalltau(score, truth).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(score, truth).statistic)
    assert found["pearson"] == pytest.approx(np.corrcoef(score, truth)[0, 1])
    one = [stats.kendalltau(scores[:, p], truth).statistic for p in (0, 1)]
    assert found["path"] == pytest.approx(np.mean(one))
    assert found["filtered"] == pytest.approx(stats.kendalltau(score[wide], truth[wide]).statistic)


def test_a_record_is_made_once_and_kept(tmp_path, monkeypatch, few):
    where = Where(folder=tmp_path / "cells")
    record = run(RANKING, "smoke", where, seeds=2)
    taus = record.values("kendall", method="BC", equal="passes")
    assert len(taus) == 2 and taus[0] != taus[1]
    assert len(record.rows) == len(supernets.EQUAL) * 2 * 2
    assert {r["passes"] for r in record.rows if r["equal"] == "passes"} == {SMOKE.passes}
    assert {r["steps"] for r in record.rows if r["equal"] == "steps"} == {SMOKE.steps}
    monkeypatch.setattr(supernets, "SupernetTrainer", None)  # nothing is trained again
    assert run(RANKING, "smoke", where, seeds=[0, 1]).rows == record.rows
    path = record.save(tmp_path / "results.json")
    assert Record.load(path) == record
    assert record.parameters["seeds"] == [0, 1] and record.parameters["core_seconds"] > 0


def test_without_time_there_is_no_record(tmp_path, few):
    assert run(RANKING, "smoke", Where(folder=tmp_path, until=time.time()), seeds=1) is None


@pytest.mark.parametrize("seeds", [[1, 1], [], 0, [0, -1]])
def test_nothing_counts_twice_and_something_counts(tmp_path, seeds):
    with pytest.raises(ValueError, match="ranking: at least one seed, and each once"):
        run(RANKING, "smoke", Where(folder=tmp_path), seeds=seeds)
    assert not list(tmp_path.iterdir())


def test_an_unknown_profile_is_named(tmp_path):
    with pytest.raises(ValueError, match="ranking: unknown profile 'tiny'; known are smoke, dig"):
        run(RANKING, "tiny", Where(folder=tmp_path))


def test_a_supernet_that_diverges_is_named_and_the_others_are_kept(tmp_path, monkeypatch, few):
    real = supernets.SupernetTrainer

    def diverges(net, *args, **options):
        if net.n_paths == 1:
            raise TrainingError("the loss is nan at step 3")
        return real(net, *args, **options)

    monkeypatch.setattr(supernets, "SupernetTrainer", diverges)
    with pytest.raises(ExperimentError, match="(?s)ranking: 2 cells failed, first 'UA-0-36-.*nan"):
        run(RANKING, "smoke", Where(folder=tmp_path), seeds=1)
    kept = sorted(f.name.split("-")[0] for f in (tmp_path / "supernets").glob("*.json"))
    assert kept == ["BC", "BC"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_its_profiles_and_cells_in_stages(name):
    experiment = EXPERIMENTS[name]
    assert experiment.name == name and {"smoke", "digits", "cifar10"} <= set(experiment.profiles)
    # a seed of found_widths, with its MobileNetV2, takes twelve minutes of a core
    assert experiment.profiles["digits"].seeds >= (6 if name == "found_widths" else 8)
    for stage in experiment.stages(experiment.profiles["smoke"], [0]):
        assert stage and all(dict(cell.key)["seed"] == 0 for cell in stage)


def test_every_method_is_ranked_but_twins(problem):
    assert set(METHODS) - set(ranking.methods_of(problem)) == {"BCv2, paper's total"}
