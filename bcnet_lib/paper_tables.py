"""The paper's result tables as data: rows with their sources, widths, numbers in sentences.

Source: Su et al., arXiv 2203.13714, Tables 1, 6-8 and 13, and the places that each row names. A
number is kept as it is printed, ``2.0G`` or ``74.2``, because its last digit says how well it is
known. Empty means: not printed there, or not at hand. The files and their columns are described in
``book/data/paper/README.md``.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from .networks import NETWORKS

__all__ = [
    "ORIGINAL",
    "SOURCES",
    "TABLES",
    "Paper",
    "Printed",
    "Row",
    "Statement",
    "Table",
    "TableError",
    "Widths",
    "read",
    "read_folder",
]

TABLES = (1, 6, 7, 8, 13)
"""The tables of found widths. Tables 4 and 5 have files of other columns, Table 12 its own page."""
SOURCES = {
    "paper": "read in the paper, or in its first version",
    "quoted": "read in another text that quotes the paper's table: second hand",
    "authors": "released by the paper's authors",
    "own": "printed by the authors of the method",
    "rerun": "measured by others than the authors of the method",
    "torchvision": "in the description of torchvision's weights",
    "recomputed": "nothing printed; counted by this book",
    "not at hand": "known to exist, number open",
}
"""Where the numbers of a row were read."""
ORIGINAL = "original"
"""In column ``widths``: those of the network itself."""
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


class TableError(ValueError):
    """A file of the paper's tables that cannot be right."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as it is printed: ``2.0G`` is anything that rounds to it."""

    text: str
    value: float
    """In plain units: multiply-accumulates, parameters, percent."""
    half: float
    """Half of the last printed digit: how far the true number may lie from ``value``."""

    @classmethod
    def parse(cls, text: str, suffixes: str = "") -> "Printed":
        """Read one number.

        Args:
            text: digits with at most one point, and at most one letter after them.
            suffixes: letters allowed after the digits, of K, M, G and %.
        Raises:
            TableError: if it is no such number.
        """
        digits, letter = (text[:-1], text[-1]) if text[-1:] in suffixes and text else (text, "")
        whole, _, fraction = digits.partition(".")
        if not whole.isdecimal() or (fraction and not fraction.isdecimal()) or digits[-1:] == ".":
            allowed = f", perhaps with one of {', '.join(suffixes)} after it" if suffixes else ""
            raise TableError(f"{text!r} is no positive number{allowed}")
        unit = UNITS.get(letter, 1.0)
        return cls(text=text, value=float(digits) * unit, half=0.5 * unit * 10.0 ** -len(fraction))

    def agrees(self, value: float, half: float = 0.0) -> bool:
        """Whether a number, itself known to ``half``, rounds to what is printed."""
        return abs(value - self.value) <= (self.half + half) * (1 + 1e-9)

    def matches(self, other: "Printed") -> bool:
        """Whether both can be one number printed twice: the finer rounds to the coarser."""
        fine, coarse = sorted((self, other), key=lambda n: n.half)
        return coarse.agrees(fine.value)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network as one place describes it."""

    table: str
    """The file's name, ``table6`` or ``elsewhere``."""
    line: int
    """In that file, from 1."""
    network: str
    """A key of ``networks.NETWORKS``."""
    method: str
    macs: Printed | None = None
    params: Printed | None = None
    top1: Printed | None = None
    """Accuracy in percent."""
    top5: Printed | None = None
    saved: Printed | None = None
    """Percent of the original network's MACs that are gone."""
    widths: str = ""
    """``original``, a key of the widths, or empty: not known."""
    source: str
    """A key of ``SOURCES``."""
    place: str
    """Where the numbers stand: an address, a file, a section."""

    def __post_init__(self):
        where = f"{self.table}.csv, line {self.line}"
        if self.network not in NETWORKS:
            raise TableError(f"{where}: unknown network {self.network!r}: known are {_list()}")
        if self.source not in SOURCES:
            known = ", ".join(repr(s) for s in SOURCES)
            raise TableError(f"{where}: source {self.source!r} is none of {known}")
        if not self.method or not self.place:
            raise TableError(f"{where}: a row needs a method and the place it was read at")
        for name in ("top1", "top5", "saved"):
            number = getattr(self, name)
            if number is not None and not 0 < number.value <= 100:
                raise TableError(f"{where}: {name} is {number} %, outside 0..100")
        if self.top1 and self.top5 and self.top5.value < self.top1.value:
            raise TableError(f"{where}: top5 {self.top5} is below top1 {self.top1}")
        empty = not any((self.macs, self.params, self.top1, self.top5, self.saved))
        if self.source == "not at hand" and not empty:
            raise TableError(f"{where}: numbers without a source: say where they were read")
        if self.source in ("paper", "quoted", "own", "rerun", "torchvision") and empty:
            raise TableError(f"{where}: source {self.source!r} without any number")

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.table}.csv:{self.line}"

    @property
    def open(self) -> bool:
        """Whether the accuracy is not at hand."""
        return self.top1 is None


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The widths of one network, released by somebody."""

    name: str
    network: str
    budget: Printed
    """MACs they should stay within, or their share of the original's, in percent."""
    K: int | None
    """Units a layer has; None: ``values`` are channels."""
    values: tuple[int, ...]
    """One number a group, in forward order."""
    layers: tuple[int, ...] = ()
    """Channels of the layers the units are counted in; empty: the network's own."""
    place: str

    def __post_init__(self):
        where = f"widths.csv, {self.name!r}"
        if self.network not in NETWORKS:
            raise TableError(f"{where}: unknown network {self.network!r}: known are {_list()}")
        if min(self.values) < 1 or (self.K is not None and max(self.values) > self.K):
            raise TableError(f"{where}: widths {self.values} are not within 1..{self.K or ''}")
        if self.layers and (self.K is None or len(self.layers) != len(self.values)):
            raise TableError(f"{where}: {len(self.layers)} layers for {len(self.values)} widths")

    def channels(self, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Channels of every group, ``ceil(c l / K)``.

        Args:
            layers: channels of the original network's groups.
        Raises:
            TableError: if there are not as many.
        """
        if len(layers) != len(self.values):
            raise TableError(
                f"widths.csv, {self.name!r}: {len(self.values)} widths, and '{self.network}' has "
                f"{len(layers)} groups"
            )
        if self.K is None:
            return self.values
        pairs = zip(self.values, self.layers or layers, strict=True)
        return tuple(-(-c * n // self.K) for c, n in pairs)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A number in a sentence: of a method, or its difference to another one."""

    network: str
    method: str
    macs: Printed | None
    """Of the network that is meant; None: not said."""
    metric: str
    against: str
    """The other method of a difference; empty: the number itself."""
    value: Printed
    place: str

    def __post_init__(self):
        if self.network not in NETWORKS:
            raise TableError(f"prose.csv: unknown network {self.network!r}: known are {_list()}")
        if self.metric not in ("top1", "top5", "macs", "params"):
            raise TableError(f"prose.csv: metric {self.metric!r} is no column of numbers")


@dataclass(frozen=True)
class Table:
    """One file of rows."""

    name: str
    rows: tuple[Row, ...]

    @property
    def at_hand(self) -> bool:
        """Whether it holds anything."""
        return bool(self.rows)

    def frame(self) -> pd.DataFrame:
        """The numbers as floats, NaN where there is none; MACs and parameters in millions."""
        return _frame(self.rows)


@dataclass(frozen=True, kw_only=True)
class Paper:
    """All files: the paper's tables, rows from elsewhere, widths and statements."""

    tables: tuple[Table, ...]
    widths: dict[str, Widths]
    prose: tuple[Statement, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of all tables, the paper's first."""
        return tuple(row for table in self.tables for row in table.rows)

    def of(self, *networks: str) -> tuple[Row, ...]:
        """Rows of some networks."""
        return tuple(row for row in self.rows if row.network in networks)

    def frame(self) -> pd.DataFrame:
        """All rows, as ``Table.frame``."""
        return _frame(self.rows)


def read(path: str | Path) -> Table:
    """Read one file of rows.

    Raises:
        FileNotFoundError: no such file.
        TableError: a column too many or too few, or a row that cannot be right; says which.
    """
    path = Path(path)
    rows = []
    for line, cells in _lines(path, [f.name for f in fields(Row) if f.name not in _PLACE]):
        where = f"{path.name}, line {line}"
        number = {name: _number(cells, name, suffixes, where) for name, suffixes in _NUMBERS}
        rows.append(Row(table=path.stem, line=line, **{**cells, **number}))
    return Table(path.stem, tuple(rows))


def read_folder(folder: str | Path) -> Paper:
    """Read all files of ``book/data/paper`` that hold results.

    Raises:
        TableError: as ``read``, or a row whose widths are not in ``widths.csv``.
    """
    folder = Path(folder)
    tables = [read(folder / f"table{n}.csv") for n in TABLES] + [read(folder / "elsewhere.csv")]
    names = ["widths", "network", "budget", "K", "values", "layers", "place"]
    widths: dict[str, Widths] = {}
    for line, cells in _lines(folder / "widths.csv", names):
        where, name = f"widths.csv, line {line}", cells.pop("widths")
        if name in widths:
            raise TableError(f"{where}: {name!r} is there already")
        integers = {key: _integers(cells, key, where) for key in ("K", "values", "layers")}
        (K,) = integers.pop("K") or (None,)
        budget = _number(cells, "budget", "KMG%", where)
        widths[name] = Widths(name=name, **{**cells, **integers, "K": K, "budget": budget})
    for row in (row for table in tables for row in table.rows):
        if row.widths not in ("", ORIGINAL, *widths):
            raise TableError(f"{row.where}: widths {row.widths!r} are not in widths.csv")
        if row.widths in widths and widths[row.widths].network != row.network:
            raise TableError(
                f"{row.where}: widths {row.widths!r} are those of '{widths[row.widths].network}', "
                f"not of '{row.network}'"
            )
    prose = []
    names = [f.name for f in fields(Statement)]
    for line, cells in _lines(folder / "prose.csv", names):
        where = f"prose.csv, line {line}"
        macs, value = _number(cells, "macs", "KMG", where), _number(cells, "value", "KMG", where)
        prose.append(Statement(**{**cells, "macs": macs, "value": value}))
    return Paper(tables=tuple(tables), widths=widths, prose=tuple(prose))


_PLACE = ("table", "line")
_NUMBERS = (("macs", "KMG"), ("params", "KMG"), ("top1", ""), ("top5", ""), ("saved", "%"))


def _lines(path: Path, names: list[str]):
    """Line numbers and cells, without lines that start with '#'; checks the head."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [(n, text) for n, text in enumerate(file, 1) if not text.startswith("#")]
    rows = list(csv.reader(text for _, text in lines))
    if not rows or rows[0] != names:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise TableError(f"{path.name}: the columns must be {', '.join(names)}; found {found}")
    for (line, _), row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(names):
            raise TableError(f"{path.name}, line {line}: {len(row)} cells for {len(names)} columns")
        yield line, dict(zip(names, (cell.strip() for cell in row), strict=True))


def _told(where: str, column: str, call: Callable):
    try:
        return call()
    except ValueError as error:
        raise TableError(f"{where}, column {column}: {error}") from None


def _number(cells: dict, name: str, suffixes: str, where: str) -> Printed | None:
    text = cells[name]
    return _told(where, name, lambda: Printed.parse(text, suffixes)) if text else None


def _integers(cells: dict, name: str, where: str) -> tuple[int, ...]:
    return _told(where, name, lambda: tuple(int(v) for v in cells[name].split()))


def _frame(rows) -> pd.DataFrame:
    million = {"macs": 1e6, "params": 1e6}
    table = [
        {f.name: getattr(row, f.name) for f in fields(Row)}
        | {
            name: getattr(row, name).value / million.get(name, 1) if getattr(row, name) else None
            for name, _ in _NUMBERS
        }
        for row in rows
    ]
    frame = pd.DataFrame(table, columns=[f.name for f in fields(Row)])
    return frame.astype({name: float for name, _ in _NUMBERS})


def _list() -> str:
    return ", ".join(f"'{name}'" for name in NETWORKS)
