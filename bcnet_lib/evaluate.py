"""Accuracy of widths under shared weights (Eq. 12), and of plain networks.

Source: Su et al., arXiv 2203.13714, Eq. 12: a width's score is the mean accuracy of its paths.

A supernet has no running statistics: its BatchNorm layers normalise every batch by that batch's own
mean and variance. A score therefore depends (a little) on the batch size and on which images share
a batch; the paper uses 2,048. Here a split is cut into equal batches of at most ``batch_size``, so
that no small rest spoils the statistics, always the same ones, so that scores repeat exactly.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from .data import Split
from .progress import bar as progress_bar

__all__ = ["accuracy", "evaluate", "evaluate_many"]


def evaluate(net, c, split, *, batch_size: int = 2048, paths=None) -> float:
    r"""Score of one width: mean accuracy over its paths, with batch statistics.

    .. math:: \mathrm{Acc}(c) = \tfrac12 \big( \mathrm{Acc}(W_{l}(c)) + \mathrm{Acc}(W_{r}(c)) \big)
              [Eq. 12]

    Args:
        net: a ``Supernet``. c: width vector (L,), in units.
        split: images to score on; of a ``Data``, its search-validation split.
        batch_size: images a batch, at most (see the module's note).
        paths: path numbers to average over; None: all of ``net``'s (UA 1, BC and BCv2 2, Cyclic K,
            where a few spread-out starts such as ``paths=[0, 5, 10, 15]`` cost less).
    Returns:
        accuracy in [0, 1].
    Raises:
        WidthError: if c is no width of the space.
        ValueError: if a path does not exist, or an output is not finite.
    """
    return float(evaluate_many(net, [c], split, batch_size=batch_size, paths=paths)[0])


def evaluate_many(
    net,
    C,
    split,
    *,
    batch_size: int = 2048,
    paths=None,
    per_path=False,
    metric: str = "accuracy",
    progress=False,
) -> np.ndarray:
    """Scores of many widths, as ``evaluate`` gives them.

    Args:
        net, split, batch_size, paths: as in ``evaluate``.
        C: width vectors (n, L), in units.
        per_path: keep the accuracy of every path instead of their mean.
        metric: ``"accuracy"``, or ``"loss"`` for the mean cross entropy in nats.
        progress: show a progress bar.
    Returns:
        float64 array (n,), or (n, len(paths)) with ``per_path``.
    Raises:
        WidthError, ValueError: as ``evaluate``; or if the metric is unknown.
    """
    if metric not in _METRICS:
        raise ValueError(f"metric must be one of {', '.join(_METRICS)}, got {metric!r}")
    split = getattr(split, "val", split)
    C = _vectors(net, C)
    paths = _paths(net, paths)
    out = np.empty((len(C), len(paths)))
    with _mode(net, training=False):
        batches = _batches(split.to(_device(net)), batch_size)
        for i, c in enumerate(progress_bar(C, desc="evaluate", show=progress)):
            for j, path in enumerate(paths):
                what = f"the supernet at widths {c.tolist()}, path {path},"
                out[i, j] = _mean(lambda x, c=c, p=path: net(x, c, path=p), batches, what, metric)
    return out if per_path else out.mean(axis=1)


def accuracy(model, split: Split, *, batch_size: int = 2048) -> float:
    """Accuracy of a plain network in [0, 1], in ``eval()`` mode (running statistics).

    Raises:
        ValueError: if an output is not finite.
    """
    with _mode(model, training=False):
        batches = _batches(split.to(_device(model)), batch_size)
        return _mean(model, batches, f"{type(model).__name__}", "accuracy")


def _vectors(net, C) -> np.ndarray:
    C = np.asarray(C)
    if C.size == 0:
        return C.reshape(0, net.space.L)
    return np.atleast_2d(net.space.check(C))


def _paths(net, paths) -> list[int]:
    n = net.n_paths
    chosen = list(range(n)) if paths is None else [int(p) for p in paths]
    if not chosen or not all(0 <= p < n for p in chosen):
        raise ValueError(f"paths={paths} must name some of the paths 0..{n - 1} of this supernet")
    return chosen


class _Batches:
    """Equal consecutive batches of a split, in its own order."""

    def __init__(self, split: Split, batch_size: int):
        n = math.ceil(len(split) / min(batch_size, len(split)))
        edges = np.linspace(0, len(split), n + 1).round().astype(int)
        self.split = split
        self.slices = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def __iter__(self):
        return (self.split.take(s) for s in self.slices)


def _batches(split: Split, batch_size: int) -> _Batches:
    split.steps(batch_size)  # refuses a wrong batch size
    return _Batches(split, batch_size)


_METRICS = {  # sums over a batch, of logits (B, classes) and labels (B,)
    "accuracy": lambda logits, y: (logits.argmax(1) == y).sum(),
    "loss": lambda logits, y: F.cross_entropy(logits, y, reduction="sum"),
}


@torch.no_grad()
def _mean(forward, batches: _Batches, what: str, metric: str) -> float:
    total = bad = 0
    for x, y in batches:  # (B, C, H, W), (B,)
        logits = forward(x)  # (B, classes)
        total = total + _METRICS[metric](logits, y)
        bad = bad + (~torch.isfinite(logits)).sum()
    if int(bad):  # one look at the end: no waiting for the device on every batch
        raise ValueError(
            f"{what} gives outputs that are not finite: its weights or the images hold NaN or "
            "infinite values; train again with a lower learning rate"
        )
    return float(total) / len(batches.split)


class _mode:
    """Put a module in training or evaluation mode, and every part back as it was after."""

    def __init__(self, module, *, training: bool):
        self.module, self.training = module, training

    def __enter__(self):
        self.before = [(m, m.training) for m in self.module.modules()]
        self.module.train(self.training)

    def __exit__(self, *_):
        for module, training in self.before:
            module.training = training


def _device(module) -> torch.device:
    return next(module.parameters()).device
