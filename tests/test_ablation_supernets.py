"""The cells that train supernets, and those that search them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bcnet_lib import Recipe, Supernet, SupernetTrainer, WidthSpace
from bcnet_lib.ablations import searches, supernets
from bcnet_lib.ablations.cells import Where, finish
from bcnet_lib.ablations.problem import Problem, problem_of
from bcnet_lib.checkpoint import weights_digest, write_state
from bcnet_lib.evaluate import evaluate, evaluate_many
from bcnet_lib.methods import AT_ONCE, METHODS, passes_a_step, twins
from bcnet_lib.models import digits_cnn
from bcnet_lib.profiles import PROFILES
from bcnet_lib.search import layer_errors, uniform
from bcnet_lib.search.spread import spread_prior

SMOKE = PROFILES["ranking"]["smoke"]
BRIEF = PROFILES["components"]["smoke"]
TRAINED = replace(BRIEF, network="digits_cnn", K=10, widths=None)


@pytest.fixture(scope="module")
def problem():
    return Problem(SMOKE)


@pytest.mark.parametrize("name", METHODS | AT_ONCE)
def test_passes_of_a_step_are_those_of_the_trainer(problem, name):
    how = supernets.method_of(name)
    net = Supernet(problem.model(), problem.space, how.principle, seed=0)
    options = {"update": how.update, "complement": how.complement, "distill": how.distill}
    recipe = Recipe(epochs=1, batch_size=64)
    trainer = SupernetTrainer(net, problem.data, recipe, progress=False, **options)
    assert passes_a_step(how) == trainer.passes_per_step


def test_in_every_profile_every_method_gets_the_same_passes_or_the_same_steps():
    for profiles in PROFILES.values():
        for profile in profiles.values():
            for name in METHODS:
                assert supernets.steps_of(profile, name, "steps") == profile.steps
                steps = supernets.steps_of(profile, name, "passes")
                # exactly: no profile leaves a rest
                assert steps * passes_a_step(METHODS[name]) == profile.passes


def test_an_unknown_kind_of_equality_or_method_is_refused():
    with pytest.raises(ValueError, match="equal must be one of passes, steps, got 'time'"):
        supernets.steps_of(SMOKE, "UA", "time")
    with pytest.raises(ValueError, match="unknown method 'BCNet': known are 'UA', "):
        supernets.cell(SMOKE, "BCNet", 0, 3)


def test_with_a_smallest_width_of_one_unit_the_printed_total_width_makes_bcv2_bc(problem):
    assert twins(problem.space) == {"BCv2, paper's total": "BC"}
    a, b = (problem.supernet(METHODS[m].principle, 3) for m in ("BC", "BCv2, paper's total"))
    x = problem.data.val.x[:8]
    for path in (0, 1):
        assert torch.equal(a(x, [1, 2, 3, 4, 1], path=path), b(x, [1, 2, 3, 4, 1], path=path))


def test_with_a_larger_smallest_width_all_methods_differ():
    space = WidthSpace.from_model(digits_cnn(), torch.zeros(1, 1, 8, 8), K=8, base=2)
    assert twins(space) == {}


def train(profile, method, seed, steps, where):
    return finish(supernets.cell(profile, method, seed, steps), where)["result"]


def test_scores_errors_and_weights_are_those_of_the_trained_supernet(problem, tmp_path):
    steps, where = 4, Where(folder=tmp_path)
    result = train(SMOKE, "BC", 1, steps, where)
    net = Supernet(problem.model(), problem.space, METHODS["BC"].principle, seed=1)
    per_epoch = len(problem.data.train) // SMOKE.batch_size
    recipe = Recipe(
        epochs=steps / per_epoch,
        batch_size=SMOKE.batch_size,
        lr=SMOKE.lr,
        weight_decay=SMOKE.weight_decay,
        warmup_epochs=0.1 * steps / per_epoch,
    )
    trainer = SupernetTrainer(net, problem.data, recipe, seed=1, progress=False).fit()
    assert trainer.passes == result["passes"] == 2 * steps
    scores = evaluate_many(net, problem.C, problem.data.val, per_path=True)
    assert supernets.scores_of(result) == pytest.approx(scores, abs=1e-12)
    with pytest.warns(UserWarning, match="never occur"):
        errors = layer_errors(trainer.records, space=problem.space)
    assert supernets.errors_of(result) == pytest.approx(errors, abs=1e-6, nan_ok=True)
    loaded = supernets.load_net(supernets.cell(SMOKE, "BC", 1, steps), where)
    for (name, mine), theirs in zip(
        net.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs), name


def test_a_stopped_supernet_goes_on_to_the_same_result(tmp_path, monkeypatch):
    asked = SMOKE, "BCv2 + complement", 0, 6
    whole = train(*asked, Where(folder=tmp_path / "whole"))
    fit = SupernetTrainer.fit
    with monkeypatch.context() as stop:
        stop.setattr(SupernetTrainer, "fit", lambda self, minutes=None: fit(self, max_steps=2))
        assert finish(supernets.cell(*asked), Where(folder=tmp_path)) is None
    assert train(*asked, Where(folder=tmp_path)) == whole
    assert {f.suffix for f in (tmp_path / "supernets").iterdir()} == {".json", ".weights"}


def test_stopped_scoring_goes_on_where_it_was(tmp_path, monkeypatch):
    asked = SMOKE, "UA", 0, 2
    whole = train(*asked, Where(folder=tmp_path / "whole"))
    monkeypatch.setattr(supernets, "CHUNK", 10)
    real, calls = evaluate_many, []

    def fails_later(net, C, *args, **options):
        calls.append(len(C))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(net, C, *args, **options)

    monkeypatch.setattr(supernets, "evaluate_many", fails_later)
    with pytest.raises(KeyboardInterrupt):
        train(*asked, Where(folder=tmp_path))
    assert train(*asked, Where(folder=tmp_path)) == whole
    assert sum(calls[3:]) == SMOKE.widths - 20


def test_scores_of_other_weights_are_not_gone_on_with(tmp_path):
    asked = SMOKE, "UA", 0, 2
    whole = train(*asked, Where(folder=tmp_path / "whole"))
    partial = supernets.cell(*asked).path(tmp_path).with_suffix(".scores")
    wrong = torch.full((20, 1), 7.0)
    write_state(partial, {"right": wrong, "weights": "of an earlier version"})
    assert train(*asked, Where(folder=tmp_path)) == whole
    net = supernets.load_net(supernets.cell(*asked), Where(folder=tmp_path))
    supernets.cell(*asked).path(tmp_path).unlink()
    write_state(partial, {"right": wrong, "weights": weights_digest(net)})  # but of these they are
    assert train(*asked, Where(folder=tmp_path))["correct"][0][:20] == [7] * 20


def test_passes_that_are_no_whole_number_of_steps_are_refused():
    with pytest.raises(
        ValueError, match=r"passes=10: BC \+ complement takes 4 a step, choose a mu"
    ):
        supernets.steps_of(replace(SMOKE, passes=10), "BC + complement", "passes")


@pytest.mark.parametrize("search", ["evolution", "greedy"])
def test_a_search_whose_time_is_up_goes_on_to_the_same_width(tmp_path, monkeypatch, search):
    whole = found(BRIEF, search, 0, Where(folder=tmp_path / "whole"), "BC", 4)
    finish(supernets.cell(BRIEF, "BC", 0, 4), Where(folder=tmp_path))
    cell, looks = searches.cell(BRIEF, search, 0, "BC", 4), []
    with monkeypatch.context() as clock:  # over at the second look, that after a generation
        clock.setattr(Where, "over", property(lambda _: looks.append(0) or len(looks) > 1))
        assert finish(cell, Where(folder=tmp_path)) is None
    assert cell.path(tmp_path).with_suffix(".search").exists()
    assert finish(cell, Where(folder=tmp_path))["result"] == whole
    assert [f.suffix for f in (tmp_path / "searches").iterdir()] == [".json"]


def test_experiments_that_search_differently_share_their_supernets():
    more = replace(BRIEF, generations=9, budget=0.3, retrain_epochs=1, seeds=40)
    assert supernets.cell(BRIEF, "UA", 0, 9) == supernets.cell(more, "UA", 0, 9)
    assert supernets.cell(BRIEF, "UA", 0, 9) != supernets.cell(replace(BRIEF, base=2), "UA", 0, 9)


@pytest.mark.parametrize("name", ["BCv2 + complement", "BCv2 + complement, iterative"])
def test_bcv2_with_its_complement_is_fair_in_every_four_passes(tmp_path, name):
    result = train(SMOKE, name, 0, 8, Where(folder=tmp_path))
    assert result["uneven"] == result["uneven_block"] == 0


def test_bc_with_its_complement_is_not_fair_as_the_full_width_has_none(tmp_path):
    assert train(SMOKE, "BC + complement", 0, 8, Where(folder=tmp_path))["uneven_block"] > 0


# --- the problem


def test_the_widths_of_a_subset_are_drawn_once_and_know_their_accuracy(problem):
    again = Problem(SMOKE)
    assert (problem.rows == again.rows).all() and len(problem.rows) == SMOKE.widths
    assert (problem.truth == problem.bench.accuracy(problem.C)).all()


def test_narrow_widths_are_left_out_of_a_benchmark():
    narrow = problem_of(replace(SMOKE, base=2, widths=None))
    assert len(narrow.C) == 3**5 and narrow.C.min() == 2
    assert (narrow.truth == narrow.bench.accuracy(narrow.C)).all()
    assert narrow.cost.macs(narrow.C[0]) == narrow.bench.cost.macs(narrow.C[0])


@pytest.mark.parametrize(
    "change, says",
    [
        ({"network": "vgg"}, "unknown network 'vgg': known are 'mobilenet', 'resnet', 'digits'"),
        ({"K": 20}, "K=20: the benchmark has 4 widths a group"),
        ({"widths": 5}, "widths=5: at least 10 are needed"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Problem(replace(SMOKE, **change))


# --- searches


def found(profile, search, seed, where, method="", steps=0):
    if method:
        finish(supernets.cell(profile, method, seed, steps), where)
    return finish(searches.cell(profile, search, seed, method, steps), where)["result"]


@pytest.mark.parametrize("search", searches.SEARCHES)
@pytest.mark.parametrize("widths", [64, None])
def test_a_search_on_a_benchmark_is_within_the_budget_and_judged_by_it(tmp_path, search, widths):
    profile = replace(BRIEF, base=2, widths=widths)
    problem = problem_of(profile)
    result = found(profile, search, 0, Where(folder=tmp_path), "BCv2 + complement", 4)
    c = np.array(result["widths"])
    assert result["macs"] == problem.cost.macs(c) <= problem.budget and c.min() >= 2
    row = problem.bench.index(c)
    assert result["accuracies"] == problem.bench.accuracies[row].tolist()
    trained = supernets.cell(profile, "BCv2 + complement", 0, 4)
    net = supernets.load_net(trained, Where(folder=tmp_path))
    assert result["score"] == pytest.approx(evaluate(net, c, problem.data.val), abs=1e-12)


def test_every_width_finds_the_best_score_within_the_budget(tmp_path):
    profile = replace(BRIEF, widths=None)
    result = found(profile, "every width", 0, Where(folder=tmp_path), "UA", 4)
    problem = problem_of(profile)
    scores = supernets.scores_of(train(profile, "UA", 0, 4, Where(folder=tmp_path))).mean(axis=1)
    assert result["score"] == scores[problem.cost.macs(problem.C) <= problem.budget].max()


def test_a_found_width_is_trained_from_scratch_where_no_benchmark_knows_it(tmp_path):
    where = Where(folder=tmp_path)
    result = found(TRAINED, "evolution", 0, where, "BC", 4)
    problem = problem_of(TRAINED)
    again = problem.retrain(result["widths"], searches.mix(0, 6, 0))
    assert result["accuracies"] == [again] and 0 < again <= 100
    assert searches.judge(problem, result["widths"], 0, where) == [again]
    assert len(list((tmp_path / "retrained").iterdir())) == 1


def test_baselines_need_no_supernet(tmp_path):
    problem = problem_of(BRIEF)
    result = found(BRIEF, "uniform", 0, Where(folder=tmp_path))
    assert result["widths"] == uniform(problem.space, problem.cost, problem.budget).tolist()
    drawn = {tuple(found(BRIEF, "random", s, Where(folder=tmp_path))["widths"]) for s in range(4)}
    assert len(drawn) > 1
    assert all(problem.cost.macs(np.array(c)) <= problem.budget for c in drawn)


def test_the_lowest_temperature_that_gives_enough_widths_is_taken(tmp_path):
    problem = problem_of(replace(BRIEF, widths=None))
    errors = np.linspace(1, 0, 4) * np.ones((5, 1))  # wider is better
    few, many = (spread_prior(errors, problem.cost, problem.budget, n, seed=0) for n in (2, 60))
    assert 0 < few.temperature < many.temperature
    assert len(np.unique(many.sample(np.random.default_rng(0), 60, distinct=True), axis=0)) == 60


def test_unknown_searches_are_refused():
    with pytest.raises(ValueError, match="unknown search 'annealing' of 'UA': known are 'greedy'"):
        searches.cell(BRIEF, "annealing", 0, "UA", 4)
    with pytest.raises(ValueError, match="unknown search 'greedy' of '': known are 'uniform'"):
        searches.cell(BRIEF, "greedy", 0)
