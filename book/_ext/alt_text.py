"""Alternative text of figures: what a `BookFigure` says of itself becomes the image's ``alt``.

The library stores it with the picture's output; MyST-NB reads width and height from there and
leaves the text behind. A cell's own ``mystnb: image: alt`` still wins.
"""

from functools import wraps

from myst_nb.core.render import NbElementRenderer


def with_alt(render):
    @wraps(render)
    def render_image(self, data):
        images = render(self, data)
        text = data.output_metadata.get(data.mime_type, {}).get("alt")
        for image in images:
            if text and "alt" not in image:
                image["alt"] = text
        return images

    return render_image


def setup(app):
    if not hasattr(NbElementRenderer.render_image, "__wrapped__"):
        NbElementRenderer.render_image = with_alt(NbElementRenderer.render_image)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
