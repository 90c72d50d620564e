"""Training a detector: the recipe, and a loop that goes on where it was stopped.

Every number that is drawn comes from (seed, epoch, image) or (seed, step, process), so a training
that was stopped ends with the same weights (on a CPU bit for bit).
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import distributed
from .batches import mix
from .checkpoint import load_weights, read_state, same_settings, weights_digest, write_state
from .cifar10 import DataError
from .coco import CocoImages
from .progress import bar as progress_bar
from .recipe import TrainingError
from .scratch import seeded

__all__ = ["RECIPES", "DetectionRecipe", "train_detector"]


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe:
    """SGD with momentum, a linear warm-up and a learning rate that falls in steps.

    Raises:
        ValueError: naming the field, if a value is outside its range.
    """

    epochs: int = 12
    """Passes over the training images that have boxes."""
    batch_size: int = 16
    """Images a step, of all processes together; the rest of an epoch is left out."""
    lr: float = 0.02
    """Learning rate after warm-up."""
    momentum: float = 0.9
    """Share of the previous update that the next one keeps."""
    weight_decay: float = 1e-4
    """L2 penalty, on every trained parameter."""
    warmup_steps: int = 500
    """Steps over which the learning rate rises linearly from near 0."""
    milestones: tuple[float, ...] = (8 / 12, 11 / 12)
    """After these shares of the training the learning rate falls to a tenth."""
    flip: float = 0.5
    """Probability that an image is mirrored."""
    amp: bool = False
    """Forward passes in bfloat16; weights and gradients stay float32."""

    def __post_init__(self):
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (self.lr > 0, "more than 0"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "warmup_steps": (self.warmup_steps >= 0, "at least 0"),
            "milestones": (all(0 < m <= 1 for m in self.milestones), "shares between 0 and 1"),
            "flip": (0 <= self.flip <= 1, "between 0 and 1"),
        }
        for field, (holds, needs) in rules.items():
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"DetectionRecipe({field}={value!r}): {field} must be {needs}")

    def lr_at(self, step: int, total: int) -> float:
        """Learning rate of a step, counted from 0, of ``total``."""
        falls = sum(step >= round(m * total) for m in self.milestones)
        return self.lr * min(1.0, (step + 1) / max(1, self.warmup_steps)) * 0.1**falls


RECIPES = {"retinanet": DetectionRecipe(lr=0.01), "faster_rcnn": DetectionRecipe()}
"""Usual for these detectors, with 16 images a step; a multiple of the batch takes that multiple of
the learning rate."""


# ---------------------------------------------------------------------------- training


def train_detector(
    model: nn.Module,
    images: CocoImages,
    recipe: DetectionRecipe,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    over: Callable[[], bool] | None = None,
    workers: int = 0,
    progress: bool = False,
) -> list[dict] | None:
    """Train a detector in place, on its device.

    Args:
        model: of ``detectors.detector``. images: those without boxes are left out.
        seed: decides order and mirroring of the images, and which boxes are drawn for the losses.
        checkpoint: written after each epoch and when stopped; if it exists, training goes on there.
        over: asked before each step whether to stop; needs a checkpoint to be of use.
        workers: processes that decode images.
    Returns:
        a row an epoch: epoch, lr of its last step, mean of every loss; None if it was stopped.
    Raises:
        TrainingError: if a loss is not finite.
        CheckpointError: if the checkpoint is damaged, or of other settings.
        DataError: if there are fewer images with boxes than a batch has, or one cannot be read.
    """
    device = next(model.parameters()).device
    items, (rank, n) = images.with_boxes, distributed.place()
    per_epoch = len(items) // recipe.batch_size
    if not per_epoch or recipe.batch_size < n:
        raise DataError(
            f"batches of {recipe.batch_size} images for {n} processes cannot be made of the "
            f"{len(items)} images of '{images.file}' that have boxes"
        )
    total = recipe.epochs * per_epoch
    learned = [p for p in model.parameters() if p.requires_grad]
    options = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    optimizer = torch.optim.SGD(learned, lr=recipe.lr, **options)
    recipe_in = json.loads(json.dumps(asdict(recipe)))  # tuples become lists, as in the file
    settings = {f"recipe.{k}": v for k, v in recipe_in.items()} | distributed.settings()
    settings |= {"seed": seed, "images": len(items), "boxes": images.boxes}
    settings |= {"classes": list(images.classes), "backbone": weights_digest(model.backbone.body)}
    step, history, sums = 0, [], {}
    if checkpoint is not None and Path(checkpoint).exists():
        state = read_state(checkpoint)
        same_settings(checkpoint, settings, state["settings"])
        load_weights(checkpoint, model, state["net"])
        optimizer.load_state_dict(state["optimizer"])
        step, history, sums = state["step"], state["history"], state["sums"]
    distributed.wait()  # nobody writes it before all have read it

    def keep() -> None:
        if checkpoint is not None:
            state = {"net": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            about = {"history": history, "sums": sums, "settings": settings}
            write_state(checkpoint, state | about)

    model.train()
    passes = distributed.Passes(model)
    bar = progress_bar(total=total, initial=step, desc="detector", show=progress)
    with bar, seeded(device) as seed_with:
        while step < total:
            epoch, first = divmod(step, per_epoch)
            batches = _batches(images, items, recipe, seed, epoch, first, (rank, n), workers)
            for batch in batches:
                if over is not None and over():
                    keep()
                    return None
                lr = recipe.lr_at(step, total)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                seed_with(mix(seed, step, rank, 1))  # boxes for the losses are drawn
                share = len(batch) / recipe.batch_size
                optimizer.zero_grad(set_to_none=True)
                losses = passes.backward(
                    lambda b=batch: _losses(model, b, device, recipe.amp), share
                )
                values = distributed.mean(torch.stack(losses[1:]), share).tolist()
                if not all(map(math.isfinite, values)):
                    raise TrainingError(
                        f"the losses of {type(model).__name__} are {values} at step {step} of "
                        f"{total}: lower lr={recipe.lr}, or warm up longer"
                    )
                optimizer.step()
                for name, value in zip(_names(model), values, strict=True):
                    sums[name] = sums.get(name, 0.0) + value / per_epoch
                step += 1
                bar.update()
            history.append({"epoch": epoch + 1, "lr": lr, **sums})
            sums = {}
            keep()
    model.eval()
    return history


def _names(model: nn.Module) -> list[str]:
    """Losses of a detector, in the order of ``_losses``."""
    if hasattr(model, "roi_heads"):
        first = ["loss_objectness", "loss_rpn_box_reg"]
        return [*first, "loss_classifier", "loss_box_reg"]
    return ["classification", "bbox_regression"]


def _losses(model: nn.Module, batch: list, device: torch.device, amp: bool) -> tuple[Tensor, ...]:
    """Sum of the losses, then each of them."""
    images = [image.to(device) for image, _ in batch]
    targets = [{k: t[k].to(device) for k in ("boxes", "labels")} for _, t in batch]
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        losses = model(images, targets)
    values = [losses[name].float() for name in _names(model)]
    return (sum(values), *values)


class _Mirrored(torch.utils.data.Dataset):
    """Images of an epoch, some mirrored; which ones depends on seed, epoch and image alone."""

    def __init__(self, images: CocoImages, share: float, seed: int, epoch: int):
        self.images, self.share, self.seeds = images, share, (seed, epoch)

    def __getitem__(self, i: int) -> tuple[Tensor, dict]:
        image, target = self.images[i]
        if np.random.default_rng(mix(*self.seeds, i, 2)).random() < self.share:
            boxes, width = target["boxes"], image.shape[-1]
            mirrored = torch.stack(
                [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]]
            )
            image, target = image.flip(-1), {**target, "boxes": mirrored.T.contiguous()}
        return image, target


def _batches(images, items, recipe, seed, epoch, first, place, workers) -> Iterator[list]:
    """Batches of an epoch from number ``first`` on, this process's share of each."""
    order = np.random.default_rng(mix(seed, epoch, 0)).permutation(items).tolist()
    size, (rank, n) = recipe.batch_size, place
    starts = range(first * size, len(order) // size * size, size)
    return torch.utils.data.DataLoader(
        _Mirrored(images, recipe.flip, seed, epoch),
        batch_sampler=[order[s : s + size][rank::n] for s in starts],
        num_workers=workers,
        collate_fn=list,
    )
