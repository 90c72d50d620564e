"""Chapters follow the library: an edit of `bcnet_lib` makes the next build run them again.

jupyter-cache knows a notebook's own cells only, so after an edit of `bcnet_lib` it would serve the
outputs of the old library. Here the folder of the cache is named by a hash of everything else a
chapter depends on: the library, the project's own data and records, and the data of others, which
may be here or not. The folder is part of Sphinx's environment, so pages are read again as well.
"""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from bcnet_lib import needs

ROOT = Path(__file__).resolve().parents[2]
DATA = {".csv", ".yaml", ".yml", ".json", ".npz"}
VERSIONS = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "pymoo")
KEPT = 3  # caches kept beside the current one, so that going back to an old library is quick


def inputs(root: Path = ROOT) -> list[Path]:
    """Files that chapters depend on besides their own cells, sorted."""
    library = (root / "bcnet_lib").rglob("*.py")
    data = (
        path
        for folder in ("bcnet_lib", "book", "figures")
        for path in (root / folder).rglob("*")
        if path.suffix in DATA and not any(p[0] in "._" for p in path.relative_to(root).parts)
    )
    return sorted([*library, *data])


def cache_key(root: Path = ROOT) -> str:
    """Hash of `inputs`, of the data of others, and of the versions of what computes and draws."""
    digest = hashlib.sha256(repr(needs.fingerprint()).encode())
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


def setup(app) -> dict:
    # As in the Makefile: the same stored outputs on every machine, and no progress bars in pages.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    app.connect("config-inited", _choose_cache)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
