"""The role {claim}`eq19`: a link to that claim's row on the claims page, with its verdict.

The rows come from data, so Sphinx has no labels for them; this adds one for each claim of the
ledger. An id that is not in the ledger is a warning, hence an error in the strict build.
"""

from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

from bcnet_lib.claims import Ledger

DATA = Path(__file__).parent.parent / "data" / "claims.yaml"
PAGE = "claims"
log = logging.getLogger(__name__)


class claim_reference(nodes.Inline, nodes.TextElement):
    """Stands for a link until the claims page is known."""


class ClaimRole(SphinxRole):
    def run(self):
        self.env.note_dependency(str(DATA))
        claims = {c.id: c for c in Ledger.read(DATA).claims}
        if self.text not in claims:
            message = f"no claim {self.text!r} in {DATA.name}"
            log.warning(message, location=self.get_location())
            return [nodes.literal(self.text, self.text)], []
        claim = claims[self.text]
        return [claim_reference("", id=claim.id, title=f"{claim.place}: {claim.verdict}")], []


def resolve(app, doctree, docname):
    for node in list(doctree.findall(claim_reference)):
        text = nodes.literal("", f"claim:{node['id']}")
        if PAGE in app.env.found_docs:
            anchor = f"claim-{node['id']}"
            text = make_refnode(app.builder, docname, PAGE, anchor, text, node["title"])
        node.replace_self(text)


def setup(app):
    app.add_node(claim_reference)
    app.add_role("claim", ClaimRole())
    app.connect("doctree-resolved", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
