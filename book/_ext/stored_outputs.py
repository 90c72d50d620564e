"""Chapters whose data is not here are published with their stored outputs, and say so at the top.

What a chapter needs stands in its metadata (see `bcnet_lib.needs`). Sphinx reads everything again
when the list of these chapters changes, because it is part of its configuration; the folder of
jupyter-cache changes with the data too (`follow_library.py`). So a page's outputs are all from one
run: of this build where the data is here, of the authors where it is not.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from bcnet_lib import needs

log = logging.getLogger(__name__)


def unmet(book: Path, root: Path | None = None) -> dict[str, list[str]]:
    """Page name -> needs that are not met here, for every notebook that has any."""
    found = {}
    for path in sorted(book.rglob("*.ipynb")):
        inside = path.relative_to(book)
        if any(part.startswith(("_", ".")) for part in inside.parts):
            continue
        names = [need.name for need in needs.missing(needs.of_notebook(path), root)]
        if names:
            found[inside.with_suffix("").as_posix()] = names
    return found


def note(names: list[str]) -> nodes.admonition:
    """The box at the top of a page: which data is missing, and the command that gets it."""
    box = nodes.admonition("", nodes.title("", "Stored outputs"), classes=["attention"])
    box += nodes.paragraph(
        "",
        "This page was not run when this site was built, because something it needs was not "
        "there. The outputs below are the ones stored with the chapter.",
    )
    for name in names:
        need = needs.NEEDS[name]
        box += nodes.paragraph("", f"Missing: {need.what}. To have it:")
        box += nodes.literal_block(need.get, need.get, language="bash" if need.files else "text")
    box += nodes.paragraph(
        "",
        "Then build the book again. Data is looked for in $BCNET_DATA, then in ~/.cache/bcnet.",
    )
    return box


class StoredOutputs(SphinxDirective):
    """```{stored-outputs}`: which pages of this build show stored outputs; no options."""

    def run(self) -> list[nodes.Node]:
        unmet = self.config.bcnet_unmet
        pages = {page: names for page, names in unmet.items() if page in self.env.found_docs}
        if not pages:
            return [nodes.paragraph("", "In this build no page does.")]
        listed = nodes.bullet_list()
        for page, names in pages.items():
            missing = ", ".join(needs.NEEDS[name].what for name in names)
            options = {"refdomain": "std", "reftype": "doc", "refexplicit": False}
            link = pending_xref("", nodes.inline("", page), reftarget=f"/{page}", **options)
            listed += nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(f": {missing}")))
        return [nodes.paragraph("", "In this build they are:"), listed]


def leave_alone(app, config) -> None:
    needs.absolute_root()
    config.bcnet_unmet = unmet(Path(app.srcdir))
    patterns = [f"{page}.ipynb" for page in config.bcnet_unmet]
    config.nb_execution_excludepatterns = [*config.nb_execution_excludepatterns, *patterns]
    for page, names in config.bcnet_unmet.items():
        log.info("%s is not run: its outputs are the stored ones (needs %s)", page, names)


def add_note(app, doctree) -> None:
    names = app.config.bcnet_unmet.get(app.env.docname)
    if names:
        title = next(iter(doctree.findall(nodes.title)))
        title.parent.insert(title.parent.index(title) + 1, note(names))


def setup(app) -> dict:
    app.add_config_value("bcnet_unmet", {}, "env", types=[dict])
    app.add_directive("stored-outputs", StoredOutputs)
    app.connect("config-inited", leave_alone, priority=400)  # before MyST-NB reads the patterns
    app.connect("doctree-read", add_note)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
