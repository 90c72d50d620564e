"""How the shapes of a network's layers follow its widths, for every call of a leaf module.

A shape is an integer array (dimensions, 1 + G): a constant, and what each channel of each of the G
groups of the graph adds. It is found by running the network on the meta device with one group after
another narrowed. No operation is computed.
"""

import numpy as np
import torch
from torch import Tensor

from .graph import GraphError, to_meta
from .resize import resize

__all__ = ["channel_row", "shape", "size", "trace_calls"]


def trace_calls(model, space, batch: int) -> list[tuple[str, list[np.ndarray]]]:
    """Calls of leaf modules in forward order: name, and the shapes of inputs and output.

    Args:
        model: the network. space: its ``WidthSpace``. batch: images a forward pass.
    """
    graph, meta = space.graph, to_meta(model).eval()
    full = np.array([g.width for g in graph.groups])
    base = _run(meta, graph, full, batch)
    forms = [[np.zeros((len(s), 1 + len(full)), dtype=int) for s in shapes] for _, shapes in base]
    for g, group in enumerate(graph.groups):
        if group.width == group.multiple:
            continue  # a single block has no other width
        fewer = full - group.multiple * (np.arange(len(full)) == g)
        for form, (_, shapes), (_, narrow) in zip(
            forms, base, _run(meta, graph, fewer, batch), strict=True
        ):
            for f, a, b in zip(form, shapes, narrow, strict=True):
                f[:, 1 + g] = np.subtract(a, b) // group.multiple
    for form, (_, shapes) in zip(forms, base, strict=True):
        for f, a in zip(form, shapes, strict=True):
            f[:, 0] = a - f[:, 1:] @ full
    return [(name, form) for (name, _), form in zip(base, forms, strict=True)]


def _run(meta, graph, counts, batch: int) -> list[tuple[str, list[tuple[int, ...]]]]:
    """Calls of leaf modules at these channel counts, with the shapes of inputs and output."""
    net, calls = resize(meta, graph, counts.tolist()), []

    def note(name):
        def hook(_, inputs, output):
            tensors = [x for x in (*inputs, output) if isinstance(x, Tensor)]
            calls.append((name, [tuple(x.shape) for x in tensors]))

        return hook

    for name, module in net.named_modules():
        if not any(module.children()):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        net(torch.empty((batch, *graph.example_shape), device="meta"))
    return calls


def channel_row(layer: str, form: np.ndarray) -> np.ndarray:
    """The row of a shape that changes with the widths, (1 + G,); zeros if none does.

    Raises:
        GraphError: if several do; names the layer.
    """
    rows = form[(form[:, 1:] != 0).any(axis=1)]
    if len(rows) > 1:
        raise GraphError(
            f"the input or output of '{layer}' changes with the widths along {len(rows)} of its "
            f"{len(form)} dimensions: only one, the channels, can be put into a latency table"
        )
    return rows[0] if len(rows) else np.zeros(form.shape[1], dtype=int)


def size(form: np.ndarray, counts) -> int:
    """One row at the channel counts (G,) of all groups."""
    return int(form[0] + form[1:] @ counts)


def shape(form: np.ndarray, counts) -> list[int]:
    """A whole shape at the channel counts (G,)."""
    return [size(row, counts) for row in form]
