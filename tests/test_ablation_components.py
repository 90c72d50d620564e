"""Components, iterative updates and prior sampling: what is compared, and verdicts by rule."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch.nn.functional as F

from bcnet_lib import plots_components as plots
from bcnet_lib.ablations import components, iterative_updates, prior_sampling, run, searches
from bcnet_lib.ablations.cells import TimeUp, Where, finish
from bcnet_lib.ablations.findings import signs
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.memory import peak_memory
from bcnet_lib.profiles import PROFILES
from bcnet_lib.results import Measured, Record

SMOKE = PROFILES["prior_sampling"]["smoke"]
SEEDS = range(6)


def record(experiment, rows):
    return Record.new(
        "made up",
        rows,
        experiment=experiment,
        profile="digits",
        parameters={},
        measured=Measured(),
        missing="made up",
    )


def wobble(seed, *of, scale=0.01):
    words = [sum(map(ord, f"{w}")) for w in of]
    return scale * float(np.random.default_rng([seed, *words]).uniform(-1, 1))


@pytest.fixture(scope="module")
def problem():
    return problem_of(PROFILES["prior_sampling"]["digits"])


@pytest.fixture(scope="module")
def errors(problem):
    """Errors that fall with the width, more in later groups."""
    L, K = problem.space.L, problem.space.K
    rng = np.random.default_rng(0)
    drops = np.outer(1 + np.arange(L), np.arange(K)) / 20
    return 1 - drops + 0.02 * rng.random((L, K))


# ------------------------------------------------------------------------- signs of differences


def test_signs_are_told_together_and_never_from_one_seed():
    rng = np.random.default_rng(0)
    up, down, none = 1 + 0.1 * rng.normal(size=8), -1 + 0.1 * rng.normal(size=8), np.zeros(8)
    assert signs([up, down, none]) == [1, -1, 0]
    assert signs([[3.0]]) == [0]
    weak = np.array([1.0, 2, 3, -1, 0.5, 1.5, 2, -0.2])  # p = 0.04 alone
    assert signs([weak]) == [1] and signs([weak, none]) == [0, 0]


# ------------------------------------------------------------------------- prior sampling


@pytest.mark.parametrize("start", prior_sampling.STARTS)
def test_every_start_gives_a_whole_population_within_the_budget(problem, errors, start):
    n = problem.profile.population
    C = prior_sampling.population_of(start, problem, errors, 3)
    assert C.shape == (n, problem.space.L)
    assert (problem.cost.macs(C) <= problem.budget).all()
    different = len(np.unique(C, axis=0))
    assert different <= 2 if start == "prior, optimum" else different == n


@pytest.mark.parametrize("start", ["prior", "random", "default of evolve"])
def test_a_seed_gives_its_own_population(problem, errors, start):
    a, again, b = (prior_sampling.population_of(start, problem, errors, s) for s in (3, 3, 4))
    assert (a == again).all() and (a != b).any()


def test_widened_widths_use_the_budget_up_and_half_of_the_default_do(problem, errors):
    def full(start):
        C = prior_sampling.population_of(start, problem, errors, 0)
        steps = np.eye(problem.space.L, dtype=int)
        return [
            not any(
                problem.cost.macs(c + e) <= problem.budget
                for e in steps
                if (c + e <= problem.space.K).all()
            )
            for c in C
        ]

    assert all(full("random, widened"))
    assert sum(full("default of evolve")) >= problem.profile.population // 2
    assert not all(full("random"))


def test_a_search_scores_so_many_widths_and_starts_with_its_population(problem, errors, tmp_path):
    C = prior_sampling.population_of("random", problem, errors, 0)
    net = SimpleNamespace(space=problem.space, cost=problem.cost)
    where = Where(folder=tmp_path)
    scored = prior_sampling._search(net, problem, lambda c: float(np.sum(c)), C, 5, where)
    profile = problem.profile
    assert len(scored) == profile.population * profile.generations
    assert list(scored)[: len(C)] == [tuple(c) for c in C.tolist()]
    assert all(score == sum(c) for c, score in scored.items())
    over = Where(folder=tmp_path, until=0.0)
    with pytest.raises(TimeUp):
        prior_sampling._search(net, problem, lambda c: 0.0, C, 5, over)


def test_a_stopped_search_of_a_supernet_goes_on_with_its_scores(tmp_path, monkeypatch):
    cell = prior_sampling.cell(SMOKE, "random", 0)
    steps = dict(cell.key)["steps"]
    finish(searches.supernets.cell(SMOKE, prior_sampling.METHOD, 0, steps), Where(folder=tmp_path))
    real, asked, stop_after = prior_sampling.make_score, [], [6]

    def counted(*args):
        score = real(*args)
        return lambda c: asked.append(tuple(c)) or score(c)

    monkeypatch.setattr(prior_sampling, "make_score", counted)
    monkeypatch.setattr(Where, "over", property(lambda _: len(asked) >= stop_after[0]))
    assert finish(cell, Where(folder=tmp_path)) is None
    assert len(asked) == 6 and not cell.path(tmp_path).exists()
    stop_after[0] = 99
    body = finish(cell, Where(folder=tmp_path))
    kept = SMOKE.population  # a whole generation; the rest of the second is scored again
    assert len(asked) == 6 + SMOKE.population * SMOKE.generations - kept
    assert [file.suffix for file in (tmp_path / "starts").iterdir()] == [".json"]
    cell.path(tmp_path).unlink()
    assert finish(cell, Where(folder=tmp_path))["result"] == body["result"]


def test_the_best_so_far_is_that_of_the_first_widths_scored(problem):
    scored, scores = [[1] * 5, [2] * 5, [1, 2, 1, 2, 1]], [0.2, 0.5, 0.9]
    two = prior_sampling._best(problem, scored, scores, 2)
    assert two["score"] == 0.5 and two["accuracy"] == problem.bench.accuracy([2] * 5)
    assert prior_sampling._best(problem, scored, scores, 99)["evaluations"] == 3


def test_prior_sampling_runs_and_its_rows_are_those_of_its_cells(tmp_path):
    experiment = prior_sampling.PRIOR_SAMPLING
    made = run(experiment, "smoke", Where(folder=tmp_path), seeds=1)
    frame = made.frame()
    assert list(dict.fromkeys(frame.start)) == list(prior_sampling.STARTS)
    for start, part in frame[frame.generation > 0].groupby("start"):
        assert part.score.is_monotonic_increasing, start
        assert part.evaluations.tolist() == [SMOKE.population, 2 * SMOKE.population]
    cell = prior_sampling.cell(SMOKE, "random", 0)
    result = cell.load(tmp_path)["result"]
    problem = problem_of(SMOKE)
    C = np.array(result["populations"][0])
    first = made.values("accuracy", start="random", generation=0)[0]
    assert first == pytest.approx(problem.bench.accuracy(C).mean(), abs=1e-4)


@pytest.mark.parametrize(
    "population, end, verdict",
    [
        (2.0, 1.0, "reproduced"),
        (2.0, 0.0, "trend only"),
        (0.0, 0.0, "not reproduced"),
        (2.0, -1.0, "contradicted"),
    ],
)
def test_verdict_on_the_prior(population, end, verdict):
    rows = []
    for seed in SEEDS:
        for start in prior_sampling.STARTS:
            for g, gain in ((0, population), (1, end)):
                value = 90 + wobble(seed, start, g) + gain * (start == "prior")
                row = {"seed": seed, "start": start, "generation": g, "evaluations": 10 * g}
                rows.append(row | {"score": value / 100, "accuracy": value, "macs": 0.9})
    made = record("prior_sampling", rows)
    (finding,) = prior_sampling.PRIOR_SAMPLING.findings(made)
    assert finding.verdict == verdict and finding.claim == "prior-start"
    assert finding.ours.mean == pytest.approx(end, abs=0.05)
    figures = plots.prior_figures(made)
    assert f"{90 + population:.2f}"[:3] in figures["populations"].alt
    assert set(figures) == {"populations", "search"}


# ------------------------------------------------------------------------- components


def components_record(gains):
    """``gains``: rung of the ladder -> what it adds."""
    total, at = 90.0, {}
    for name, rung in components.LADDER.items():
        total += gains.get(name, 0.0)
        at[tuple(rung.values())] = total
    rows = []
    for seed in SEEDS:
        for method, base in components.SUPERNETS:
            for search in searches.SEARCHES:
                value = at.get((method, base, search), 90.0)
                row = {"seed": seed, "method": method, "base": base, "search": search}
                noise = wobble(seed, method, base, search)
                row |= {"accuracy": value + noise, "score": 0.9 + noise / 100}
                rows.append(row | {"evaluations": 10})
    return record("components", rows)


EVERY = dict.fromkeys(list(components.LADDER)[1:], 1.0)


@pytest.mark.parametrize(
    "gains, verdict",
    [
        (EVERY, "reproduced"),
        (EVERY | {"prior": 0.0}, "trend only"),
        (EVERY | {"prior": -1.0}, "contradicted"),
        ({}, "not reproduced"),
    ],
)
def test_verdict_on_all_components(gains, verdict):
    made = components_record(gains)
    every, complement, evolution = components.COMPONENTS.findings(made)
    assert every.verdict == verdict
    assert every.ours.mean == pytest.approx(sum(gains.values()), abs=0.06)
    assert [complement.claim, evolution.claim] == ["complement-accuracy", "evolution-beats-greedy"]
    ladder = plots.components_figures(made)["ladder"].alt
    assert f"all of them: {every.ours.text()}" in ladder


def test_verdicts_on_the_complement_and_on_evolution_follow_their_own_rows():
    made = components_record({"complement": 2.0})
    _, complement, _ = components.COMPONENTS.findings(made)
    assert complement.verdict == "reproduced" and "under BC +2.0" in complement.note
    rows = [r | {"accuracy": r["accuracy"] - (r["search"] == "evolution")} for r in made.rows]
    _, _, evolution = components.COMPONENTS.findings(record("components", rows))
    assert evolution.verdict == "contradicted"


def test_the_top_of_the_scores_by_hand(problem):
    rng = np.random.default_rng(0)
    images = 395
    correct = rng.integers(300, 390, size=(2, len(problem.C)))
    found = components.top(problem, {"correct": correct.tolist(), "images": images})
    score = correct.mean(axis=0) / images
    macs = problem.cost.macs(problem.C)
    inside = [i for i in range(len(score)) if macs[i] <= problem.budget]
    best = max(score[i] for i in inside)
    error = (best * (1 - best) / images) ** 0.5
    near = [i for i in inside if score[i] >= best - error]
    assert found["near"] == len(near)
    assert found["near_accuracy"] == pytest.approx(np.mean([problem.truth[i] for i in near]))
    assert found["near_widest"] == problem.truth[max(near, key=lambda i: macs[i])]
    ten = sorted(inside, key=lambda i: -score[i])[:10]
    assert found["top10"] == pytest.approx(problem.truth[ten].mean())
    assert set(components.top(problem, None).values()) == {None}


# ------------------------------------------------------------------------- iterative updates


def iterative_record(loss):
    """``loss``: (method, equal) -> points; at once holds twice the bytes."""
    rows = []
    for seed in SEEDS:
        for method, equal, steps in iterative_updates._asked(PROFILES["components"]["digits"]):
            value = 95 + wobble(seed, method, equal, scale=0.05) - loss.get((method, equal), 0.0)
            row = {"seed": seed, "method": method, "equal": equal, "steps": steps}
            row |= {"accuracy": value, "kendall": value / 100, "allocated": None}
            rows.append(row | {"saved": 1000 * (1 + method.endswith("at once"))})
    return record("iterative_updates", rows)


ITERATIVE = [ours for ours, _ in iterative_updates.PAIRS.values()]


@pytest.mark.parametrize(
    "loss, verdict",
    [
        ({}, "reproduced"),
        ({(ITERATIVE[0], "steps"): 2.0}, "contradicted"),
        ({(ITERATIVE[0], "passes"): -2.0}, "reproduced"),
    ],
)
def test_verdict_on_the_accuracy_of_updates_in_turn(loss, verdict):
    made = iterative_record(loss)
    accuracy, memory = iterative_updates.ITERATIVE_UPDATES.findings(made)
    assert accuracy.verdict == verdict
    assert (memory.verdict, memory.ours.mean) == ("reproduced", 0.5)
    assert "1.00 if they are back-propagated one after another" in memory.note
    assert set(plots.iterative_figures(made)) == {"accuracy", "measures"}


def test_a_loss_that_cannot_be_excluded_is_not_called_none():
    rows = iterative_record({}).rows
    for row in rows:  # no difference on average, far apart in each seed
        if row["method"] in ITERATIVE:
            row["accuracy"] += 3 * (-1) ** row["seed"]
    accuracy, _ = iterative_updates.ITERATIVE_UPDATES.findings(record("iterative_updates", rows))
    assert accuracy.verdict == "not reproduced"


def test_memory_of_a_step_is_that_of_one_path_unless_losses_are_added_first(tmp_path):
    def saved(method):
        cell = iterative_updates.memory_cell(SMOKE, method)
        where = Where(folder=tmp_path)
        return cell.run(cell.settings, where, tmp_path / "x", **dict(cell.key))["saved"]

    in_turn, after, at_once = (saved(m) for m in ("BC iterative", "BC", "BC, at once"))
    assert in_turn == after
    assert 0.48 < in_turn / at_once < 0.52

    problem = problem_of(SMOKE)  # one pass of the widest network by hand
    net = problem.supernet(iterative_updates.supernets.method_of("BC").principle, 0)
    batch = slice(SMOKE.batch_size)  # cloned: the meter counts whole blocks of memory
    x, y = problem.data.train.x[batch].clone(), problem.data.train.y[batch].clone()
    alone = peak_memory(lambda: F.cross_entropy(net(x, problem.space.full), y).backward(), net)
    assert abs(alone.saved - in_turn) < 0.01 * in_turn


# ------------------------------------------------------------------------- figures


def test_differences_name_the_margin_and_every_interval():
    figure = plots.differences({"a": [1, 1.1, 0.9], "b": [0.0]}, "points", margin=0.5)
    assert "losses up to 0.5" in figure.alt and "a: 1.00 ± 0.25" in figure.alt
    assert "b: 0.00 (no interval)" in figure.alt


def test_rows_and_traces_say_what_they_show():
    rows = plots.rows_of_dots({"x": {"UA": [1, 2, 3]}}, {"x": {"best": 5.0}})
    assert "x, UA: 2.00 ± 2.48" in rows.alt and "best 5.00" in rows.alt
    curve = plots.traces({"score": {"prior": ([10, 20], [[1.0, 2.0], [3.0, 4.0]])}})
    assert "score, prior: 2.00 to 3.00 ± 12.71" in curve.alt
