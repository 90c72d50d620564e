"""The smallest width l_s: what the search gains without narrow widths, and what it loses.

Follows Su et al., arXiv 2203.13714, section 7.5 and Figs. 7a, 7b and 8. At every l_s supernets
under BC and under BCv2, on l + l_s units and on the printed l + l_s - 1, are trained for the same
number of passes and searched for the same number of generations.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from ..intervals import Interval, headline, mean_interval
from ..methods import METHODS as KNOWN
from ..methods import twins
from ..profiles import PROFILES, Profile
from ..results import Record
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .findings import Finding, better, signs
from .sweeps import found_row, space_row, supernet_row

__all__ = ["BASE_WIDTH", "METHODS"]

METHODS = ("BC", "BCv2", "BCv2, paper's total")


def _asked(profile: Profile, seed: int) -> Iterator[tuple[Profile, str, Cell, Cell]]:
    """(profile at l_s, method, supernet, search of it), and "random" without a supernet.

    A method that trains the very slices of an earlier one has the cells of that one.
    """
    methods = {m: KNOWN[m] for m in METHODS}
    for base in profile.values:
        p = replace(profile, base=base)
        same = twins(SimpleNamespace(K=p.K, base=[base]), methods)
        for method in METHODS:
            m = same.get(method, method)
            steps = supernets.steps_of(p, m, "passes")
            found = searches.cell(p, "evolution", seed, m, steps)
            yield p, method, supernets.cell(p, m, seed, steps), found
        yield p, "random", None, searches.cell(p, "random", seed)


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    asked = [a for seed in seeds for a in _asked(profile, seed)]
    train = [trained for _, _, trained, _ in asked if trained is not None]
    return [train, [found for _, _, _, found in asked]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows = []
    for seed in seeds:
        for p, method, trained, found in _asked(profile, seed):
            row = {"seed": seed, "base": p.base, "method": method} | found_row(results[found])
            row |= space_row(p, where.root, results[found]["macs"])
            net = {} if trained is None else results[trained]
            row |= {k: net.get(k) for k in ("passes", "uneven", "seconds")}
            held = {"params": None}
            if trained is not None:
                held = supernet_row(p, where.root, method)
            rows.append(row | held)
    return rows


def _headline(rows: list[dict]) -> str:
    bases = list(dict.fromkeys(r["base"] for r in rows))
    found = [r["accuracy"] for r in rows if (r["base"], r["method"]) == (bases[1], "BCv2")]
    what = f"test accuracy (%) of widths found with BCv2 at l_s = {bases[1]}"
    return headline(what, found, f"l_s in {bases}")


def _at(record: Record, method: str, bases: Sequence[int]) -> np.ndarray:
    """Accuracy at each seed, mean over smallest widths; (seeds,)."""
    return np.mean([record.values("accuracy", method=method, base=b) for b in bases], axis=0)


def _findings(record: Record) -> list[Finding]:
    bases = list(record.parameters["values"])
    if len(bases) < 3 or bases[0] != 1:
        return []
    return [_moderate(record, bases), _bcv2(record, bases[1:])]


def _moderate(record: Record, bases: list[int]) -> Finding:
    """Two contrasts of BCv2: moderate minus none, and moderate minus the largest."""
    middle, largest = bases[1:-1], bases[-1]
    at = _at(record, "BCv2", middle)
    helps, loses = at - _at(record, "BCv2", [1]), at - _at(record, "BCv2", [largest])
    gain, cost = signs([helps, loses])
    said = f"l_s = {', '.join(map(str, middle))}"
    note = (
        f"BCv2 with {said} is {_WORDS[gain]} BCv2 with none, and {_WORDS[cost]} BCv2 with l_s = "
        f"{largest} of {record.parameters['K']} ({mean_interval(loses)} points). Paired t-tests, "
        "adjusted by Holm; both parts must hold."
    )
    if -1 in (gain, cost):
        verdict = "contradicted"
    elif gain > 0 and cost > 0:
        verdict = "reproduced"
    else:
        verdict = "trend only" if gain > 0 or cost > 0 else "not reproduced"
    return Finding(
        claim="base-width",
        place="Figs. 7a, 7b",
        what=f"BCv2, mean over {said}, minus none",
        paper="a moderate one helps, a large one costs",
        ours=mean_interval(helps),
        verdict=verdict,
        note=note,
        profile=record.profile,
    )


_WORDS = {1: "better than", 0: "not to be told from", -1: "worse than"}


def _bcv2(record: Record, bases: list[int]) -> Finding:
    """BCv2 minus BC, paired over seeds, mean over l_s > 1."""
    bc = _at(record, "BC", bases)
    ours = mean_interval(_at(record, "BCv2", bases) - bc)
    paper: Interval = mean_interval(_at(record, "BCv2, paper's total", bases) - bc)
    return Finding(
        claim="bcv2-better",
        place="Fig. 8",
        what="BCv2 minus BC, mean over l_s > 1",
        paper="BCv2 is better",
        ours=ours,
        verdict=better(ours),
        note=(
            f"Equal passes, {ours.n} seeds, l_s = {', '.join(map(str, bases))}, on l + l_s units. "
            f"On the printed l + l_s - 1 units the difference is {paper} points."
        ),
        profile=record.profile,
    )


BASE_WIDTH = Experiment(
    name="base_width",
    profiles=PROFILES["base_width"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    missing=(
        "score, passes, uneven, seconds, params: a random width has no supernet; "
        "spread: a single training has none"
    ),
)
