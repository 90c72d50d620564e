"""A found network on disk: safetensors weights and a small JSON of widths. No pickle.

``save`` notes how the unpruned network is made (a function that can be imported, and its keyword
arguments); ``load`` calls it in a new process, gives it the widths, and fills in the weights.
"""

import hashlib
import json
import os
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .graph import GraphError, discover
from .resize import resize
from .space import WidthSpace

__all__ = ["load", "save", "saved"]

FORMAT = "bcnet-network-1"
_KEYS = ("factory", "kwargs", "example_shape", "channels", "training", "sha256")  # load needs them


def save(path, network: nn.Module, space: WidthSpace, c, *, factory, **kwargs) -> Path:
    """Write a found network to a folder: ``weights.safetensors`` and ``network.json``.

    Args:
        path: folder; made if absent. Each file is replaced atomically, the JSON last.
        network: what ``space.build`` or ``Supernet.export`` returned, trained or not.
        space: the space it was found in. c: its width vector (L,).
        factory: the function or class that makes the *unpruned* network,
            such as ``torchvision.models.mobilenet_v2``; importable, so neither a lambda nor defined
            in ``__main__`` (a notebook): put it in a ``.py`` file.
        kwargs: keyword arguments of the factory; must be JSON.
    Returns:
        the folder.
    Raises:
        GraphError: the factory cannot be imported again, or does not make this network.
    """
    path = Path(path)
    c = space.check(c)
    name = _importable(factory)
    try:
        json.dumps(kwargs)
    except TypeError as error:
        raise GraphError(f"{name}({_call(kwargs)}): arguments must be JSON ({error})") from error
    counts = space.all_channels(space.channels(c)).tolist()
    channels = dict(zip([g.name for g in space.graph.groups], counts, strict=True))
    expected = _make(name, kwargs, space.graph.example_shape, channels)
    _compare(expected, network, f"{name}({_call(kwargs)}) at widths {c.tolist()}")
    path.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    weights = path / "weights.safetensors"
    temporary = path / "weights.safetensors.tmp"
    save_file(_untied(state), temporary)
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, weights)
    meta = {
        "format": FORMAT,
        "factory": name,
        "kwargs": kwargs,
        "example_shape": list(space.graph.example_shape),
        "K": space.K,
        "base": space.base.tolist(),
        "widths": c.tolist(),
        "channels": channels,
        "training": network.training,
        "sha256": digest,
    }
    temporary = path / "network.json.tmp"
    temporary.write_text(json.dumps(meta, indent=1) + "\n")
    os.replace(temporary, path / "network.json")
    return path


def load(path, *, device="cpu") -> nn.Module:
    """Rebuild a saved network in a new process.

    It imports and calls the factory named in ``network.json``, so load only files you trust as much
    as the code you run.

    Args:
        path: the folder ``save`` wrote.
    Returns:
        plain ``nn.Module``, in the mode (training or evaluation) it was saved in.
    Raises:
        FileNotFoundError: no such folder or file. ValueError: not such a file, or corrupt.
        GraphError: the factory no longer makes this network.
    """
    path = Path(path)
    meta = saved(path)
    weights = path / "weights.safetensors"
    if not weights.exists():
        raise FileNotFoundError(
            f"{weights} does not exist, though network.json does; save it again"
        )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != meta["sha256"]:
        then = meta["sha256"]
        raise ValueError(f"{weights} is corrupt: sha256 {digest[:12]}…, saved as {then[:12]}…")
    network = _make(meta["factory"], meta["kwargs"], meta["example_shape"], meta["channels"])
    state, tied = load_file(weights), _shared_names(network)
    want = {k: tuple(v.shape) for k, v in state.items()}
    have = {
        k: tuple(v.shape) for k, v in network.state_dict().items() if k in want or k not in tied
    }
    if want != have:
        key = _first_difference(want, have)
        raise GraphError(
            f"{meta['factory']} now makes another network: '{key}' was saved as {want.get(key)} "
            f"and is {have.get(key)} there"
        )
    network.load_state_dict(state, strict=False)  # without the second names of tied weights
    return network.to(device).train(meta["training"])


def saved(path) -> dict:
    """What ``network.json`` of a saved network says, without building the network.

    Args:
        path: the folder ``save`` wrote.
    Returns:
        factory, kwargs, example_shape (C, H, W), K, base, widths (L,), channels by group, …
    Raises:
        FileNotFoundError: no such folder or file. ValueError: not such a file.
    """
    path = Path(path)
    file = path / "network.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist: give load the folder that save wrote")
    try:
        meta = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON ({error}); save the network again") from error
    have = meta.get("format") if isinstance(meta, dict) else None
    if have != FORMAT:
        raise ValueError(f"{file} has format {have!r}, this version reads {FORMAT!r}")
    if lost := [key for key in _KEYS if key not in meta]:
        raise ValueError(f"{file} lacks {', '.join(lost)}; save the network again")
    return meta


def _make(name, kwargs, example_shape, channels: dict[str, int]) -> nn.Module:
    """The network with these channels in the named groups; weights are not initialised."""
    module, _, attribute = name.partition(":")
    try:
        factory = import_module(module)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise GraphError(f"cannot import {name} ({error}); it must be importable here") from error
    try:
        model = factory(**kwargs)
    except Exception as error:
        raise GraphError(f"{name}({_call(kwargs)}) fails: {error}") from error
    graph = discover(model, torch.empty((1, *example_shape)))
    counts = [channels.get(g.name, g.width) for g in graph.groups]  # the others were fixed
    return resize(model, graph, counts)


def _importable(factory) -> str:
    module, name = getattr(factory, "__module__", None), getattr(factory, "__qualname__", "")
    if module in (None, "__main__") or "<" in name:
        raise GraphError(
            f"factory {factory!r} cannot be imported from a new process: "
            "move it to a .py file and import it from there"
        )
    return f"{module}:{name}"


def _compare(expected: nn.Module, network: nn.Module, what: str) -> None:
    want = {k: tuple(v.shape) for k, v in expected.state_dict().items()}
    have = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    if want != have:
        key = _first_difference(want, have)
        raise GraphError(
            f"{what} is not this network: '{key}' is {want.get(key)} there and {have.get(key)} here"
        )


def _first_difference(a: dict, b: dict) -> str:
    return next(k for k in {**a, **b} if a.get(k) != b.get(k))


def _untied(state) -> dict:
    """Each stored once: safetensors refuses two names for the same memory."""
    seen, out = set(), {}
    for name, t in state.items():
        if t.data_ptr() not in seen or t.numel() == 0:
            out[name] = t
            seen.add(t.data_ptr())
    return out


def _shared_names(network: nn.Module) -> set[str]:
    unique = {name for name, _ in network.named_parameters()}
    return {name for name, _ in network.named_parameters(remove_duplicate=False)} - unique


def _call(kwargs) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in kwargs.items())
