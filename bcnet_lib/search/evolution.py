"""Evolutionary search: NSGA-II over widths, for accuracy and cost, under a hard budget.

A width is encoded by its position among each group's distinct candidates. Widths over the budget
break a constraint: they are never scored and never returned, but may be parents.

Source: Su et al., arXiv 2203.13714, section 4.4; Deb et al., NSGA-II, 2002.
"""

import hashlib
import json
from dataclasses import asdict

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from ..data import mix
from ..progress import bar as progress_bar
from .budget import amount, check_budget, measure_of, shrink_within, widen_within
from .result import Scores, SearchResult, make_score
from .resume import load_scores, save_scores, score_settings
from .whole import whole

__all__ = ["evolve", "report"]


def evolve(
    net,
    data,
    *,
    budget: float,
    cost=None,
    measure: str = "macs",
    objectives=None,
    population: int = 40,
    generations: int = 50,
    survivors: int | None = None,
    seed: int = 0,
    initial="random",
    checkpoint=None,
    callback=None,
    split="val",
    batch_size: int = 2048,
    amp: bool = False,
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
        objectives: what the search makes small beside making the score large: any of the same
            names, or one name; default the measure alone. ``()`` leaves the score alone: NSGA-II
            then ranks by it as any evolution does; in the book it finds better networks at the
            budget that way, and a worse front.
        population: widths a generation. generations: how many, the first one included.
        survivors: how many of all widths so far, the best by rank and crowding, are the parents of
            the next generation. The paper says 10. None: as many as ``population``, the rule of
            NSGA-II, and the default: the chapter *NSGA-II on widths* could tell no difference in
            favour of fewer parents.
        seed: the same seed gives the same search.
        initial: ``"random"``, or widths (n, L) to start from, such as a prior's samples or
            ``[uniform(...)]``. They are narrowed at random until they fit; the first
            ``population`` different networks among them are taken, and what is missing is random:
            narrowed at random until it fits, and half of it then widened at random until the
            budget is used up.
        checkpoint: file that keeps the scores after each generation. If it exists, the search is
            repeated with those scores at hand, and so ends as it would have without a break; it
            may be given more generations. A ``score`` of your own is first checked: one width on
            file is scored again, and must come out the same.
        callback: called as ``callback(generation, result)`` after each generation; ``report``
            prints a line.
        split: name of the split to score on, or a ``Split``.
        batch_size: images a batch when scoring (see ``evaluate``).
        amp: score with forward passes in bfloat16 (mixed precision).
        score: instead of the supernet's accuracy: callable (L,) -> number, larger is better.
        progress: show a progress bar.
    Returns:
        SearchResult over all widths scored, not the last generation alone.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network.
        CheckpointError: if ``checkpoint`` is damaged or belongs to another search (named).
        ValueError: if a score is not finite, a measure is unknown or has no table, or population,
            generations or survivors is no integer or below its least.
    """
    space, cost = net.space, net.cost if cost is None else cost
    population = whole("population", population, 2)
    generations = whole("generations", generations)
    if survivors is not None:  # crossover needs two
        survivors = whole("survivors", survivors, 2)
    check_budget(space, cost, budget, measure)
    if isinstance(objectives, str):
        objectives = (objectives,)
    objectives = (measure,) if objectives is None else tuple(objectives)
    _check(cost, objectives)
    scores = Scores(
        make_score(net, data, split, batch_size, score, amp), objectives=objectives, cost=cost
    )
    limit = _Limit(space, cost, budget, measure)
    C = limit.first(initial, population, seed)  # (population, L)
    settings = None
    if checkpoint is not None:
        settings = score_settings(net, data, split, score) | {
            "budget": float(budget),
            "measure": measure,
            "objectives": objectives,
            "population": population,
            "survivors": survivors,
            "seed": seed,
            "initial": C.tolist(),
            "batch_size": batch_size,
        }
        if amp and score is None:
            settings["amp"] = True
        if "latency" in (measure, *objectives):  # another table is another search
            table = json.dumps(asdict(cost.latencies)).encode()
            settings["latencies"] = hashlib.sha256(table).hexdigest()
        scores.known.update(load_scores(checkpoint, settings, score))

    problem = _Widths(limit, objectives, scores)
    algorithm = NSGA2(
        pop_size=survivors or population,
        n_offsprings=population,
        sampling=problem.encode(C),
        crossover=TwoPointCrossover(prob=0.9),
        mutation=PM(prob=0.9, eta=MUTATION_ETA),
        repair=RoundingRepair(),
        survival=_Survival(survivors or population),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", generations), seed=mix(seed, 1) % 2**32)
    bar = progress_bar(total=generations, desc="evolve", show=progress)
    with bar:
        while algorithm.has_next():  # also ends when a small space has no new width left
            algorithm.next()
            problem.generation += 1
            bar.set_postfix_str(f"best {scores.best:.4f}", refresh=False)
            bar.update()
            if checkpoint is not None:
                save_scores(checkpoint, settings, scores)
            if callback is not None:
                callback(problem.generation, scores.result())
    return scores.result()


def report(generation: int, result: SearchResult) -> None:
    """A callback for ``evolve``: prints where the search stands, a line a generation."""
    print(
        f"generation {generation:3}: {result.evaluations:5,} widths scored, best "
        f"{result.score:.4f} at {amount(result.macs)}, {len(result.front)} on the front",
        flush=True,
    )


MUTATION_ETA = 3.0  # spread of the polynomial mutation: at 20, half of the draws round to no change


def _check(cost, objectives) -> None:
    for name in objectives:
        values = measure_of(cost, name)
        if name == "latency":
            values(cost.space.full)  # says so where there is no table
    if len(set(objectives)) < len(objectives):
        raise ValueError(f"objectives {objectives} name one twice")


class _Survival(RankAndCrowding):
    """The best ``n`` by rank and crowding, from the first generation on.

    pymoo cuts to ``pop_size`` only from the second generation on: all of an initial array survive.
    """

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def do(self, problem, pop, *args, n_survive=None, **kwargs):
        return super().do(problem, pop, *args, n_survive=min(self.n, len(pop)), **kwargs)


class _Limit:
    """A space under a budget, and first generations within it."""

    def __init__(self, space, cost, budget, measure):
        self.space, self.cost, self.budget, self.measure = space, cost, budget, measure
        self.values = measure_of(cost, measure)
        self.most = self.values(space.full)

    def encode(self, C: np.ndarray) -> np.ndarray:
        """Widths (n, L) -> positions among the candidates; equal channel counts fall together."""
        columns = zip(self.space.candidates, C.T, strict=True)
        return np.stack([np.searchsorted(candidates, c) for candidates, c in columns], axis=1)

    def decode(self, X: np.ndarray) -> np.ndarray:
        columns = zip(self.space.candidates, X.T.astype(int), strict=True)
        return np.stack([candidates[x] for candidates, x in columns], axis=1)

    def first(self, initial, n: int, seed: int) -> np.ndarray:
        """The first generation: n different widths, fewer only where the space has no more."""
        rng = np.random.default_rng(mix(seed))
        C = np.empty((0, self.space.L), dtype=np.int64)
        if isinstance(initial, str) and initial != "random":
            raise ValueError(f"initial must be 'random' or an array of widths, got {initial!r}")
        if initial is not None and not isinstance(initial, str):
            C = self.decode(self.encode(np.atleast_2d(self.space.check(initial))))
            C = self._different(self._narrow(C, rng), n)
        for _ in range(100):  # a random draw may repeat one; many do in a small space
            if len(C) == n:
                break
            C = self._different(np.concatenate([C, self._random(n - len(C), rng)]), n)
        return C

    def _narrow(self, C, rng):
        return shrink_within(self.space, self.cost, self.budget, C, rng, self.measure)

    def _random(self, n: int, rng) -> np.ndarray:
        """n random widths within the budget: half of them close to it, half all over the front.

        Uniform draws lie far below a budget of half the MACs (their mean width is half, their MACs
        a quarter), and crossover alone is slow to climb from there.
        """
        C = self._narrow(self.space.sample(rng, n), rng)  # (n, L)
        half = n // 2
        wide = widen_within(self.space, self.cost, self.budget, C[:half], rng, self.measure)
        return np.concatenate([wide, C[half:]])

    @staticmethod
    def _different(C, n: int) -> np.ndarray:
        """The first n different rows, in their order."""
        _, places = np.unique(C, axis=0, return_index=True)
        return C[np.sort(places)[:n]]


class _Widths(Problem):
    """Minimise (-score, objectives) over candidate positions, with the measure <= budget."""

    def __init__(self, limit: _Limit, objectives, scores: Scores):
        self.limit, self.scores, self.generation = limit, scores, 0
        self.encode = limit.encode
        full = limit.space.full
        values = [measure_of(limit.cost, name) for name in objectives]
        self.objectives = [(v, v(full)) for v in values]  # each as a share of the full network's
        last = np.array([len(c) - 1 for c in limit.space.candidates])
        m = 1 + len(objectives)
        super().__init__(n_var=len(last), n_obj=m, n_ieq_constr=1, xl=0, xu=last, vtype=int)

    def _evaluate(self, X, out, *args, **kwargs):
        limit = self.limit
        C = limit.decode(X)  # (n, L)
        macs, spent = limit.cost.macs(C), limit.values(C)  # (n,), (n,)
        score = np.zeros(len(C))  # widths over the budget are ranked by how far they are over
        for i in np.flatnonzero(spent <= limit.budget):
            score[i] = self.scores(C[i], macs[i], self.generation)
        out["F"] = np.column_stack([-score, *[v(C) / most for v, most in self.objectives]])
        out["G"] = ((spent - limit.budget) / limit.most)[:, None]
