"""Images of your own: arrays as a ``Data``, and the function that a run is given by name.

``--data package.module:function`` calls a function of yours that returns a ``Data``;
``from_arrays`` makes one from images and labels that are in memory. Images in files need neither:
in the folders of ImageNet (``imagenet.py``) they are read as they are needed.
"""

from inspect import Parameter, signature

import numpy as np

from .data import Data, DataError, split_up
from .words import function_of

__all__ = ["call", "from_arrays"]

_VAL = 0.2


def from_arrays(
    x,
    y,
    *,
    x_test=None,
    y_test=None,
    name: str = "own",
    val: float = _VAL,
    test: float | None = None,
    seed: int = 0,
    flip: bool = False,
) -> Data:
    """A ``Data`` of images and labels in memory.

    Every class is split by the same shares. Pixels are normalised, a channel at a time, by mean and
    standard deviation of the training images alone. Augmentation shifts an image by up to an eighth
    of its width.

    Args:
        x: images (N, C, H, W), a NumPy array or a tensor; uint8 stays so in memory and is
            normalised batch by batch, floats become float32.
        y: labels (N,), integers 0 .. classes - 1.
        x_test, y_test: the same for a test set of its own; without them a share of ``test``.
        name: what messages and reports call it.
        val: share of the training images held out for the search, between 0 and 1.
        test: share of all images for the test, default 0.25; not beside ``x_test``.
        seed: decides the splits.
        flip: whether augmentation mirrors images left to right.
    Raises:
        DataError: saying which array is wrong, and what to do.
    """
    x, y = _images(x, "x"), _labels(y, "y")
    if (x_test is None) != (y_test is None):
        raise DataError("x_test and y_test go together: give both or none")
    _as_many(x, y, "x", "y")
    official = 0
    if x_test is not None:
        if test is not None:
            raise DataError(f"x_test is the test set: leave out test={test}")
        x_test, y_test = _images(x_test, "x_test"), _labels(y_test, "y_test")
        _as_many(x_test, y_test, "x_test", "y_test")
        if x_test.shape[1:] != x.shape[1:] or x_test.dtype != x.dtype:
            raise DataError(
                f"x_test has images {x_test.shape[1:]} {x_test.dtype}, and x {x.shape[1:]} "
                f"{x.dtype}: both must agree"
            )
        if odd := sorted(set(y_test.tolist()) - set(y.tolist())):
            raise DataError(f"y_test has labels that y has not: {odd[:5]}")
        official = len(y_test)
    classes = np.unique(y)
    if len(classes) < 2 or classes[0] != 0 or classes[-1] != len(classes) - 1:
        some = ", ".join(map(str, classes[:5])) + (", …" if len(classes) > 5 else "")
        raise DataError(
            f"y must hold every label of 0 .. classes - 1, at least two, and has {some}: number "
            "them anew, such as by np.unique(y, return_inverse=True)[1]"
        )
    if official:
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
    return split_up(name, x, y, official, val=val, test=test, seed=seed, flip=flip)


def _images(x, name: str) -> np.ndarray:
    x = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    if x.ndim == 3:
        raise DataError(
            f"{name} has shape {x.shape}, and images need (N, C, H, W): grey ones one channel, "
            f"{name}[:, None]"
        )
    if x.ndim != 4:
        raise DataError(f"{name} has shape {x.shape}, and images need (N, C, H, W)")
    if x.shape[-1] in (1, 3, 4) and x.shape[1] > 4:
        raise DataError(
            f"{name} has shape {x.shape}, with channels at the end, and images need (N, C, H, W): "
            f"{name}.transpose(0, 3, 1, 2), or permute of a tensor"
        )
    if x.dtype == np.uint8:
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"{name} is {x.dtype}, and images need uint8 or floats")
    if not (finite := np.isfinite(x).reshape(len(x), -1).all(1)).all():
        bad = np.flatnonzero(~finite)
        raise DataError(f"{name} holds NaN or infinity in {len(bad)} images, such as {bad[0]}")
    return x.astype(np.float32, copy=False)


def _labels(y, name: str) -> np.ndarray:
    y = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"{name} is {y.dtype} of shape {y.shape}, and labels need integers of shape (N,)"
        )
    return y.astype(np.int64)


def _as_many(x: np.ndarray, y: np.ndarray, images: str, labels: str) -> None:
    if len(x) != len(y):
        raise DataError(f"{images} has {len(x):,} images, and {labels} {len(y):,} labels")


def call(name: str, **asked) -> Data:
    """The data that a function of the user's returns.

    Args:
        name: ``package.module:function``.
        asked: root, seed, val, test, size; those that the function takes are given to it.
    Raises:
        DataError: if there is no such function, it fails or returns something else, or a value
            was asked for (no default) that it does not take.
    """
    found, function = function_of(name, "data", DataError), name.partition(":")[2]
    parameters = signature(found).parameters
    rest = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    given = {k: v for k, v in asked.items() if rest or k in parameters}
    default = {"val": _VAL, "seed": 0}
    for key in set(asked) - set(given):
        if asked[key] not in (None, default.get(key)) and key != "root":
            raise DataError(
                f"data '{name}' takes no '{key}', so {key}={asked[key]} has no effect: "
                f"leave it out, or write def {function}({key}={default.get(key)})"
            )
    try:
        data = found(**given)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"data '{name}' fails with {type(error).__name__}: {error} (call {function}() in "
            "Python to see where)"
        ) from error
    if not isinstance(data, Data):
        raise DataError(
            f"data '{name}' returns a {type(data).__name__}, not a bcnet_lib.data.Data: make one "
            "with bcnet_lib.own_data.from_arrays(x, y)"
        )
    return data
