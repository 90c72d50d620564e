"""Sphinx extension of the book: chapters follow the library, pages need no network.

jupyter-cache knows a notebook's own cells only, so after an edit of `bcnet_lib` it would serve the
outputs of the old library. Here the folder of the cache is named by a hash of everything else a
chapter depends on. The folder is part of Sphinx's environment, so pages are read again as well.

Jupyter Book also puts a script for live kernels on every page, which names a remote server. The
book has no such kernels; the script is left out.

A figure of the library says in words what it shows (`bcnet_lib.plots`); the words become the
alternative text of the picture.
"""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]
DATA = {".csv", ".yaml", ".yml", ".json", ".npz"}
VERSIONS = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "pymoo")
KEPT = 3  # caches kept beside the current one, so that going back to an old library is quick


def inputs(root: Path = ROOT) -> list[Path]:
    """Files that chapters depend on besides their own cells, sorted."""
    library = (root / "bcnet_lib").rglob("*.py")
    data = (
        path
        for path in (root / "book").rglob("*")
        if path.suffix in DATA and not any(p[0] in "._" for p in path.relative_to(root).parts)
    )
    return sorted([*library, *data])


def cache_key(root: Path = ROOT) -> str:
    """Hash of `inputs` and of the versions of what computes and draws."""
    digest = hashlib.sha256()
    versions = [platform.python_version(), *(version(name) for name in VERSIONS)]
    digest.update("\0".join(versions).encode())
    for path in inputs(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _choose_cache(app, config) -> None:
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / cache_key()
    current.mkdir(parents=True, exist_ok=True)
    os.utime(current)
    config.nb_execution_cache_path = str(current)
    old = sorted((p for p in caches.iterdir() if p != current), key=lambda p: p.stat().st_mtime)
    for path in old[:-KEPT]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _drop_live_kernels(app, pagename, templatename, context, doctree) -> None:
    def wanted(file) -> bool:
        attributes = getattr(file, "attributes", {})
        return "thebe" not in f"{file} {attributes.get('body', '')}".lower()

    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, ()) if wanted(file)]


def _describe_pictures(app, doctree) -> None:
    """Give the pictures of an output the text that stands beside them in the same output."""

    def is_output(node) -> bool:
        return isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"

    for output in doctree.findall(is_output):
        texts = [block.astext().strip() for block in output.findall(nodes.literal_block)]
        said = [text.removeprefix("Figure: ") for text in texts if text.startswith("Figure: ")]
        for picture in output.findall(nodes.image):
            if said and "alt" not in picture:
                picture["alt"] = " ".join(said[0].split())


def _keep_field_docs(app, what, name, obj, options, lines) -> None:
    """A field's line "Width: ..." is a sentence, which napoleon would read as "type: ..."."""
    if what in ("attribute", "property") and lines:
        lines[:0] = ["..", ""]  # an empty comment


def setup(app) -> dict:
    # As in the Makefile: the same stored outputs on every machine, and no progress bars in pages.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    app.connect("config-inited", _choose_cache)
    app.connect("doctree-read", _describe_pictures)
    app.connect("autodoc-process-docstring", _keep_field_docs, priority=400)
    app.connect("html-page-context", _drop_live_kernels, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
