"""TAS: two sampled widths a layer, mixed by their probabilities (Dong and Yang, 2019).

Mixing after a layer that is linear in its weights equals running the layer with mixed weights. So
the whole method is the UA supernet, run with other tensors in place of its own.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..graph import GraphError
from .learned import LearnedWidths, WidthLearner
from .settle import settle

__all__ = ["TAS", "interpolate", "mix_channels"]


class TAS(WidthLearner):
    r"""Transformable architecture search: a learnable distribution over widths, by gradient.

    Group i has logits :math:`\alpha_i` over its candidates, :math:`P_i = \mathrm{softmax}
    (\alpha_i)`. A pass draws Gumbel noise g, keeps the two candidates a, b of largest
    :math:`\log P + g` (two draws without replacement), and lets every layer of the group put out

    .. math::
        y = \omega_a\, \mathrm{CWI}(y_{1:a}) + \omega_b\, \mathrm{CWI}(y_{1:b}), \qquad
        \omega = \mathrm{softmax}\big((\log P + g)_{a,b} / \tau_g\big),

    where CWI (channel-wise interpolation) is average pooling over channels to the wider of the
    two. The weights lower the cross entropy on one half of the training images; the logits lower
    cross entropy + ``cost_weight`` times the cost term on the other half,

    .. math::
        \log \mathbb{E}[\mathrm{MACs}] \;\text{if}\; \mathrm{MACs}(\hat c) > (1 + t) F_b, \quad
        -\log \mathbb{E}[\mathrm{MACs}] \;\text{if}\; \mathrm{MACs}(\hat c) < (1 - t) F_b, \quad
        0 \;\text{else},

    with :math:`F_b` the budget, t ``tolerance`` and :math:`\hat c` the most probable widths.
    :math:`\tau_g` falls linearly from ``tau[0]`` to ``tau[1]``.

    Source: Dong and Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019.
    What we changed: widths only, not depth; coupled layers (residual additions) share one
    distribution; squeeze layers are not mixed; the mixture is made of weights, before
    normalisation; the widths are settled to a hard budget (``settle``); distillation of the final
    network is left to ``train_from_scratch(teacher=…)``.

    Args:
        cost_weight: weight of the cost term. tolerance: t. tau: first and last
            :math:`\tau_g`, the temperature.
        others: see ``WidthLearner``.
    """

    def __init__(
        self, *args, cost_weight: float = 2.0, tolerance: float = 0.05, tau=(10.0, 0.1), **options
    ):
        self.cost_weight, self.tolerance, self.tau = cost_weight, tolerance, tuple(tau)
        super().__init__(*args, **options)
        self._made = _producers(self.net)

    def _initial_logits(self) -> list[Tensor]:
        return [torch.zeros(len(c)) for c in self.space.candidates]

    def _method_settings(self) -> dict:
        return {
            "cost_weight": self.cost_weight,
            "tolerance": self.tolerance,
            "tau": list(self.tau),
        }

    def distribution(self) -> list[Tensor]:
        return [F.softmax(t, dim=0) for t in self.logits]

    def temperature(self) -> float:
        """The temperature of the present step."""
        first, last = self.tau
        return first + (last - first) * self.step / max(1, self.total_steps - 1)

    def draw(self) -> list[tuple[list[int], Tensor]]:
        """Two candidates a group, as positions, and their mixing weights (2,); one of one."""
        drawn = []
        for t in self.logits:
            noise = torch.from_numpy(self.rng.gumbel(size=len(t))).to(t)
            score = F.log_softmax(t, dim=0) + noise
            top = score.detach().topk(min(2, len(t))).indices
            drawn.append((top.tolist(), F.softmax(score[top] / self.temperature(), dim=0)))
        return drawn

    def forward(self, x: Tensor, drawn) -> Tensor:
        """Logits (B, classes) with every group mixed from its drawn candidates."""
        counts, c = [], []
        for n, w, (pair, omega) in zip(self.channels, self.space.candidates, drawn, strict=True):
            counts.append(([n[k] for k in pair], omega))
            c.append(max(w[k] for k in pair))
        own = dict(self.net.net.named_parameters())
        mixed = {f"net.{n}": mix_channels(own[n], d, runs, counts) for n, d, runs in self._made}
        return functional_call(self.net, mixed, (x, np.array(c)))

    def _weight_losses(self, x, y):
        drawn = [(pair, omega.detach()) for pair, omega in self.draw()]
        yield self._cross_entropy(lambda: self.forward(x, drawn), y), 1.0

    def _structure_losses(self, x, y):
        drawn = self.draw()
        loss = self._cross_entropy(lambda: self.forward(x, drawn), y)
        return loss, self.cost_weight * self._price()

    def _price(self) -> Tensor:
        pairs = zip(self.space.candidates, self.logits, strict=True)
        likely = np.array([c[int(t.argmax())] for c, t in pairs])
        share = self.cost.macs(likely) / self.budget
        sign = float(share > 1 + self.tolerance) - float(share < 1 - self.tolerance)
        return sign * torch.log(self.expected(self.distribution()))

    def search(self) -> LearnedWidths:
        """The most probable widths, settled to the budget by their log probabilities."""
        tables = [np.log(np.maximum(p, 1e-30)) for p in self.probabilities()]
        return self.result(settle(self.space, self.cost, self.budget, tables))


def interpolate(t: Tensor, n: int, dim: int = 0) -> Tensor:
    """CWI: adaptive average pooling along one dimension, to n entries (also more than it has)."""
    if t.shape[dim] == n:
        return t
    eye = torch.eye(t.shape[dim], dtype=t.dtype, device=t.device)
    pool = F.adaptive_avg_pool1d(eye, n)  # (entries, n), columns sum to 1
    return torch.tensordot(t, pool, dims=([dim], [0])).movedim(-1, dim)


def mix_channels(t: Tensor, dim: int, runs, counts) -> Tensor:
    """A parameter whose first channels along dim are the mixture; the others stay.

    Args:
        runs: (entries, group or None) stretches along dim. counts: per group, the two channel
            counts and their weights (2,).
    """
    out, start = [], 0
    for length, group in runs:
        part = t.narrow(dim, start, length)
        start += length
        if group is None or len(counts[group][0]) == 1:
            out.append(part)
            continue
        pair, omega = counts[group]
        n = max(pair)
        parts = [interpolate(part.narrow(dim, 0, m), n, dim) for m in pair]
        out += [omega[0] * parts[0] + omega[1] * parts[1], part.narrow(dim, n, length - n)]
    return torch.cat(out, dim)


def _producers(net) -> list[tuple[str, int, tuple]]:
    """(parameter, output dimension, runs) of every layer that makes a searched group's channels."""
    space, graph = net.space, net.space.graph
    place = {g.name: i for i, g in enumerate(space.groups)}
    searched = [place.get(g.name) for g in graph.groups]  # None for squeeze layers
    made = []
    for layer in dict.fromkeys(layer for g in space.groups for layer in g.layers):
        module = net.net.get_submodule(layer)
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            raise GraphError(
                f"TAS mixes the outputs of convolutions and linear layers, and '{layer}' is a "
                f"{type(module).__name__}: WidthSpace.from_model(..., fixed=['{layer}'])"
            )
        dim = 1 if getattr(module, "transposed", False) else 0
        axis = graph.axes[f"{layer}.weight"][dim]
        runs = tuple(
            (r.length * r.repeat, None if r.group is None else searched[r.group]) for r in axis
        )
        made.append((f"{layer}.weight", dim, runs))
        if module.bias is not None:
            made.append((f"{layer}.bias", 0, runs))
    return made
