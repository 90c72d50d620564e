"""Cells that train a supernet: its weights, the errors of its records, the scores of a benchmark.

Several experiments read the same supernets: each is trained once, whoever asks for it first.
"""

import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from .. import distributed
from ..checkpoint import load_weights, read_state, weights_digest, write_state
from ..evaluate import evaluate_many
from ..fairness import unevenness
from ..methods import AT_ONCE, METHODS, Method, passes_a_step
from ..profiles import Profile
from ..search import layer_errors
from ..supernet import Supernet
from ..train import SupernetTrainer
from .cells import Cell, Where
from .problem import problem_of

__all__ = ["EQUAL", "cell", "errors_of", "load_net", "run", "scores_of", "steps_of"]

EQUAL = ("passes", "steps")  # what all methods have the same number of
CHUNK = 64  # widths scored between two looks at the clock
KNOWN = METHODS | AT_ONCE

# a supernet depends on these settings only: experiments that differ in others share it
_DECIDE = (
    *("network", "data", "K", "base", "batch_size", "lr", "weight_decay", "val", "widths"),
    *("score_batch", "augment", "fast", "checkpoint_every"),
)


def method_of(name: str) -> Method:
    """A method by its name.

    Raises:
        ValueError: if it is unknown.
    """
    if name not in KNOWN:
        known = ", ".join(f"'{m}'" for m in KNOWN)
        raise ValueError(f"unknown method {name!r}: known are {known}")
    return KNOWN[name]


def steps_of(profile: Profile, method: str, equal: str) -> int:
    """Optimiser steps a method gets.

    Args:
        equal: ``"passes"`` or ``"steps"``, what all methods have in common.
    Raises:
        ValueError: for another word, or passes that are no whole number of the method's steps.
    """
    if equal not in EQUAL:
        raise ValueError(f"equal must be one of {', '.join(EQUAL)}, got {equal!r}")
    if equal == "steps":
        return profile.steps
    a_step = passes_a_step(method_of(method))
    if profile.passes % a_step:
        raise ValueError(
            f"passes={profile.passes}: {method} takes {a_step} a step, choose a multiple of it"
        )
    return profile.passes // a_step


def cell(profile: Profile, method: str, seed: int, steps: int) -> Cell:
    """The cell that trains a supernet over ``profile.K`` and ``profile.base``."""
    method_of(method)
    decide = {f.name: getattr(profile, f.name) for f in fields(Profile) if f.name in _DECIDE}
    settings = Profile(**decide)
    return Cell.of("supernets", run, settings, method=method, seed=seed, steps=steps)


def run(
    settings: Profile, where: Where, file: Path, *, method: str, seed: int, steps: int
) -> dict | None:
    """Train one supernet and score the widths of its benchmark through every path.

    Its weights stay in ``file`` with the ending ``.weights``.

    Returns:
        passes; uneven, uneven_block (``fairness.unevenness``); errors (L, K), what a prior is
        fitted to (Eq. 13), None where a width never occurred; correct (P, n), the images of
        ``images`` that each path of each width has right, None without a benchmark.
    """
    how, problem = method_of(method), problem_of(settings, where.root)
    weights, training = file.with_suffix(".weights"), file.with_suffix(".training")
    net = problem.supernet(how.principle, seed, where.device)
    trainer = SupernetTrainer(
        net,
        problem.data,
        problem.supernet_recipe(steps),
        update=how.update,
        complement=how.complement,
        distill=how.distill,
        at_once=how.at_once,
        seed=seed,
        checkpoint=training,
        checkpoint_every=settings.checkpoint_every,
        progress=False,
    ).fit(minutes=where.left())
    if trainer.step < trainer.total_steps:
        return None
    correct = _correct(problem, net, file.with_suffix(".scores"), where)
    if correct is None and problem.bench is not None:
        return None
    seen = trainer.records
    uneven, block = unevenness(net, zip(seen.widths, seen.paths.tolist(), strict=True))
    with warnings.catch_warnings():  # widths never seen are None below, and interpolated later
        warnings.simplefilter("ignore", UserWarning)
        errors = layer_errors(seen, space=problem.space)
    write_state(weights, {"net": net.state_dict()})
    if distributed.is_first():
        for path in (training, file.with_suffix(".scores")):
            path.unlink(missing_ok=True)
    return {
        "passes": trainer.passes,
        "uneven": uneven,
        "uneven_block": block,
        "errors": [[round(e, 6) if np.isfinite(e) else None for e in row] for row in errors],
        "images": len(problem.data.val),
        "correct": correct,
    }


def _correct(problem, net, partial: Path, where: Where) -> list[list[int]] | None:
    """Images right, by path and width (P, n); None if the time was not enough.

    Goes on with the scores in ``partial`` if they are of the same weights: a supernet that had to
    be trained again may be another one, by another version of the library say.
    """
    if problem.bench is None:
        return None
    images, weights = len(problem.data.val), weights_digest(net)
    before = read_state(partial) if partial.exists() else {}
    right = torch.empty(0, net.n_paths)  # (widths scored, P)
    if before.get("weights") == weights:
        right = before["right"]
    options = {"batch_size": problem.profile.score_batch, "amp": problem.profile.fast}
    while len(right) < len(problem.C):
        if where.over:
            return None
        chunk = problem.C[len(right) : len(right) + CHUNK]
        new = evaluate_many(net, chunk, problem.data.val, per_path=True, **options)  # (m, P)
        right = torch.cat([right, torch.from_numpy(np.rint(new * images)).float()])
        write_state(partial, {"right": right, "weights": weights})
    return right.T.int().tolist()


def scores_of(result: dict) -> np.ndarray:
    """Accuracy in [0, 1] of every width of the benchmark through every path; (n, P)."""
    return np.array(result["correct"]).T / result["images"]


def errors_of(result: dict) -> np.ndarray:
    """Errors of the training records (L, K), NaN where a width never occurred (Eq. 13)."""
    return np.array(result["errors"], dtype=float)


def load_net(cell: Cell, where: Where) -> Supernet:
    """The trained supernet of a finished cell, on the device."""
    path = cell.path(where.folder).with_suffix(".weights")
    key = dict(cell.key)
    problem = problem_of(cell.settings, where.root)
    net = problem.supernet(method_of(key["method"]).principle, key["seed"], where.device)
    load_weights(path, net, read_state(path)["net"])
    return net
