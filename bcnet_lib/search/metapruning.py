"""MetaPruning: a small network that makes the weights of every width (Liu et al., 2019).

It is the UA supernet, run with generated tensors in place of its own; training and evolution are
those of any supernet.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..principles import UA
from ..supernet import Supernet
from ..train import SupernetTrainer
from .budget import check_budget
from .evolution import evolve
from .result import SearchResult

__all__ = ["Hypernet", "MetaPruning"]


@dataclass(frozen=True)
class _GeneratedUA(UA):
    """UA, with a setting that tells its checkpoints from those of a plain supernet."""

    hidden: int = 16


class Hypernet(nn.Module):
    r"""A UA supernet whose weights depend on the widths; used wherever a ``Supernet`` is.

    Weight w of a layer at widths c is

    .. math::
        w(c) = w_0 + \frac{1}{\sqrt h} A_w \,\mathrm{relu}(V_w z(c) + v_w), \qquad
        z(c) = 2 c / K - 1 \in \mathbb{R}^L,

    reshaped, then cropped to the leftmost channels as UA does. :math:`A_w` (entries of w, h) starts
    at zero: an untrained hypernetwork is the plain UA supernet.

    Args:
        model, space, seed: as of ``Supernet``.
        hidden: h, units between the two linear layers. The hypernetwork has about h times as many
            parameters as the model.
    """

    def __init__(self, model: nn.Module, space, *, hidden: int = 16, seed: int | None = None):
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.space, self.hidden = space, hidden
        self.supernet = Supernet(model, space, UA(), seed=seed)
        self.principle = _GeneratedUA(hidden=hidden)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        own = dict(self.supernet.net.named_parameters())
        self.names = [n for n, p in own.items() if p.dim() > 1 and n in space.graph.axes]
        where = {"device": next(iter(own.values())).device}
        V, v, A = [], [], []
        for name in self.names:
            normal = torch.randn(hidden, space.L + 1, generator=generator).to(**where)
            V.append(nn.Parameter(normal[:, 1:] / math.sqrt(space.L)))  # (h, L)
            v.append(nn.Parameter(normal[:, 0].clone()))  # (h,)
            A.append(nn.Parameter(torch.zeros(own[name].numel(), hidden, **where)))
        self.V, self.v, self.A = map(nn.ParameterList, (V, v, A))

    n_paths = 1

    @cached_property
    def cost(self):
        """``CostTable`` of the network (the hypernetwork itself costs nothing in use)."""
        return self.supernet.cost

    def weights(self, c) -> dict[str, Tensor]:
        """The generated weights at widths c, at full size; by the names of the model."""
        own = dict(self.supernet.net.named_parameters())
        z = np.asarray(c) / self.space.K * 2 - 1  # (L,)
        z = torch.tensor(z, dtype=torch.float32, device=self.v[0].device)
        out = {}
        for name, V, v, A in zip(self.names, self.V, self.v, self.A, strict=True):
            h = torch.relu(V @ z + v) / math.sqrt(self.hidden)  # (h,)
            out[name] = own[name] + (A @ h).view_as(own[name])
        return out

    def forward(self, x: Tensor, c, path: int = 0) -> Tensor:
        """Run the network of widths c; as ``Supernet.forward``."""
        generated = {f"net.{n}": w for n, w in self.weights(self.space.check(c)).items()}
        return functional_call(self.supernet, generated, (x, c), {"path": path})


class MetaPruning:
    r"""MetaPruning: train a hypernetwork on random widths, then search by evolution.

    Each step draws widths c uniformly and lowers the cross entropy of the network with weights
    w(c) (see ``Hypernet``); the search scores widths with the weights generated for them.

    Source: Liu et al., MetaPruning: Meta Learning for Automatic Neural Network Channel Pruning,
    ICCV 2019. What we changed: every layer's hypernetwork sees the widths of all groups; the bias
    of its last layer is the shared weight :math:`w_0`, initialised like any network; weights of
    convolutions and linear layers are generated, normalisation and biases stay ordinary shared
    parameters; evolution is ``evolve`` (NSGA-II), as for our supernets.

    Args:
        model, space: the network to search. data, recipe: as of ``SupernetTrainer``.
        budget: MACs, a hard limit of ``search``. cost: ``CostTable``; default the network's.
        hidden: see ``Hypernet``. seed: decides weights, widths, order of the images, and search.
        checkpoint: file of the training's state; it goes on from there if it exists.
        checkpoint_every: steps between checkpoints; None: only when ``fit`` returns.
        progress: show progress bars.

    Attributes:
        net: the ``Hypernet``. trainer: its ``SupernetTrainer``.
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
        hidden: int = 16,
        seed: int = 0,
        checkpoint=None,
        checkpoint_every: int | None = None,
        progress: bool = True,
    ):
        self.net = Hypernet(model, space, hidden=hidden, seed=seed)
        self.cost = self.net.cost if cost is None else cost
        check_budget(space, self.cost, budget)
        self.data, self.budget, self.seed, self.progress = data, budget, seed, progress
        self.trainer = SupernetTrainer(
            self.net,
            data,
            recipe,
            seed=seed,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            progress=progress,
        )

    @property
    def passes(self) -> int:
        """Forward-backward passes done so far."""
        return self.trainer.passes

    def fit(self, max_steps: int | None = None, minutes: float | None = None) -> "MetaPruning":
        """Train to the end of the recipe, or for so many more steps or minutes; returns self."""
        self.trainer.fit(max_steps, minutes)
        return self

    def search(self, **options) -> SearchResult:
        """Evolution with generated weights; options as of ``evolve``."""
        options = {"seed": self.seed, "progress": self.progress} | options
        return evolve(self.net, self.data, budget=self.budget, cost=self.cost, **options)
