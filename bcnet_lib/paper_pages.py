"""The tables of the pages on printed results: rows, what was verified of each, what is open."""

from collections.abc import Iterable

from .networks import NETWORKS
from .paper_checks import Check, command, counted
from .paper_tables import ORIGINAL, SOURCES, TABLES, Paper, Printed, Row
from .sortable import Cell, SortableTable

__all__ = [
    "VERIFIED",
    "at_hand",
    "findings_table",
    "networks_table",
    "open_rows",
    "released_table",
    "results_table",
    "verified",
]

VERIFIED = {
    "recounted": "our count of MACs and parameters agrees with what is printed",
    "differs": "our count does not agree; see the list of differences",
    "counted": "we counted; the place prints no such number",
    "as printed": "the widths are not released, so nothing can be counted",
}
"""What we did with the costs of a row. Accuracies are as printed: we trained none of them."""


def verified(row: Row, paper: Paper) -> str:
    """A key of ``VERIFIED``."""
    if not row.widths:
        return "as printed"
    ours = counted(row.network, paper.widths.get(row.widths))
    said = [(row.macs, ours.macs), (row.params, ours.params)]
    agree = [number.agrees(count) for number, count in said if number is not None]
    return "counted" if not agree else "recounted" if all(agree) else "differs"


def results_table(caption: str, paper: Paper, *networks: str) -> SortableTable:
    """Rows of some networks: as printed, beside our counts."""
    rows = []
    for row in paper.of(*networks):
        ours = counted(row.network, paper.widths.get(row.widths)) if row.widths else None
        rows.append(
            [
                *([Cell(row.network)] if len(networks) > 1 else []),
                Cell(row.method, title=row.place),
                _printed(row.macs, 1e6),
                _count(ours.macs if ours else None, 1),
                _printed(row.params, 1e6),
                _count(ours.params if ours else None, 2),
                _printed(row.top1) if row.top1 else Cell("open", "", True),
                _printed(row.top5),
                Cell(row.source, title=SOURCES[row.source]),
                Cell(verified(row, paper), title=VERIFIED[verified(row, paper)]),
            ]
        )
    head = ["method", "MACs", "MACs, ours (M)", "parameters", "parameters, ours (M)",
            "top-1 (%)", "top-5 (%)", "source", "costs"]  # fmt: skip
    return SortableTable(caption, (["network"] if len(networks) > 1 else []) + head, rows)


def released_table(paper: Paper, prefix: str) -> SortableTable:
    """Released widths whose name starts with ``prefix``: MACs beside their budget."""
    rows = []
    for w in paper.widths.values():
        if not w.name.startswith(prefix):
            continue
        ours, full = counted(w.network, w), counted(w.network)
        percent = w.budget.text.endswith("%")
        budget = w.budget.value * full.macs / 100 if percent else w.budget.value
        rows.append(
            [
                Cell(w.name.removeprefix(prefix), title=w.place),
                Cell(f"{w.budget.text}", budget, True),
                _count(ours.macs, 1),
                Cell(f"{100 * ours.macs / budget:.1f} %", ours.macs / budget, True),
                _count(ours.params, 2),
                Cell(str(min(w.values)), min(w.values), True),
            ]
        )
    head = ["widths", "budget", "MACs (M)", "of the budget", "parameters (M)", "smallest value"]
    return SortableTable("Released widths beside the budget their file names", head, rows)


def networks_table(*names: str) -> SortableTable:
    """Networks of the paper, counted by this library."""
    rows = []
    for name in names:
        ours, shape = counted(name), "x".join(map(str, NETWORKS[name].image))
        rows.append([Cell(name), Cell(shape), _count(ours.macs, 1), _count(ours.params, 2)])
    return SortableTable(
        "The networks, counted", ["network", "image", "MACs (M)", "parameters (M)"], rows
    )


def findings_table(caption: str, checks: Iterable[Check]) -> SortableTable:
    """All that does not agree: where, what, both numbers."""
    rows = [
        [
            Cell(check.name),
            Cell(finding.what),
            Cell(finding.said, number=True),
            Cell(finding.found, number=True),
            Cell(finding.place),
        ]
        for check in checks
        for finding in check.findings
    ]
    return SortableTable(caption, ["check", "what", "one says", "other says", "places"], rows)


def at_hand(paper: Paper) -> SortableTable:
    """Which of the paper's tables are at hand, and the file that waits for the others."""
    tables = {table.name: table for table in paper.tables}
    rows = []
    for n in TABLES:
        table = tables[f"table{n}"]
        state = f"{len(table.rows)} rows" if table.at_hand else "not at hand"
        path = f"book/data/paper/table{n}.csv"
        rows.append([Cell(f"Table {n}", n), Cell(state), Cell(path)])
    return SortableTable("The paper's tables of found widths", ["table", "state", "file"], rows)


def open_rows(paper: Paper, *networks: str) -> tuple[tuple[str, str], ...]:
    """Rows without an accuracy that a search or a training would close, and how.

    Returns:
        Pairs of what is open and the command, or the Python lines, that close it.
    """
    closed = []
    for row in paper.of(*networks):
        if not row.open or row.source not in ("authors", "not at hand", "paper", "quoted"):
            continue
        what = f"{row.network}, {row.method}"
        if row.widths in ("", ORIGINAL):
            budget = row.macs or _named(row.method)
            if budget is not None:
                closed.append((what, command(row.network, budget)))
        else:
            closed.append((what, f"python -m bcnet_lib.paper_retrain {row.widths}"))
    return tuple(closed)


def _named(method: str) -> Printed | None:
    """The budget that a method's name ends with."""
    last = method.split()[-1]
    return Printed.parse(last, "KMG") if last[:1].isdecimal() else None


def _printed(number: Printed | None, unit: float = 1.0) -> Cell:
    return Cell("", "", True) if number is None else Cell(number.text, number.value / unit, True)


def _count(count: int | None, digits: int) -> Cell:
    if count is None:
        return Cell("", "", True)
    return Cell(f"{count / 1e6:,.{digits}f}", count / 1e6, True)
