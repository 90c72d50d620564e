"""The ``cardinality-explorer`` directive: an interactive figure that works from ``file://``.

The script and its style are written into the page itself, once a page, so that nothing has to be
fetched. The directive's text is what a reader sees without JavaScript, and in a notebook.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

ASSETS = Path(__file__).parent.parent / "_assets"
PRINCIPLES = ("UA", "BC", "BCv2", "BCv2-paper", "Cyclic")


def page_parts(principle: str, l: int, base: int, fallback: str, assets: bool) -> str:
    """The HTML of one explorer; with ``assets``, its style and script around it."""
    box = (
        f'<div class="cardinality-explorer" role="group" aria-label="Cardinality explorer" '
        f'data-principle="{principle}" data-l="{l}" data-base="{base}">'
        f"<p>{escape(fallback)}</p></div>"
    )
    if not assets:
        return box
    style = (ASSETS / "explorer.css").read_text(encoding="utf-8")
    script = (ASSETS / "explorer.js").read_text(encoding="utf-8")
    return f"<style>\n{style}</style>\n{box}\n<script>\n{script}</script>"


class CardinalityExplorer(SphinxDirective):
    """```{cardinality-explorer}` with options ``principle``, ``l`` (1..20) and ``base`` (1..l)."""

    has_content = True
    option_spec = {
        "principle": lambda x: directives.choice(x, [p.lower() for p in PRINCIPLES]),
        "l": directives.positive_int,
        "base": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        lower = self.options.get("principle", "ua")
        principle = next(p for p in PRINCIPLES if p.lower() == lower)
        l, base = self.options.get("l", 12), self.options.get("base", 1)
        if not 1 <= base <= l <= 20:
            raise self.error(f"cardinality-explorer needs 1 <= base <= l <= 20, got {base=} {l=}")
        for name in ("explorer.js", "explorer.css"):
            self.env.note_dependency(str(ASSETS / name))  # a changed script rebuilds its pages
        fallback = " ".join(self.content) or "This figure needs JavaScript."
        done = self.env.temp_data.setdefault("cardinality_explorer", set())
        first = self.env.docname not in done
        done.add(self.env.docname)
        return [nodes.raw("", page_parts(principle, l, base, fallback, first), format="html")]


def setup(app):
    app.add_directive("cardinality-explorer", CardinalityExplorer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
