"""Searches on a table of all scores: how far from the true best after how many evaluations.

Where a space is small enough to score every width once, a search costs nothing, and its result can
be compared with the optimum. Follows Su et al., arXiv 2203.13714, Fig. 10, which compares searches
by the networks they find.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .budget import measure_of
from .result import pareto_front

__all__ = ["ScoreTable", "area_below", "coverage", "regret", "study"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """The score of every network of a space; takes the place of a supernet in a search."""

    space: object
    """``WidthSpace``."""
    cost: object
    """``CostTable``."""
    C: np.ndarray
    """int64 (n, L), all different networks of the space."""
    scores: np.ndarray
    """float64 (n,)."""

    @classmethod
    def of(cls, space, cost, score_many) -> "ScoreTable":
        """Score everything.

        Args:
            score_many: callable (n, L) -> (n,), such as ``evaluate_many`` of a supernet.
        """
        C = np.array(list(itertools.product(*space.candidates)))  # (n, L)
        return cls(space=space, cost=cost, C=C, scores=np.asarray(score_many(C), dtype=float))

    def __call__(self, c) -> float:
        """Look a width up; to be given to searches as ``score``."""
        row = 0
        for candidates, width in zip(self.space.candidates, c, strict=True):
            row = row * len(candidates) + int(np.searchsorted(candidates, width))
        return float(self.scores[row])

    def inside(self, budget: float, measure: str = "macs") -> pd.DataFrame:
        """All networks within a budget: c1 … cL, score, macs."""
        fits = measure_of(self.cost, measure)(self.C) <= budget
        table = pd.DataFrame(self.C[fits], columns=[f"c{i + 1}" for i in range(self.space.L)])
        return table.assign(score=self.scores[fits], macs=self.cost.macs(self.C[fits]))

    def best(self, budget: float, measure: str = "macs") -> float:
        """Highest score within a budget."""
        return float(self.inside(budget, measure).score.max())

    def front(self, budget: float) -> pd.DataFrame:
        """The true Pareto front of score and MACs within a budget."""
        return pareto_front(self.inside(budget))


def regret(result, best: float, evaluations: int) -> np.ndarray:
    """What is missing to the best after 1, 2, … evaluations; (evaluations,), never below 0.

    A search that ended earlier stays where it ended.

    Args:
        result: ``SearchResult``. best: highest score there is.
    """
    so_far = np.maximum.accumulate(result.history.score.to_numpy()[:evaluations])  # (m,)
    return best - np.append(so_far, np.full(evaluations - len(so_far), so_far[-1]))


def coverage(front: pd.DataFrame, true: pd.DataFrame, budget: float, floor: float) -> float:
    """Area below a front, as a share of the area below the true one (hypervolume, MACs to budget).

    Args:
        front, true: tables with score and macs, within the budget. floor: scores count from here.
    """
    return area_below(front, budget, floor) / area_below(true, budget, floor)


def area_below(front: pd.DataFrame, budget: float, floor: float) -> float:
    """Area below the stairs of a front, from a floor, with MACs as shares of the budget.

    In two dimensions it is the hypervolume with the corner (budget, floor) as reference.
    """
    front = front.sort_values("macs")
    steps = np.diff(np.append(front.macs, budget)) / budget  # (m,) where each is the best
    best = np.maximum.accumulate(front.score.to_numpy())
    return float((steps * np.maximum(best - floor, 0)).sum())


def study(methods, table: ScoreTable, *, budget: float, seeds) -> dict[str, list]:
    """Run every method with every seed on a table.

    Args:
        methods: name -> callable (table, budget, seed) -> ``SearchResult``.
        budget: MACs. seeds: of the searches.
    Returns:
        name -> list of ``SearchResult``, one a seed.
    """
    return {name: [run(table, budget, s) for s in seeds] for name, run in methods.items()}
