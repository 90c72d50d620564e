"""Where data lies, and files that are fetched whole or not at all."""

import errno
import functools
import hashlib
import http.client
import os
import secrets
import tempfile
import urllib.request
from pathlib import Path

from .cifar10 import DataError

__all__ = ["data_root", "fetch", "find", "intact", "places", "write_whole"]


def data_root(root: str | Path | None = None) -> Path:
    """The data folder: ``root`` if given, else ``$BCNET_DATA``, else ``~/.cache/bcnet``."""
    default = os.environ.get("BCNET_DATA") or "~/.cache/bcnet"
    return Path(default if root is None else root).expanduser().absolute()


def intact(path: Path, sha256: str) -> bool:
    """Whether a file can be read and is the one with this SHA-256; read anew only if changed."""
    try:
        found = path.stat()
        return _digest(path, found.st_mtime_ns, found.st_size) == sha256
    except OSError:
        return False


@functools.lru_cache(maxsize=64)
def _digest(path: Path, mtime: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def places(file: str | Path, root: str | Path | None = None) -> list[Path]:
    """Where a file of the data folder may lie.

    Args:
        file: path below the data folder.
        root: the only folder to look in; None: ``$BCNET_DATA``, then ``~/.cache/bcnet``.
    """
    roots = [data_root(root)] if root is not None else [data_root(), data_root("~/.cache/bcnet")]
    return [folder / file for folder in roots]


def find(file: str | Path, sha256: str, root: str | Path | None = None) -> Path | None:
    """The first intact one of ``places``, else the first that is there, else None."""
    there = [path for path in places(file, root) if path.is_file()]
    return next((path for path in there if intact(path, sha256)), next(iter(there), None))


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file at path by content in one step, so that a kill leaves the old or the new."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:  # readable as any new file; mkstemp's is not
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fetch(url: str, path: Path, sha256: str, timeout: float = 60.0) -> Path:
    """Download a file that is known by its SHA-256; it appears under its name only when whole.

    Args:
        url: where from. path: where to; folders are made, an existing file is replaced.
        sha256: hexadecimal digest of the content. timeout: seconds without an answer.
    Returns:
        path.
    Raises:
        DataError: if it cannot be reached, breaks off, is another file, or cannot be written where
            it should; no part of it is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with tempfile.TemporaryFile(dir=path.parent):
            pass  # known before a long download, not after it
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            content = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"the download of '{path.name}' from {url} failed "
            f"({str(error).strip() or repr(error)}): check the network and try again, "
            f"or put the file at '{path}' by hand"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            f"what {url} sent is not the file expected (sha256 {digest[:12]}…, expected "
            f"{sha256[:12]}…): nothing was kept; put the file at '{path}' by hand"
        )
    try:
        write_whole(path, content)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write to '{path}' ({error}): set BCNET_DATA to a folder you can write to"
    )
