"""Training a plain network from scratch, with the same recipe object as a supernet."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from . import distributed
from .checkpoint import (
    exists,
    load_weights,
    read_state,
    same_settings,
    settings_of,
    weights_digest,
    write_state,
)
from .data import Data, mix
from .evaluate import accuracy
from .progress import bar as progress_bar
from .recipe import Recipe, TrainingError

__all__ = ["Trained", "average_of", "seeded", "train_from_scratch", "train_in_parts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A network trained from scratch."""

    model: nn.Module
    """In evaluation mode, with the weights of the last epoch, or their average (``Recipe.ema``)."""
    val_accuracy: float
    """On the search-validation split, in [0, 1]."""
    test_accuracy: float | None
    """On the test split, in [0, 1]; None if it was not asked for."""
    history: pd.DataFrame
    """A row an epoch: epoch, lr (of its last step), loss and accuracy on its training batches."""
    passes: int = 0
    """Forward-backward passes done; those of a teacher, forward only, are not counted."""

    def __repr__(self) -> str:
        test = "" if self.test_accuracy is None else f", test {self.test_accuracy:.4f}"
        return f"Trained({len(self.history)} epochs, val {self.val_accuracy:.4f}{test})"


def train_from_scratch(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    eval_test: bool = True,
    progress: bool = False,
    teacher: nn.Module | None = None,
    distill_weight: float = 0.5,
    temperature: float = 4.0,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    epochs: range | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    average: AveragedModel | None = None,
) -> Trained:
    r"""Train a plain network on the training split and measure it, with its running statistics.

    The loss is the cross entropy, plus the penalty if there is one. With a teacher of logits t, the
    network's logits s follow both labels and teacher, by Hinton's distillation:

    .. math:: (1 - w)\, \mathrm{CE}(s, y) + w\, T^2\, \mathrm{KL}\big(\mathrm{softmax}(t / T) \,\|\,
              \mathrm{softmax}(s / T)\big)

    The weights of the last epoch are the ones measured and returned; no epoch is chosen by its
    test (or validation) accuracy. The initial weights are the caller's, e.g. those of
    ``space.build(model, c, seed=…)``. With ``recipe.ema`` it is the running average over all steps
    that is measured and returned, a network of its own:

    .. math:: \bar\theta_t = a_t \bar\theta_{t-1} + (1 - a_t)\, \theta_t, \qquad
              a_t = \min\big(\mathrm{ema}, \tfrac{1 + t}{10 + t}\big)

    with t from 0, so that the first weights are soon forgotten, and BatchNorm's running statistics
    averaged in the same way.

    Args:
        model: any ``nn.Module`` with logits (B, classes); trained in place, on its device.
        data: trained on ``train``; measured on ``val``, and on ``test`` if ``eval_test``.
        recipe: ``Recipe``. seed: decides the order and augmentation of the images, and dropout.
        eval_test: whether to look at the test split.
        progress: show a progress bar.
        teacher: trained network with the same classes, run in evaluation mode on the same images.
        distill_weight: w, between 0 (labels alone) and 1 (teacher alone).
        temperature: T > 0.
        penalty: ``penalty(model)``, a scalar added to the loss, such as ``search.bn_l1(1e-4)``.
        epochs: train only these epochs of the recipe, counted from 0: ``range(3)``, and to go on
            ``range(3, 30)``, to the same weights as in one go (bit for bit on a CPU).
        optimizer: ``recipe.make_optimizer(…)``, to be kept from one part to the next.
        average: ``average_of(model, recipe)``, to be kept in the same way; None: a new one.
    Raises:
        TrainingError: if a loss is not finite.
        ValueError: if epochs are not of the recipe, or not its first and without an optimizer (and
            average); if distill_weight or temperature is outside its range, or the teacher has
            other classes.
        DataError: if the batch size leaves no full batch.
    """
    if not 0 <= distill_weight <= 1 or not temperature > 0:
        raise ValueError(
            "distillation needs 0 <= distill_weight <= 1 and temperature > 0, got "
            f"{distill_weight} and {temperature}"
        )
    device = next(model.parameters()).device
    data = data.to(device)
    if teacher is not None:
        teacher = copy.deepcopy(teacher).to(device).eval()
    per_epoch = data.train.steps(recipe.batch_size, drop_last=True)
    total = recipe.steps(per_epoch)
    last = math.ceil(total / per_epoch)
    epochs = range(last) if epochs is None else epochs
    if epochs.step != 1 or not 0 <= epochs.start <= epochs.stop <= last:
        raise ValueError(f"epochs={epochs} are not among the {last} of the recipe")
    if epochs.start and optimizer is None:
        raise ValueError(f"epochs={epochs} go on from an earlier part: give its optimizer")
    if epochs.start and recipe.ema and average is None:
        raise ValueError(f"epochs={epochs} go on from an earlier part: give its average")
    average = average_of(model, recipe) if average is None else average
    optimizer = recipe.make_optimizer(model.parameters()) if optimizer is None else optimizer

    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and logits (B, classes)."""
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp):
            logits = model(x)
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            if teacher is not None:
                soft = _distance(logits, _soft(teacher, x), temperature)
                loss = (1 - distill_weight) * loss + distill_weight * soft
            if penalty is not None:
                loss = loss + penalty(model)
        return loss, logits

    model.train()
    passes = distributed.Passes(model)
    history, step, rank = [], epochs.start * per_epoch, distributed.place()[0]
    bar = progress_bar(total=total, initial=step, desc="from scratch", show=progress)
    with bar, seeded(device) as seed_with:
        for epoch in epochs:
            losses, right = [], []
            options = {"seed": seed, "epoch": epoch, "augment": recipe.augment, "drop_last": True}
            options["share"] = distributed.place()
            batches = data.train.batches(recipe.batch_size, **options)
            for _, (x, y) in zip(range(total - step), batches, strict=False):
                lr = recipe.lr_at(step, per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                seed_with(mix(seed, step, rank, 1))  # for dropout
                optimizer.zero_grad(set_to_none=True)
                share = len(y) / recipe.batch_size
                loss, logits = passes.backward(partial(forward, x, y), share)
                optimizer.step()
                if average is not None:
                    _add(average, model, recipe.ema, step)
                losses.append(loss)
                right.append((logits.argmax(1) == y).float().mean())
                step += 1
                bar.update()
            # one look an epoch, so that the device is not waited for at every step
            values = distributed.mean(torch.stack(losses), share).tolist()
            if bad := [i for i, v in enumerate(values) if not math.isfinite(v)]:
                raise TrainingError(
                    f"the loss of {type(model).__name__} is {values[bad[0]]} at step "
                    f"{step - len(values) + bad[0]} of {total} (epoch {epoch + 1}), learning rate "
                    f"{recipe.lr_at(step - len(values) + bad[0], per_epoch):.4g}: lower lr="
                    f"{recipe.lr}, warm up longer, or look for NaN in the images"
                )
            correct = float(distributed.mean(torch.stack(right), share).mean())
            row = {
                "epoch": epoch + 1,
                "lr": lr,
                "loss": float(np.mean(values)),
                "accuracy": correct,
            }
            history.append(row)
    networks = [model] if average is None else [model, average.module]
    for net in networks:
        distributed.average_statistics(net)
        net.eval()
    return Trained(
        model=net,
        val_accuracy=accuracy(net, data.val),
        test_accuracy=accuracy(net, data.test) if eval_test else None,
        history=pd.DataFrame(history),
        passes=step - epochs.start * per_epoch,
    )


def train_in_parts(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoint: str | Path,
    over: Callable[[], bool] | None = None,
    progress: bool = False,
    teacher: nn.Module | None = None,
    distill_weight: float = 0.5,
    temperature: float = 4.0,
    eval_test: bool = True,
    keep: bool = False,
) -> Trained | None:
    """``train_from_scratch``, epoch by epoch, to the same weights, with its state in a file.

    Args:
        checkpoint: written after each epoch but the last, and removed after that. If it exists,
            training goes on from it.
        over: asked before each epoch whether to stop there.
        seed, progress, teacher, distill_weight, temperature: as in ``train_from_scratch``.
        eval_test: whether to look at the test split, after the last epoch.
        keep: leave the file there in the end; to remove once the result is safe.
    Returns:
        None if it was stopped; call it again, with a new network of the same sizes, to go on.
    Raises:
        CheckpointError: if ``checkpoint`` is damaged or belongs to other settings (named).
        TrainingError, DataError: as ``train_from_scratch``.
    """
    checkpoint, optimizer = Path(checkpoint), recipe.make_optimizer(model.parameters())
    per_epoch = data.train.steps(recipe.batch_size, drop_last=True)
    last = math.ceil(recipe.steps(per_epoch) / per_epoch)
    settings = settings_of(data=data, recipe=recipe) | {"seed": seed}
    settings |= {"processes": 1} | distributed.settings()
    soft = {"distill_weight": distill_weight, "temperature": temperature}
    if teacher is not None:
        settings |= {"teacher": weights_digest(teacher)} | soft
    average = average_of(model, recipe)
    begin, history, passes = 0, [], 0
    if exists(checkpoint):
        state = read_state(checkpoint)
        same_settings(checkpoint, settings, state["settings"])
        load_weights(checkpoint, model, state["net"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        begin, history, passes = state["epoch"], state["history"], state["passes"]
    distributed.wait()  # nobody writes it before all have read it
    for epoch in range(begin, last):
        if over is not None and over():
            return None
        options = {"epochs": range(epoch, epoch + 1), "optimizer": optimizer, "average": average}
        options |= {"teacher": teacher, "progress": progress} | soft
        options["eval_test"] = eval_test and epoch + 1 == last
        trained = train_from_scratch(model, data, recipe, seed=seed, **options)
        history, passes = history + trained.history.to_dict("records"), passes + trained.passes
        if epoch + 1 < last:
            state = {"net": model.state_dict(), "optimizer": optimizer.state_dict()}
            if average is not None:
                state["average"] = average.state_dict()
            about = {"epoch": epoch + 1, "history": history, "passes": passes}
            write_state(checkpoint, state | about | {"settings": settings})
    if distributed.is_first() and not keep:
        checkpoint.unlink(missing_ok=True)
    return replace(trained, history=pd.DataFrame(history), passes=passes)


def average_of(model: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """The running average of a network's weights before its first step; None if not asked for."""
    return AveragedModel(model, use_buffers=True) if recipe.ema else None


def _add(average: AveragedModel, model: nn.Module, ema: float, step: int) -> None:
    average.multi_avg_fn = get_ema_multi_avg_fn(min(ema, (1 + step) / (10 + step)))
    average.update_parameters(model)


@torch.no_grad()
def _soft(teacher: nn.Module, x: Tensor) -> Tensor:
    return teacher(x)  # (B, classes)


def _distance(student: Tensor, teacher: Tensor, T: float) -> Tensor:
    """KL divergence of softened outputs, times T^2 so that gradients keep their size."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"the teacher gives {teacher.shape[-1]} outputs an image and the network "
            f"{student.shape[-1]}: it must know the same classes"
        )
    logs = F.log_softmax(student.float() / T, dim=1), F.log_softmax(teacher.float() / T, dim=1)
    return T**2 * F.kl_div(*logs, reduction="batchmean", log_target=True)


@contextmanager
def seeded(device: torch.device) -> Iterator[Callable[[int], None]]:
    """Gives ``seed(n)`` for torch's global generators of a device; puts their states back after."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):

        def seed(n: int) -> None:
            torch.default_generator.manual_seed(n)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(n)

        yield seed
