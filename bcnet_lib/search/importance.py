"""Importance pruning: train the full network, rank its channels, keep the widths, drop the weights.

Importances and the groups of layers that they are summed over come from the package torch-pruning
(an independent implementation of coupled channels), which is an optional dependency.
"""

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import GraphError
from .budget import amount, check_budget
from .learned import candidate_channels
from .settle import settle

__all__ = ["CRITERIA", "Ranking", "bn_l1", "importance"]

CRITERIA = ("magnitude", "bn_scale", "fpgm")


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Widths that a global ranking of channels leaves within the budget."""

    best: np.ndarray
    """int64 (L,), the widths kept."""
    macs: int
    """MACs of ``best``."""
    importances: tuple[np.ndarray, ...]
    """L arrays (l_i,), importance of every channel; groups have mean 1, so that they compare."""
    criterion: str
    """What ``importance`` was asked for."""

    def __repr__(self) -> str:
        return f"Ranking({self.criterion}, {amount(self.macs)}, best={self.best.tolist()})"


def importance(model, space, *, budget, cost=None, criterion: str = "magnitude") -> Ranking:
    r"""Rank all channels of a trained network and keep the most important ones.

    The importance of a channel is its mean over the layers of its group, divided by the group's
    mean. ``"magnitude"``: L1 norm of the kernels that make or read it (Li et al., 2017).
    ``"bn_scale"``: size :math:`|\gamma|` of its normalisation's scale (network slimming, Liu et
    al., 2017; train with ``penalty=bn_l1(…)`` first). ``"fpgm"``: sum of distances to the other
    kernels of its layer (He et al., 2019); the package takes them between the absolute values of
    kernels, where the paper takes the kernels.

    Channels are dropped from the least important on, all groups in one ranking, one unit (the mean
    of its channels) at a time, until the network fits; then units that still fit come back. Only
    the *number* of channels left counts here, so build the network anew and train it from scratch.

    Args:
        model: the trained full network of the space. Its training is the search's whole cost in
            passes (``Trained.passes``).
        space: its ``WidthSpace``. budget: MACs, a hard limit. cost: ``CostTable``.
        criterion: one of ``CRITERIA``.
    Raises:
        ImportError: if torch-pruning is not installed.
        ValueError: unknown criterion, or model is not at the space's full width.
        GraphError: the package fails on the network or sees a group's channels differently, or
            bn_scale finds no normalisation there (named).
        BudgetError: if the budget is no positive number or below the narrowest network.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
    if cost is None:
        from ..cost import CostTable

        example = torch.empty((1, *space.graph.example_shape), device="meta")
        cost = CostTable(model, space, example)
    check_budget(space, cost, budget)
    importances = channel_importances(model, space, criterion)
    tables = []
    for values, counts in zip(importances, candidate_channels(space), strict=True):
        ranked = np.sort(values)[::-1]  # the most important channels are kept first
        edges = [0, *counts]
        pairs = zip(edges[:-1], edges[1:], strict=True)
        tables.append(np.cumsum([ranked[a:b].mean() for a, b in pairs]))
    best = settle(space, cost, budget, tables, per_mac=False)
    return Ranking(
        best=best, macs=cost.macs(best), importances=tuple(importances), criterion=criterion
    )


def bn_l1(strength: float) -> Callable[[nn.Module], Tensor]:
    r"""Network slimming's penalty :math:`\lambda \sum |\gamma|` over all normalisation scales.

    Args:
        strength: lambda, not negative (the paper: 1e-5 to 1e-4, for long trainings).
    Returns:
        a ``penalty`` for ``train_from_scratch``.
    """
    if not strength >= 0:
        raise ValueError(f"the strength of a penalty must not be negative, got {strength!r}")

    def penalty(model: nn.Module) -> Tensor:
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        return strength * sum(m.weight.abs().sum() for m in norms if m.affine)

    return penalty


def channel_importances(model, space, criterion: str) -> list[np.ndarray]:
    """Importance of every channel, one array (l_i,) a group; raises as ``importance``."""
    tp = _torch_pruning()
    scorer = {
        "magnitude": lambda: tp.importance.MagnitudeImportance(p=1),
        "bn_scale": lambda: tp.importance.BNScaleImportance(),
        "fpgm": lambda: tp.importance.FPGMImportance(p=1),
    }[criterion]()
    model = copy.deepcopy(model).cpu().eval()
    for p in model.parameters():
        p.requires_grad_(True)  # the package follows the autograd graph
    example = torch.zeros(1, *space.graph.example_shape)
    with _its_failures_named(model):
        dependencies = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    graph = space.graph
    place = {g.name: i for i, g in enumerate(graph.groups)}
    out = []
    for group in space.groups:
        layer = model.get_submodule(group.name)
        transposed = getattr(layer, "transposed", False)
        if isinstance(layer, nn.Linear):
            prune, made = tp.prune_linear_out_channels, layer.out_features
        elif isinstance(layer, nn.modules.conv._ConvNd):
            prune, made = tp.prune_conv_out_channels, layer.out_channels
        else:
            raise GraphError(
                f"'{group.name}' is a {type(layer).__name__}, and torch-pruning ranks the channels "
                f"of convolutions and linear layers: from_model(..., fixed=['{group.name}'])"
            )
        axis = graph.axes[f"{group.name}.weight"][1 if transposed else 0]
        if sum(run.length * run.repeat for run in axis) != made:
            raise ValueError(
                f"layer '{group.name}' has {made} channels, not those of the space: importance "
                "needs the full network, trained"
            )
        with _its_failures_named(model, f" at group '{group.name}'"):
            members = dependencies.get_pruning_group(layer, prune, idxs=list(range(made)))
            values = scorer(members)
        if values is None:
            raise GraphError(
                f"group '{group.name}' has no normalisation with a scale, which bn_scale ranks "
                "by: use criterion='magnitude'"
            )
        start = 0
        for run in axis:  # a layer that makes several groups: this one's stretch
            if run.group == place[group.name]:
                break
            start += run.length * run.repeat
        values = values[start : start + group.width].double().numpy()
        out.append(values / max(values.mean(), 1e-12))
    return out


@contextmanager
def _its_failures_named(model, where: str = ""):
    """Whatever the package raises says that it is the package, and what else there is."""
    try:
        yield
    except Exception as error:
        raise GraphError(
            f"torch-pruning fails on {type(model).__name__}{where} ({type(error).__name__}: "
            f"{error}), so importance cannot rank its channels: use another method, which needs "
            "no such package (a supernet and evolve or greedy, TAS, DMCP, random_retrain)"
        ) from error


def _torch_pruning():
    try:
        import torch_pruning
    except ImportError as error:
        raise ImportError(
            "importance pruning needs the package torch-pruning: pip install "
            "'bcnet_lib[pruning]', or pip install 'torch-pruning>=1.5'"
        ) from error
    return torch_pruning
