"""Library page: docstrings of fields are plain sentences.

napoleon takes "Width: in units" under a field for "type: description". An empty comment before
the sentence keeps it from looking.
"""


def keep_sentences(app, what, name, obj, options, lines) -> None:
    if what in ("attribute", "property") and lines:
        lines[:0] = ["..", ""]


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", keep_sentences, priority=400)  # napoleon has 500
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
