"""What each component of the method adds: search x supernet x complement x base widths x prior.

Follows Su et al., arXiv 2203.13714, section 7.5 and Table 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..intervals import headline
from ..profiles import PROFILES, Profile
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .problem import problem_of

__all__ = ["COMPONENTS", "SUPERNETS"]

NARROW = {4: 2, 20: 5}  # K -> the smallest width where there is one: half of four, a quarter of 20
SUPERNETS = (
    *(("UA", False), ("BC", False), ("BC + complement", False)),
    *(("UA", True), ("BC", True), ("BCv2", True), ("BCv2 + complement", True)),
)
"""Method, and whether narrow widths are left out."""


def _profile(profile: Profile, narrow: bool) -> Profile:
    return replace(profile, base=NARROW[profile.K]) if narrow else profile


def _searches(profile: Profile) -> list[str]:
    known = problem_of(profile).bench is not None
    return [s for s in searches.SEARCHES if known or s != "every width"]


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    train, find = [], []
    for seed in seeds:
        for method, narrow in SUPERNETS:
            p, steps = _profile(profile, narrow), supernets.steps_of(profile, method, "passes")
            train.append(supernets.cell(p, method, seed, steps))
            find += [searches.cell(p, s, seed, method, steps) for s in _searches(profile)]
        find += [searches.cell(profile, b, seed) for b in searches.BASELINES]
    return [train, find]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows = []
    for seed in seeds:
        asked = [("", False, b, searches.cell(profile, b, seed)) for b in searches.BASELINES]
        for method, narrow in SUPERNETS:
            p, steps = _profile(profile, narrow), supernets.steps_of(profile, method, "passes")
            for search in _searches(profile):
                found = searches.cell(p, search, seed, method, steps)
                asked.append((method, narrow, search, found))
        for method, narrow, search, found in asked:
            result = results[found]
            accuracies = result["accuracies"]
            row = {"seed": seed, "method": method, "base": narrow, "search": search}
            row |= {"accuracy": sum(accuracies) / len(accuracies)}
            row |= {k: result[k] for k in ("score", "macs", "evaluations")}
            rows.append(row | {"widths": " ".join(map(str, result["widths"]))})
    return rows


def _headline(rows: list[dict]) -> str:
    last = {"method": "BCv2 + complement", "search": "prior + evolution"}
    found = [r["accuracy"] for r in rows if all(r[k] == v for k, v in last.items())]
    return headline("test accuracy (%) of widths by BCv2 + complement, prior, evolution", found)


COMPONENTS = Experiment(
    name="components",
    profiles=PROFILES["components"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing="score: uniform and random widths have none",
)
