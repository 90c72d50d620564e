"""Data sets as tensors that stay on one device, and batches that any step can be asked for.

ImageNet is too large for that: ``imagenet`` has splits that read their images from files.

``load`` gives a training, a search-validation and a test split; the search scores widths on images
held out of the *training* set, so that the test set is looked at once, at the end. The order of
the batches depends on (seed, epoch) alone and their augmentation on (seed, epoch, step), so that a
run can stop anywhere and go on as if it had not.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import cifar10
from .augment import shift_and_flip
from .batches import Batched, mix
from .cifar10 import DataError
from .files import data_root
from .words import meant

__all__ = ["Data", "DataError", "Split", "load", "mix", "split_up"]

NAMES = ("digits", "fake", "cifar10", "imagenet")


@dataclass(frozen=True, eq=False)
class Split(Batched):
    """Images and labels on one device, ready to be batched.

    Raises:
        DataError: if the split is empty, or its shapes or types are wrong.
    """

    x: Tensor
    """(N, C, H, W), float32 and normalised; or uint8, normalised batch by batch with mean, std."""
    y: Tensor
    """(N,) int64 labels."""
    name: str = "split"
    """What error messages call it."""
    mean: Tensor | None = None
    """(C, 1, 1) mean of uint8 pixels, in 0..255; None where x is float32."""
    std: Tensor | None = None
    """(C, 1, 1) standard deviation of uint8 pixels, in 0..255; None where x is float32."""
    fill: Tensor | None = None
    """(C, 1, 1) value of an empty pixel in x, what a shifted image is filled up with; None: 0."""
    pad: int = 0
    """Augmentation shifts an image by up to this many pixels each way."""
    flip: bool = False
    """Whether augmentation mirrors images left to right."""
    index: np.ndarray | None = None
    """(N,) position of each image in its source."""

    def __post_init__(self):
        if self.x.ndim != 4 or self.y.ndim != 1 or len(self.x) != len(self.y):
            raise DataError(
                f"split '{self.name}' needs images (N, C, H, W) and labels (N,), got "
                f"{tuple(self.x.shape)} and {tuple(self.y.shape)}"
            )
        if len(self.y) == 0:
            raise DataError(f"split '{self.name}' is empty: it needs at least one image")
        if self.x.dtype not in (torch.float32, torch.uint8) or self.y.dtype != torch.int64:
            raise DataError(
                f"split '{self.name}' needs float32 or uint8 images and int64 labels, got "
                f"{self.x.dtype} and {self.y.dtype}"
            )
        if self.x.dtype == torch.uint8 and (self.mean is None or self.std is None):
            raise DataError(f"split '{self.name}' has uint8 images and so needs mean and std")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.x.shape[1:]))
        return f"Split({self.name}: {len(self):,} images {shape}, {self.x.device})"

    @property
    def device(self) -> torch.device:
        return self.x.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.x.shape[1:])

    def digest(self) -> str:
        """SHA-256 of the positions in the source and of the labels."""
        index = np.arange(len(self)) if self.index is None else self.index
        bytes_ = np.asarray(index, dtype="<i8").tobytes()
        return hashlib.sha256(bytes_ + self.y.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def contents(self) -> tuple[Tensor | None, ...]:
        """What tells its images from others."""
        return self.x, self.mean, self.std

    def to(self, device) -> "Split":
        """The same split with its tensors on another device."""
        names = ("x", "y", "mean", "std", "fill")
        tensors = {n: getattr(self, n) for n in names}
        return replace(self, **{n: t.to(device) for n, t in tensors.items() if t is not None})

    def take(self, index) -> tuple[Tensor, Tensor]:
        """Images and labels at a slice or index tensor, normalised, not augmented.

        Returns:
            x (B, C, H, W) float32, y (B,) int64, on the split's device.
        """
        return self._normalise(self.x[index]), self.y[index]

    def pieces(self, slices) -> Iterator[tuple[Tensor, Tensor]]:
        """``take`` of several slices, one after another."""
        return (self.take(s) for s in slices)

    def _iterate(self, order, batch_size, steps, seed, epoch, augment, share):
        order = order.to(self.device)
        for step in steps:
            rows = order[step * batch_size : (step + 1) * batch_size]  # (B,)
            x = self.x[rows]
            if augment and (self.pad or self.flip):
                generator = torch.Generator().manual_seed(mix(seed, epoch, step))
                x = shift_and_flip(x, self.pad, self.flip, self.fill, generator)
            own = slice(share[0], None, share[1])
            yield self._normalise(x[own]), self.y[rows[own]]

    def _normalise(self, x: Tensor) -> Tensor:
        return x if self.mean is None else (x.float() - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits."""

    name: str
    """What ``load`` was asked for."""
    train: Split
    """What supernets and found networks are trained on."""
    val: Split
    """Held out of the training set: what a search scores widths on."""
    test: Split
    """Touched once, at the end."""
    classes: int
    """Number of classes."""
    seed: int = 0
    """Seed of the splits."""
    mean: tuple[float, ...] = ()
    """Mean of the training pixels a channel, on a scale of 0..1 (``fake``: its own scale)."""
    std: tuple[float, ...] = ()
    """Standard deviation of the training pixels a channel, on the same scale."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.train.shape

    def to(self, device) -> "Data":
        """The same data with its tensors on another device."""
        splits = {n: getattr(self, n).to(device) for n in ("train", "val", "test")}
        return replace(self, **splits)

    def describe(self) -> dict:
        """What a run record keeps: sizes, statistics, and a SHA-256 of each split's images.

        The digest is of the positions in the source (or the names of files) and of the labels.
        """
        splits = {}
        for name in ("train", "val", "test"):
            split = getattr(self, name)
            splits[name] = {"size": len(split), "sha256": split.digest()}
        return {
            "name": self.name,
            "seed": self.seed,
            "classes": self.classes,
            "shape": list(self.shape),
            "mean": [round(m, 6) for m in self.mean],
            "std": [round(s, 6) for s in self.std],
            **splits,
        }

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        sizes = f"{len(self.train):,} train, {len(self.val):,} val, {len(self.test):,} test"
        return f"Data({self.name}: {sizes}, {shape}, {self.classes} classes, {self.train.device})"


def load(
    name: str,
    root: str | Path | None = None,
    *,
    seed: int = 0,
    val: float = 0.2,
    test: float | None = None,
    size: int | None = None,
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 10,
    noise: float = 1.0,
    download: bool = False,
) -> Data:
    """Load a data set and split it, every class in the same proportion.

    Args:
        name: ``digits`` (8x8, in scikit-learn), ``cifar10``, ``imagenet`` (at 224 pixels; at 64:
            ``imagenet-64``), or ``fake`` (made from the seed); or ``package.module:function``, a
            function of yours that returns a ``Data`` (``own_data.call``).
        root: folder of the files; default ``$BCNET_DATA``, else ``~/.cache/bcnet``.
        seed: decides the splits (and the images of ``fake``).
        val: share of the training images held out for the search, between 0 and 1.
        test: share of all images for the test, default 0.25; ``cifar10`` keeps its official test
            set and takes none, nor does ``imagenet``, whose official validation set it is.
        size: keep only so many images in all (``fake``: make so many, default 1,024).
        shape, classes, noise: of ``fake``: (C, H, W), number of classes, and standard deviation of
            the noise on each class's pattern, whose own is about 1.
        download: fetch ``cifar10`` if it is not there.
    Returns:
        Data on the CPU: float32 images normalised with training statistics (``cifar10`` stays
        uint8 and is normalised batch by batch; ``imagenet`` is read as it is needed).
    Raises:
        DataError: for an unknown name, missing or damaged files, or a split that would be empty.
    """
    if ":" in name:
        from .own_data import call

        return call(name, root=root, seed=seed, val=val, test=test, size=size)
    if name == "digits":
        x, y, official = *_digits(), 0
    elif name == "fake":
        x, y, official = *_fake(1024 if size is None else size, shape, classes, noise, seed), 0
    elif name == "cifar10" or name.partition("-")[0] == "imagenet":
        if test is not None:
            raise DataError(f"'{name}' has its own test set; leave out test={test}")
        if name != "cifar10":
            from . import imagenet

            return imagenet.load(name, data_root(root), seed=seed, val=val, size=size)
        x, y, official = *cifar10.read(data_root(root), download), 10_000
    else:
        known = ", ".join(f"'{n}'" for n in NAMES)
        raise DataError(
            f"unknown data set {name!r}: known are {known}; or name a function of your own as "
            f"'package.module:function'{meant(name, NAMES)}"
        )
    return split_up(name, x, y, official, val=val, test=test, size=size, seed=seed)


def split_up(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    official: int = 0,
    *,
    val: float = 0.2,
    test: float | None = None,
    size: int | None = None,
    seed: int = 0,
    flip: bool | None = None,
) -> Data:
    """Images and labels as a ``Data``: split class by class, with the training images' statistics.

    Args:
        x: (N, C, H, W), uint8 or float. y: (N,) int64 labels.
        official: so many images at the end are the test set; 0: hold out a share of ``test``,
            default 0.25.
        val, size, seed: as in ``load``.
        flip: whether augmentation mirrors images; None: with an official test set.
    """
    test = 0.25 if test is None else test
    for what, share in (("val", val), ("test", test)):
        if not 0 < share < 1:
            raise DataError(f"{what}={share} must be a share between 0 and 1")

    parts = indices(y, official, val, test, size, np.random.default_rng(mix(seed)))
    mean, std = _statistics(x, parts["train"])  # (C, 1, 1) each, on the scale of x
    scale = 255.0 if x.dtype == np.uint8 else 1.0
    splits, flip = {}, bool(official) if flip is None else flip
    for part, index in parts.items():
        if len(index) == 0:
            raise DataError(
                f"split '{part}' of '{name}' is empty with {len(y):,} images, size={size}, "
                f"val={val}, test={test}: use more images or a larger share"
            )
        splits[part] = _split(x[index], y[index], part, mean, std, flip=flip, index=index)
    return Data(
        name,
        **splits,
        classes=int(y.max()) + 1,
        seed=seed,
        mean=tuple(float(m) / scale for m in mean.ravel()),
        std=tuple(float(s) / scale for s in std.ravel()),
    )


def _split(x, y, name, mean, std, *, flip, index) -> Split:
    labels = torch.from_numpy(y)
    options = {"name": name, "pad": x.shape[-1] // 8, "flip": flip, "index": index}
    mean_, std_ = (torch.tensor(s, dtype=torch.float32) for s in (mean, std))
    if x.dtype == np.uint8:  # small in memory; an empty pixel is black
        return Split(torch.from_numpy(x), labels, mean=mean_, std=std_, **options)
    x = ((x - mean) / std).astype(np.float32)
    return Split(torch.from_numpy(x), labels, fill=-mean_ / std_, **options)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images[:, None] / 16.0, digits.target.astype(np.int64)  # (1797, 1, 8, 8)


def _fake(size, shape, classes, noise, seed) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random pattern a class, plus noise."""
    if size < 1 or classes < 2 or len(shape) != 3 or min(shape) < 1:
        raise DataError(
            f"'fake' needs size >= 1, classes >= 2 and shape (C, H, W), got size={size}, "
            f"classes={classes}, shape={shape}"
        )
    rng = np.random.default_rng(mix(seed, 1))
    coarse = torch.from_numpy(rng.standard_normal((classes, shape[0], 4, 4)))
    patterns = F.interpolate(coarse, size=shape[1:], mode="bilinear").numpy()  # (classes, C, H, W)
    y = rng.permutation(np.arange(size) % classes)
    return patterns[y] + noise * rng.standard_normal((size, *shape)), y


def indices(y, official, val, test, size, rng) -> dict[str, np.ndarray]:
    """Positions of train, val and test, each in random order (batch statistics need mixed classes).

    ``official``: so many images at the end are the test set; 0: hold out a share of ``test``.
    """
    everything = np.arange(len(y))
    pool, held = everything[: len(y) - official], everything[len(y) - official :]
    if size is not None and not 1 <= size <= len(y):
        raise DataError(f"size={size} is outside 1..{len(y)}, the images there are")
    if size is not None and size < len(y):
        _, pool = _hold_out(pool, y, size / len(y), rng)
        _, held = _hold_out(held, y, size / len(y), rng)
    if not official:
        pool, held = _hold_out(pool, y, test, rng)
    train, val = _hold_out(pool, y, val, rng)
    return {n: rng.permutation(i) for n, i in (("train", train), ("val", val), ("test", held))}


def _hold_out(pool, y, share, rng) -> tuple[np.ndarray, np.ndarray]:
    """Split positions in (rest, held out), every class by the same share as nearly as whole
    images allow, and round(share * len(pool)) images held out in all."""
    if len(pool) == 0:
        return pool, pool
    classes, of = np.unique(y[pool], return_inverse=True)
    exact = share * np.bincount(of)  # (classes,)
    quota = np.floor(exact).astype(int)
    missing = round(share * len(pool)) - quota.sum()
    quota[np.argsort(quota - exact, kind="stable")[:missing]] += 1  # largest remainders first
    held = [rng.permutation(pool[of == k])[: quota[k]] for k in range(len(classes))]
    held = np.concatenate(held)
    return np.setdiff1d(pool, held), np.sort(held)


def _statistics(x, index) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation a channel over the images at index, (C, 1, 1) float64 each."""
    if x.dtype == np.uint8:  # exact and lean: count the 256 values of each channel
        values = np.arange(256)
        counts = [np.bincount(x[index, c].ravel(), minlength=256) for c in range(x.shape[1])]
        share = np.stack(counts) / (len(index) * x[0, 0].size)  # (C, 256)
        mean = share @ values
        std = np.sqrt(share @ values**2 - mean**2)
    else:
        mean, std = x[index].mean((0, 2, 3)), x[index].std((0, 2, 3))
    std = np.where(std > 0, std, 1.0)  # a constant channel stays at 0
    return mean[:, None, None], std[:, None, None]
