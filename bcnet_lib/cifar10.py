"""CIFAR-10 as two NumPy arrays, from lossless image sheets, the official files or a download.

All three give the same bytes: every batch is checked against a SHA-256 of its pixels and labels,
taken from files whose official MD5 was right.
"""

import hashlib
import json
import lzma
import os
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["DataError", "read", "read_batch", "read_sheet"]

# sha256 of pixels (10000, 3, 32, 32) uint8 followed by labels (10000,) uint8
SHA256 = {
    "data_batch_1": "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114",
    "data_batch_2": "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac",
    "data_batch_3": "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722",
    "data_batch_4": "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97",
    "data_batch_5": "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87",
    "test_batch": "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
}


class DataError(ValueError):
    """Data that is missing, damaged or cannot be split or batched as asked."""


def read_sheet(path: Path) -> np.ndarray:
    """Decode one sheet: 1,000 images in 25 rows and 40 columns of 32x32 RGB tiles, row-major.

    Returns:
        uint8 array (1000, 3, 32, 32), in the sheet's order.
    Raises:
        DataError: if the file is missing, is no image, or has another size.
    """
    from PIL import Image

    if not path.is_file():
        raise DataError(f"CIFAR-10 sheet '{path}' is missing: copy the whole folder again")
    try:
        sheet = np.asarray(Image.open(path).convert("RGB"))  # (800, 1280, 3)
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise DataError(f"CIFAR-10 sheet '{path}' cannot be decoded: copy it again") from error
    if sheet.shape != (800, 1280, 3):
        raise DataError(
            f"CIFAR-10 sheet '{path}' is {sheet.shape[1]}x{sheet.shape[0]} pixels, not 1280x800: "
            "it is another file under this name; copy the folder again"
        )
    tiles = sheet.reshape(25, 32, 40, 32, 3).transpose(0, 2, 4, 1, 3)  # (25, 40, 3, 32, 32)
    return tiles.reshape(1000, 3, 32, 32)


def read_batch(folder: Path, batch: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """One official batch out of its ten sheets, checked.

    Args:
        folder: where ``<batch>-0.webp`` … ``<batch>-9.webp`` lie. batch: e.g. ``"test_batch"``.
        labels: the batch's labels, one digit an image (from ``index.json.xz``).
    Returns:
        uint8 pixels (10000, 3, 32, 32) and uint8 labels (10000,).
    Raises:
        DataError: if a sheet is missing or damaged, or the batch is not the official one.
    """
    x = np.concatenate([read_sheet(folder / f"{batch}-{i}.webp") for i in range(10)])
    y = np.frombuffer(labels.encode(), dtype=np.uint8) - ord("0")
    _check(batch, x, y, folder)
    return x, y


def read(root: Path, download: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 images and labels: the 50,000 training images, then the 10,000 test images.

    Looks for sheets in ``<root>/cifar10/``, then for the official files in
    ``<root>/cifar-10-batches-py/``, then downloads the latter if ``download`` is set.

    Returns:
        uint8 pixels (60000, 3, 32, 32) and int64 labels (60000,).
    Raises:
        DataError: if nothing is found (and ``download`` is off), or a file is damaged.
    """
    sheets, official = root / "cifar10", root / "cifar-10-batches-py"
    if (sheets / "index.json.xz").is_file():
        parts = _from_sheets(sheets)
    elif official.is_dir():
        parts = _from_official(root, official)
    elif download:
        _download(root)
        parts = _from_official(root, official)
    else:
        raise DataError(
            f"CIFAR-10 was not found: '{root}' holds neither 'cifar10/index.json.xz' (sheets) nor "
            "'cifar-10-batches-py/' (official files). Set BCNET_DATA to the folder that does, "
            "or let it be downloaded (170 MB): load('cifar10', download=True)"
        )
    pixels, labels = zip(*parts, strict=True)
    return np.concatenate(pixels), np.concatenate(labels).astype(np.int64)


def _from_sheets(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    path = folder / "index.json.xz"
    try:
        index = json.loads(lzma.decompress(path.read_bytes()))
        labels = {batch: index[batch]["labels"] for batch in SHA256}
    except (lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"CIFAR-10 index '{path}' cannot be read: copy it again") from error
    return [read_batch(folder, batch, labels[batch]) for batch in SHA256]


def _from_official(root: Path, folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    from torchvision.datasets import CIFAR10

    try:
        halves = [CIFAR10(str(root), train=train, download=False) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"'{folder}' is incomplete or damaged ({error}): remove that folder, then "
            "load('cifar10', download=True)"
        ) from error
    x = np.concatenate([half.data for half in halves]).transpose(0, 3, 1, 2)
    y = np.concatenate([half.targets for half in halves]).astype(np.uint8)
    parts = [
        (np.ascontiguousarray(x[at : at + 10_000]), y[at : at + 10_000])
        for at in range(0, 60_000, 10_000)
    ]
    for batch, (pixels, labels) in zip(SHA256, parts, strict=True):
        _check(batch, pixels, labels, folder)
    return parts


def _download(root: Path) -> None:
    """Fetch the official files; they appear under their name only when they are complete."""
    from torchvision.datasets import CIFAR10

    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".cifar10-") as temporary:
        try:
            CIFAR10(temporary, download=True)  # checks the archive's MD5
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"the download of CIFAR-10 to '{root}' failed ({error}): try again, or put "
                "'cifar-10-batches-py/' there by hand"
            ) from error
        os.replace(Path(temporary) / "cifar-10-batches-py", root / "cifar-10-batches-py")


def _check(batch: str, x: np.ndarray, y: np.ndarray, folder: Path) -> None:
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    if digest != SHA256[batch]:
        raise DataError(
            f"'{batch}' in '{folder}' is not the official one (sha256 {digest[:12]}…, expected "
            f"{SHA256[batch][:12]}…): a file is damaged or altered; copy the folder again"
        )
