"""Whose statistics BatchNorm uses when a supernet is scored: batches of some size, or running ones.

A supernet has no running statistics, so a score depends on the images that share a batch. Trained
supernets score a sample of widths

- with *batch* statistics, from batches of several sizes, each over several ways to deal the images
  into batches;
- with *running* statistics, set for every width and path from training images (``export``).

Su et al., arXiv 2203.13714, section 7, search with batches of 2,048 images.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..correlation import correlations
from ..data import Split, mix
from ..evaluate import accuracy, evaluate_many
from ..intervals import headline
from ..profiles import PROFILES, Profile
from ..ranking import top_overlap, top_regret
from . import supernets
from .cells import Cell, Where
from .experiment import Experiment
from .problem import Problem, problem_of

__all__ = ["BN_STATISTICS", "METHODS", "images_of", "in_groups", "sizes_of"]

METHODS = ("UA", "BCv2 + complement")
SAMPLE = 128  # widths
DRAWS = 4  # ways to deal the images into batches
MOST = 4096  # images scored on, at most


def sizes_of(profile: Profile, images: int) -> list[int]:
    """Images a batch that there are enough images for, ascending.

    Raises:
        ValueError: if there are enough for none.
    """
    sizes = sorted({v for v in profile.values if v <= min(images, MOST)})
    if not sizes:
        raise ValueError(f"values={profile.values}: none is within the {images} images to score on")
    return sizes


def images_of(sizes: Sequence[int], available: int) -> int:
    """Images that are scored on: as many as make whole batches of every size.

    So every size scores the same images, and no small rest spoils the statistics.

    Raises:
        ValueError: if there are not enough.
    """
    whole = int(np.lcm.reduce(sizes))
    if min(available, MOST) < whole:
        raise ValueError(
            f"batches of {', '.join(map(str, sizes))} images come out even at multiples of "
            f"{whole:,}, and there are {min(available, MOST):,}: choose sizes that divide others"
        )
    return min(available, MOST) // whole * whole


@contextmanager
def in_groups(net, size: int) -> Iterator[None]:
    r"""BatchNorm normalises every ``size`` images in a row by their own mean and variance,

    .. math:: \hat x_i = \frac{x_i - \mu_{b(i)}}{\sqrt{\sigma^2_{b(i)} + \epsilon}}, \qquad
              b(i) = \lfloor i / \mathrm{size} \rfloor,

    as if they were a batch by themselves: many small batches at the price of a large one.

    Args:
        net: a ``Supernet``; inside, it is to be given whole groups only.
    """
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]

    def forward_of(norm):
        def forward(x):  # (N, C, ...)
            N, C = x.shape[:2]
            if N % size:
                raise ValueError(f"{N} images are no whole number of groups of {size}")
            groups = N // size
            z = x.reshape(groups, size, C, -1).transpose(0, 1).reshape(size, groups * C, -1)
            weight, bias = (
                p.repeat(groups) if p is not None else p for p in (norm.weight, norm.bias)
            )
            z = F.batch_norm(z, None, None, weight, bias, training=True, eps=norm.eps)
            return z.reshape(size, groups, C, -1).transpose(0, 1).reshape(x.shape)

        return forward

    for norm in norms:
        norm.forward = forward_of(norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _widths(problem: Problem) -> tuple[np.ndarray, np.ndarray | None]:
    """Widths that are scored (n, L), drawn once for all; and their accuracies if they are known."""
    rng = np.random.default_rng(mix(0, SAMPLE))
    if problem.C is None:
        return problem.space.sample(rng, SAMPLE), None
    n = min(SAMPLE, len(problem.C))
    rows = np.sort(rng.choice(len(problem.C), size=n, replace=False))
    return problem.C[rows], problem.truth[rows]


def _trained(profile: Profile, method: str, seed: int) -> Cell:
    return supernets.cell(profile, method, seed, supernets.steps_of(profile, method, "passes"))


def _cell(profile: Profile, method: str, seed: int, statistics: str, size: int) -> Cell:
    trained = _trained(profile, method, seed)
    available = len(problem_of(profile).data.val)
    images = images_of(sizes_of(profile, available), available)
    key = dict(trained.key) | {"statistics": statistics, "size": size, "images": images}
    return Cell.of("bn_statistics", _run, trained.settings, **key)


def _run(
    settings: Profile,
    where: Where,
    file: Path,
    *,
    method: str,
    seed: int,
    steps: int,
    statistics: str,
    size: int,
    images: int,
) -> dict | None:
    """Score the sample of widths, on so many images, with statistics of one kind.

    Returns:
        correct (D, P, n): images right by draw, path and width. One draw where all images share
        a batch, and with running statistics.
    """
    problem = problem_of(settings, where.root)
    net = supernets.load_net(supernets.cell(settings, method, seed, steps), where)
    C, _ = _widths(problem)
    once, out = statistics == "running" or size == images, []
    for draw in range(1 if once else DRAWS):
        if where.over:
            return None
        split = _dealt(problem, images, seed, draw).to(where.device)
        if statistics == "running":
            scores = _with_running(net, C, split, problem.data.train, size)
        else:
            options = {"batch_size": images, "per_path": True, "amp": settings.fast}
            with in_groups(net, size):
                scores = evaluate_many(net, C, split, **options)  # (n, P)
        out.append(np.rint(scores * images).astype(int).T.tolist())
    return {"correct": out}


def _run_loss(
    settings: Profile, where: Where, file: Path, *, method: str, seed: int, steps: int, **key
) -> dict:
    """The mean cross entropy of the same widths, with the first way to deal the images.

    Returns:
        loss (P, n), nats.
    """
    problem = problem_of(settings, where.root)
    net = supernets.load_net(supernets.cell(settings, method, seed, steps), where)
    images, split = key["images"], _dealt(problem, key["images"], seed, 0).to(where.device)
    options = {"batch_size": images, "per_path": True, "amp": settings.fast, "metric": "loss"}
    with in_groups(net, key["size"]):
        losses = evaluate_many(net, _widths(problem)[0], split, **options)  # (n, P)
    return {"loss": losses.T.round(6).tolist()}


def _dealt(problem: Problem, images: int, seed: int, draw: int) -> Split:
    """The images that are scored on, always the same, in an order of this draw."""
    val, rng = problem.data.val, np.random.default_rng(mix(0, images))
    chosen = np.sort(rng.choice(len(val), size=images, replace=False))
    order = np.random.default_rng(mix(seed, draw, 8)).permutation(chosen)
    x, y = val.take(torch.from_numpy(order).to(val.device))
    return Split(x=x, y=y, name=val.name)


def _with_running(net, C, split: Split, train, size: int) -> np.ndarray:
    """Accuracy (n, P) of exported networks whose running statistics come from training images."""
    rng = np.random.default_rng(mix(1, size))
    index = np.sort(rng.choice(len(train), size=size, replace=False))
    x, _ = train.take(torch.from_numpy(index).to(train.device))
    batches = [x.to(split.device)]
    return np.array(
        [
            [accuracy(net.export(c, path, batches).eval(), split) for path in range(net.n_paths)]
            for c in C
        ]
    )


# ---------------------------------------------------------------------------- the record


def _asked(profile: Profile) -> list[tuple[str, int]]:
    """(statistics, size): batches of every size, and running statistics of as many images as
    there are, at most ``score_batch``."""
    data = problem_of(profile).data
    batch = [("batch", size) for size in sizes_of(profile, len(data.val))]
    return [*batch, ("running", min(len(data.train), profile.score_batch))]


def _loss_cells(profile: Profile, method: str, seed: int) -> dict[int, Cell]:
    """Size -> the cell of its losses, for the smallest and the largest size."""
    sizes = [size for statistics, size in _asked(profile) if statistics == "batch"]
    like = {size: _cell(profile, method, seed, "batch", size) for size in (sizes[0], sizes[-1])}
    return {n: Cell.of("bn_losses", _run_loss, c.settings, **dict(c.key)) for n, c in like.items()}


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    every = [(seed, method) for seed in seeds for method in METHODS]
    score = [_cell(profile, m, seed, *how) for seed, m in every for how in _asked(profile)]
    losses = [c for seed, m in every for c in _loss_cells(profile, m, seed).values()]
    return [[_trained(profile, m, seed) for seed, m in every], score + losses]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    problem, rows = problem_of(profile, where.root), []
    C, truth = _widths(problem)
    fits = problem.cost.macs(C) <= problem.budget
    asked = _asked(profile)
    largest = max(how for how in asked if how[0] == "batch")
    for seed in seeds:
        for method in METHODS:
            cells = {how: _cell(profile, method, seed, *how) for how in asked}
            images = dict(cells[largest].key)["images"]
            scores = {
                how: 100 * np.array(results[cell]["correct"]).mean(axis=1) / images  # (D, n)
                for how, cell in cells.items()
            }
            of_loss = {}
            if truth is not None:
                for size, cell in _loss_cells(profile, method, seed).items():
                    loss = np.mean(results[cell]["loss"], axis=0)  # (n,)
                    of_loss["batch", size] = correlations(-loss, truth).kendall
            for (statistics, size), mine in scores.items():
                row = {"seed": seed, "method": method, "statistics": statistics, "size": size}
                row["images"] = images + (size if statistics == "running" else 0)
                row["kendall_of_loss"] = of_loss.get((statistics, size))
                rows.append(row | _measures(mine, scores[largest].mean(axis=0), truth, fits))
    return rows


def _measures(scores: np.ndarray, largest: np.ndarray, truth, fits: np.ndarray) -> dict:
    """Numbers of a row, from scores (D, n) in percent of one kind of statistics.

    Args:
        largest: (n,) scores with the largest batches. truth: (n,) accuracies or None.
        fits: bool (n,), widths within the budget.
    """
    mean, D = scores.mean(axis=0), len(scores)
    pairs = list(combinations(range(D), 2))
    known = truth is not None
    ranked = [correlations(s, truth).kendall for s in scores] if known else None
    lost = [top_regret(s[fits], truth[fits], 1) for s in scores] if known else None
    repeat = [correlations(scores[a], scores[b]).kendall for a, b in pairs]
    same = [top_overlap(scores[a][fits], scores[b][fits], 1) for a, b in pairs]
    return {
        "level": float(mean.mean()),
        "bias": float((mean - largest).mean()),
        "uneven_bias": float((mean - largest).std()),
        "kendall": float(np.mean(ranked)) if known else None,
        "kendall_of_mean": correlations(mean, truth).kendall if known else None,
        "regret": float(np.mean(lost)) if known else None,
        "as_largest": float(np.mean([correlations(s, largest).kendall for s in scores])),
        "spread": float(scores.std(axis=0, ddof=1).mean()) if D > 1 else None,
        "repeat": float(np.mean(repeat)) if D > 1 else None,
        "same_best": float(np.mean(same)) if D > 1 else None,
    }


def _headline(rows: list[dict]) -> str:
    size = max(r["size"] for r in rows if r["statistics"] == "batch")
    mine = [
        r for r in rows if (r["method"], r["statistics"], r["size"]) == (METHODS[1], "batch", size)
    ]
    if mine[0]["kendall"] is None:
        return headline(f"score (%) with batches of {size} images", [r["level"] for r in mine])
    return headline(
        f"Kendall with batches of {size} images", [r["kendall"] for r in mine], digits=3
    )


BN_STATISTICS = Experiment(
    name="bn_statistics",
    profiles=PROFILES["bn_statistics"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing="spread, repeat, same_best: all images share one batch, or statistics are running; "
    "kendall_of_loss: only with the smallest and the largest batches; "
    "kendall, kendall_of_mean, regret: only a benchmark knows the accuracy of every width",
)
