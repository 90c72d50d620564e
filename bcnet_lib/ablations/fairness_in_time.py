r"""Fairness through training: how often each channel is trained so far, and by how much gradient.

Supernets are trained for the same number of passes, and looked at from time to time. Of every
channel u three numbers are kept:

- its uses :math:`n_u`, the passes that ran through it so far;
- its gradient :math:`g_u = \sum_t \lVert \nabla_u^{(t)} \rVert_2` over steps t, of the kernels that
  make the channel, as the optimiser gets it (the mean over the passes of the step);
- the norm :math:`w_u` of these kernels.

Principles promise equal uses (Su et al., arXiv 2203.13714, sections 4.1, 4.2, 5.1). What channels
learn from is gradient. ``FULL`` trains the full width alone, so that every pass uses every channel:
how unequal gradients are there is what no principle can improve on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .. import distributed
from ..checkpoint import read_state, write_state
from ..fairness import channel_uses
from ..intervals import headline
from ..methods import METHODS, Method, passes_a_step
from ..principles import UA
from ..profiles import PROFILES, Profile
from ..train import SupernetTrainer
from .cells import Cell, Where
from .components import NARROW
from .experiment import Experiment
from .problem import problem_of

__all__ = [
    "ASKED",
    "FAIRNESS_IN_TIME",
    "FULL",
    "by_unit",
    "gradient_meter",
    "gradient_of_widths",
    "looks",
    "predicted",
    "spread",
]

FULL = "full width only"
ASKED = (
    *((m, False) for m in ("UA", "BC", "BC + complement", "BCv2", "BCv2 + complement", "Cyclic")),
    (FULL, False),
    *((m, True) for m in ("BC", "BC + complement", "BCv2", "BCv2 + complement")),
)
"""Method, and whether narrow widths are left out (``components.NARROW``)."""
LOOKS = 10
STEP = 4  # passes: of a step of Eq. 11, so that a look is between two steps of every method


def looks(passes: int) -> list[int]:
    """Passes after which a supernet is looked at: evenly on a log scale, whole steps of all."""
    steps = np.geomspace(1, passes // STEP, LOOKS).round().astype(int)
    return [STEP * int(s) for s in np.unique(steps)]


def gradient_meter(net, optimizer) -> tuple[dict[str, torch.Tensor], dict[str, list]]:
    """Add up the gradient norm of every channel, just before each step of an optimiser.

    The step itself is not touched: training gives the same weights with and without the meter.

    Args:
        net: a ``Supernet``. optimizer: of its parameters.
    Returns:
        group name -> float64 (total,), which grow with every step; and group name -> the weights
        whose rows make the group's channels.
    """
    makers = _makers(net)
    sums = {
        name: torch.zeros(len(weights[0]), dtype=torch.float64, device=weights[0].device)
        for name, weights in makers.items()
    }

    def read(*_):
        for name, weights in makers.items():
            grads = [w.grad for w in weights if w.grad is not None]
            if grads:
                sums[name] += _row_norms(grads)

    optimizer.register_step_pre_hook(read)
    return sums, makers


def _makers(net) -> dict[str, list[torch.nn.Parameter]]:
    """Group name -> convolution and linear weights with one row a channel of the group."""
    graph, parameters = net.space.graph, dict(net.net.named_parameters())
    out: dict[str, list] = {}
    for name, axes in graph.axes.items():
        rows = axes[0] if len(axes) > 1 else ()
        if len(rows) == 1 and rows[0].group is not None and rows[0].repeat == 1:
            out.setdefault(graph.groups[rows[0].group].name, []).append(parameters[name])
    return out


@torch.no_grad()
def _row_norms(tensors) -> torch.Tensor:
    """Norm of the rows of several tensors together; (total,) float64."""
    squares = [t.double().flatten(1).square().sum(dim=1) for t in tensors]
    return torch.stack(squares).sum(dim=0).sqrt()


def _how(method: str) -> Method:
    return Method(principle=UA()) if method == FULL else METHODS[method]


def _cell(profile: Profile, method: str, narrow: bool, seed: int) -> Cell:
    base = NARROW[profile.K] if narrow else profile.base
    key = {"method": method, "seed": seed, "passes": profile.passes}
    return Cell.of("fairness_in_time", _run, replace(profile, base=base), **key)


def _run(
    settings: Profile, where: Where, file: Path, *, method: str, seed: int, passes: int
) -> dict | None:
    """Train one supernet and look at it.

    Returns:
        looks: a list of {passes, uses, gradient, norm}, the last three lists a group.
    """
    how, problem = _how(method), problem_of(settings, where.root)
    net = problem.supernet(how.principle, seed, where.device)
    a_step = passes_a_step(how)
    recipe, training = problem.supernet_recipe(passes // a_step), file.with_suffix(".training")
    options = {"update": how.update, "complement": how.complement, "seed": seed, "progress": False}
    if method == FULL:
        options["sample"] = lambda rng, n: np.tile(problem.space.full, (n, 1))
    trainer = SupernetTrainer(
        net, problem.data, recipe, checkpoint=training if training.exists() else None, **options
    )
    trainer.checkpoint = None  # it is saved below, together with what the looks have seen
    sums, makers = gradient_meter(net, trainer.optimizer)
    seen = _resume(file, trainer.step, sums)
    uses = seen["uses"] or {name: np.zeros(len(s), dtype=np.int64) for name, s in sums.items()}
    ends = [n // a_step for n in looks(passes)]
    while trainer.step < ends[-1]:
        end = next(e for e in ends if e > trainer.step)
        every = settings.checkpoint_every or end
        before = trainer.passes
        trainer.fit(max_steps=min(end - trainer.step, every), minutes=where.left())
        records = trainer.records
        new = zip(records.widths[before:], records.paths[before:].tolist(), strict=True)
        for name, count in channel_uses(net, new).items():
            if name in uses:
                uses[name] = uses[name] + count
        if trainer.step == end:
            seen["looks"].append(_look(trainer.passes, uses, sums, makers))
        if settings.checkpoint_every or where.until is not None:
            _save(file, trainer, seen | {"uses": uses}, sums)
        if trainer.step < ends[-1] and where.over:
            return None
    if distributed.is_first():
        for path in (training, *_partials(file)):
            path.unlink(missing_ok=True)
    return {"looks": seen["looks"]}


def _look(passes, uses, sums, makers) -> dict:
    norms = [_row_norms([w.detach() for w in makers[name]]) for name in uses]
    return {
        "passes": passes,
        "uses": [n.tolist() for n in uses.values()],
        "gradient": [[float(f"{v:.6g}") for v in sums[name].tolist()] for name in uses],
        "norm": [[float(f"{v:.6g}") for v in norm.tolist()] for norm in norms],
    }


# What the looks have seen goes into a file named after the step, before the trainer's own file is
# replaced: whenever the process ends, the trainer finds the file of its step.


def _partials(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.looks-*"))


def _save(file: Path, trainer, seen: dict, sums) -> None:
    old, path = _partials(file), file.with_name(f"{file.name}.looks-{trainer.step}")
    uses = {name: torch.from_numpy(count) for name, count in seen["uses"].items()}
    write_state(path, {"looks": seen["looks"], "uses": uses, "sums": dict(sums)})
    trainer.save(file.with_suffix(".training"))
    if distributed.is_first():
        for done in {*old} - {path}:
            done.unlink(missing_ok=True)


def _resume(file: Path, step: int, sums) -> dict:
    if step == 0:
        return {"looks": [], "uses": None}
    state = read_state(file.with_name(f"{file.name}.looks-{step}"))
    for name, value in state["sums"].items():
        sums[name].copy_(value)
    uses = {name: count.numpy() for name, count in state["uses"].items()}
    return {"looks": state["looks"], "uses": uses}


# ---------------------------------------------------------------------------- the record


def spread(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    r"""How unequal the channels of a layer are, as a mean over layers.

    .. math:: \mathrm{std}_u(v_u) \big/ \mathrm{mean}_u(v_u), \qquad \max_u v_u - \min_u v_u

    Args:
        values: (total,) of every layer, not all 0 in any.
    Returns:
        coefficient of variation, 0 for equal values; and the gap, in the unit of the values.
    """
    layers = [np.asarray(v, dtype=float) for v in values]
    cv = np.mean([v.std() / v.mean() for v in layers])
    return float(cv), float(np.mean([v.max() - v.min() for v in layers]))


def _together(a, b) -> float | None:
    """Pearson correlation over the channels of a layer, the mean over layers where it exists."""
    pairs = [(np.asarray(x, float), np.asarray(y, float)) for x, y in zip(a, b, strict=True)]
    found = [np.corrcoef(x, y)[0, 1] for x, y in pairs if np.ptp(x) > 0 and np.ptp(y) > 0]
    return float(np.mean(found)) if found else None


def by_unit(values: Sequence[Sequence[float]], units: Sequence[int]) -> np.ndarray:
    """Values of a layer's units relative to their mean; the mean over layers.

    Args:
        values: (total,) of every layer. units: of every layer; layers with fewer units than the
            last one are left out.
    Returns:
        (units of the last layer,) float64, of mean 1.
    """
    rows = []
    for v, n in zip(values, units, strict=True):
        if n == units[-1]:
            v = np.asarray(v, dtype=float)
            unit = np.arange(len(v)) * n // len(v)  # of every channel
            mean = np.array([v[unit == u].mean() for u in range(n)])
            rows.append(mean / mean.mean())
    return np.mean(rows, axis=0)


def gradient_of_widths(unit_gradient: Sequence[float]) -> np.ndarray:
    """Gradient that one unit gets from paths of each width, from what UA's units have.

    Under UA unit u is in the widths c >= u, so unit c has what width c gives and unit c + 1 not.

    Args:
        unit_gradient: (K,) of the units of a UA supernet without a base, in any scale.
    Returns:
        (K,) float64, of widths 1..K; below 0 only by chance.
    """
    return -np.diff(np.asarray(unit_gradient, dtype=float), append=0.0)


def predicted(principle, of_widths: Sequence[float], base: int = 1) -> np.ndarray:
    r"""Gradient of every unit, if it depended on the widths of the paths through it alone.

    .. math:: \hat g_u \propto \sum_{c = l_s}^{K} \sum_{p\,:\,u \in \mathrm{path}_p(c)} \gamma_c

    Args:
        principle: ``BC()`` … of_widths: (K,), from ``gradient_of_widths``. base: l_s.
    Returns:
        (principle.total(K, base),) float64, of mean 1.
    """
    K = len(of_widths)
    out = np.zeros(principle.total(K, base))
    for c in range(base, K + 1):
        for start, stop in principle.paths(c, K, base):
            out[np.arange(start, stop) % len(out)] += of_widths[c - 1]
    return out / out.mean()


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    return [[_cell(profile, m, narrow, seed) for seed in seeds for m, narrow in ASKED]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows = []
    for seed in seeds:
        for method, narrow in ASKED:
            cell = _cell(profile, method, narrow, seed)
            units = _how(method).principle.total(profile.K, cell.settings.base)
            for look in results[cell]["looks"]:
                row = {"seed": seed, "method": method, "base": cell.settings.base}
                rows.append(row | {"passes": look["passes"]} | _measures(look, units))
    return rows


def _measures(look: dict, units: int) -> dict:
    uses, gradient, norm = look["uses"], look["gradient"], look["norm"]
    (uses_cv, uses_gap), (gradient_cv, _), (norm_cv, _) = map(spread, (uses, gradient, norm))
    at = [units] * len(uses)
    return {
        "uses_cv": uses_cv,
        "uses_gap": uses_gap,
        "gradient_cv": gradient_cv,
        "gradient_gap": spread([np.asarray(g) / np.mean(g) for g in gradient])[1],
        "norm_cv": norm_cv,
        "uses_with_gradient": _together(uses, gradient),
        "uses_with_norm": _together(uses, norm),
        "gradient_with_norm": _together(gradient, norm),
        "uses_by_unit": " ".join(f"{v:.4f}" for v in by_unit(uses, at)),
        "gradient_by_unit": " ".join(f"{v:.4f}" for v in by_unit(gradient, at)),
    }


def _headline(rows: list[dict]) -> str:
    last = max(row["passes"] for row in rows)
    name = "BCv2 + complement"
    mine = [r for r in rows if (r["method"], r["passes"]) == (name, last)]
    found = [r["gradient_cv"] for r in mine if r["base"] == mine[0]["base"]]
    return headline(f"spread of gradient over channels with {name}", found, digits=3)


FAIRNESS_IN_TIME = Experiment(
    name="fairness_in_time",
    profiles=PROFILES["fairness_in_time"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing="uses_with_gradient, uses_with_norm: all channels are used equally often",
)
