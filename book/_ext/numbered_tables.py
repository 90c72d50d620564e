"""Gives the tables that the library draws a number, as figures have: "Table 3 Cardinalities".

The library hands MyST-NB finished HTML with a ``<caption>``. Sphinx numbers nodes, not HTML; so
each such table becomes a node of the figure type ``table``, and its number goes into the caption.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform

MARK = '<table class="bcnet'


class numbered_table(nodes.General, nodes.Element):
    """Holds the HTML of one table."""


class NumberTables(SphinxTransform):
    default_priority = 500

    def apply(self, **kwargs):
        for raw in list(self.document.findall(nodes.raw)):
            if raw.get("format") == "html" and MARK in raw.astext() and "<caption>" in raw.astext():
                name = f"table-{self.env.new_serialno('numbered_table')}"
                raw.replace_self(numbered_table("", html=raw.astext(), ids=[name]))


def caption(node) -> str:
    return node["html"].partition("<caption>")[2].partition("</caption>")[0]


def visit(self, node):
    start = len(self.body)
    self.add_fignumber(node)  # writes to the page, before the table
    number = "".join(self.body[start:])
    del self.body[start:]
    before, _, after = node["html"].partition("<caption>")
    self.body.append(f'{before}<caption id="{node["ids"][0]}">{number}{after}')
    raise nodes.SkipNode


def setup(app):
    app.add_enumerable_node(numbered_table, "table", caption, html=(visit, None))
    app.add_transform(NumberTables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
