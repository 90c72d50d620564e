"""Alternative text of figures: what a `BookFigure` says of itself becomes the image's ``alt``.

The library prints the text beside the picture, as "Figure: ...", in the same output; it is also
what notebooks without pictures show. A cell's own ``mystnb: image: alt`` still wins.
"""

from docutils import nodes

SAYS = "Figure: "


def describe_pictures(app, doctree) -> None:
    def is_output(node) -> bool:
        return isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"

    for output in doctree.findall(is_output):
        texts = [block.astext().strip() for block in output.findall(nodes.literal_block)]
        said = [text.removeprefix(SAYS) for text in texts if text.startswith(SAYS)]
        for picture in output.findall(nodes.image):
            if said and "alt" not in picture:
                picture["alt"] = " ".join(said[0].split())


def setup(app) -> dict:
    app.connect("doctree-read", describe_pictures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
