"""What can be checked of printed results without training: each check is a function of the rows.

A check says how much it compared and what it found, so that "nothing found" is told from "nothing
to compare". Numbers agree when one rounds to the other (``Printed.agrees``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import pandas as pd
import torch
from torch import nn

from .cost import CostTable
from .networks import NETWORKS, make
from .paper_tables import ORIGINAL, Paper, Printed, Row, Statement, TableError, Widths
from .search.result import pareto_front
from .space import WidthSpace

__all__ = [
    "Check",
    "Counted",
    "Finding",
    "all_checks",
    "budgets",
    "command",
    "costs",
    "counted",
    "front",
    "implied",
    "known_space",
    "network",
    "prose",
    "reruns",
    "savings",
    "twice",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Two numbers that should agree, and do not."""

    place: str
    what: str
    said: str
    found: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: how many pairs of numbers it compared, and which do not agree."""

    name: str
    compared: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        wrong = f"{len(self.findings)} differ" if self.findings else "all agree"
        return f"{self.name}: {self.compared} compared" + (f", {wrong}" if self.compared else "")


# ---------------------------------------------------------------------------- counting


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Costs of one network, counted by this library."""

    macs: int
    params: int


@cache
def _known(name: str) -> CostTable:
    """Of a network of the library; on the meta device, so without memory."""
    with torch.device("meta"):
        model, image = make(name), torch.empty(1, *NETWORKS[name].image)
    return CostTable(model, WidthSpace.from_model(model, image, K=1), image)


def known_space(name: str) -> WidthSpace:
    """The groups of a network of the library, in forward order."""
    return _known(name).space


def network(widths: Widths) -> nn.Module:
    """The plain network that released widths describe, newly initialised."""
    model = make(widths.network)
    space = WidthSpace.from_model(model, torch.zeros(1, *NETWORKS[widths.network].image), K=1)
    return space.build(model, channels=list(widths.channels(tuple(g.width for g in space.groups))))


@cache
def counted(name: str, widths: Widths | None = None) -> Counted:
    """MACs and parameters of a known network, or of released widths of it.

    Raises:
        TableError: if the widths are not as many as the network's groups.
    """
    table = _known(name)
    full = tuple(int(g.width) for g in table.space.groups)
    channels = full if widths is None else widths.channels(full)
    return Counted(macs=table.macs_of(channels), params=table.params_of(channels))


def _counted(row: Row, widths: Mapping[str, Widths]) -> Counted | None:
    if not row.widths:
        return None
    return counted(row.network, None if row.widths == ORIGINAL else widths[row.widths])


# ---------------------------------------------------------------------------- checks


def costs(rows: Iterable[Row], widths: Mapping[str, Widths]) -> Check:
    """Printed MACs and parameters against ours, for every row whose widths are known."""
    compared, findings = 0, []
    for row in rows:
        ours = _counted(row, widths)
        for name in ("macs", "params") if ours else ():
            said, found = getattr(row, name), getattr(ours, name)
            if said is None:
                continue
            compared += 1
            if not said.agrees(found):
                what = f"{row.network}, {row.method}: {_NAMES[name]}"
                findings.append(
                    Finding(place=row.place, what=what, said=said.text, found=_millions(found))
                )
    return Check(name="MACs and parameters recounted", compared=compared, findings=tuple(findings))


def budgets(widths: Iterable[Widths]) -> Check:
    """Released widths against the budget that their file names."""
    compared, findings = 0, []
    for w in widths:
        ours = counted(w.network, w).macs
        limit = w.budget.value + w.budget.half
        if w.budget.text.endswith("%"):
            limit *= counted(w.network).macs / 100
        compared += 1
        if ours > limit:
            findings.append(
                Finding(
                    place=w.place,
                    what=f"{w.network}, {w.name}: MACs within the budget",
                    said=w.budget.text,
                    found=_millions(ours),
                )
            )
    return Check(
        name="released widths within their budget", compared=compared, findings=tuple(findings)
    )


def twice(rows: Iterable[Row]) -> Check:
    """The same network printed twice with other numbers.

    Two rows are of the same network if network, method and widths are the same and, where nobody
    released the widths, the MACs of one round to those of the other. Costs of the same widths by
    others are a matter of ``costs``, their accuracies of ``reruns``.
    """
    compared, findings = 0, []
    for a, b in combinations(rows, 2):
        if not _same(a, b):
            continue
        for name in ("macs", "params", "saved", "top1", "top5"):
            x, y = getattr(a, name), getattr(b, name)
            if x is None or y is None:
                continue
            compared += 1
            if not x.matches(y):
                findings.append(_pair(a, b, name))
    return Check(name="the same row printed twice", compared=compared, findings=tuple(findings))


def reruns(rows: Iterable[Row]) -> Check:
    """The same widths trained by different people: where the accuracies differ."""
    compared, findings = 0, []
    for a, b in combinations(rows, 2):
        if a.network != b.network or a.widths != b.widths or a.method == b.method or not a.widths:
            continue
        if a.top1 is None or b.top1 is None:
            continue
        compared += 1
        if not a.top1.matches(b.top1):
            findings.append(_pair(a, b, "top1"))
    return Check(
        name="the same widths trained by others", compared=compared, findings=tuple(findings)
    )


def savings(rows: Iterable[Row]) -> Check:
    """Printed reductions against one minus the share of the original's MACs that is left."""
    compared, findings = 0, []
    for row in rows:
        if row.saved is None or row.macs is None:
            continue
        full = counted(row.network).macs
        ours = 100 * (1 - row.macs.value / full)
        compared += 1
        if not row.saved.agrees(ours, 100 * row.macs.half / full):
            what = f"{row.network}, {row.method}: MACs saved"
            findings.append(
                Finding(place=row.place, what=what, said=row.saved.text, found=f"{ours:.1f} %")
            )
    return Check(name="reductions added up again", compared=compared, findings=tuple(findings))


def prose(statements: Iterable[Statement], rows: Iterable[Row]) -> Check:
    """Numbers in sentences against the rows of the same method, and of both for a difference."""
    rows, statements = tuple(rows), tuple(statements)
    compared, findings = 0, []
    for s in statements:
        if s.against:
            pairs = [
                (x, y) for x in _values(s, s.method, rows) for y in _values(s, s.against, rows)
            ]
            found = [(x.value - y.value, x.half + y.half) for x, y in pairs]
        else:
            found = [(x.value, x.half) for x in _values(s, s.method, rows)]
        if not found:
            continue
        compared += 1
        if not any(s.value.agrees(value, half) for value, half in found):
            minus = f" minus {s.against}" if s.against else ""
            findings.append(
                Finding(
                    place=s.place,
                    what=f"{s.network}, {s.method}{minus}: {_NAMES[s.metric]}",
                    said=s.value.text,
                    found=" or ".join(dict.fromkeys(f"{value:.2f}" for value, _ in found)),
                )
            )
    return Check(name="sentences against rows", compared=compared, findings=tuple(findings))


def implied(statements: Iterable[Statement]) -> Check:
    """What two places imply of the same third number: value minus difference."""
    statements = tuple(statements)
    third: dict[tuple, list[tuple[Statement, float, float]]] = {}
    for s in statements:
        for whole in statements if s.against else ():
            if _about(whole) == _about(s) and not whole.against:
                value, half = whole.value.value - s.value.value, whole.value.half + s.value.half
                key = (s.network, s.metric, s.against)
                third.setdefault(key, []).append((s, value, half))
    compared, findings = 0, []
    for (name, metric, against), found in third.items():
        for (a, x, dx), (b, y, dy) in combinations(found, 2):
            compared += 1
            if abs(x - y) > (dx + dy) * (1 + 1e-9):
                findings.append(
                    Finding(
                        place=f"{a.place}; {b.place}",
                        what=f"{name}, {against}: {_NAMES[metric]} implied",
                        said=f"{x:.2f}",
                        found=f"{y:.2f}",
                    )
                )
    return Check(
        name="the same number implied by two places", compared=compared, findings=tuple(findings)
    )


def all_checks(paper: Paper) -> tuple[Check, ...]:
    """Every check on all that is there."""
    return (
        costs(paper.rows, paper.widths),
        budgets(paper.widths.values()),
        twice(paper.rows),
        savings(paper.rows),
        prose(paper.prose, paper.rows),
        implied(paper.prose),
        reruns(paper.rows),
    )


# ---------------------------------------------------------------------------- for the pages


def front(rows: Iterable[Row], widths: Mapping[str, Widths]) -> pd.DataFrame:
    """Rows with an accuracy and MACs, cheapest first, and which of them no other one beats.

    Returns:
        Columns ``method``, ``macs`` (millions; ours where the widths are known, else printed),
        ``top1``, ``source``, ``front`` (bool).
    """
    found = []
    for row in rows:
        ours = _counted(row, widths)
        macs = ours.macs if ours else row.macs.value if row.macs else None
        if row.top1 is not None and macs is not None:
            found.append((row.method, macs / 1e6, row.top1.value, row.source))
    table = pd.DataFrame(found, columns=["method", "macs", "top1", "source"])
    table = table.sort_values(["macs", "top1"], kind="stable", ignore_index=True)
    score = table.rename(columns={"top1": "score"}).assign(row=table.index)
    best = set(pareto_front(score).row) if len(table) else set()
    return table.assign(front=[i in best for i in table.index])


def command(name: str, budget: Printed, base: int = 5) -> str:
    """The command that searches a network of the paper within a budget and trains what it finds.

    Args:
        name: a key of ``NETWORKS``. budget: MACs. base: smallest width l_s.
    """
    if name not in NETWORKS:
        raise TableError(f"unknown network {name!r}")
    data = "imagenet" if NETWORKS[name].image == (3, 224, 224) else "cifar10"
    times = " --times 1.5" if budget.value > 0.95 * counted(name).macs else ""
    macs = _short(budget.value)
    return (
        f"python -m bcnet_lib run --model {name} --data {data} --macs {macs}{times} "
        f"--principle bcv2 --complement --K 20 --base {base} --device cuda --precision bf16"
    )


_NAMES = {
    "macs": "MACs",
    "params": "parameters",
    "saved": "MACs saved",
    "top1": "top-1",
    "top5": "top-5",
}


def _same(a: Row, b: Row) -> bool:
    if (a.network, a.method, a.widths) != (b.network, b.method, b.widths):
        return False
    return bool(a.widths) or a.macs is None or b.macs is None or a.macs.matches(b.macs)


def _pair(a: Row, b: Row, name: str) -> Finding:
    return Finding(
        place=f"{a.place}; {b.place}",
        what=f"{a.network}, {a.method} and {b.method}: {_NAMES[name]}",
        said=getattr(a, name).text,
        found=getattr(b, name).text,
    )


def _values(s: Statement, method: str, rows: tuple[Row, ...]) -> list[Printed]:
    """Numbers that rows print of a method; of the statement's MACs, if it names any."""
    found = []
    for row in rows:
        if row.network != s.network or row.method != method:
            continue
        other = method == s.method and s.macs and row.macs
        if other and not s.macs.matches(row.macs):
            continue
        number = getattr(row, s.metric)
        found += [number] if number else []
    return found


def _about(s: Statement) -> tuple:
    return s.network, s.method, s.metric, s.place, s.macs.text if s.macs else ""


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f}M"


def _short(value: float) -> str:
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
