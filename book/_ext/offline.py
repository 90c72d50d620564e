"""Pages fetch nothing: the script for live kernels, which names a remote server, is left out.

Jupyter Book puts it on every page; this book has no live kernels.
"""


def drop_live_kernels(app, pagename, templatename, context, doctree) -> None:
    def wanted(file) -> bool:
        attributes = getattr(file, "attributes", {})
        return "thebe" not in f"{file} {attributes.get('body', '')}".lower()

    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, ()) if wanted(file)]


def setup(app) -> dict:
    app.connect("html-page-context", drop_live_kernels, priority=900)  # after all have added theirs
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
