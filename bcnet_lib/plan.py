"""What a run will take, before it starts: groups, space, budget, passes, memory, time.

Counts are exact. Memory and time are estimates from a few images: activations grow in proportion
to the batch, and time is what every pass takes, and MACs over a rate, both measured here
(``pace.py``); or MACs alone over a rate that is given. Reading images from a disk, the prior, and
waiting for other processes are not in it.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .data import mix
from .memory import peak_memory
from .pace import BACKWARD, Pace, measure_paces
from .search.budget import amount
from .task import Task
from .train import passes_per_step

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do and take."""

    model: str
    image: tuple[int, int, int]
    """(C, H, W)."""
    own_macs: int
    own_params: int
    """Of the model as it is."""
    factor: float
    """Widths of the search's widest network, as a multiple of the model's."""
    macs: int
    params: int
    """Of the search's widest network."""
    groups: tuple[tuple[str, int], ...]
    """(first layer, channels) of every searched group, in forward order."""
    size: int
    """Width vectors, as the paper counts them."""
    networks: int
    """Different networks among them."""
    budget: float
    """MACs."""
    supernet_params: int
    steps: int
    """Optimiser steps of the supernet."""
    passes: int
    """Its forward-backward passes, of a batch each."""
    scored: int
    """Widths that the search will score at most."""
    trainings: int
    """Networks trained from scratch, a teacher included."""
    retrain_steps: int
    """Optimiser steps of each."""
    saved: int
    """Bytes of activations kept for the backward pass of the widest network."""
    weights: int
    """Bytes of the supernet's weights, gradients and optimiser state."""
    work: dict[str, float]
    """MACs of every stage: supernet, search, retrain."""
    shares: dict[str, float]
    """Of every stage's work, the share of the process that has most."""
    calls: dict[str, int]
    """Passes that one process makes in every stage."""
    updates: dict[str, int]
    """Optimiser steps of every stage."""
    paces: dict[str, Pace]
    """How fast every stage is."""
    measured: bool
    """Whether that was measured here; given, it is a rate alone."""
    processes: int

    @property
    def seconds(self) -> dict[str, float]:
        """Estimated seconds of every stage, work shared by all processes."""
        return {
            stage: self.paces[stage].seconds(
                macs * self.shares[stage], self.calls[stage], self.updates[stage]
            )
            for stage, macs in self.work.items()
        }

    def text(self) -> str:
        """The plan in lines."""
        first, last = self.groups[0], self.groups[-1]
        times = self.seconds
        wide = f", {self.factor:.3f} times as wide" if self.factor > 1 else ""
        pace = self.paces["supernet"]
        how = f"{pace.rate / 1e9:,.3g} G MACs/s, "
        how += f"{1e3 * pace.call:.2g} ms a pass, measured here" if self.measured else "as given"
        return "\n".join(
            [
                f"model       {self.model}, images {'x'.join(map(str, self.image))}: "
                f"{amount(self.own_macs)}, {amount(self.own_params, 'params')}",
                f"widest      {amount(self.macs)}, {amount(self.params, 'params')}{wide}",
                f"groups      {len(self.groups)}: '{first[0]}' ({first[1]}) … '{last[0]}' "
                f"({last[1]})",
                f"space       {self.size:.3g} widths, {self.networks:.3g} different networks",
                f"budget      {amount(self.budget)}, {self.budget / self.own_macs:.1%} of the "
                "model",
                f"supernet    {amount(self.supernet_params, 'params')}, {self.steps:,} steps, "
                f"{self.passes:,} forward-backward passes",
                f"search      {self.scored:,} widths at most",
                f"retrain     {self.trainings} networks, {self.retrain_steps:,} steps each",
                f"memory      {_bytes(self.saved)} of activations a process and pass, "
                f"{_bytes(self.weights)} of weights and optimiser",
                f"time        supernet {_time(times['supernet'])}, search "
                f"{_time(times['search'])}, retrain {_time(times['retrain'])}, in all "
                f"{_time(sum(times.values()))} "
                f"({self.processes} x {how})",
            ]
        )


def plan(task: Task, *, processes: int = 1, rate: float | None = None, device="cpu") -> Plan:
    """Plan a run without training anything.

    Args:
        task: ``Task``, with or without its data.
        processes: devices that share the work.
        rate: multiply-accumulates a second that one of them sustains; None: measured on ``device``.
    """
    settings, space, cost = task.settings, task.space, task.cost
    full = cost.macs(space.full)
    net = task.supernet(device)
    fixed, each_image = _activations(net, settings.supernet.amp, device)
    steps = _steps(settings.supernet, task.images)
    each = passes_per_step(settings.update, settings.complement, net.n_paths)
    rng = np.random.default_rng(mix(settings.seed, 8))
    mean = float(cost.macs(space.sample(rng, 2048)).mean())
    scored = settings.population * settings.generations
    val = _held_out(task)
    retrain = _steps(settings.retrain, task.images)
    named = {"full": task.own_macs}
    trained = {name: named.get(name, task.budget) for name in ("found", *settings.baselines)}
    macs = sum(trained.values()) * settings.retrain_seeds
    trainings = len(trained) * settings.retrain_seeds
    if settings.teacher == "full" and "full" not in trained:
        macs, trainings = macs + task.own_macs, trainings + 1
    taught = settings.teacher is not None
    own = task.count(None)
    share = -(-settings.supernet.batch_size // processes)
    batches = -(-val // settings.score_batch)
    mine = -(-batches // processes)  # whole batches are dealt in scoring
    images = {
        "supernet": share,
        "search": -(-val // batches),
        "retrain": -(-settings.retrain.batch_size // processes),
    }
    if rate is None:
        paces = measure_paces(task, net, images, device)
    else:
        paces = dict.fromkeys(images, Pace(rate=rate))
    params = sum(p.numel() for p in net.parameters())
    state = 2 + (settings.supernet.momentum > 0) + (settings.supernet.optimizer == "rmsprop")
    return Plan(
        model=settings.model,
        image=tuple(task.shape),
        own_macs=task.own_macs,
        own_params=own["params"],
        factor=task.factor,
        macs=full,
        params=cost.params(space.full),
        groups=tuple((g.name, g.width) for g in space.groups),
        size=space.size,
        networks=space.networks,
        budget=task.budget,
        supernet_params=params,
        steps=steps,
        passes=steps * each,
        scored=scored,
        trainings=trainings,
        retrain_steps=retrain,
        saved=round(fixed + each_image * share),
        weights=4 * params * state,
        work={
            "supernet": steps * each * settings.supernet.batch_size * mean * (1 + BACKWARD),
            "search": scored * net.n_paths * val * min(mean, task.budget),
            "retrain": retrain
            * settings.retrain.batch_size
            * (macs * (1 + BACKWARD) + taught * trainings * task.own_macs),
        },
        shares={
            "supernet": share / settings.supernet.batch_size,
            "search": mine / batches,
            "retrain": images["retrain"] / settings.retrain.batch_size,
        },
        calls={
            "supernet": steps * each,
            "search": scored * net.n_paths * mine,
            "retrain": trainings * retrain,
        },
        updates={"supernet": steps, "search": 0, "retrain": trainings * retrain},
        paces=paces,
        measured=rate is None,
        processes=processes,
    )


def _steps(recipe, images: int) -> int:
    return recipe.steps(max(1, images // recipe.batch_size))


def _held_out(task: Task) -> int:
    """Images the search scores on."""
    val = task.settings.val
    return len(task.data.val) if task.data is not None else round(task.images * val / (1 - val))


def _activations(net, amp: bool, device) -> tuple[float, float]:
    """Bytes that a pass of the widest network keeps: for itself, and for each image."""
    kind, shape = torch.device(device).type, net.space.graph.example_shape

    def forward(n: int):
        x, y = torch.zeros(n, *shape, device=device), torch.zeros(n, dtype=int, device=device)
        with torch.autocast(kind, torch.bfloat16, enabled=amp):
            return F.cross_entropy(net(x, net.space.full), y)

    two, four = (peak_memory(lambda n=n: forward(n), net, device=device).saved for n in (2, 4))
    each = (four - two) / 2  # and what does not depend on the batch, such as copies of slices
    return two - 2 * each, each


def _bytes(n: float) -> str:
    return f"{n / 2**30:,.2f} GiB" if n >= 2**30 else f"{n / 2**20:,.1f} MiB"


def _time(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"
