"""Tables that a reader can sort by a click on a column's head, on the page and in a notebook.

Rows without a value in that column come last, up and down. The script is part of the table, so it
also works in a notebook and from ``file://``; without it the table stands as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .html_table import html_table

__all__ = ["SCRIPT", "Cell", "SortableTable"]

SCRIPT = """
(function () {
  "use strict";
  // Places of the keys, smallest first or largest first; empty keys last either way.
  function order(keys, up) {
    const number = keys.every((k) => k === "" || !Number.isNaN(Number(k)));
    const by = (a, b) => number ? Number(a) - Number(b) : a.localeCompare(b, "en");
    return keys.map((_, i) => i).sort((i, j) => {
      if ((keys[i] === "") !== (keys[j] === "")) return keys[i] === "" ? 1 : -1;
      return (up ? 1 : -1) * by(keys[i], keys[j]) || i - j;
    });
  }
  function ready(table) {
    table.dataset.ready = "yes";
    const heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = Array.from(body.rows);
        const keys = rows.map((row) => row.cells[column].dataset.key);
        order(keys, up).forEach((i) => body.appendChild(rows[i]));
      });
    });
  }
  if (typeof module !== "undefined" && module.exports) { module.exports = { order }; return; }
  document.querySelectorAll("table.sortable:not([data-ready])").forEach(ready);
})();
"""
STYLE = """<style>
.bd-article table.sortable{font-size:.82em}
.bd-article table.sortable td.num{text-align:right!important;white-space:nowrap!important;
min-width:0!important}
table.sortable td.word{white-space:nowrap}
table.sortable td.words{min-width:11em;overflow-wrap:anywhere}
table.sortable thead button{all:unset;cursor:pointer;font-weight:600}
table.sortable thead button:focus-visible{outline:2px solid #0072B2;outline-offset:2px}
table.sortable thead button::after{content:" \\2195";opacity:.55}
table.sortable th[aria-sort=ascending] button::after{content:" \\2191";opacity:1}
table.sortable th[aria-sort=descending] button::after{content:" \\2193";opacity:1}
</style>"""

WORD = 14
"""Text of so many characters stays in one line; longer text takes several."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows and what it is sorted by."""

    text: str
    key: float | str | None = None
    """A number or a word; None: the text itself, or last if that is empty."""
    number: bool = False
    """Shown to the right, digits below digits."""
    title: str = ""
    """Shown when the pointer rests on it."""

    def html(self) -> str:
        """As ``<td>``."""
        key = self.text if self.key is None else self.key
        kind = "num" if self.number else "word" if len(self.text) <= WORD else "words"
        more = f' class="{kind}"'
        more += f' title="{escape(self.title)}"' if self.title else ""
        return f'<td data-key="{escape(str(key))}"{more}>{escape(self.text) or "–"}</td>'


@dataclass(frozen=True)
class SortableTable:
    """A table whose rows can be sorted by every column."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"{len(row)} cells for the {len(self.head)} columns {self.head}")

    def _repr_html_(self) -> str:
        rows = [f"<tr>{''.join(cell.html() for cell in row)}</tr>" for row in self.rows]
        table = html_table(self.caption, list(self.head), rows)
        table = table.replace('<table class="bcnet">', '<table class="bcnet sortable">')
        for name in self.head:
            plain = f'<th scope="col">{escape(name)}</th>'
            button = f'<button type="button">{escape(name)}</button>'
            table = table.replace(plain, f'<th scope="col">{button}</th>', 1)
        return f"{STYLE}\n{table}\n<script>{SCRIPT}</script>"

    def __repr__(self) -> str:
        lines = [list(self.head), *([cell.text or "–" for cell in row] for row in self.rows)]
        wide = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        text = ("  ".join(x.ljust(w) for x, w in zip(line, wide, strict=True)) for line in lines)
        return "\n".join([self.caption, *(line.rstrip() for line in text)])
