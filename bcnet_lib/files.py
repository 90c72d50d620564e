"""Where data lies, and files that are fetched whole or not at all."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from .cifar10 import DataError

__all__ = ["data_root", "fetch"]


def data_root(root: str | Path | None = None) -> Path:
    """The folder of the data: ``root`` if given, else ``$BCNET_DATA``, else ``~/.cache/bcnet``."""
    default = os.environ.get("BCNET_DATA") or "~/.cache/bcnet"
    return Path(default if root is None else root).expanduser()


def fetch(url: str, path: Path, sha256: str, timeout: float = 60.0) -> Path:
    """Download a file that is known by its SHA-256; it appears under its name only when whole.

    Args:
        url: where from. path: where to; folders are made, an existing file is replaced.
        sha256: hexadecimal digest of the content. timeout: seconds without an answer.
    Returns:
        path.
    Raises:
        DataError: if it cannot be reached, or what came is another file; nothing is left behind.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            content = answer.read()
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise DataError(
            f"the download of '{path.name}' from {url} failed ({error}): check the network, or put "
            f"the file at '{path}' by hand"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            f"what {url} sent is not the file expected (sha256 {digest[:12]}…, expected "
            f"{sha256[:12]}…): nothing was kept; put the file at '{path}' by hand"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
