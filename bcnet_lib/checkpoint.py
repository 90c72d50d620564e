"""Files that are whole or absent: written under another name first, with a checksum inside.

A file is one line ``bcnet <sha256>`` and then the content. No pickled objects: what is loaded is
tensors, numbers and text.
"""

import hashlib
import io
import json
import pickle
from dataclasses import asdict
from pathlib import Path

import torch

from . import distributed
from .files import write_whole

__all__ = [
    "CheckpointError",
    "check_every",
    "exists",
    "load_weights",
    "read",
    "read_state",
    "same_settings",
    "settings_of",
    "weights_digest",
    "write",
    "write_state",
]

_MAGIC = b"bcnet "
_HEADER = len(_MAGIC) + 64 + 1  # magic, hexadecimal digest, newline


class CheckpointError(RuntimeError):
    """A checkpoint that is damaged, or that other settings made."""


def write(path: str | Path, content: bytes) -> None:
    """Replace the file at path by content in one step, so that a kill leaves the old or the new.

    Of several processes the first one does.
    """
    if not distributed.is_first():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest().encode()
    write_whole(path, _MAGIC + digest + b"\n" + content)


def read(path: str | Path) -> bytes:
    """What ``write`` wrote.

    Raises:
        CheckpointError: if the file is no checkpoint or its checksum is wrong.
    """
    data = Path(path).read_bytes()
    header, content = data[:_HEADER], data[_HEADER:]
    if header != _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n":
        what = "is damaged" if data.startswith(_MAGIC) else "is no checkpoint of bcnet_lib"
        raise CheckpointError(
            f"checkpoint '{path}' {what} (its checksum does not match): delete it to start anew, "
            "or name another file"
        )
    return content


def exists(path: str | Path) -> bool:
    """Whether there is such a file, as the first of several processes sees it: it writes them."""
    return distributed.call_first(Path(path).exists)


def write_state(path: str | Path, state: dict) -> None:
    """Write a dict of tensors, numbers, text, lists and dicts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write(path, buffer.getvalue())


def read_state(path: str | Path) -> dict:
    """What ``write_state`` wrote, with its tensors on the CPU.

    Raises:
        CheckpointError: if the file is no checkpoint, its checksum is wrong, or it is a file of
            another kind.
    """
    content = io.BytesIO(read(path))
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        state = error
    if not isinstance(state, dict):
        cause = state if isinstance(state, Exception) else None
        raise CheckpointError(
            f"checkpoint '{path}' is a whole file of bcnet_lib, but of another kind (of a search, "
            "or a table): name another file"
        ) from cause
    return state


def load_weights(path: str | Path, net, state: dict) -> None:
    """Load a network's state from a checkpoint, all of it or nothing.

    Args:
        path: for the message. net: module. state: what its ``state_dict`` was.
    Raises:
        CheckpointError: naming the first parameter that is missing, or has another shape.
    """
    own = net.state_dict()
    for name in {**own, **state}:
        here, there = own.get(name), state.get(name)
        if here is None or there is None or here.shape != there.shape:
            raise CheckpointError(
                f"checkpoint '{path}' belongs to another network: {name} is {_shape(here)} here, "
                f"{_shape(there)} in the file. Restore the network, or name another file"
            )
    net.load_state_dict(state)


def weights_digest(net) -> str:
    """SHA-256 over names and values of a network's state."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shape(tensor) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"


def check_every(checkpoint, every: int | None) -> None:
    """Check the steps between checkpoints; None: no checkpoints on the way.

    Raises:
        ValueError: if there is no file to write to, or every is below 1 step.
    """
    if every is not None and (checkpoint is None or every < 1):
        raise ValueError(f"checkpoint_every={every} needs a checkpoint file and at least 1 step")


def settings_of(*, space=None, data=None, recipe=None) -> dict:
    """What a checkpoint must know of the objects it was made with, as a flat dict for JSON.

    Args:
        space: ``WidthSpace``. data: ``Data`` (its training split). recipe: ``Recipe``.
    """
    out: dict = {}
    if recipe is not None:
        out |= {f"recipe.{k}": v for k, v in asdict(recipe).items()}
    if data is not None:
        about = data.describe()
        out |= {f"data.{k}": about[k] for k in ("name", "seed", "shape", "mean", "std")}
        out["data.train"] = about["train"]["sha256"]
    if space is not None:
        out["space.K"] = int(space.K)
        out["space.base"] = [int(b) for b in space.base]
        out["space.groups"] = [f"{g.name}:{g.width}" for g in space.groups]
    return out


def same_settings(
    path: str | Path, here: dict, there: dict, otherwise: str = "name another file"
) -> None:
    """Check that a checkpoint was made by the settings that want to go on with it.

    Args:
        path: for the message. here, there: flat dicts of values that JSON can hold.
        otherwise: what else the message says to do.
    Raises:
        CheckpointError: naming every setting that differs, with both values.
    """
    here = json.loads(json.dumps(here))  # tuples become lists, as they did in the file
    differ = [k for k in {**here, **there} if here.get(k) != there.get(k)]
    if differ:
        values = "; ".join(
            f"{k} is {_short(here.get(k))}, was {_short(there.get(k))}" for k in differ
        )
        raise CheckpointError(
            f"checkpoint '{path}' belongs to other settings: {values}. Restore them, or {otherwise}"
        )


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
