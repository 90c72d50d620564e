"""Cells that search a trained supernet, and judge what was found.

On a benchmark the scores of all widths are there, and a search looks them up; elsewhere it scores
widths with the supernet, and what it finds is trained from scratch.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from .. import distributed
from ..data import mix
from ..profiles import Profile
from ..search import evolve, greedy, uniform
from ..search.budget import BudgetError, draw_within, walk_within
from ..search.spread import spread_prior
from . import supernets
from .cells import Cell, TimeUp, Where, finish
from .problem import Problem, problem_of

__all__ = ["BASELINES", "SEARCHES", "cell", "judge", "run", "score_of"]

SEARCHES = ("greedy", "evolution", "prior + evolution", "every width")
"""Of a supernet; "every width" takes the best of all, which only a benchmark can afford."""
BASELINES = ("uniform", "random")
"""Widths that need no supernet."""


def cell(profile: Profile, search: str, seed: int, method: str = "", steps: int = 0) -> Cell:
    """The cell that searches the supernet of ``supernets.cell(profile, method, seed, steps)``.

    Args:
        search: of ``SEARCHES``; or of ``BASELINES``, which take no method.
    """
    if search not in (BASELINES if not method else SEARCHES):
        known = ", ".join(f"'{s}'" for s in (BASELINES if not method else SEARCHES))
        raise ValueError(f"unknown search {search!r} of '{method}': known are {known}")
    key = {"search": search, "method": method, "seed": seed, "steps": steps}
    return Cell.of("searches", run, profile, **key)


def run(
    settings: Profile, where: Where, file: Path, *, search: str, method: str, seed: int, steps: int
) -> dict | None:
    """Search within the budget, and judge the width that is found.

    Returns:
        widths; macs; score (of the search, None for baselines); evaluations (different widths
        scored); accuracies (percent, one a training from scratch).
    """
    problem = problem_of(settings, where.root)
    score, evaluations = None, 0
    if search == "uniform":
        c = uniform(problem.space, problem.cost, problem.budget)
    elif search == "random":
        c = _random(problem, seed)
    else:
        found = _search(problem, where, file, search, method, seed, steps)
        c, score, evaluations = found
    accuracies = judge(problem, c, seed, where)
    if accuracies is None:
        return None
    if distributed.is_first():
        file.with_suffix(".search").unlink(missing_ok=True)
    return {
        "widths": [int(w) for w in c],
        "macs": int(problem.cost.macs(c)),
        "score": score,
        "evaluations": evaluations,
        "accuracies": accuracies,
    }


def _random(problem: Problem, seed: int) -> np.ndarray:
    """A width drawn uniformly among those within the budget; by a walk where hardly any fit."""
    limit = (problem.space, problem.cost, problem.budget)
    try:
        return draw_within(*limit, np.random.default_rng(mix(seed, 4)), 1)[0]
    except BudgetError:
        return walk_within(*limit, np.random.default_rng(mix(seed, 4)), 1)[0]


def _search(problem: Problem, where: Where, file: Path, search, method, seed, steps):
    """(width, score, evaluations) of a search of a finished supernet."""
    profile = problem.profile
    trained = supernets.cell(profile, method, seed, steps)
    result = trained.load(where.folder)["result"]
    if search == "every width":
        fits = problem.cost.macs(problem.C) <= problem.budget
        scores = np.where(fits, supernets.scores_of(result).mean(axis=1), -1)  # (n,)
        return problem.C[scores.argmax()], float(scores.max()), int(fits.sum())
    whole = problem.bench is not None and profile.widths is None
    score = score_of(problem, result) if whole else None
    net = SimpleNamespace(space=problem.space, cost=problem.cost)
    if score is None:
        net = supernets.load_net(trained, where)
    options = {"budget": problem.budget, "score": score, "progress": False}
    options["batch_size"] = profile.score_batch
    if score is None:  # a search that is stopped goes on
        options["checkpoint"] = file.with_suffix(".search")
        options["callback"] = lambda *_: _look_at_the_clock(where)  # when its scores are kept
    if search == "greedy":
        found = greedy(net, problem.data, **options)
    else:
        sizes = {"population": profile.population, "generations": profile.generations}
        if search == "prior + evolution":
            errors = supernets.errors_of(result)
            prior = spread_prior(errors, problem.cost, problem.budget, profile.population, seed)
            rng = np.random.default_rng(mix(seed, 5))
            options["initial"] = prior.sample(rng, profile.population, distinct=True)
        found = evolve(net, problem.data, seed=seed, **sizes, **options)
    return found.best, float(found.score), int(found.evaluations)


def _look_at_the_clock(where: Where) -> None:
    if where.over:
        raise TimeUp


def score_of(problem: Problem, result: dict):
    """Looks up a width's score with shared weights (Eq. 12) in what a supernet's cell left."""
    scores = supernets.scores_of(result).mean(axis=1)  # (n,)
    table = {tuple(c): float(s) for c, s in zip(problem.C.tolist(), scores, strict=True)}
    return lambda c: table[tuple(int(w) for w in c)]


def judge(problem: Problem, c, seed: int, where: Where) -> list[float] | None:
    """Accuracies of a width after training from scratch, percent; None if the time was over.

    Of a benchmark those it holds; elsewhere of ``profile.retrain_seeds`` trainings, each kept in a
    file of its own, so that experiments which find the same width train it once.
    """
    if problem.bench is not None:
        return problem.bench.accuracies[problem.bench.index(c)].tolist()
    out = []
    for k in range(problem.profile.retrain_seeds):
        key = {"widths": tuple(int(w) for w in c), "seed": seed, "k": k}
        body = finish(Cell.of("retrained", _retrain, problem.profile, **key), where)
        if body is None:
            return None
        out.append(body["result"]["accuracy"])
    return out


def _retrain(
    settings: Profile, where: Where, file: Path, *, widths, seed: int, k: int
) -> dict | None:
    problem, file = problem_of(settings, where.root), file.with_suffix(".training")
    accuracy = problem.retrain(widths, mix(seed, 6, k), where.device, file, lambda: where.over)
    return None if accuracy is None else {"accuracy": accuracy}
