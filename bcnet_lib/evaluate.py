"""Accuracy of widths under shared weights (Eq. 12), and of plain networks.

Source: Su et al., arXiv 2203.13714, Eq. 12: a width's score is the mean accuracy of its paths.

A supernet has no running statistics: its BatchNorm layers normalise every batch by that batch's own
mean and variance. A score therefore depends (a little) on the batch size and on which images share
a batch; the paper uses 2,048. Here a split is cut into equal batches of at most ``batch_size``, so
that no small rest spoils the statistics, always the same ones, so that scores repeat exactly.

Many widths share the activations of their common prefix (``prefix.py``): batch by batch and path by
path, in lexicographic order, every width is computed from the first layer that differs from the
width before. The scores are those of one width after another, bit for bit on a CPU.

Under ``torchrun`` every process takes some of the batches, and what they have right is added up:
accuracies are those of one process, exactly (mean losses up to rounding).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import distributed
from .data import Split
from .prefix import SharedPrefix, order
from .progress import bar as progress_bar
from .supernet import Supernet

__all__ = ["accuracy", "evaluate", "evaluate_many"]


def evaluate(net, c, split, *, batch_size: int = 2048, paths=None, amp: bool = False) -> float:
    r"""Score of one width: mean accuracy over its paths, with batch statistics.

    .. math:: \mathrm{Acc}(c) = \tfrac12 \big( \mathrm{Acc}(W_{l}(c)) + \mathrm{Acc}(W_{r}(c)) \big)
              [Eq. 12]

    Args:
        net: a ``Supernet``. c: width vector (L,), in units.
        split: images to score on; of a ``Data``, its search-validation split.
        batch_size: images a batch, at most (see the module's note).
        paths: path numbers to average over; None: all of ``net``'s (UA 1, BC and BCv2 2, Cyclic K,
            where a few spread-out starts such as ``paths=[0, 5, 10, 15]`` cost less).
        amp: forward passes in bfloat16 (mixed precision), as ``Recipe(amp=True)`` trains.
    Returns:
        accuracy in [0, 1].
    Raises:
        WidthError: if c is no width of the space.
        ValueError: if a path does not exist, or an output is not finite.
    """
    scores = evaluate_many(net, [c], split, batch_size=batch_size, paths=paths, amp=amp)
    return float(scores[0])


def evaluate_many(
    net,
    C,
    split,
    *,
    batch_size: int = 2048,
    paths=None,
    per_path=False,
    metric: str = "accuracy",
    amp: bool = False,
    share: bool = True,
    progress=False,
) -> np.ndarray:
    """Scores of many widths, as ``evaluate`` gives them, in the order of ``C``.

    Args:
        net, split, batch_size, paths, amp: as in ``evaluate``.
        C: width vectors (n, L), in units.
        per_path: keep the accuracy of every path instead of their mean.
        metric: ``"accuracy"``, or ``"loss"`` for the mean cross entropy in nats.
        share: compute common prefixes of several widths once. False: one width after another, in
            the memory of one forward pass; sharing keeps in addition the activations of one
            network that are alive where a group begins, on one batch.
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
    device = _device(net)
    batches = _batches(split.to(device), batch_size)
    shared = share and len(C) > 1 and _is_plain(net)
    with _mode(net, training=False), torch.no_grad(), _autocast(device, amp):
        run = _prefix_by_prefix if shared else _one_by_one
        out = run(net, C, paths, batches, metric, progress)  # (n, paths)
    return out if per_path else out.mean(axis=1)


def _one_by_one(net, C, paths, batches, metric, progress) -> np.ndarray:
    """Means of every width (rows) and path (columns), each by a forward pass of its own."""
    out, device = np.empty((len(C), len(paths))), _device(net)
    for i, c in enumerate(progress_bar(C, desc="evaluate", show=progress)):
        for j, path in enumerate(paths):
            total = _Sum(metric)
            for x, y in batches:  # (B, C, H, W), (B,)
                total.add(net(x, c, path=path), y)
            _add_up([total], device)
            out[i, j] = total.mean(len(batches.split), _named(c, path))
    return out


def _prefix_by_prefix(net, C, paths, batches, metric, progress) -> np.ndarray:
    """The same means, of widths in an order in which neighbours share the most."""
    sums = [[_Sum(metric) for _ in paths] for _ in C]
    steps = len(batches) * len(paths) * len(C)
    with SharedPrefix(net) as run, progress_bar(total=steps, desc="evaluate", show=progress) as bar:
        for x, y in batches:
            run.start(x)
            for j, path in enumerate(paths):
                for i in order(C):
                    sums[i][j].add(run(C[i], path), y)
                    bar.update()
            if torch.stack([s.bad for row in sums for s in row]).any():
                break  # some mean below raises, and names its width
    _add_up([s for row in sums for s in row], _device(net))
    means = [
        [s.mean(len(batches.split), _named(c, path)) for s, path in zip(row, paths, strict=True)]
        for row, c in zip(sums, C, strict=True)
    ]
    return np.array(means)


def _named(c, path: int) -> str:
    return f"the supernet at widths {c.tolist()}, path {path},"


def _is_plain(net) -> bool:
    """Whether calling ``net`` runs ``Supernet.forward`` and nothing besides."""
    hooks = net._forward_hooks or net._forward_pre_hooks
    return isinstance(net, Supernet) and type(net).forward is Supernet.forward and not hooks


def accuracy(model, split: Split, *, batch_size: int = 2048) -> float:
    """Accuracy of a plain network in [0, 1], in ``eval()`` mode (running statistics).

    Raises:
        ValueError: if an output is not finite.
    """
    total, device = _Sum("accuracy"), _device(model)
    with _mode(model, training=False), torch.no_grad():
        for x, y in _batches(split.to(device), batch_size):
            total.add(model(x), y)
    _add_up([total], device)
    return total.mean(len(split), type(model).__name__)


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
    """Equal consecutive batches of a split, in its own order; of several processes, those of this
    one."""

    def __init__(self, split: Split, batch_size: int):
        n = math.ceil(len(split) / min(batch_size, len(split)))
        edges = np.linspace(0, len(split), n + 1).round().astype(int)
        self.split = split
        self.slices = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def __iter__(self):
        first, every = distributed.place()
        return iter(self.split.pieces(self.slices[first::every]))

    def __len__(self) -> int:
        return len(self.slices)


def _batches(split: Split, batch_size: int) -> _Batches:
    split.steps(batch_size)  # refuses a wrong batch size
    return _Batches(split, batch_size)


_METRICS = {  # sums over a batch, of logits (B, classes) and labels (B,)
    "accuracy": lambda logits, y: (logits.argmax(1) == y).sum(),
    "loss": lambda logits, y: F.cross_entropy(logits, y, reduction="sum"),
}


class _Sum:
    """A metric and the number of outputs that are not finite, summed over batches."""

    __slots__ = ("bad", "metric", "total")

    def __init__(self, metric: str):
        self.metric, self.total, self.bad = _METRICS[metric], 0, 0

    def add(self, logits: Tensor, y: Tensor) -> None:
        """Take the logits (B, classes) and labels (B,) of another batch."""
        if logits.dtype == torch.bfloat16:
            logits = logits.float()
        self.total = self.total + self.metric(logits, y)
        self.bad = self.bad + (~torch.isfinite(logits)).sum()

    def mean(self, images: int, what: str) -> float:
        """The mean over all images; looks at the sums for the first time.

        Raises:
            ValueError: if an output was not finite; ``what`` names whose.
        """
        if int(self.bad):  # one look at the end: no waiting for the device on every batch
            raise ValueError(
                f"{what} gives outputs that are not finite: its weights or the images hold NaN or "
                "infinite values; train again with a lower learning rate"
            )
        return float(self.total) / images


def _add_up(sums: list[_Sum], device: torch.device) -> None:
    """Give every process the sums over the batches of all."""
    if distributed.processes() == 1 or not sums:
        return
    own = [torch.as_tensor(v, device=device).double() for s in sums for v in (s.total, s.bad)]
    table = distributed.total(torch.stack(own)).view(-1, 2)  # (sums, 2)
    for s, (whole, bad) in zip(sums, table, strict=True):
        s.total, s.bad = whole, bad


def _autocast(device: torch.device, amp: bool):
    return torch.autocast(device.type, torch.bfloat16, enabled=amp)


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
