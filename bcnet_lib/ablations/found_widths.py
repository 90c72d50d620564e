"""The widths themselves: found, uniform and random ones of one network within one budget.

Follows Su et al., arXiv 2203.13714, section 7 (found widths beside uniform ones, each trained from
scratch) and section 8 (what found widths look like, Figs. 9 and 11). Supernets are trained for
equal passes; a control finds its widths with UA.
"""

from collections.abc import Mapping, Sequence

from ..intervals import headline
from ..profiles import PROFILES, Profile
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .problem import problem_of
from .sweeps import found_row

__all__ = ["FOUND_WIDTHS", "METHODS", "OTHERS"]

METHODS = ("BCv2 + complement", "UA")
"""How the supernets are trained; the first is the paper's."""
OTHERS = {"uniform": "uniform", "random": searches.FITTED}
"""Widths that need no supernet, as they are called here and in ``searches``."""
SEARCH = "prior + evolution"


def _asked(profile: Profile, seed: int) -> dict[str, Cell]:
    """How a width is chosen -> the cell that chooses and judges it."""
    steps = {m: supernets.steps_of(profile, m, "passes") for m in METHODS}
    found = {m: searches.cell(profile, SEARCH, seed, m, steps[m]) for m in METHODS}
    return found | {name: searches.cell(profile, o, seed) for name, o in OTHERS.items()}


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    train = [
        supernets.cell(profile, m, seed, supernets.steps_of(profile, m, "passes"))
        for seed in seeds
        for m in METHODS
    ]
    return [train, [cell for seed in seeds for cell in _asked(profile, seed).values()]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    budget, rows = problem_of(profile, where.root).budget, []
    for seed in seeds:
        for method, cell in _asked(profile, seed).items():
            result = results[cell]
            row = {"seed": seed, "method": method} | found_row(result)
            each = " ".join(f"{a:.2f}" for a in result["accuracies"])
            rows.append(row | {"macs": result["macs"] / budget, "accuracies": each})
    return rows


def _headline(rows: list[dict]) -> str:
    found = [r["accuracy"] for r in rows if r["method"] == METHODS[0]]
    return headline(f"test accuracy (%) of widths found with {METHODS[0]}", found)


FOUND_WIDTHS = Experiment(
    name="found_widths",
    profiles=PROFILES["found_widths"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing=(
        "score: uniform and random widths have no supernet; spread: a single training has none"
    ),
)
