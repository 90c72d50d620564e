"""The widths themselves: found, uniform and random ones of one network within one budget.

Follows Su et al., arXiv 2203.13714, section 7 (found widths beside uniform ones, each trained from
scratch) and section 8 (what found widths look like, Figs. 9 and 11). Supernets are trained for
equal passes; a control finds its widths with UA.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..intervals import headline, holm, mean_interval
from ..profiles import PROFILES, Profile
from ..results import Record
from ..width_patterns import agreement, exchange_p, shuffle_p
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .findings import Finding, paired
from .problem import problem_of
from .sweeps import found_row

__all__ = ["FOUND_WIDTHS", "METHODS", "widths_of"]

METHODS = ("BCv2 + complement", "UA")
"""How the supernets are trained; the first is the paper's."""
SEARCH = "prior + evolution"


def _asked(profile: Profile, seed: int) -> dict[str, Cell]:
    """How a width is chosen -> the cell that chooses and judges it."""
    steps = {m: supernets.steps_of(profile, m, "passes") for m in METHODS}
    found = {m: searches.cell(profile, SEARCH, seed, m, steps[m]) for m in METHODS}
    return found | {b: searches.cell(profile, b, seed) for b in searches.BASELINES}


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


def widths_of(record: Record, **at) -> np.ndarray:
    """Widths in the rows of some setting, in units, by seed: (n, L)."""
    rows = [r for r in record.rows if all(r[k] == v for k, v in at.items())]
    rows = sorted(rows, key=lambda r: r["seed"])
    return np.array([r["widths"].split() for r in rows], dtype=int)


def _findings(record: Record) -> list[Finding]:
    """Do found widths share a pattern? Beyond chance, and beyond random widths of the budget.

    Two tests, adjusted together: do seeds agree more than if the groups of each width were
    shuffled, and more than random widths within the budget do? One alone is a trend: a budget makes
    groups narrow that cost much. Contradicted if found widths agree less than random ones.
    """
    if len(record.parameters["seeds"]) < 2:
        return []
    found, control, random = (widths_of(record, method=m) for m in (*METHODS, "random"))
    ours, other = agreement(found), agreement(random)
    chance, budget = holm([shuffle_p(found), exchange_p(found, random)])
    more = ours.mean > other.mean
    if budget < 0.05:
        verdict = "contradicted" if not more else "reproduced" if chance < 0.05 else "trend only"
    else:
        verdict = "trend only" if chance < 0.05 else "not reproduced"
    gains = {b: paired(record, "accuracy", {"method": METHODS[0]}, {"method": b}) for b in _BEHIND}
    said = "; ".join(f"minus {b} {mean_interval(d).text()}" for b, d in gains.items())
    return [
        Finding(
            claim="width-patterns",
            place="Section 8, Figs. 9 and 11",
            what="mean rank correlation, over the groups, of the widths that two seeds find",
            paper="found widths share a pattern over depth",
            ours=ours,
            verdict=verdict,
            note=(
                f"Uniform widths have no order to share. Random widths within the same budget: "
                f"{other.text()}; widths found with {METHODS[1]}: {agreement(control).text()}. "
                f"Found widths against the same with their groups shuffled: p = {_p(chance)}; "
                f"against random widths: p = {_p(budget)} (adjusted together). What the found "
                f"widths are worth, in points of test accuracy after training from scratch: {said}."
            ),
            profile=record.profile,
            unit="",
        )
    ]


_BEHIND = ("uniform", "random", METHODS[1])


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


FOUND_WIDTHS = Experiment(
    name="found_widths",
    profiles=PROFILES["found_widths"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    chapter="../results/widths.ipynb",
    missing=(
        "score: uniform and random widths have no supernet; spread: a single training has none"
    ),
)
