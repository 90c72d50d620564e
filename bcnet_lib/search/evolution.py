"""Evolutionary search: NSGA-II over widths, for accuracy and MACs, under a hard MACs budget.

A width is encoded by its position among each group's distinct candidates. Widths over the budget
break a constraint: they are never scored and never returned, but may be parents.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair

from .. import checkpoint as files
from ..data import mix
from ..progress import bar as progress_bar
from .budget import check_budget, shrink_within, widen_within
from .result import Scores, SearchResult, make_score

__all__ = ["evolve"]


def evolve(
    net,
    data,
    *,
    budget: float,
    cost=None,
    measure: str = "macs",
    population: int = 40,
    generations: int = 50,
    seed: int = 0,
    initial=None,
    checkpoint=None,
    callback=None,
    split="val",
    batch_size: int = 2048,
    score=None,
    progress: bool = True,
) -> SearchResult:
    """Search widths with NSGA-II: tournament, two-point crossover, polynomial mutation.

    Args:
        net: a trained ``Supernet``. data: its ``Data``.
        budget: a hard limit, in MACs, parameters or milliseconds by ``measure``: no width over it
            is scored or returned.
        cost: ``CostTable``; default ``net.cost``.
        measure: what the budget limits: ``"macs"``, ``"params"`` or ``"latency"``.
        population: widths a generation. generations: how many, the first one included.
        seed: the same seed gives the same search.
        initial: widths (n, L) to start from, such as ``[uniform(...)]``; the rest of the first
            generation is random: narrowed at random until it fits, and half of it then widened at
            random until the budget is used up.
        checkpoint: file that keeps the scores after each generation. If it exists, the search is
            repeated with those scores at hand, and so ends as it would have without a break; it
            may be given more generations.
        callback: called as ``callback(generation, result)`` after each generation.
        split: name of the split to score on, or a ``Split``.
        batch_size: images a batch when scoring (see ``evaluate``).
        score: instead of the supernet's accuracy: callable (L,) -> number, larger is better.
        progress: show a progress bar.
    Returns:
        SearchResult over all widths scored, not the last generation alone.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network.
        CheckpointError: if ``checkpoint`` is damaged or belongs to another search (named).
        ValueError: if a score is not finite, or population or generations is below its least.
    """
    space, cost = net.space, net.cost if cost is None else cost
    check_budget(space, cost, budget, measure)
    if population < 2 or generations < 1:
        raise ValueError(
            f"evolve needs population >= 2 and generations >= 1, got {population}, {generations}"
        )
    initial = np.empty((0, space.L), dtype=np.int64) if initial is None else space.check(initial)
    initial = np.atleast_2d(initial)
    scores = Scores(make_score(net, data, split, batch_size, score))
    settings = None
    if checkpoint is not None:
        settings = _settings(net, data, split, score) | {
            "budget": float(budget),
            "measure": measure,
            "population": population,
            "seed": seed,
            "initial": initial.tolist(),
            "batch_size": batch_size,
        }
        scores.known.update(_load(checkpoint, settings))

    problem = _Widths(space, cost, budget, scores)
    C = _first(space, cost, budget, max(0, population - len(initial)), mix(seed))
    C = np.concatenate([initial, C])  # (population, L)
    algorithm = NSGA2(
        pop_size=population,
        sampling=problem.encode(C),
        crossover=TwoPointCrossover(prob=0.9),
        mutation=PM(prob=0.9, eta=MUTATION_ETA),
        repair=RoundingRepair(),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", generations), seed=mix(seed, 1) % 2**32)
    bar = progress_bar(total=generations, desc="evolve", show=progress)
    with bar:
        while algorithm.has_next():  # also ends when a small space has no new width left
            algorithm.next()
            problem.generation += 1
            bar.update()
            if checkpoint is not None:
                _save(checkpoint, settings, scores)
            if callback is not None:
                callback(problem.generation, scores.result())
    return scores.result()


def _first(space, cost, budget, n: int, seed: int) -> np.ndarray:
    """n random widths within the budget: half of them close to it, half all over the front.

    Uniform draws lie far below a budget of half the MACs (their mean width is half, their MACs a
    quarter), and crossover alone is slow to climb from there.
    """
    rng = np.random.default_rng(seed)
    C = shrink_within(space, cost, budget, space.sample(rng, n), rng)  # (n, L)
    half = n // 2
    return np.concatenate([widen_within(space, cost, budget, C[:half], rng), C[half:]])


MUTATION_ETA = 3.0  # spread of the polynomial mutation: at 20, half of the draws round to no change


class _Widths(Problem):
    """Minimise (-score, MACs) over candidate positions, with MACs <= budget."""

    def __init__(self, space, cost, budget, scores: Scores):
        self.candidates, self.cost, self.budget, self.scores = (
            space.candidates,
            cost,
            budget,
            scores,
        )
        self.most = cost.macs(space.full)
        self.generation = 0
        last = np.array([len(c) - 1 for c in space.candidates])
        super().__init__(n_var=space.L, n_obj=2, n_ieq_constr=1, xl=0, xu=last, vtype=int)

    def encode(self, C: np.ndarray) -> np.ndarray:
        """Widths (n, L) -> positions among the candidates; equal channel counts fall together."""
        columns = zip(self.candidates, C.T, strict=True)
        return np.stack([np.searchsorted(candidates, c) for candidates, c in columns], axis=1)

    def decode(self, X: np.ndarray) -> np.ndarray:
        columns = zip(self.candidates, X.T.astype(int), strict=True)
        return np.stack([candidates[x] for candidates, x in columns], axis=1)

    def _evaluate(self, X, out, *args, **kwargs):
        C = self.decode(X)  # (n, L)
        macs = self.cost.macs(C)  # (n,)
        score = np.zeros(len(C))  # widths over the budget are ranked by how far they are over
        for i in np.flatnonzero(macs <= self.budget):
            score[i] = self.scores(C[i], macs[i], self.generation)
        out["F"] = np.column_stack([-score, macs / self.most])
        out["G"] = ((macs - self.budget) / self.most)[:, None]


def _settings(net, data, split, score) -> dict:
    """What scores depend on, for the checkpoint."""
    space = net.space
    settings = {
        "space.K": int(space.K),
        "space.base": np.asarray(space.base).tolist(),
        "space.groups": [f"{g.name}:{g.width}" for g in space.groups],
    }
    if score is not None:
        return settings | {"score": getattr(score, "__qualname__", type(score).__name__)}
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    images = getattr(data, split) if isinstance(split, str) else split
    labels = hashlib.sha256(images.y.cpu().numpy().tobytes()).hexdigest()
    return settings | {
        "score": "evaluate",
        "supernet.principle": repr(net.principle),
        "supernet.weights": digest.hexdigest(),
        "split.labels": labels,
    }


def _save(path, settings: dict, scores: Scores) -> None:
    table = [[*key, value] for key, value in scores.known.items()]
    files.write(path, json.dumps({"settings": settings, "scores": table}).encode())


def _load(path, settings: dict) -> dict[tuple, float]:
    if not Path(path).exists():
        return {}
    try:
        state = json.loads(files.read(path))
        table = state["scores"]
    except (ValueError, KeyError) as error:
        raise files.CheckpointError(f"checkpoint '{path}' is not one of a search") from error
    files.same_settings(path, settings, state["settings"])
    known = {tuple(key): value for *key, value in table}
    return {key: value for key, value in known.items() if math.isfinite(value)}
