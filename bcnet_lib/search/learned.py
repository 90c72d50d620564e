"""What TAS and DMCP share: weights and a distribution over widths, trained in turn.

Both hold one learnable distribution over the candidate widths of each group. A step updates the
weights on a batch of one half of the training images, then the distribution on a batch of the
other half, by a loss that adds the expected MACs. Expected MACs are exact: groups are
independent, and ``CostTable.pairwise`` holds every pair of them.
"""

import json
import math
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint import (
    CheckpointError,
    check_every,
    load_weights,
    read_state,
    same_settings,
    settings_of,
    write_state,
)
from ..data import mix
from ..principles import UA
from ..progress import bar as progress_bar
from ..recipe import TrainingError
from ..scratch import seeded
from ..supernet import Supernet
from .budget import amount, check_budget

__all__ = ["WidthLearner", "ExpectedMACs", "LearnedWidths"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedWidths:
    """What a learned distribution over widths ends in; nothing was scored."""

    best: np.ndarray
    """int64 (L,), the width derived from the distribution, within the budget."""
    macs: int
    """MACs of ``best``."""
    P: tuple[np.ndarray, ...]
    """L arrays, the learned probability of every entry of ``space.candidates``."""
    expected_macs: float
    """Expected MACs under ``P``."""
    history: pd.DataFrame
    """A row a step: step, loss (of the weights), structure (loss of the distribution, cross entropy
    only; NaN where it was not updated), expected_macs."""

    def __repr__(self) -> str:
        return (
            f"LearnedWidths({amount(self.macs)}, best={self.best.tolist()}, "
            f"{amount(self.expected_macs)} expected, {len(self.history):,} steps)"
        )


class ExpectedMACs:
    r"""Expected MACs of independent widths, as a share of the full network's; differentiable.

    .. math:: \mathbb{E}[F] = F_0 + \sum_i P_i^\top u_i + \sum_{i<j} P_i^\top T_{ij} P_j

    Args:
        space: ``WidthSpace``. cost: its ``CostTable``.
    """

    def __init__(self, space, cost, device="cpu"):
        full = cost.macs(space.full)
        pairwise = cost.pairwise()
        rows = [c - int(b) for c, b in zip(space.candidates, space.base, strict=True)]
        # candidates only: of widths with equal channel counts, one stands for all

        def share(table):
            return torch.tensor(table / full, dtype=torch.float32, device=device)

        self.constant = pairwise.constant / full
        self.unary = [share(u[r]) for u, r in zip(pairwise.unary, rows, strict=True)]
        pairs = pairwise.pairs.items()
        self.pairs = {(i, j): share(t[np.ix_(rows[i], rows[j])]) for (i, j), t in pairs}

    def __call__(self, P: list[Tensor]) -> Tensor:
        """P: L probability vectors over the candidates -> scalar, 1 = the full network."""
        total = self.constant + sum(p @ u for p, u in zip(P, self.unary, strict=True))
        return total + sum(P[i] @ t @ P[j] for (i, j), t in self.pairs.items())


class WidthLearner:
    """Trains a UA supernet and one distribution over widths a group; see ``TAS`` and ``DMCP``.

    Args:
        model: the network to search. space: its ``WidthSpace``.
        data: only its ``train`` split is used, cut at random into a half for the weights and one
            for the distribution.
        recipe: of the weights. An epoch goes once through both halves.
        budget: MACs that the expected MACs aim at, and a hard limit of ``search``.
        cost: ``CostTable``; default that of the supernet.
        structure_lr: Adam's learning rate of the distribution's logits.
        seed: decides the initial weights, the halves, the draws, the order of the images.
        checkpoint: file to keep the state in. If it exists, training goes on from it, to the same
            result as without the interruption (bit for bit on a CPU).
        checkpoint_every: steps between checkpoints; None: only when ``fit`` returns.
        progress: show a progress bar.

    Attributes:
        net: the ``Supernet``. logits: the distribution's parameters, one tensor a group.
        step: steps done. total_steps: steps of the whole recipe. passes: forward-backward passes
            done.

    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network.
        CheckpointError: if ``checkpoint`` is damaged or belongs to other settings (named).
        DataError: if the batch size leaves no full batch in a half.
        GraphError: if a width of the space is made or read by something that is no convolution or
            linear layer.
        ValueError: if ``checkpoint_every`` comes without a checkpoint or is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        space,
        data,
        recipe,
        *,
        budget: float,
        cost=None,
        structure_lr: float = 0.05,
        seed: int = 0,
        checkpoint=None,
        checkpoint_every: int | None = None,
        progress: bool = True,
    ):
        check_every(checkpoint, checkpoint_every)
        recipe.refuse_average("learned widths")
        self.net = Supernet(model, space, UA(), seed=seed)
        self.cost = self.net.cost if cost is None else cost
        check_budget(space, self.cost, budget)
        self.space, self.recipe, self.budget, self.seed = space, recipe, budget, seed
        self.structure_lr, self.progress = structure_lr, progress
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.device = next(self.net.parameters()).device
        self.data = data
        self.halves = _halves(data.train.to(self.device), mix(seed, 3))
        self.steps_per_epoch = min(h.steps(recipe.batch_size, drop_last=True) for h in self.halves)
        self.total_steps = recipe.steps(self.steps_per_epoch)
        self.expected = ExpectedMACs(space, self.cost, self.device)
        self.full_macs = self.cost.macs(space.full)
        self.channels = candidate_channels(space)
        self.logits = [t.to(self.device).requires_grad_() for t in self._initial_logits()]
        self.optimizer = recipe.make_optimizer(self.net.parameters())
        self.structure_optimizer = torch.optim.Adam(self.logits, lr=structure_lr)
        self.rng = np.random.default_rng(mix(seed, 4))
        self.step = self.passes = 0
        self._seen: list[tuple[float, float, float]] = []
        if checkpoint is not None and Path(checkpoint).exists():
            self._restore()

    # what a method says: the distribution, and its two losses

    def _initial_logits(self) -> list[Tensor]:
        raise NotImplementedError

    def distribution(self) -> list[Tensor]:
        """Probability of every candidate width, one vector a group."""
        raise NotImplementedError

    def _weight_losses(self, x, y):
        """The cross entropies a step lowers by the weights, one after another."""
        raise NotImplementedError

    def _structure_losses(self, x, y) -> tuple[Tensor, Tensor]:
        """Cross entropy and cost term that a step lowers by the distribution."""
        raise NotImplementedError

    def _structure_starts(self) -> int:
        """First step that updates the distribution."""
        return 0

    def _method_settings(self) -> dict:
        raise NotImplementedError

    # training

    def fit(self, max_steps: int | None = None, minutes: float | None = None):
        """Train to the end of the recipe, or for so many more steps or minutes.

        Another call goes on where this one stopped; the schedule is the recipe's either way.

        Returns:
            self.
        Raises:
            TrainingError: if a loss is not finite; nothing is updated by it.
        """
        stop = self.total_steps
        if max_steps is not None:
            stop = min(stop, self.step + max_steps)
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        bar = progress_bar(
            total=self.total_steps,
            initial=self.step,
            desc=type(self).__name__,
            show=self.progress,
        )
        self.net.train()
        with bar, seeded(self.device) as seed:
            for first, second in zip(self._batches(0), self._batches(1), strict=False):
                if self.step >= stop or time.monotonic() >= deadline:
                    break
                seed(mix(self.seed, self.step, 0, 1))  # for dropout
                self._train_step(first, second)
                bar.update()
                if self.checkpoint_every and self.step % self.checkpoint_every == 0:
                    self.save()
        if self.checkpoint is not None:
            self.save()
        return self

    def _batches(self, half: int):
        epoch, start = divmod(self.step, self.steps_per_epoch)
        while self.step < self.total_steps:
            batches = self.halves[half].batches(
                self.recipe.batch_size,
                seed=mix(self.seed, half),
                epoch=epoch,
                start=start,
                augment=self.recipe.augment,
                drop_last=True,
            )
            yield from islice(batches, self.steps_per_epoch - start)  # halves may differ by one
            epoch, start = epoch + 1, 0

    def _train_step(self, first, second) -> None:
        (x, y), (x2, y2) = first, second
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.step, self.steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        values = []
        for loss, share in self._weight_losses(x, y):
            (loss * share).backward()  # one pass's activations at a time
            values.append(loss.detach())
            self.passes += 1
        loss = float(torch.stack(values).mean())
        self._check(loss, "the weights")
        self.optimizer.step()
        structure = math.nan
        if self.step >= self._structure_starts():
            entropy, price = self._structure_losses(x2, y2)
            self.passes += 1
            structure = float(entropy.detach())
            self._check(structure + float(price.detach()), "the distribution")
            grads = torch.autograd.grad(entropy + price, self.logits, allow_unused=True)
            for t, grad in zip(self.logits, grads, strict=True):
                t.grad = grad
            self.structure_optimizer.step()
        with torch.no_grad():
            macs = float(self.expected(self.distribution())) * self.full_macs
        self._seen.append((loss, structure, macs))
        self.step += 1

    def _cross_entropy(self, run, y) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp):
            return F.cross_entropy(run(), y, label_smoothing=self.recipe.label_smoothing)

    def _check(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            self.optimizer.zero_grad(set_to_none=True)
            raise TrainingError(
                f"the loss of {what} is {value} at step {self.step} of {self.total_steps}: lower "
                f"the learning rate (lr={self.recipe.lr}, structure_lr={self.structure_lr})"
            )

    # the result

    def probabilities(self) -> tuple[np.ndarray, ...]:
        """The distribution as float64 arrays, one a group."""
        with torch.no_grad():
            return tuple(p.double().cpu().numpy() for p in self.distribution())

    def result(self, best: np.ndarray) -> LearnedWidths:
        """The outcome for a width that was derived from the distribution."""
        columns = ["loss", "structure", "expected_macs"]
        history = pd.DataFrame(self._seen, columns=columns)
        history.insert(0, "step", np.arange(len(history)))
        with torch.no_grad():
            expected = float(self.expected(self.distribution())) * self.full_macs
        return LearnedWidths(
            best=best,
            macs=self.cost.macs(best),
            P=self.probabilities(),
            expected_macs=expected,
            history=history,
        )

    # the state: all that decides how training goes on

    def _settings(self) -> dict:
        return {
            "method": type(self).__name__,
            **settings_of(space=self.space, data=self.data, recipe=self.recipe),
            "budget": float(self.budget),
            "structure_lr": self.structure_lr,
            "seed": self.seed,
            **self._method_settings(),
        }

    def save(self, path=None) -> None:
        """Write the state to ``path`` (default: ``checkpoint``), all of it or nothing."""
        path = self.checkpoint if path is None else path
        if path is None:
            raise ValueError("save needs a path: this was made without a checkpoint file")
        state = {
            "settings": self._settings(),
            "step": self.step,
            "passes": self.passes,
            "net": self.net.state_dict(),
            "logits": [t.detach() for t in self.logits],
            "optimizer": self.optimizer.state_dict(),
            "structure_optimizer": self.structure_optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "seen": torch.tensor(self._seen, dtype=torch.float64).reshape(-1, 3),
        }
        write_state(path, state)

    def _restore(self) -> None:
        state = read_state(self.checkpoint)
        if "structure_optimizer" not in state:
            raise CheckpointError(
                f"checkpoint '{self.checkpoint}' is not one of {type(self).__name__}"
            )
        same_settings(self.checkpoint, self._settings(), state["settings"])
        load_weights(self.checkpoint, self.net, state["net"])
        with torch.no_grad():
            for t, saved in zip(self.logits, state["logits"], strict=True):
                t.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.structure_optimizer.load_state_dict(state["structure_optimizer"])
        self.step, self.passes = state["step"], state["passes"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self._seen = [tuple(row) for row in state["seen"].tolist()]


def candidate_channels(space) -> list[list[int]]:
    """Channels of every candidate width, one list a group."""
    out = []
    for i, candidates in enumerate(space.candidates):
        C = np.tile(space.full, (len(candidates), 1))
        C[:, i] = candidates
        out.append(space.channels(C)[:, i].tolist())
    return out


def _halves(split, seed: int):
    """Two random halves of a split, equal but for one image."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(split)))
    order = order.to(split.device)
    half = len(split) // 2
    parts = (("first half", order[:half]), ("second half", order[half:]))
    return [
        replace(split, x=split.x[rows], y=split.y[rows], name=f"{split.name}, {name}", index=None)
        for name, rows in parts
    ]
