"""The paper beside us: a table of comparisons, and the ledger of every claim with its verdict.

Five verdicts, and no others. A claim that has one of the first four names its evidence: a test of
this repository (``tests/test_x.py::test_y``) or a notebook that computes the numbers. A claim that
an experiment decides has no verdict in the file: it is read off the experiment's records.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from .html_table import html_table
from .intervals import Interval

__all__ = [
    "VERDICTS",
    "Claim",
    "Comparison",
    "Ledger",
    "LedgerError",
    "Legend",
    "PaperVsOurs",
]

VERDICTS = {  # what each means; shown as the legend of the claims page
    "reproduced": "Our check or experiment gives what the paper says.",
    "trend only": "The direction is the paper's, the size of the effect is not, or not surely so.",
    "not reproduced": "We ran it and did not find the effect; we do not show that it is absent.",
    "contradicted": "A proof, an enumeration or an experiment shows something else.",
    "not attempted": "Nothing in this book checks it yet.",
}
FROM_RECORDS = "from records"  # in the file, instead of a verdict
KINDS = ("math", "experiment", "benchmark", "result")
MARKS = {  # shape and colour both carry the verdict: neither alone reaches every reader
    "reproduced": ("✓", "#006b4e"),
    "trend only": ("≈", "#8a5a00"),
    "not reproduced": ("○", "#8a5a00"),
    "contradicted": ("✗", "#a63c00"),
    "not attempted": ("·", "#5a6570"),
}


class LedgerError(ValueError):
    """A ledger that contradicts itself or points at evidence that does not exist."""


def _badge(verdict: str) -> str:
    mark, colour = MARKS[verdict]
    return f'<span class="verdict" style="color:{colour}">{mark} {escape(verdict)}</span>'


def _one_verdict(verdict: str, of: str) -> None:
    if verdict not in VERDICTS:
        raise LedgerError(f"{of}: verdict {verdict!r} is none of {list(VERDICTS)}")


# ---------------------------------------------------------------------------- paper beside ours


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row: what the paper prints, what we measured, and what we make of it."""

    claim: str
    place: str  # in the paper: "Table 11", "Eq. 19"
    paper: float | str | None  # None: the paper prints no number
    ours: Interval | float | str | None  # None: no record yet
    profile: str = ""  # of the run: digits | cifar10 | …; empty for mathematics
    verdict: str = "not attempted"
    unit: str = ""
    digits: int = 2

    def __post_init__(self):
        _one_verdict(self.verdict, self.claim)
        if self.ours is None and self.verdict != "not attempted":
            raise LedgerError(f"{self.claim}: verdict {self.verdict!r} without a number of ours")

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, where both are numbers."""
        ours = self.ours.mean if isinstance(self.ours, Interval) else self.ours
        if isinstance(ours, (int, float)) and isinstance(self.paper, (int, float)):
            return ours - self.paper
        return None

    def cells(self) -> dict[str, str]:
        """The row as text, one entry a column."""

        def show(value) -> str:
            if value is None:
                return "–"
            if isinstance(value, str):
                return value
            text = (
                value.text(self.digits)
                if isinstance(value, Interval)
                else f"{value:,.{self.digits}f}"
            )
            return f"{text} {self.unit}".rstrip()

        about = [self.profile] if self.profile else []
        if isinstance(self.ours, Interval):
            seeds = f"{self.ours.n} seed{'s' * (self.ours.n != 1)}"
            about.insert(0, "exact" if self.ours.exact else seeds)
        gap = self.difference
        ours = show(self.ours)
        if about and self.ours is not None:
            ours += f" ({', '.join(about)})"
        return {
            "claim": self.claim,
            "place": self.place,
            "paper": show(self.paper),
            "ours": ours,
            "difference": "–" if gap is None else f"{gap:+,.{self.digits}f} {self.unit}".rstrip(),
            "verdict": self.verdict,
        }


_MENTION = r"\bclaim(?:\}`|:)([a-z0-9]+(?:-[a-z0-9]+)*)"  # claim:eq19, or the role {claim}`eq19`
_COLUMNS = {
    "claim": "claim",
    "place": "in the paper",
    "paper": "paper",
    "ours": "ours (mean ± 95 %)",
    "difference": "difference",
    "verdict": "verdict",
}


@dataclass(frozen=True)
class PaperVsOurs:
    """A table of comparisons. Shows itself as HTML in Jupyter and the book, as text elsewhere."""

    rows: tuple[Comparison, ...]
    caption: str = "Paper beside ours"

    def __post_init__(self):
        object.__setattr__(self, "rows", tuple(self.rows))
        if not self.rows:
            raise LedgerError("a PaperVsOurs table needs at least one comparison")

    def frame(self) -> pd.DataFrame:
        """The table as text cells."""
        return pd.DataFrame([r.cells() for r in self.rows]).rename(columns=_COLUMNS)

    def __str__(self) -> str:
        table = [list(_COLUMNS.values())] + [list(r.cells().values()) for r in self.rows]
        wide = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
        lines = [
            "  ".join(x.ljust(w) for x, w in zip(row, wide, strict=True)).rstrip() for row in table
        ]
        return "\n".join([self.caption, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(c: Comparison) -> str:
            x = {k: escape(v) for k, v in c.cells().items()}
            return (
                f'<tr><th scope="row">{x["claim"]}</th><td>{x["place"]}</td>'
                f'<td{_fits(c.cells()["paper"])}>{x["paper"]}</td><td class="num">{x["ours"]}</td>'
                f'<td class="num">{x["difference"]}</td><td>{_badge(c.verdict)}</td></tr>'
            )

        return html_table(self.caption, list(_COLUMNS.values()), map(row, self.rows))


def _fits(text: str) -> str:
    """Numbers and short words stand in one line; longer words take several."""
    return ' class="num"' if len(text) <= 32 else ""


# ---------------------------------------------------------------------------- the ledger


class Legend:
    """The five verdicts and what they mean."""

    def __repr__(self) -> str:
        return "\n".join(f"{verdict.ljust(14)}  {means}" for verdict, means in VERDICTS.items())

    def _repr_html_(self) -> str:
        rows = (
            f'<tr><th scope="row">{_badge(verdict)}</th><td>{escape(means)}</td></tr>'
            for verdict, means in VERDICTS.items()
        )
        return html_table("The verdicts", ["verdict", "meaning"], rows)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper, in our words."""

    id: str
    statement: str
    place: str
    kind: str  # math | experiment | benchmark | result
    verdict: str = "not attempted"
    evidence: tuple[str, ...] = ()  # pytest node ids or notebooks, from the repository's root
    note: str = ""  # what the verdict rests on, or what would decide the claim
    experiment: str = ""  # of bcnet_lib.ablations, whose records decide the claim
    command: str = ""  # what would decide it; needed while nothing does

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.id):
            raise LedgerError(f"claim id {self.id!r}: use lower-case words joined by '-'")
        if self.kind not in KINDS:
            raise LedgerError(f"claim {self.id}: kind {self.kind!r} is none of {list(KINDS)}")
        if not self.statement.strip() or not self.place.strip():
            raise LedgerError(f"claim {self.id}: needs a statement and a place in the paper")
        _one_verdict(self.verdict, f"claim {self.id}")
        if self.verdict != "not attempted" and not self.evidence:
            raise LedgerError(f"claim {self.id}: verdict {self.verdict!r} without evidence")
        if self.verdict == "not attempted" and not (self.command.strip() or self.experiment):
            raise LedgerError(
                f"claim {self.id}: not attempted, and no command that would decide it: add "
                "'command: python -m …'"
            )

    def cells(self) -> str:
        """The row as HTML."""
        said = [f"<p>{_badge(self.verdict)}</p><p>{escape(self.statement)}</p>"]
        if self.note:
            said.append(f'<p class="note">{escape(self.note)}</p>')
        if self.command:
            lines = "<br>".join(f"<code>{escape(c)}</code>" for c in self.command.splitlines())
            said.append(f'<p class="note">To decide it: {lines}</p>')
        if self.evidence:
            names = ", ".join(f"<code>{escape(e.split('::')[-1])}</code>" for e in self.evidence)
            said.append(f'<p class="note">Evidence: {names}</p>')
        return (
            f'<tr id="claim-{self.id}"><th scope="row"><a href="#claim-{self.id}">'
            f"<code>{self.id}</code></a><br>{escape(self.place)}</th>"
            f"<td>{''.join(said)}</td></tr>"
        )


@dataclass(frozen=True)
class Ledger:
    """All claims, in the order of the paper."""

    claims: tuple[Claim, ...]

    def __post_init__(self):
        object.__setattr__(self, "claims", tuple(self.claims))
        ids = [c.id for c in self.claims]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise LedgerError(f"claim ids used twice: {', '.join(twice)}")

    @classmethod
    def read(cls, path: str | Path, records: str | Path | None = None) -> "Ledger":
        """Read ``claims.yaml``: a list of mappings with the fields of ``Claim``.

        A claim with ``verdict: from records`` and the name of an ``experiment`` takes verdict and
        note from its record of the largest profile; without one it is "not attempted".

        Args:
            records: folder of all records; default: ``figures`` beside the book of ``path``.
        Raises:
            FileNotFoundError: no such file.
            LedgerError: not YAML, an unknown or missing field, a verdict without evidence, …
        """
        import yaml

        try:
            entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise LedgerError(f"{path} is not YAML: {error}") from None
        if not isinstance(entries, list) or not entries:
            raise LedgerError(f"{path}: a ledger is a list of claims")
        if records is None:  # book/data/claims.yaml -> figures
            records = Path(path).resolve().parent.parent.parent / "figures"
        claims = []
        for i, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise LedgerError(f"{path}, claim {i + 1}: expected a mapping, got {entry!r}")
            entry = dict(entry)
            evidence = entry.pop("evidence", None) or ()
            evidence = (evidence,) if isinstance(evidence, str) else tuple(evidence)
            decided = entry.get("verdict") == FROM_RECORDS
            if decided != bool(entry.get("experiment")):
                id = entry.get("id", i + 1)
                raise LedgerError(f"{path}, claim {id!r}: '{FROM_RECORDS}' goes with an experiment")
            if decided:
                del entry["verdict"]
            try:
                claim = Claim(evidence=evidence, **entry)
            except TypeError as error:  # a field too many or too few
                raise LedgerError(f"{path}, claim {entry.get('id', i + 1)!r}: {error}") from None
            claims.append(_decide(claim, records) if decided else claim)
        return cls(tuple(claims))

    def __getitem__(self, id: str) -> Claim:
        for claim in self.claims:
            if claim.id == id:
                return claim
        raise LedgerError(f"no claim {id!r} in the ledger; it has {[c.id for c in self.claims]}")

    def __len__(self) -> int:
        return len(self.claims)

    def counts(self) -> pd.DataFrame:
        """Number of claims by kind (rows) and verdict (columns), with totals."""
        table = pd.crosstab(
            pd.Series([c.kind for c in self.claims], name="kind"),
            pd.Series([c.verdict for c in self.claims], name="verdict"),
        )
        table = table.reindex(index=list(KINDS), columns=list(VERDICTS), fill_value=0)
        table["all"] = table.sum(axis=1)
        table.loc["all"] = table.sum()
        return table

    def legend(self) -> "Legend":
        """What the five verdicts mean, as a table."""
        return Legend()

    def orphans(self, root: str | Path) -> list[str]:
        """What is wrong between ledger, tests and chapters below ``root``; empty when nothing is.

        Evidence must exist (file, and test function inside it), and every ``claim:ID`` that a
        chapter mentions must be in the ledger.
        """
        root = Path(root)
        wrong = []
        for claim in self.claims:
            for item in claim.evidence:
                path, _, test = item.partition("::")
                if not (root / path).is_file():
                    wrong.append(f"claim {claim.id}: evidence {path} does not exist")
                elif test and test not in _tests_in(root / path):
                    wrong.append(f"claim {claim.id}: {path} has no test {test}")
        known = {c.id for c in self.claims}
        for page in sorted([*root.glob("book/**/*.md"), *root.glob("book/**/*.ipynb")]):
            if "_build" in page.parts or ".ipynb_checkpoints" in page.parts:
                continue
            mentioned = re.findall(_MENTION, page.read_text(encoding="utf-8"))
            for id in sorted(set(mentioned) - known):
                wrong.append(f"{page.relative_to(root)} mentions claim:{id}, not in the ledger")
        return wrong

    def __str__(self) -> str:
        wide = max(len(c.id) for c in self.claims)
        rows = (f"{c.id.ljust(wide)}  {c.verdict.ljust(14)}  {c.place}" for c in self.claims)
        return "\n".join(rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = ["claim, in the paper", "verdict so far, what it says, evidence"]
        return html_table(f"The {len(self)} claims", head, (c.cells() for c in self.claims))


def _decide(claim: Claim, records: str | Path) -> Claim:
    from .ablations.verdicts import decide  # experiments need torch, a ledger does not

    return decide(claim, records)


def _tests_in(path: Path) -> set[str]:
    """Names of test functions, and ``Class::test`` of methods, parameters left out."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)}
    return names
