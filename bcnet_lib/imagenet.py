"""ImageNet from folders of files: splits that read and decode their images as they are needed.

``<root>/imagenet/train/<class>/*.JPEG`` and ``<root>/imagenet/val/<class>/*.JPEG``, the layout of
torchvision's ``ImageFolder``. Worker processes decode the next images while the device computes.
Training crops and mirrors each image by its own draw from (seed, epoch, image), so that a run that
was stopped sees the same pixels again, in any number of processes. Elsewhere an image is resized to
8/7 of the crop (256 for 224) and cropped at its centre.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .batches import Batched, mix
from .cifar10 import DataError
from .data import Data, indices

__all__ = ["FolderSplit", "Kept", "load"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on a scale of 0..1
CHUNK = 64  # images a worker decodes at a time


@dataclass(frozen=True, eq=False)
class FolderSplit(Batched):
    """Images in files, with the interface of ``Split``.

    Raises:
        DataError: if it is empty.
    """

    folder: Path
    """What the names of the files are relative to."""
    files: np.ndarray
    """(N,) bytes, names of the files; one array, since workers would copy a list."""
    y: Tensor
    """(N,) int64 labels, on the CPU."""
    size: int
    """Height and width of the crops, in pixels."""
    name: str = "split"
    """What error messages call it."""
    device: torch.device = torch.device("cpu")
    """Where batches go."""
    workers: int | None = None
    """Processes that decode; 0: none; None: the cores of the machine, shared by its devices."""
    kept: "Kept | None" = None
    """Where decoded images are kept that are looked at again and again; None: nowhere."""

    def __post_init__(self):
        if len(self.y) == 0:
            raise DataError(f"split '{self.name}' is empty: it needs at least one image")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        what = f"{len(self):,} images {'x'.join(map(str, self.shape))} from '{self.folder}'"
        return f"FolderSplit({self.name}: {what}, {self.device})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return 3, self.size, self.size

    @property
    def x(self) -> Tensor:
        """Not there.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"split '{self.name}' reads its images from '{self.folder}' as they are needed and has "
            "no x: use batches() or take()"
        )

    def digest(self) -> str:
        """SHA-256 of the names of the files and of the labels."""
        digest = hashlib.sha256(b"\0".join(self.files.tolist()))
        digest.update(self.y.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def contents(self) -> tuple[Tensor, ...]:
        """What tells its images from others: names, and the size of the crop."""
        names = np.frombuffer(b"\0".join(self.files.tolist()), dtype=np.uint8)
        return torch.from_numpy(names.copy()), torch.tensor(self.shape)

    def to(self, device) -> "FolderSplit":
        """The same split with its batches on another device."""
        return replace(self, device=torch.device(device))

    def take(self, index) -> tuple[Tensor, Tensor]:
        """Images and labels at a slice or index tensor, normalised, not augmented.

        Returns:
            x (B, 3, H, W) float32, y (B,) int64, on the split's device.
        Raises:
            DataError: if a file cannot be read as an image (named).
        """
        return next(self.pieces([index]))

    def pieces(self, slices) -> Iterator[tuple[Tensor, Tensor]]:
        """``take`` of several slices, the next of which are read meanwhile."""
        everything = torch.arange(len(self))
        pieces = [everything[s.cpu() if isinstance(s, Tensor) else s] for s in slices]
        known = [self.kept is not None and self.kept.has(rows) for rows in pieces]
        read = self._read([p for p, there in zip(pieces, known, strict=True) if not there], None)
        for rows, there in zip(pieces, known, strict=True):
            x = self.kept.x[rows] if there else next(read)
            if self.kept is not None and not there:
                self.kept.put(rows, x)
            yield self._ready(x, rows)

    def _iterate(self, order, batch_size, steps, seed, epoch, augment, share):
        batches = [order[k * batch_size : (k + 1) * batch_size] for k in steps]
        pieces = [rows[share[0] :: share[1]] for rows in batches]
        images = self._read(pieces, (seed, epoch) if augment else None)
        for rows, x in zip(pieces, images, strict=True):
            yield self._ready(x, rows)

    def _ready(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Move pixels (B, 3, H, W) uint8 to the device and normalise them there."""
        mean, std = (torch.tensor(s, device=self.device)[:, None, None] * 255 for s in (MEAN, STD))
        return (x.to(self.device).float() - mean) / std, self.y[rows].to(self.device)

    def _read(self, pieces: list[Tensor], draw: tuple[int, int] | None) -> Iterator[Tensor]:
        """Pixels (B, 3, H, W) uint8 of each piece; with a draw (seed, epoch), augmented."""
        chunks = [c.numpy() for rows in pieces for c in rows.split(CHUNK)]
        workers = _cores() if self.workers is None else self.workers
        loader = DataLoader(
            _Chunks(self.folder, self.files, chunks, self.size, draw),
            batch_size=None,
            num_workers=min(workers, len(chunks) - 1) if chunks else 0,  # one chunk: no process
            generator=torch.Generator(),  # its own: leaves the global one as it is
        )
        decoded = iter(loader) if chunks else iter(())
        for rows in pieces:
            parts = [next(decoded) for _ in rows.split(CHUNK)]
            for part in parts:
                if isinstance(part, str):
                    raise DataError(part)
            yield torch.cat(parts)


class _Chunks(Dataset):
    """Decodes chunk k of a list of rows: pixels (B, 3, H, W) uint8, or what went wrong."""

    def __init__(self, folder: Path, files: np.ndarray, chunks, size: int, draw):
        from torchvision import transforms as T

        self.folder, self.files, self.chunks, self.draw = os.fsencode(folder), files, chunks, draw
        if draw is None:
            steps = [T.Resize(round(size * 8 / 7)), T.CenterCrop(size)]
        else:
            steps = [T.RandomResizedCrop(size), T.RandomHorizontalFlip()]
        self.transform = T.Compose([*steps, T.PILToTensor()])

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, k: int) -> Tensor | str:
        try:
            return torch.stack([self._decode(int(row)) for row in self.chunks[k]])
        except DataError as error:  # a worker's own exception would come with its traceback
            return str(error)

    def _decode(self, row: int) -> Tensor:
        from PIL import Image

        path = os.path.join(self.folder, self.files[row])
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except Exception as error:  # Pillow raises many kinds for a damaged file
            raise DataError(
                f"image '{os.fsdecode(path)}' cannot be read ({error}): copy it again"
            ) from error
        with torch.random.fork_rng(devices=[]):
            if self.draw is not None:
                torch.default_generator.manual_seed(mix(*self.draw, row))
            return self.transform(image)  # (3, H, W)


class Kept:
    """Decoded images of a split. Memory is used for those that were put in, not before.

    Args:
        n: images of the split. size: their height and width, in pixels.
    """

    def __init__(self, n: int, size: int):
        self.x = torch.empty((n, 3, size, size), dtype=torch.uint8)
        self.there = torch.zeros(n, dtype=torch.bool)

    def has(self, rows: Tensor) -> bool:
        """Whether all of these images (their positions, int64) are kept."""
        return bool(self.there[rows].all())

    def put(self, rows: Tensor, x: Tensor) -> None:
        """Keep images x (B, 3, size, size) uint8 at these positions (B,)."""
        self.x[rows], self.there[rows] = x, True


def _cores() -> int:
    """Cores for one of the processes that torchrun started on this machine."""
    if multiprocessing.current_process().daemon:  # a worker of dask, say, may start no processes
        return 0
    return min(16, max(1, joblib.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def load(name: str, root: Path, *, seed: int, val: float, size: int | None = None) -> Data:
    """ImageNet, or any images in the same folders; called by ``data.load``.

    Decoded images of the search-validation split stay in memory (uint8; 7.7 GB for 51,000 of 224
    pixels, in as many parts as there are processes), since a search looks at them for every width.

    Args:
        name: ``imagenet``, or ``imagenet-64`` for crops of 64 pixels.
        root: holds the folder ``imagenet``.
        seed, val, size: as in ``data.load``.
    Returns:
        Data whose ``test`` is the official validation set.
    Raises:
        DataError: if folders are missing, empty, or hold other classes; for a wrong name.
    """
    crop = name.removeprefix("imagenet-") if name != "imagenet" else "224"
    if not crop.isdecimal() or int(crop) < 8:
        raise DataError(f"unknown data set {name!r}: 'imagenet-64' has crops of 64 pixels, say")
    if not 0 < val < 1:
        raise DataError(f"val={val} must be a share between 0 and 1")
    folder = root / "imagenet"
    (train, classes), (official, others) = (_files(folder / part) for part in ("train", "val"))
    if classes != others:
        odd = sorted(set(classes) ^ set(others))
        where = "train" if odd[0] in classes else "val"
        raise DataError(
            f"'{folder}' has {len(odd)} classes in one of 'train' and 'val' only, such as "
            f"'{odd[0]}' in '{where}': both need a folder for every class"
        )
    files = np.array([os.fsencode(os.path.relpath(f, folder)) for f, _ in train + official])
    y = np.array([label for _, label in train + official], dtype=np.int64)
    rng = np.random.default_rng(mix(seed))
    splits = {}
    for part, index in indices(y, len(official), val, 0.0, size, rng).items():
        if len(index) == 0:
            raise DataError(
                f"split '{part}' of '{name}' is empty with {len(y):,} images, size={size}, "
                f"val={val}: use more images or a larger share"
            )
        options = {"kept": Kept(len(index), int(crop))} if part == "val" else {}
        labels = torch.from_numpy(y[index])
        splits[part] = FolderSplit(folder, files[index], labels, int(crop), part, **options)
    return Data(name, **splits, classes=len(classes), seed=seed, mean=MEAN, std=STD)


def _files(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """Files with the number of their class, in order, and the classes' names."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

    try:
        classes, numbers = find_classes(str(folder))
        return make_dataset(str(folder), numbers, IMG_EXTENSIONS), classes
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"'{folder}' does not hold images in one folder a class ({error}): put the files at "
            "'imagenet/train/<class>/*.JPEG' and 'imagenet/val/<class>/*.JPEG' below BCNET_DATA"
        ) from error
