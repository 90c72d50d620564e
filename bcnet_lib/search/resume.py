"""Scores on file, so that an interrupted search goes on where it stopped.

A search is repeated from its seed with the scores at hand, and so ends as it would have without
the interruption.

A score that the caller gives cannot be told from another by its name: two lambdas have the same. So
one width on file is scored again, and must come out as it did. A score with chance in it, or one
that depends on what else changed, is refused by that.
"""

import hashlib
import json
import math

import numpy as np

from .. import checkpoint
from ..checkpoint import CheckpointError
from .result import Scores, split_of

__all__ = ["load_scores", "save_scores", "score_settings"]


def score_settings(net, data, split, score) -> dict:
    """What scores depend on, for the checkpoint."""
    settings = checkpoint.settings_of(space=net.space)
    if score is not None:
        return settings | {"score": getattr(score, "__qualname__", type(score).__name__)}
    images = split_of(data, split)
    return settings | {
        "score": "evaluate",
        "supernet.principle": repr(net.principle),
        "supernet.weights": checkpoint.weights_digest(net),
        "split.images": _digest(*images.contents()),
        "split.labels": _digest(images.y),
    }


def _digest(*tensors) -> str:
    """What tells tensors from others; None has no part in it."""
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()))
    return digest.hexdigest()


def save_scores(path, settings: dict, scores: Scores) -> None:
    """Write all scores known so far, all of them or nothing."""
    table = [[*key, value] for key, value in scores.known.items()]
    checkpoint.write(path, json.dumps({"settings": settings, "scores": table}).encode())


def load_scores(path, settings: dict, score=None) -> dict[tuple, float]:
    """Scores of an interrupted search, width -> score; none where there is no file.

    Args:
        score: the search's own score, if it has one: the first width of the file is scored again
            (see above), which must give the stored score to a relative 1e-9.
    Raises:
        CheckpointError: if the file is damaged or belongs to another search (named).
    """
    if not checkpoint.exists(path):
        return {}
    try:
        state = json.loads(checkpoint.read(path))
        there = dict(state["settings"])
        known = {tuple(key): float(value) for *key, value in state["scores"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint '{path}' is not one of a search") from error
    checkpoint.same_settings(path, settings, there)
    known = {key: value for key, value in known.items() if math.isfinite(value)}
    if score is not None and known:
        _same_score(path, *next(iter(known.items())), score)
    return known


def _same_score(path, key: tuple, stored: float, score) -> None:
    now = Scores(score)(np.array(key, dtype=np.int64), 0)
    if not math.isclose(now, stored, rel_tol=1e-9):
        raise CheckpointError(
            f"checkpoint '{path}' holds the score {stored!r} of widths {list(key)}, and score "
            f"gives {now!r} now: it was another score, or the score has chance in it. Restore it, "
            "or name another file"
        )
