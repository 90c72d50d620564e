"""Scores on file, so that an interrupted search goes on where it stopped.

A search is repeated from its seed with the scores at hand, and so ends as it would have without
the interruption.
"""

import hashlib
import json
import math
from pathlib import Path

from .. import checkpoint
from ..checkpoint import CheckpointError
from .result import Scores

__all__ = ["load_scores", "save_scores", "score_settings"]


def score_settings(net, data, split, score) -> dict:
    """What scores depend on, for the checkpoint."""
    settings = checkpoint.settings_of(space=net.space)
    if score is not None:
        return settings | {"score": getattr(score, "__qualname__", type(score).__name__)}
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    images = getattr(data, split) if isinstance(split, str) else split
    labels = hashlib.sha256(images.y.cpu().numpy().tobytes()).hexdigest()
    return settings | {
        "score": "evaluate",
        "supernet.principle": repr(net.principle),
        "supernet.weights": digest.hexdigest(),
        "split.labels": labels,
    }


def save_scores(path, settings: dict, scores: Scores) -> None:
    """Write all scores known so far, all of them or nothing."""
    table = [[*key, value] for key, value in scores.known.items()]
    checkpoint.write(path, json.dumps({"settings": settings, "scores": table}).encode())


def load_scores(path, settings: dict) -> dict[tuple, float]:
    """Scores of an interrupted search, width -> score; none where there is no file.

    Raises:
        CheckpointError: if the file is damaged or belongs to another search (named).
    """
    if not Path(path).exists():
        return {}
    try:
        state = json.loads(checkpoint.read(path))
        table = state["scores"]
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint '{path}' is not one of a search") from error
    checkpoint.same_settings(path, settings, state["settings"])
    known = {tuple(key): value for *key, value in table}
    return {key: value for key, value in known.items() if math.isfinite(value)}
