"""Table 12's road: a found network as the backbone of a detector, trained and measured on COCO.

    python -m bcnet_lib.detection --backbone found/resnet50 --coco coco --detector retinanet

``--backbone`` is a folder that ``bcnet_lib.save`` wrote, with a ResNet trained on ImageNet. The
settings are those usual for these detectors with a schedule of 12 epochs; the paper's own are not
known to us. What is computed depends on the seed and the settings alone: a run that was stopped or
killed goes on with the same command, to the same numbers. With ``torchrun`` each process takes its
share of every batch and of the images to evaluate. The losses of these detectors are means over the
boxes of the images at hand, so those of n processes are near those of one, not equal to them.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import nn

from . import distributed
from .checkpoint import CheckpointError
from .cifar10 import DataError
from .coco import CocoImages, average_precision, rows_of
from .detector_training import RECIPES, DetectionRecipe, train_detector
from .detectors import DETECTORS, costs_of, detector
from .files import write_whole
from .graph import GraphError
from .io import load, saved
from .progress import bar as progress_bar
from .recipe import TrainingError
from .results import Record, measured

__all__ = ["evaluate_detector", "main", "parser", "recipe_of"]


@torch.no_grad()
def evaluate_detector(
    model: nn.Module, images: CocoImages, *, workers: int = 0, progress: bool = False
) -> dict[str, float | None]:
    """COCO's average precision of a detector, on all images of a split.

    Each process takes every n-th image; all get the result.

    Returns:
        ``coco.METRICS`` -> value in [0, 1]; None where the split has no box of that size.
    """
    device, (rank, n) = next(model.parameters()).device, distributed.place()
    mine = list(range(len(images)))[rank::n]
    options = {"batch_sampler": [[i] for i in mine], "num_workers": workers, "collate_fn": list}
    loader, rows = torch.utils.data.DataLoader(images, **options), []
    training = model.training
    model.eval()
    for ((image, target),) in progress_bar(loader, desc="evaluation", show=progress):
        (found,) = model([image.to(device)])
        rows += rows_of(images, target["image_id"], found)
    model.train(training)
    everyone = distributed.gather(rows)
    return distributed.call_first(
        lambda: average_precision(images, [row for part in everyone for row in part])
    )


# ---------------------------------------------------------------------------- command


def parser() -> argparse.ArgumentParser:
    """The options of ``python -m bcnet_lib.detection``."""
    p = argparse.ArgumentParser(
        prog="python -m bcnet_lib.detection",
        description="Train a detector around a found network on COCO, and measure its AP.",
        epilog="A run that was stopped or killed goes on with the same command.",
        allow_abbrev=False,
    )
    add = p.add_argument
    add("--backbone", required=True, help="folder that bcnet_lib.save wrote: a trained ResNet")
    add("--coco", required=True, help="folder with 'annotations' and the folders of images")
    add("--detector", choices=DETECTORS, required=True)
    add("--train", default="train2017", metavar="SPLIT", help="default: %(default)s")
    add("--val", default="val2017", metavar="SPLIT", help="default: %(default)s")
    add("--epochs", type=int, default=DetectionRecipe.epochs, help="default: %(default)s")
    add("--batch-size", type=int, default=DetectionRecipe.batch_size, metavar="IMAGES",
        help="of all processes together; default: %(default)s")  # fmt: skip
    add("--lr", type=float, help="default: 0.01 (retinanet) or 0.02, times batch size / 16")
    add("--warmup-steps", type=int, default=DetectionRecipe.warmup_steps, metavar="STEPS",
        help="default: %(default)s")  # fmt: skip
    add("--trainable", type=int, default=3, metavar="STAGES",
        help="of the backbone, from the back, 0 to 5; default: %(default)s")  # fmt: skip
    add("--min-size", type=int, default=800, metavar="PIXELS",
        help="shorter side of an image; default: %(default)s")  # fmt: skip
    add("--max-size", type=int, default=1333, metavar="PIXELS",
        help="longer side at most; default: %(default)s")  # fmt: skip
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--device", default="cpu", help="cpu or cuda; under torchrun one GPU a process")
    add("--workers", type=int, default=0, help="processes that decode images; default: %(default)s")
    add("--minutes", type=float, help="stop cleanly after so many")
    add("--out", type=Path, help="default: <backbone>/<detector>-seed<seed>")
    add("--dry-run", action="store_true", help="check all files, say what it will take, and stop")
    return p


def recipe_of(options: argparse.Namespace) -> DetectionRecipe:
    """The recipe that options ask for."""
    usual = RECIPES[options.detector]
    lr = usual.lr * options.batch_size / usual.batch_size if options.lr is None else options.lr
    given = {k: getattr(options, k) for k in ("epochs", "batch_size", "warmup_steps")}
    return replace(usual, lr=lr, amp=options.precision == "bf16", **given)


def _plan(model, train: CocoImages, val: CocoImages, recipe: DetectionRecipe) -> str:
    """What a run takes, a line each."""
    costs, items = costs_of(model), len(train.with_boxes)
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    steps, left_out = items // recipe.batch_size, train.left_out.items()
    parts = [
        f"  {part}: {c['params'] / 1e6:,.2f} M params, {c['macs'] / 1e6:,.2f} M MACs"
        for part, c in costs.items()
    ]
    return "\n".join(
        [
            f"{type(model).__name__} for images of 800 x 1216 pixels",
            *parts,
            f"  trained: {learned / 1e6:,.2f} M params",
            f"{train.file}: {len(train)} images, {items} with boxes, {train.boxes} boxes of "
            f"{len(train.classes)} classes; not used: "
            + ", ".join(f"{n} {what}" for what, n in left_out),
            f"{val.file}: {len(val)} images, {val.boxes} boxes",
            f"{recipe.epochs} epochs of {steps} steps with {recipe.batch_size} images = "
            f"{recipe.epochs * steps:,} steps, learning rate {recipe.lr:g}",
        ]
    )


def _run(options: argparse.Namespace, device: str) -> dict | None:
    """Train, evaluate and write; None if the time was over."""
    until = None if options.minutes is None else time.time() + 60 * options.minutes
    recipe, about = recipe_of(options), saved(options.backbone)
    train, val = CocoImages(options.coco, options.train), CocoImages(options.coco, options.val)
    if train.labels != val.labels:
        raise DataError(f"'{train.file}' and '{val.file}' have other categories")
    sizes = {"min_size": options.min_size, "max_size": options.max_size}
    torch.manual_seed(options.seed)  # the pyramid and the heads are new
    network = load(options.backbone).eval()
    model = detector(
        options.detector, network, len(train.classes), trainable=options.trainable, **sizes
    )
    if options.dry_run:
        print(_plan(model, train, val, recipe))
        return {}
    out = options.out or Path(options.backbone) / f"{options.detector}-seed{options.seed}"
    model.to(device)
    show = {"workers": options.workers, "progress": True}
    with measured(device) as cost:
        history = train_detector(
            model,
            train,
            recipe,
            seed=options.seed,
            checkpoint=out / "checkpoint",
            over=None if until is None else lambda: distributed.first(time.time() >= until),
            **show,
        )
        if history is None:
            return None
        found = evaluate_detector(model, val, **show)
    if distributed.is_first():
        state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        write_whole(out / "detector.safetensors", to_safetensors(state))
        row = {"seed": options.seed, **found, "loss": sum(list(history[-1].values())[2:])}
        settings = {"detector": options.detector, "widths": about["widths"], **asdict(recipe)}
        settings |= {"trainable": options.trainable, **sizes, "train": train.file.name}
        settings |= {"images": len(val), "val": val.file.name, **costs_of(model)["all"]}
        values = ", ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in found.items())
        headline = f"{values} ({len(val)} images of {val.file.name})"
        missing = "no boxes of this size" if None in found.values() else ""
        where = {"experiment": "detection", "profile": "coco", "device": device}
        record = Record.new(
            headline, [row], parameters=settings, measured=cost, missing=missing, **where
        )
        record.save(out / "result.json")
        print(headline)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command above; 0 when done, 1 when the time was over, 2 for what is wrong."""
    options = parser().parse_args(arguments)
    refused = (ValueError, DataError, CheckpointError, GraphError, TrainingError, FileNotFoundError)
    try:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {options.device}: PyTorch sees no GPU here")
        if options.dry_run:
            _run(options, "cpu")
            return 0
        with distributed.joined(options.device) as device:
            found = _run(options, device)
    except refused as error:
        if distributed.is_first():
            print(f"bcnet_lib.detection: {error}", file=sys.stderr)
        return 2
    if found is None:
        print("the time is over: the same command goes on", file=sys.stderr)
    return 0 if found is not None else 1


if __name__ == "__main__":
    sys.exit(main())
