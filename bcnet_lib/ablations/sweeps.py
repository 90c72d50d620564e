"""Columns of the experiments that sweep one setting of the search space.

A sweep judges the width found at each value of the setting, and a width drawn at random from the
same space under the same budget: what the random one gains or loses is owed to the space alone.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..data import mix
from ..methods import METHODS
from ..profiles import Profile
from .problem import problem_of

__all__ = ["found_row", "space_row", "supernet_row"]

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
