"""The tables of the pages on printed results: rows, what was verified of each, what is open."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from .networks import NETWORKS
from .paper_checks import Check, command, counted, known_space
from .paper_tables import ORIGINAL, SOURCES, TABLES, Paper, Printed, Row, TableError, Widths
from .sortable import Cell, SortableTable

__all__ = [
    "VERIFIED",
    "at_hand",
    "findings_table",
    "layers_table",
    "networks_table",
    "open_rows",
    "readings",
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
"""What we did with the costs of a row. Accuracies are as printed, since we trained none of them."""
OPEN = ("authors", "not at hand", "paper", "quoted")
"""Sources whose rows are of the paper: an accuracy that is missing there is open."""


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
                Cell("open", "", True) if row.open and row.source in OPEN else _printed(row.top1),
                _printed(row.top5),
                Cell(row.source, title=SOURCES[row.source]),
                Cell(verified(row, paper), title=VERIFIED[verified(row, paper)]),
            ]
        )
    head = [
        "method",
        "MACs",
        "counted (M)",
        "parameters",
        "counted (M)",
        "top-1",
        "top-5",
        "source",
    ]
    head.append("costs")
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


def layers_table(widths: Widths) -> pd.DataFrame:
    """The layers that units are counted in, beside the network's own times K / 20.

    Returns:
        Columns ``group``, ``network`` (channels), ``expected`` (float), ``layers``, ``share``
        (layers as a share of expected).
    Raises:
        TableError: if the widths are counted in the network's own layers.
    """
    if not widths.layers:
        raise TableError(f"widths {widths.name!r} are counted in the network's own layers")
    groups = known_space(widths.network).groups
    table = pd.DataFrame({"group": [g.name for g in groups], "network": [g.width for g in groups]})
    table["expected"] = table.network * widths.K / 20
    table["layers"] = widths.layers
    return table.assign(share=table.layers / table.expected)


def readings(widths: Widths, *ways: tuple[int, float | None]) -> list[float]:
    """MACs of units read in other ways, in millions.

    Args:
        ways: (K, times) each: K units to a layer, of the file's layers (times None), or of the
            network's own, so many times as wide.
    """
    own = [g.width for g in known_space(widths.network).groups]
    found = []
    for K, times in ways:
        layers = widths.layers if times is None else tuple(round(times * n) for n in own)
        read = replace(widths, K=K, layers=layers)
        found.append(counted(widths.network, read).macs / 1e6)
    return found


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
        if not row.open or row.source not in OPEN:
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
