"""Does a fairer supernet rank widths better? Supernets against a benchmark that knows the answer.

Every method trains supernets on the same images with the same recipe; every width of the benchmark
is scored through all its paths; the scores are compared with the accuracies after training from
scratch. Follows Su et al., arXiv 2203.13714, section 7.4 and Table 9.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..intervals import headline
from ..methods import METHODS, twins
from ..profiles import PROFILES, Profile
from ..ranking import correlations, top_overlap, top_regret
from .cells import Cell, Where
from .experiment import Experiment
from .problem import Problem, problem_of
from .supernets import EQUAL, cell, scores_of, steps_of

__all__ = ["RANKING", "measures"]


def methods_of(problem: Problem) -> list[str]:
    """All of ``METHODS`` that differ on the space."""
    same = twins(problem.space)
    return [m for m in METHODS if m not in same]


def measures(scores: np.ndarray, problem: Problem) -> dict[str, float]:
    """How well scores (n, P) of all paths rank the widths; the mean over paths is the score.

    ``filtered`` is Kendall among networks without a narrowest layer, as in the released script;
    ``path`` the mean Kendall of a single path's scores.
    """
    score, truth = scores.mean(axis=1), problem.truth
    all_three = correlations(score, truth)
    wide = (problem.C > 1).all(axis=1)
    enough = wide.sum() > 2
    return {
        "kendall": all_three.kendall,
        "spearman": all_three.spearman,
        "pearson": all_three.pearson,
        "path": float(np.mean([correlations(s, truth).kendall for s in scores.T])),
        "filtered": correlations(score[wide], truth[wide]).kendall if enough else None,
        "overlap10": top_overlap(score, truth, 10),
        "regret1": top_regret(score, truth, 1),
        "regret10": top_regret(score, truth, 10),
        "score": float(score.mean()),
    }


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    methods = methods_of(problem_of(profile))
    budgets = {m: dict.fromkeys(steps_of(profile, m, e) for e in EQUAL) for m in methods}
    return [[cell(profile, m, seed, n) for seed in seeds for m in methods for n in budgets[m]]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    problem, rows = problem_of(profile, where.root), []
    for equal in EQUAL:
        for seed in seeds:
            for method in methods_of(problem):
                steps = steps_of(profile, method, equal)
                result = results[cell(profile, method, seed, steps)]
                row = {"seed": seed, "method": method, "equal": equal, "steps": steps}
                row |= {k: result[k] for k in ("passes", "seconds", "uneven", "uneven_block")}
                rows.append(row | measures(scores_of(result), problem))
    return rows


def _headline(rows: list[dict]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    taus = [r["kendall"] for r in rows if (r["method"], r["equal"]) == (methods[0], "passes")]
    what = headline(f"Kendall of {methods[0]}", taus, digits=3)
    return f"{what}, {len(methods)} methods"


RANKING = Experiment(
    name="ranking",
    profiles=PROFILES["ranking"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing="filtered: too few networks without a narrowest layer",
)
