"""What the experiments that sweep one setting of the search space share: rows, and their rules.

A sweep judges the width found at each value of the setting, and a width drawn at random from the
same space under the same budget: what the random one gains or loses is owed to the space alone.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import ttest_1samp

from ..data import mix
from ..intervals import holm
from ..methods import METHODS
from ..profiles import Profile
from .problem import problem_of

__all__ = ["above", "above_all", "found_row", "space_row", "supernet_row"]

ALPHA = 0.05
DRAWS = 4096  # widths that shares and means over a space are taken from


def found_row(result: Mapping) -> dict:
    """Columns about a width, from what ``searches.run`` left.

    Returns:
        accuracy (mean over trainings from scratch, percent), spread (their sample standard
        deviation, None of one), score, evaluations, widths.
    """
    a = np.array(result["accuracies"])
    row = {"accuracy": float(a.mean()), "spread": float(a.std(ddof=1)) if a.size > 1 else None}
    row |= {k: result[k] for k in ("score", "evaluations")}
    return row | {"widths": " ".join(map(str, result["widths"]))}


@lru_cache(maxsize=64)
def _space(profile: Profile, root) -> dict:
    problem = problem_of(profile, root)
    drawn = problem.space.sample(np.random.default_rng(mix(0, 7)), DRAWS)
    macs, full = problem.cost.macs(drawn), float(problem.cost.macs(problem.space.full))
    return {
        "networks": float(problem.space.networks),
        "fits": float((macs <= problem.budget).mean()),
        "pass_macs": float(macs.mean()) / full,
    }


def space_row(profile: Profile, root, macs: int) -> dict:
    """Columns about the space of a profile.

    Returns:
        macs (of the width, as a share of the full network's), networks, fits (share of the
        networks that the budget allows), pass_macs (mean of a width drawn at random, which is what
        a training pass of the supernet costs, as a share); the last two from 4,096 draws.
    """
    problem = problem_of(profile, root)
    return {"macs": macs / float(problem.cost.macs(problem.space.full))} | _space(profile, root)


@lru_cache(maxsize=64)
def supernet_row(profile: Profile, root, method: str) -> dict:
    """``params``: weights of a supernet as a multiple of the widest network's."""
    problem = problem_of(profile, root)
    net = problem.supernet(METHODS[method].principle, 0)
    held = sum(p.numel() for p in net.parameters())
    return {"params": held / sum(p.numel() for p in problem.model().parameters())}


def above(differences: Sequence[Sequence[float]]) -> np.ndarray:
    """Whether each of m lists of paired differences has a mean above 0; (m,) bool.

    One-sided t-tests over seeds, adjusted together by Holm: the chance of any false "yes" among
    them is at most 5 %. A single seed shows nothing.
    """
    return above_all([[d] for d in differences])


def above_all(families: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    """Whether *every* list of a family has a mean above 0; (families,) bool.

    A family's p-value is the largest of its lists' (all must hold); Holm over the families.
    """
    return holm([max(_p(np.asarray(d, dtype=float)) for d in f) for f in families]) < ALPHA


def _p(d: np.ndarray) -> float:
    """One-sided p-value of a mean above 0; equal differences say no more than their sign."""
    if d.size < 2 or np.ptp(d) == 0:
        return 0.0 if d.size > 1 and d[0] > 0 else 1.0
    return float(ttest_1samp(d, 0, alternative="greater").pvalue)
