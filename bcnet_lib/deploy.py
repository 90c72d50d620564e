"""A found network as a file that other programs run: ONNX, and PyTorch's own exported program.

    python -m bcnet_lib.deploy FOLDER --onnx net.onnx --pt2 net.pt2

``FOLDER`` is what ``bcnet_lib.save`` wrote. A file is written only after it was run: its outputs
are compared with the network's on random images, in batches of several sizes, and on your own
images if you give them. The difference that counts is the largest one of any output, divided by the
largest output of the network on the same images. And what the file costs is read from the file
itself, and must be what ``CostTable`` says of the network: every parameter, every
multiply-accumulate.

ONNX needs the extra ``bcnet_lib[export]``.
"""

import argparse
import copy
import io
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .cost import CostTable
from .exported import MISSING, DeployError, count, runner
from .files import write_whole
from .io import load, saved
from .space import WidthSpace

__all__ = [
    "TOLERANCE",
    "DeployError",
    "Deployed",
    "check",
    "costs",
    "export",
    "ready",
    "runner",
    "to_onnx",
    "to_pt2",
]

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest output."""
_ANY_BATCH = ({0: torch.export.Dim("batch")},)  # of the only argument, dimension 0
_BATCHES = (1, 3)  # sizes of the random batches: the file must take any


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A file that was compared with its network."""

    path: Path
    bytes: int
    """Size of the file."""
    macs: int
    """Multiply-accumulates an image, added up over the operations in the file."""
    params: int
    """Parameters of the network; what is left of them in an ONNX file, where BatchNorm is folded
    into convolutions, is less."""
    difference: float
    """Largest difference of an output over ``scale``, of all images compared."""
    scale: float
    """Largest output of the network on those images, in absolute value."""
    images: int
    """How many images were compared."""

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.bytes / 1e6:.2f} MB, {self.macs / 1e6:.2f} M MACs, "
            f"{self.params / 1e6:.3f} M parameters; {self.images} images, largest difference "
            f"{self.difference:.1e} of the largest output"
        )


def export(
    network: nn.Module,
    example_input: Tensor,
    *,
    onnx: str | Path | None = None,
    pt2: str | Path | None = None,
    images: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> list[Deployed]:
    """Write a network as one ONNX file, as PyTorch's exported program, or as both.

    The second is loaded with ``torch.export.load`` and needs neither this library nor the network's
    class. Both take any number of images.

    Args:
        network: plain ``nn.Module`` in evaluation mode, one image batch in, one tensor out; on any
            device (it is exported from the CPU), in float32.
        example_input: (B, C, H, W) images; their size is fixed in the file, their number is not.
        onnx, pt2: paths; a file is replaced in one step, once the new content was checked.
        images: (n, C, H, W) real images, as the network was trained on them; compared as well.
        tolerance: see ``check``.
    Returns:
        what was found in each file, ONNX first.
    Raises:
        DeployError: if the network is in training mode, has no running statistics or has numbers
            that are not finite; if it cannot be exported; if a file differs from it.
    """
    network, x = ready(network, example_input)
    program, out = _program(network, x), []
    for path, make in ((onnx, _onnx), (pt2, _pt2)):
        if path is not None:
            content = make(program, network, x)
            found = _compare(network, x, content, images, tolerance, str(path))
            out.append(_written(path, content, found))
    return out


def to_onnx(network, example_input, path, **options) -> Deployed:
    """``export`` to ONNX alone."""
    return export(network, example_input, onnx=path, **options)[0]


def to_pt2(network, example_input, path, **options) -> Deployed:
    """``export`` to an exported program alone."""
    return export(network, example_input, pt2=path, **options)[0]


def check(network, example_input, path, *, images=None, tolerance=TOLERANCE) -> Deployed:
    r"""Compare a file with a network.

    .. math:: \max_{i, k} |f_{ik} - n_{ik}| \le \text{tolerance} \cdot \max_{i, k} |n_{ik}|

    with outputs k of the file, f, and of the network, n, on images i.

    Args:
        network, example_input, images: as in ``export``.
        path: a file that ``export`` wrote, in this or another run.
        tolerance: as above.
    Raises:
        DeployError: if an output differs by more, or is not finite; if MACs or parameters differ.
    """
    path = Path(path)
    if not path.is_file():
        raise DeployError(f"{path} does not exist: write it with export")
    network, x = ready(network, example_input)
    content = path.read_bytes()
    found = _compare(network, x, content, images, tolerance, str(path))
    return Deployed(path=path, bytes=len(content), **found)


def costs(network: nn.Module, example_input: Tensor) -> tuple[int, int]:
    """(MACs an image, parameters) of a network as it is, by ``CostTable``."""
    space = WidthSpace.from_model(network, example_input, K=1)
    table = CostTable(network, space, example_input)
    return table.macs(space.full), table.params(space.full)


# ---------------------------------------------------------------------------- before


def ready(network: nn.Module, example_input: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of the network on the CPU and images for it; refuses what would be exported wrongly.

    Raises:
        DeployError: naming the module or tensor.
    """
    kind = type(network).__name__
    if training := [name for name, m in network.named_modules() if m.training]:
        what = f"'{training[0]}' of {kind}" if training[0] else kind
        raise DeployError(f"{what} is in training mode: call network.eval() first")
    tensors = [*network.named_parameters(), *network.named_buffers()]
    if empty := [name for name, t in tensors if t.is_meta]:
        raise DeployError(f"'{empty[0]}' is on the meta device and has no values")
    for name, m in network.named_modules():
        if isinstance(m, _BatchNorm) and _without_statistics(m):
            raise DeployError(
                f"BatchNorm '{name}' has no running statistics yet: train the network, or set them "
                "with bcnet_lib.supernet.recalibrate(network, batches) or export(c, batches=…)"
            )
    for name, t in tensors:
        if t.is_floating_point() and t.dtype != torch.float32:
            raise DeployError(f"'{name}' is {t.dtype}: call network.float() first")
        if not torch.isfinite(t).all():
            raise DeployError(f"'{name}' holds numbers that are not finite: {kind} was not trained")
    plain = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    x = torch.zeros(2, *example_input.shape[1:])  # two: a batch of one would be fixed in the file
    try:
        with torch.no_grad():
            out = plain(x)
    except Exception as error:
        shape = tuple(example_input.shape[1:])
        raise DeployError(f"{kind} cannot run on images of shape {shape}: {error}") from error
    if not isinstance(out, Tensor):
        raise DeployError(f"{kind} returns {type(out).__name__}, not one tensor")
    return plain, x


def _without_statistics(m: _BatchNorm) -> bool:
    if m.running_mean is None:
        return True
    fresh = m.num_batches_tracked is not None and m.num_batches_tracked == 0
    return bool(fresh and (m.running_mean == 0).all() and (m.running_var == 1).all())


# ---------------------------------------------------------------------------- export


def _program(network: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(network, (x,), dynamic_shapes=_ANY_BATCH)
    except Exception as error:
        kind = type(network).__name__
        raise DeployError(f"torch.export cannot take {kind} for any batch size: {error}") from error


def _onnx(program: torch.export.ExportedProgram, network: nn.Module, x: Tensor) -> bytes:
    options = {"input_names": ["images"], "output_names": ["outputs"], "verbose": False}
    options |= {"dynamic_shapes": _ANY_BATCH, "optimize": False}
    try:
        with warnings.catch_warnings():  # of the exporter about its own parts
            warnings.simplefilter("ignore")
            made = torch.onnx.export(program, (x,), dynamo=True, **options)
    except ImportError as error:  # onnx or onnxscript
        raise DeployError(MISSING.format(error.name)) from error
    # before BatchNorm is folded into convolutions every parameter stands there by its name
    there = made.model.graph.initializers
    for name, p in network.named_parameters():
        shape = tuple(map(int, there[name].shape)) if name in there else None
        if shape != tuple(p.shape):
            raise DeployError(f"the ONNX graph has '{name}' as {shape}, not {tuple(p.shape)}")
    made.optimize()
    return made.model_proto.SerializeToString()


def _pt2(program: torch.export.ExportedProgram, network: nn.Module, x: Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _written(path, content: bytes, found: dict) -> Deployed:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return Deployed(path=path, bytes=len(content), **found)


# ---------------------------------------------------------------------------- comparison


def _compare(network, x: Tensor, content: bytes, images, tolerance: float, name: str) -> dict:
    """Outputs and costs of a file beside the network's; the numbers of ``Deployed``."""
    if not tolerance > 0:
        raise ValueError(f"tolerance={tolerance} must be above 0")
    macs, params = costs(network, x)
    weights = sum(m.weight.numel() for m in _layers(network))
    in_file = count(content, name)
    wanted = {"macs": macs, "weights": weights, "params": params}
    for what, n in wanted.items():
        if what in in_file and in_file[what] != n:
            raise DeployError(f"{name} has {in_file[what]:,} {what}, the network {n:,}")
    run, generator = runner(content), torch.Generator().manual_seed(0)
    batches = [torch.randn(n, *x.shape[1:], generator=generator) for n in _BATCHES]
    if images is not None:
        batches += _real(images, x)
    scale = difference = 0.0
    for batch in batches:
        with torch.no_grad():
            ours = network(batch)
        theirs = run(batch)
        if not torch.isfinite(ours).all():
            raise DeployError(f"{type(network).__name__} itself gives outputs that are not finite")
        if ours.shape != theirs.shape:
            raise DeployError(
                f"{name} gives outputs of shape {tuple(theirs.shape)}, not {tuple(ours.shape)}"
            )
        scale = max(scale, ours.abs().max().item())
        gap = (ours - theirs).abs().max().item()
        difference = max(difference, gap if np.isfinite(gap) else np.inf)
    difference = difference / scale if scale else float(difference > 0)
    if difference > tolerance:
        raise DeployError(
            f"{name} is not this network: an output differs by {difference:.2g} of the largest "
            f"output ({scale:.3g}), allowed are {tolerance:g}"
        )
    about = {"difference": difference, "scale": scale, "images": sum(map(len, batches))}
    return {"macs": macs, "params": params} | about


def _real(images: Tensor, x: Tensor) -> Iterable[Tensor]:
    if images.dim() != 4 or images.shape[1:] != x.shape[1:]:
        want = f"(n, {', '.join(map(str, x.shape[1:]))})"
        raise DeployError(f"images have shape {tuple(images.shape)}, the network takes {want}")
    return images.detach().cpu().float().split(64)


def _layers(network: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers, each weight once."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    once = {id(m.weight): m for m in network.modules() if isinstance(m, kinds)}
    return list(once.values())


# ---------------------------------------------------------------------------- command


def main(arguments: list[str] | None = None) -> int:
    """The command above; 0 where all files asked for were written."""
    about = "Export a network that bcnet_lib.save wrote, and compare the files with it."
    parser = argparse.ArgumentParser(prog="python -m bcnet_lib.deploy", description=about)
    parser.add_argument("folder", help="folder with network.json and weights.safetensors")
    parser.add_argument("--onnx", metavar="FILE", help="write an ONNX file")
    parser.add_argument("--pt2", metavar="FILE", help="write an exported program of PyTorch")
    parser.add_argument("--images", metavar="FILE", help="images to compare, .npy (n, C, H, W)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="default: %(default)s")
    args = parser.parse_args(arguments)
    if not (args.onnx or args.pt2):
        parser.error("nothing to write: give --onnx FILE, --pt2 FILE or both")
    try:
        images = None if args.images is None else torch.from_numpy(np.load(args.images)).float()
        network = load(args.folder).eval()
        example = torch.zeros(1, *saved(args.folder)["example_shape"])
        files = {"onnx": args.onnx, "pt2": args.pt2}
        options = {"images": images, "tolerance": args.tolerance}
        print(*export(network, example, **files, **options), sep="\n")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
