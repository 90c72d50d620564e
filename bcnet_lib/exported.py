"""What an exported file holds and gives: ONNX, or an exported program of PyTorch.

Nothing here looks at the network the file was made from.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["MISSING", "DeployError", "count", "is_program", "runner"]

MISSING = "ONNX needs packages that are not installed ({}): pip install 'bcnet_lib[export]'"


class DeployError(ValueError):
    """A network that cannot be exported as it is, or a file that is not the network."""


def runner(source: str | Path | bytes, *, threads: int | None = None) -> Callable[[Tensor], Tensor]:
    """A function from images (B, C, H, W) to outputs, both on the CPU, that runs an exported file.

    Args:
        source: an ONNX file or an exported program: its path, or its content.
        threads: of onnxruntime; None: it chooses.
    Raises:
        DeployError: if it is neither, or damaged.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "these bytes" if isinstance(source, bytes) else str(source)
    if is_program(content):
        module = load_program(content, name).module()

        def run(x: Tensor) -> Tensor:
            with torch.no_grad():
                return module(x)

        return run
    try:
        import onnxruntime
    except ImportError as error:
        raise DeployError(MISSING.format(error.name)) from error
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # of several kinds, with a common base class in no public module
        raise DeployError(f"{name} is no ONNX file that onnxruntime can run: {error}") from error
    images = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {images: x.numpy()})[0])


def count(content: bytes, name: str) -> dict[str, int]:
    """What a file costs, read from its operations: ``macs`` an image, and ``weights``.

    Weights are those of convolutions and linear layers, each counted once. An exported program
    also has ``params``; in an ONNX file BatchNorm is no parameter any more.

    Args:
        content: of the file. name: for messages.
    Raises:
        DeployError: if it is neither kind of file, or damaged.
    """
    return (_count_pt2 if is_program(content) else _count_onnx)(content, name)


def is_program(content: bytes) -> bool:
    """Whether it is an exported program of PyTorch, by its first bytes."""
    return content[:2] == b"PK"  # an exported program is a zip archive


@lru_cache(maxsize=1)  # costs and outputs are looked at one after the other
def load_program(content: bytes, name: str) -> torch.export.ExportedProgram:
    """The exported program; ``name`` stands in the error."""
    try:
        return torch.export.load(io.BytesIO(content))
    except Exception as error:
        raise DeployError(f"{name} is no exported program of PyTorch: {error}") from error


def _count_pt2(content: bytes, name: str) -> dict[str, int]:
    """MACs and weights of convolutions and linear layers, and all parameters."""
    program = load_program(content, name)
    macs, weights = 0, {}
    for node in program.graph.nodes:
        kind = node.target.name() if hasattr(node.target, "name") else ""
        if node.op == "call_function" and kind.split(".")[0] in (
            "aten::conv2d",
            "aten::convolution",
            "aten::linear",
        ):
            weight = node.args[1].meta["val"]  # (out, in / groups, …)
            macs += prod(node.meta["val"].shape[1:]) * prod(weight.shape[1:])
            weights[node.args[1].name] = prod(weight.shape)
    params = {id(p): p.numel() for p in program.parameters()}
    return {"macs": macs, "weights": sum(weights.values()), "params": sum(params.values())}


def _count_onnx(content: bytes, name: str) -> dict[str, int]:
    """MACs and weights of convolutions and linear layers, from the shapes in the file."""
    try:
        import onnx
    except ImportError as error:
        raise DeployError(MISSING.format(error.name)) from error
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:
        raise DeployError(f"{name} is no ONNX file: {error}") from error
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    known = set(shapes)
    for v in [*graph.value_info, *graph.output]:
        shapes.setdefault(v.name, tuple(d.dim_value for d in v.type.tensor_type.shape.dim))
    macs, weights = 0, {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in known:
            weight = shapes[node.input[1]]
            inner = (
                prod(weight[1:]) if node.op_type == "Conv" else prod(weight) // _out(node, weight)
            )
            macs += prod(shapes[node.output[0]][1:]) * inner
            weights[node.input[1]] = prod(weight)
    return {"macs": macs, "weights": sum(weights.values())}


def _out(node, weight: tuple[int, ...]) -> int:
    """Outputs of a linear layer: Gemm may hold its weight transposed."""
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    return weight[0] if turned else weight[-1]
