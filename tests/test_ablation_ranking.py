"""Supernets against a benchmark: the plan, one supernet with its resume, and the record."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from bcnet_lib import Recipe, Supernet, SupernetTrainer, WidthSpace, rank_study
from bcnet_lib.checkpoint import CheckpointError, read_state
from bcnet_lib.evaluate import evaluate_many
from bcnet_lib.methods import METHODS, passes_a_step, twins
from bcnet_lib.models import digits_cnn
from bcnet_lib.profiles import RANKING
from bcnet_lib.rank_study import EQUAL, Problem, make_record, run_one, steps_of
from bcnet_lib.recipe import TrainingError
from bcnet_lib.results import Record

SMOKE = RANKING["smoke"]


@pytest.fixture(scope="module")
def problem():
    return Problem(SMOKE)


@pytest.mark.parametrize("name", METHODS)
def test_passes_of_a_step_are_those_of_the_trainer(problem, name):
    how = METHODS[name]
    net = Supernet(problem.bench.network(), problem.bench.space, how.principle, seed=0)
    options = {"update": how.update, "complement": how.complement, "distill": how.distill}
    recipe = Recipe(epochs=1, batch_size=64)
    trainer = SupernetTrainer(net, problem.data, recipe, progress=False, **options)
    assert passes_a_step(how) == trainer.passes_per_step


@pytest.mark.parametrize("profile", RANKING)
def test_every_method_gets_the_same_passes_or_the_same_steps(profile):
    profile = RANKING[profile]
    for how in METHODS.values():
        assert steps_of(profile, how, "steps") == profile.steps
        passes = steps_of(profile, how, "passes") * passes_a_step(how)
        assert passes == profile.passes  # exactly: no profile leaves a rest


def test_an_unknown_kind_of_equality_is_refused():
    with pytest.raises(ValueError, match="equal must be one of passes, steps, got 'time'"):
        steps_of(SMOKE, METHODS["UA"], "time")


def test_with_a_smallest_width_of_one_unit_the_printed_total_width_makes_bcv2_bc(problem):
    space = problem.bench.space
    assert twins(space) == {"BCv2, paper's total": "BC"}
    a, b = (
        Supernet(problem.bench.network(), space, METHODS[m].principle, seed=3)
        for m in ("BC", "BCv2, paper's total")
    )
    x = problem.data.val.x[:8]
    for path in (0, 1):
        assert torch.equal(a(x, [1, 2, 3, 4, 1], path=path), b(x, [1, 2, 3, 4, 1], path=path))


def test_with_a_larger_smallest_width_all_methods_differ():
    space = WidthSpace.from_model(digits_cnn(), torch.zeros(1, 1, 8, 8), K=8, base=2)
    assert twins(space) == {}


def test_scores_are_those_of_the_trained_supernet(problem, tmp_path):
    steps = 4
    file = run_one(SMOKE, "BC", 1, steps, folder=tmp_path)
    state = read_state(file)
    net = Supernet(problem.bench.network(), problem.bench.space, METHODS["BC"].principle, seed=1)
    per_epoch = len(problem.data.train) // SMOKE.batch_size
    recipe = Recipe(
        epochs=steps / per_epoch,
        batch_size=SMOKE.batch_size,
        lr=SMOKE.lr,
        weight_decay=SMOKE.weight_decay,
        warmup_epochs=0.1 * steps / per_epoch,
    )
    trainer = SupernetTrainer(net, problem.data, recipe, seed=1, progress=False).fit()
    assert trainer.passes == state["passes"] == 2 * steps
    scores = evaluate_many(net, problem.C, problem.data.val, per_path=True)
    assert (scores == state["scores"].numpy()).all()


def test_a_stopped_supernet_goes_on_to_the_same_scores(tmp_path, monkeypatch):
    whole = read_state(run_one(SMOKE, "BCv2 + complement", 0, 6, folder=tmp_path / "whole"))
    fit = SupernetTrainer.fit
    with monkeypatch.context() as stop:
        stop.setattr(SupernetTrainer, "fit", lambda self, minutes=None: fit(self, max_steps=2))
        assert run_one(SMOKE, "BCv2 + complement", 0, 6, folder=tmp_path) is None
    assert run_one(SMOKE, "BCv2 + complement", 0, 6, folder=tmp_path, minutes=0) is None
    parts = read_state(run_one(SMOKE, "BCv2 + complement", 0, 6, folder=tmp_path))
    assert torch.equal(parts["scores"], whole["scores"])
    assert [f.suffix for f in tmp_path.iterdir() if f.is_file()] == [".scores"]


def test_stopped_scoring_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = read_state(run_one(SMOKE, "UA", 0, 2, folder=tmp_path / "whole"))
    monkeypatch.setattr(rank_study, "CHUNK", 10)
    real, calls = evaluate_many, []

    def fails_later(net, C, *args, **options):
        calls.append(len(C))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(net, C, *args, **options)

    monkeypatch.setattr(rank_study, "evaluate_many", fails_later)
    with pytest.raises(KeyboardInterrupt):
        run_one(SMOKE, "UA", 0, 2, folder=tmp_path)
    file = run_one(SMOKE, "UA", 0, 2, folder=tmp_path)
    assert sum(calls[3:]) == SMOKE.widths - 20
    assert torch.equal(read_state(file)["scores"], whole["scores"])


def test_files_of_another_profile_are_refused(tmp_path):
    run_one(SMOKE, "UA", 0, 2, folder=tmp_path)
    with pytest.raises(CheckpointError, match="belongs to other settings"):
        run_one(replace(SMOKE, lr=0.3), "UA", 0, 2, folder=tmp_path)


def test_measures_by_scipy(problem):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, size=(len(problem.C), 2)) / 20  # many ties
    found, score = rank_study.measures(scores, problem), scores.mean(axis=1)
    wide = (problem.C > 1).all(axis=1)
    truth = problem.truth
    assert found["kendall"] == pytest.approx(stats.kendalltau(score, truth).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(score, truth).statistic)
    assert found["pearson"] == pytest.approx(np.corrcoef(score, truth)[0, 1])
    one = [stats.kendalltau(scores[:, p], truth).statistic for p in (0, 1)]
    assert found["path"] == pytest.approx(np.mean(one))
    assert found["filtered"] == pytest.approx(stats.kendalltau(score[wide], truth[wide]).statistic)


def test_the_widths_of_a_subset_are_drawn_once_and_know_their_accuracy(problem):
    again = Problem(SMOKE)
    assert (problem.rows == again.rows).all() and len(problem.rows) == SMOKE.widths
    assert (problem.truth == problem.bench.accuracy(problem.C)).all()


def test_a_record_is_made_once_and_kept(tmp_path, monkeypatch):
    options = {"folder": tmp_path / "runs", "methods": ["UA", "BC"], "seeds": [0, 1]}
    record = make_record(SMOKE, "smoke", **options)
    taus = record.values("kendall", method="BC", equal="passes")
    assert len(taus) == 2 and taus[0] != taus[1]
    assert len(record.rows) == len(EQUAL) * 2 * 2
    assert {r["passes"] for r in record.rows if r["equal"] == "passes"} == {SMOKE.passes}
    assert {r["steps"] for r in record.rows if r["equal"] == "steps"} == {SMOKE.steps}
    monkeypatch.setattr(rank_study, "SupernetTrainer", None)  # nothing is trained again
    assert make_record(SMOKE, "smoke", **options).rows == record.rows
    path = record.save(tmp_path / "results.json")
    assert Record.load(path) == record


def test_without_time_there_is_no_record(tmp_path):
    assert make_record(SMOKE, "smoke", folder=tmp_path, seeds=[0], minutes=0) is None


def test_an_unknown_method_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown method 'BCNet': known are 'UA', "):
        make_record(SMOKE, "smoke", folder=tmp_path, methods=["BCNet"])


@pytest.mark.parametrize(
    "options, says",
    [
        ({"methods": ["UA", "BC", "UA"]}, "method 'UA' is given twice"),
        ({"seeds": [1, 1]}, "seed 1 is given twice"),
        ({"seeds": []}, "at least one seed is needed"),
    ],
)
def test_nothing_counts_twice(tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        make_record(SMOKE, "smoke", folder=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_supernet_that_diverges_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    real = rank_study.run_one

    def diverges(profile, method, *args, **options):
        if method == "UA":
            raise TrainingError("the loss is nan at step 3")
        return real(profile, method, *args, **options)

    monkeypatch.setattr(rank_study, "run_one", diverges)
    options = {"folder": tmp_path, "methods": ["UA", "Cyclic"], "seeds": [5]}
    with pytest.raises(TrainingError, match="UA, seed 5, 36 steps: the loss is nan"):
        make_record(SMOKE, "smoke", **options)
    assert [f.name.split("-")[0] for f in tmp_path.iterdir()] == ["Cyclic", "Cyclic"]


def test_the_command_says_what_is_wrong_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="rank_study: at least one seed is needed"):
        rank_study.main(["--seeds", "0", "--device", "cpu"])
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit, match="taken"):
        rank_study.main(["--out", "taken/results.json", "--device", "cpu"])


def test_the_command_writes_the_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--seeds", "1", "--methods", "UA", "--device", "cpu"]
    rank_study.main(["--profile", "smoke", "--minutes", "0", *options])
    assert "the time is up" in capsys.readouterr().out
    rank_study.main(["--profile", "smoke", *options])
    record = Record.load(tmp_path / "_build/ranking/smoke/results.json")  # a part: not in figures/
    assert record.headline in capsys.readouterr().out
    assert record.parameters["methods"] == ["UA"]


@pytest.mark.parametrize("name", ["BCv2 + complement", "BCv2 + complement, iterative"])
def test_bcv2_with_its_complement_is_fair_in_every_four_passes(tmp_path, name):
    state = read_state(run_one(SMOKE, name, 0, 8, folder=tmp_path))
    assert state["uneven"] == state["uneven_block"] == 0


def test_bc_with_its_complement_is_not_fair_as_the_full_width_has_none(tmp_path):
    state = read_state(run_one(SMOKE, "BC + complement", 0, 8, folder=tmp_path))
    assert state["uneven_block"] > 0
