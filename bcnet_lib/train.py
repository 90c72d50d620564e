"""Training a supernet (Eqs. 10, 11, 22) and a network from scratch, by the same recipe.

Source: Su et al., arXiv 2203.13714: Eq. 10 (both paths of a width), Eq. 11 (also those of its
complement), Eq. 22 (one path a batch, in turn). Sandwich rule and in-place distillation: Yu &
Huang, Universally Slimmable Networks, arXiv 1903.05134.

Losses of several paths are back-propagated one after another, so that the activations of only one
path are alive at a time; gradients add up before the one optimiser step. Under ``torchrun`` every
process takes its share of each batch (``distributed.py``).
"""

import json
import math
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from . import distributed
from .checkpoint import (
    CheckpointError,
    check_every,
    exists,
    load_weights,
    read_state,
    same_settings,
    settings_of,
    write_state,
)
from .data import Data, mix
from .progress import bar as progress_bar
from .recipe import Recipe, TrainingError
from .scratch import Trained, seeded, train_from_scratch

__all__ = [
    "CheckpointError",
    "Recipe",
    "Records",
    "SupernetTrainer",
    "Trained",
    "TrainingError",
    "train_from_scratch",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """What a supernet's training saw, one entry a forward-backward pass, in order."""

    steps: np.ndarray
    """(n,) int64, optimiser step, from 0."""
    widths: np.ndarray
    """(n, L) int64, width vector in units."""
    paths: np.ndarray
    """(n,) int64, path number (0 left, 1 right)."""
    losses: np.ndarray
    """(n,) float64, training loss of that pass, before the step."""

    def __len__(self) -> int:
        return len(self.losses)

    def to_frame(self) -> pd.DataFrame:
        """Columns step, path, loss, c1 … cL."""
        frame = pd.DataFrame({"step": self.steps, "path": self.paths, "loss": self.losses})
        names = [f"c{i + 1}" for i in range(self.widths.shape[1])]
        return pd.concat([frame, pd.DataFrame(self.widths, columns=names)], axis=1)


class SupernetTrainer:
    r"""Trains the shared weights of a supernet on widths drawn at random.

    With :math:`\ell_p(c)` the loss of path p of width c and :math:`\bar c` its complement, a step
    lowers

    .. math::
        \tfrac12 (\ell_l(c) + \ell_r(c))                                                [Eq. 10] \\
        \tfrac14 (\ell_l(c) + \ell_r(c) + \ell_l(\bar c) + \ell_r(\bar c))              [Eq. 11] \\
        \ell_l(c) \text{ in one batch, } \ell_r(c) \text{ in the next}                  [Eq. 22] \\
        \tfrac{1}{n + 2} \big( \ell(c_{max}) + \ell(c_{min}) + \ell(c_1) + \dots + \ell(c_n) \big)
        \quad \text{(sandwich rule)}

    (means, where the papers write sums, so that a learning rate serves all.) UA has one path.
    A principle with more than two paths (Cyclic) takes one of them a width, drawn uniformly: all
    K would cost K passes.

    Args:
        net: a ``Supernet``; trained in place, on the device of its parameters.
        data: its ``train`` split is used; moved to the same device.
        recipe: ``Recipe``. ``recipe.epochs`` counts passes over the images, whatever the number of
            forward-backward passes a batch (see ``passes_per_step``).
        update: ``"both"`` (Eqs. 10, 11) trains all paths of a draw on each batch, and draws anew
            for the next; ``"alternate"`` (Eq. 22) trains one path a batch and keeps the draw until
            all its paths had their turn: left c, right c; with the complement left c, right c̄,
            right c, left c̄, so that two consecutive batches tile the layer (exactly under BCv2;
            under BC where c < K; under Cyclic only on average). ``"sandwich"`` (US-Nets) trains on
            each batch the widest, the narrowest and ``random_widths`` drawn widths; of BC and BCv2
            all paths of each, as Eq. 10 does.
        complement: also train the complement (Eq. 11), ``space.complement(c, principle)``.
        seed: decides widths, the order and augmentation of the images, and dropout.
        checkpoint: file to keep the state in. If it exists, training goes on from it, to the same
            result as without the interruption (bit for bit on a CPU).
        checkpoint_every: steps between checkpoints; None: only when ``fit`` returns.
        progress: show a progress bar.
        sample: ``sample(rng, n) -> (n, L)`` widths; default ``net.space.sample`` (uniform).
        random_widths: with "sandwich", widths drawn a step, n in the formula (US-Nets: 2).
        distill: with "sandwich", only the widest learns from the labels; all others learn its soft
            predictions on the same batch, through which no gradient flows back (US-Nets). Under BC
            and BCv2 path p learns from path p of the widest, which holds all its units. Records
            hold the loss that was lowered, so these are not comparable to losses on labels.
        at_once: with "both" or "sandwich", add up the losses before one back-propagation, so that
            the activations of all paths are alive together. Same gradients up to rounding; for
            comparing memory.

    Attributes:
        step: optimiser steps done. total_steps: steps of the whole recipe.
        passes: forward-backward passes done; compare methods at equal passes.
        records: ``Records`` of (step, widths, path, training loss).

    Raises:
        ValueError: for an unknown ``update``, or options that do not go with it.
        DataError: if the batch size leaves no full batch.
        CheckpointError: if ``checkpoint`` is damaged or belongs to other settings (named).
    """

    def __init__(
        self,
        net,
        data: Data,
        recipe: Recipe,
        *,
        update: str = "both",
        complement: bool = False,
        random_widths: int = 2,
        distill: bool = False,
        seed: int = 0,
        checkpoint=None,
        checkpoint_every: int | None = None,
        progress: bool = True,
        sample=None,
        at_once: bool = False,
    ):
        check_update(net.principle, net.n_paths, update, complement, random_widths, distill)
        check_every(checkpoint, checkpoint_every)
        recipe.refuse_average("weights of a supernet")
        self.net, self.recipe, self.seed = net, recipe, seed
        self.update, self.complement, self.at_once = update, complement, at_once
        self.random_widths, self.distill = random_widths, distill
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.progress = progress
        self.sample = net.space.sample if sample is None else sample
        self.device = next(net.parameters()).device
        self.data = data
        self.train_split = data.train.to(self.device)
        self.steps_per_epoch = self.train_split.steps(recipe.batch_size, drop_last=True)
        self.total_steps = recipe.steps(self.steps_per_epoch)
        self.optimizer = recipe.make_optimizer(net.parameters())
        self.rng = np.random.default_rng(mix(seed, 0))
        self.step = 0
        self._queue: list[tuple[np.ndarray, int]] = []  # turns that "alternate" still owes
        self._seen: list[tuple[int, np.ndarray, int, float]] = []
        if checkpoint is not None and exists(checkpoint):
            self._restore()
        if checkpoint is not None:
            distributed.wait()  # nobody writes it before all have read it

    @property
    def passes(self) -> int:
        """Forward-backward passes done so far."""
        return len(self._seen)

    @property
    def passes_per_step(self) -> int:
        """Forward-backward passes an optimiser step takes: widths a step times their paths."""
        return passes_per_step(self.update, self.complement, self.net.n_paths, self.random_widths)

    @property
    def records(self) -> Records:
        """(step, widths, path, loss) of every pass so far."""
        steps, widths, paths, losses = zip(*self._seen, strict=True) if self._seen else [()] * 4
        return Records(
            steps=np.array(steps, dtype=np.int64),
            widths=np.array(widths, dtype=np.int64).reshape(-1, self.net.space.L),
            paths=np.array(paths, dtype=np.int64),
            losses=np.array(losses, dtype=np.float64),
        )

    def fit(self, max_steps: int | None = None, minutes: float | None = None) -> "SupernetTrainer":
        """Train to the end of the recipe, or for so many more steps or minutes.

        Another call goes on where this one stopped; the schedule is the recipe's either way.

        Returns:
            self.
        Raises:
            TrainingError: if a loss is not finite; the weights are those before that step.
        """
        rank, stop = distributed.place()[0], self.total_steps
        if max_steps is not None:
            stop = min(stop, self.step + max_steps)
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self.net.train()
        self._passes = distributed.Passes(self.net)
        bar = progress_bar(
            total=self.total_steps, initial=self.step, desc="supernet", show=self.progress
        )
        with bar, seeded(self.device) as seed:
            for x, y in self._batches():
                over = minutes is not None and distributed.first(time.monotonic() >= deadline)
                if self.step >= stop or over:
                    break
                seed(mix(self.seed, self.step, rank, 1))  # for dropout: not in checkpoints
                losses = self._train_step(x, y)
                bar.update()
                bar.set_postfix(loss=f"{np.mean(losses):.3f}", refresh=False)
                if self.checkpoint_every and self.step % self.checkpoint_every == 0:
                    self.save()
        if self.checkpoint is not None:
            self.save()
        return self

    def _batches(self):
        """Batches from the current step on, epoch after epoch."""
        epoch, start = divmod(self.step, self.steps_per_epoch)
        while self.step < self.total_steps:
            yield from self.train_split.batches(
                self.recipe.batch_size,
                seed=self.seed,
                epoch=epoch,
                start=start,
                augment=self.recipe.augment,
                drop_last=True,
                share=distributed.place(),
            )
            epoch, start = epoch + 1, 0

    def _turns(self) -> list[tuple[np.ndarray, int]]:
        """Newly drawn widths as (widths, path) turns, in the order "alternate" takes them."""
        space, n = self.net.space, self.net.n_paths
        if self.update == "sandwich":  # the widest comes first, as the others may learn from it
            ends = [space.full, space.narrowest]
            widths = [*ends, *np.asarray(self.sample(self.rng, self.random_widths))]  # each (L,)
            return [(c, p) for c in widths for p in range(n)]
        widths = [np.asarray(self.sample(self.rng, 1))[0]]  # each (L,)
        if self.complement:
            widths.append(space.complement(widths[0], self.net.principle))
        if n > 2:
            return [(c, int(self.rng.integers(n))) for c in widths]
        # the complement takes the paths in reverse: left c with right c̄, right c with left c̄
        return [(c, n - 1 - p if k else p) for p in range(n) for k, c in enumerate(widths)]

    def _train_step(self, x, y) -> list[float]:
        if self.update == "alternate":
            self._queue = self._queue or self._turns()
            turns, self._queue = self._queue[:1], self._queue[1:]
        else:
            turns = self._turns()
        lr = self.recipe.lr_at(self.step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        losses, teachers = [], {}  # path -> soft predictions of the widest (B, classes)
        share = len(y) / self.recipe.batch_size
        rounds = [turns] if self.at_once else [[turn] for turn in turns]
        for some in rounds:  # one after another frees a path's activations before the next one
            forward = partial(self._losses, x, y, some, len(turns), teachers)
            _, own = self._passes.backward(forward, share, last=some is rounds[-1])
            losses.append(own)
        losses = torch.cat(losses)  # (len(turns),)
        values = distributed.mean(losses, share).tolist()
        for (c, path), value in zip(turns, values, strict=True):
            if not math.isfinite(value):
                self.optimizer.zero_grad(set_to_none=True)
                raise TrainingError(self._not_finite(value, c, path, lr))
        self.optimizer.step()
        for (c, path), value in zip(turns, values, strict=True):
            self._seen.append((self.step, c, path, value))
        self.step += 1
        return values

    def _losses(self, x, y, turns, n: int, teachers) -> tuple[Tensor, Tensor]:
        """Losses of some of a step's n turns: their part of the mean, and each (len(turns),)."""
        losses = []
        for c, path in turns:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp):
                logits = self.net(x, c, path=path)  # (B, classes)
                if path in teachers:
                    loss = F.cross_entropy(logits, teachers[path])
                else:
                    loss = F.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
            if self.distill and path not in teachers:
                teachers[path] = logits.detach().float().softmax(dim=1)
            losses.append(loss)
        losses = torch.stack(losses)
        return losses.sum() / n, losses

    def _not_finite(self, value, c, path, lr) -> str:
        return (
            f"the loss is {value} at step {self.step} of {self.total_steps}, widths {c.tolist()}, "
            f"path {path}, learning rate {lr:.4g}. The weights are those before this step. Lower "
            f"the learning rate (lr={self.recipe.lr}), warm up longer "
            f"(warmup_epochs={self.recipe.warmup_epochs}), or look for NaN in the images"
        )

    # the state: all that decides how training goes on

    def _settings(self) -> dict:
        named = getattr(self.sample, "__qualname__", type(self.sample).__name__)
        sandwich = {"random_widths": self.random_widths, "distill": self.distill}
        return {
            **(sandwich if self.update == "sandwich" else {}),
            **distributed.settings(),
            **settings_of(space=self.net.space, data=self.data, recipe=self.recipe),
            "update": self.update,
            "complement": self.complement,
            "at_once": self.at_once,
            "seed": self.seed,
            "sample": named,
            "principle": repr(self.net.principle),
        }

    def save(self, path=None) -> None:
        """Write the state to ``path`` (default: ``checkpoint``), all of it or nothing."""
        path = self.checkpoint if path is None else path
        if path is None:
            raise ValueError("save needs a path: the trainer was made without a checkpoint file")
        records, queue = self.records, self._queue
        state = {
            "settings": self._settings(),
            "step": self.step,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "queue": [{"widths": [int(w) for w in c], "path": path} for c, path in queue],
            "records": {k: torch.from_numpy(v) for k, v in vars(records).items()},
        }
        write_state(path, state)

    def _restore(self) -> None:
        state = read_state(self.checkpoint)
        if "records" not in state:
            raise CheckpointError(f"checkpoint '{self.checkpoint}' is not one of a supernet")
        same_settings(self.checkpoint, self._settings(), state["settings"])
        load_weights(self.checkpoint, self.net, state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self._queue = [(np.array(t["widths"], dtype=np.int64), t["path"]) for t in state["queue"]]
        seen = {k: v.numpy() for k, v in state["records"].items()}
        steps, paths, losses = (seen[k].tolist() for k in ("steps", "paths", "losses"))
        self._seen = list(zip(steps, seen["widths"], paths, losses, strict=True))


def passes_per_step(update: str, complement: bool, n_paths: int, random_widths: int = 2) -> int:
    """Forward-backward passes an optimiser step takes: widths a step times their paths.

    Args:
        update, complement, random_widths: of ``SupernetTrainer``. n_paths: of every width; one of
            them is taken where there are more than two (Cyclic).
    """
    if update == "alternate":
        return 1
    widths = 2 + random_widths if update == "sandwich" else 1 + complement
    return widths * (1 if n_paths > 2 else n_paths)


def check_update(principle, n_paths, update, complement, random_widths, distill) -> None:
    """Refuse ways of training that do not exist, or that do not go together."""
    if update not in ("both", "alternate", "sandwich"):
        raise ValueError(f"update must be 'both', 'alternate' or 'sandwich', got {update!r}")
    if update != "sandwich":
        if distill:
            raise ValueError(
                "distill=True needs update='sandwich', which trains the widest in every step: "
                f"with {update!r} there is nothing to learn from"
            )
        return
    if complement:
        raise ValueError("update='sandwich' trains no complement: leave complement=False")
    if n_paths > 2:
        raise ValueError(
            f"update='sandwich' takes all paths of a width, and {principle.name} has "
            f"{n_paths}: use 'both', or another principle"
        )
    if isinstance(random_widths, bool) or random_widths != int(random_widths) or random_widths < 0:
        raise ValueError(f"random_widths must be an integer of at least 0, got {random_widths!r}")
