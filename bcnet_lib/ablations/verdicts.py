"""Which record decides a claim: that of the largest profile which has a finding on it.

One seed has no interval and tells nothing: such a finding decides only if there is no other.
"""

import math
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..claims import Claim, Comparison, LedgerError
from ..results import Record
from . import EXPERIMENTS
from .chapter import command, record_path
from .findings import Finding

__all__ = ["all_findings", "compared", "decide", "findings_on"]


def all_findings(root: str | Path) -> Iterator[tuple[Record, list[Finding]]]:
    """Every record below the folder of all records, with its findings.

    Smaller profiles come first. ``smoke`` is left out: its numbers mean nothing.
    """
    for experiment in EXPERIMENTS.values():
        for profile in experiment.profiles:
            path = record_path(experiment, profile, root)
            if profile != "smoke" and path.exists():
                stat = path.stat()
                yield _findings(experiment.name, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _findings(name: str, path: Path, mtime: int, size: int) -> tuple[Record, list[Finding]]:
    record = Record.load(path)
    return record, EXPERIMENTS[name].findings(record)


def findings_on(claim: str, root: str | Path) -> list[Finding]:
    """What all records say on a claim, smaller profiles first."""
    return [f for _, found in all_findings(root) for f in found if f.claim == claim]


def decide(claim: Claim, root: str | Path) -> Claim:
    """The claim with verdict, note and evidence of the record that decides it.

    Args:
        claim: with the name of its ``experiment``; its note is kept behind the finding's.
        root: folder of all records.
    Returns:
        as it is, with the command that would make the record, if there is none.
    Raises:
        bcnet_lib.claims.LedgerError: for an unknown experiment.
    """
    if claim.experiment not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise LedgerError(
            f"claim {claim.id}: unknown experiment {claim.experiment!r}; known are {known}"
        )
    experiment = EXPERIMENTS[claim.experiment]
    of_it = [
        f
        for record, found in all_findings(root)
        if record.experiment == experiment.name
        for f in found
        if f.claim == claim.id
    ]
    if not of_it:
        note = f"No record yet. {claim.note}".strip()
        return replace(claim, note=note, command=command(experiment, "digits"))
    found = _deciding(of_it)
    others = [f for f in reversed(of_it) if f is not found]
    parts = [said(found)]
    parts += [f"At profile {f.profile}: {f.verdict}." for f in others]
    chapter = posixpath.normpath(f"book/ablations/{experiment.notebook}")
    evidence = tuple(dict.fromkeys((chapter, *claim.evidence)))
    note = " ".join([*parts, claim.note]).strip()
    return replace(claim, verdict=found.verdict, note=note, evidence=evidence)


def _deciding(findings: list[Finding]) -> Finding:
    """The last of them with an interval, else the last; smaller profiles come first."""
    return ([f for f in findings if math.isfinite(f.ours.half)] or findings)[-1]


def compared(claim: Claim, root: str | Path = "../../figures") -> list[Comparison]:
    """Rows of ``PaperVsOurs`` on a claim that records decide: one a record, or one without any."""
    found = findings_on(claim.id, root)
    if found:
        return [f.comparison() for f in found]
    return [Comparison(claim=claim.id, place=claim.place, paper=None, ours=None)]


def said(found: Finding) -> str:
    """A finding in words: its number, of how many seeds at which profile, and its note."""
    n = found.ours.n
    seeds = "exact" if found.ours.exact else f"{n} seed{'s' * (n != 1)}"
    about = f"{seeds}, profile {found.profile}"
    what = found.what[:1].upper() + found.what[1:]
    return f"{what}: {found.ours.text()} {found.unit}".rstrip() + f" ({about}). {found.note}"
