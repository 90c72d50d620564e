"""DMCP: a Markov process over channels, whose keep probabilities gate them (Guo et al., 2020).

A gate in front of a layer that is linear in its input equals scaling the layer's weights along
their input channels. So the whole method is the UA supernet, run with other tensors in place of its
own.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..graph import GraphError
from .learned import LearnedWidths, WidthLearner
from .settle import settle

__all__ = ["DMCP", "markov"]


class DMCP(WidthLearner):
    r"""Differentiable Markov channel pruning.

    The candidates of a group are :math:`c^{(1)} < \dots < c^{(m)}`. Widths are drawn by a walk
    that starts at :math:`c^{(1)}` and goes on to :math:`c^{(k)}` with probability
    :math:`p_k = \sigma(\alpha_k)`, so

    .. math::
        q_k = \Pr(c \ge c^{(k)}) = \prod_{j=2}^{k} p_j, \qquad
        \Pr(c = c^{(k)}) = q_k (1 - p_{k+1}), \qquad p_{m+1} = 0.

    The channels between :math:`c^{(k-1)}` and :math:`c^{(k)}` are multiplied by their keep
    probability :math:`q_k`, on the way into every layer that reads them: after normalisation, which
    would undo a factor before it. The weights lower the mean cross entropy of the widest and the
    narrowest network and of ``randoms`` networks drawn from the walk; the logits lower, at full
    width with gates,

    .. math::
        \mathrm{CE} + \lambda_F \begin{cases}
        0 & (1 - t) F_b \le \mathbb{E}[\mathrm{MACs}] \le F_b \\
        |\log (\mathbb{E}[\mathrm{MACs}] / F_b)| & \text{else,} \end{cases}

    with :math:`F_b` the budget and t ``tolerance``. In the first ``warmup`` share of the steps only
    the weights are trained.

    Source: Guo et al., DMCP: Differentiable Markov Channel Pruning, CVPR 2020.
    What we changed: the walk goes over candidate widths, not single channels, and starts uniform
    over them; coupled layers (residual additions) share one walk; squeeze layers are not gated;
    weights and logits see different halves of the training images; the cost term is the distance of
    logarithms (it has no pole at the budget); widths are the expected ones, settled to a hard
    budget (``settle``), where the paper samples and chooses.

    Args:
        randoms: networks drawn a step. cost_weight: :math:`\lambda_F`. tolerance: t.
        warmup: share of the steps without update of the logits, below 1.
        others: see ``WidthLearner``.
    """

    def __init__(
        self,
        *args,
        randoms: int = 2,
        cost_weight: float = 2.0,
        tolerance: float = 0.05,
        warmup: float = 0.25,
        **options,
    ):
        if randoms < 0 or not 0 <= warmup < 1:
            raise ValueError(
                f"DMCP needs randoms >= 0 and 0 <= warmup < 1, got {randoms}, {warmup}"
            )
        self.randoms, self.warmup = randoms, warmup
        self.cost_weight, self.tolerance = cost_weight, tolerance
        super().__init__(*args, **options)
        self._read = _readers(self.net)

    def _initial_logits(self) -> list[Tensor]:
        """Logits of p_2 … p_m that make all candidates equally likely."""
        lengths = [len(c) for c in self.space.candidates]
        return [torch.log(torch.arange(m - 1, 0, -1, dtype=torch.float32)) for m in lengths]

    def _method_settings(self) -> dict:
        return {
            "randoms": self.randoms,
            "cost_weight": self.cost_weight,
            "tolerance": self.tolerance,
            "warmup": self.warmup,
        }

    def _structure_starts(self) -> int:
        return round(self.warmup * self.total_steps)

    def distribution(self) -> list[Tensor]:
        return [markov(t)[1] for t in self.logits]

    def gates(self) -> list[Tensor]:
        """Keep probability of every channel, (l_i,) a group."""
        gates = []
        for t, n in zip(self.logits, self.channels, strict=True):
            spans = torch.tensor(np.diff([0, *n]), device=t.device)
            gates.append(markov(t)[0].repeat_interleave(spans))
        return gates

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) at full width, every channel scaled by its keep probability."""
        gates = self.gates()
        own = dict(self.net.net.named_parameters())
        scaled = {f"net.{n}": _scale(own[n], d, runs, gates) for n, d, runs in self._read}
        return functional_call(self.net, scaled, (x, self.space.full))

    def _weight_losses(self, x, y):
        P = self.probabilities()
        widths = [self.space.full, self.space.narrowest]
        for _ in range(self.randoms):
            pairs = zip(self.space.candidates, P, strict=True)
            widths.append(np.array([self.rng.choice(c, p=p / p.sum()) for c, p in pairs]))
        for c in widths:
            yield self._cross_entropy(lambda c=c: self.net(x, c), y), 1 / len(widths)

    def _structure_losses(self, x, y):
        loss = self._cross_entropy(lambda: self.forward(x), y)
        share = self.expected(self.distribution()) * (self.full_macs / self.budget)
        inside = 1 - self.tolerance <= float(share.detach()) <= 1
        return loss, self.cost_weight * (0.0 * share if inside else torch.log(share).abs())

    def search(self) -> LearnedWidths:
        """The expected widths, settled to the budget: nearby candidates are preferred."""
        tables = []
        for c, p in zip(self.space.candidates, self.probabilities(), strict=True):
            tables.append(-(((c - c @ p) / self.space.K) ** 2))
        return self.result(settle(self.space, self.cost, self.budget, tables))


def markov(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Keep probabilities q (m,) and probabilities of the widths (m,) from m - 1 logits."""
    one = logits.new_ones(1)
    q = torch.cat([one, torch.exp(torch.cumsum(F.logsigmoid(logits), 0))])
    stop = torch.cat([torch.sigmoid(-logits), one])  # 1 - p_{k+1}; the last one must stop
    return q, q * stop


def _scale(weight: Tensor, dim: int, runs, gates) -> Tensor:
    """A weight times the gates along its input dimension."""
    parts = [
        weight.new_ones(length) if group is None else gates[group].repeat_interleave(repeat)
        for length, group, repeat in runs
    ]
    shape = [1] * weight.dim()
    shape[dim] = -1
    return weight * torch.cat(parts).view(shape)


def _readers(net) -> list[tuple[str, int, tuple]]:
    """(weight, input dimension, runs) of every layer that sums over a searched group's channels."""
    space, graph = net.space, net.space.graph
    place = {g.name: i for i, g in enumerate(space.groups)}
    searched = [place.get(g.name) for g in graph.groups]  # None for squeeze layers
    modules = dict(net.net.named_modules())
    read = {}
    for op in graph.ops:
        if all(run.group is None for axis in (op.out, op.inner) for run in axis):
            continue
        module = modules.get(op.layer)
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            raise GraphError(
                f"DMCP gates the inputs of convolutions and linear layers, and '{op.layer}' is a "
                f"{type(module).__name__}: WidthSpace.from_model(..., fixed=['{op.layer}'])"
            )
        dim = 0 if getattr(module, "transposed", False) else 1
        axis = graph.axes[f"{op.layer}.weight"][dim]  # constant where each channel has its filter
        runs = tuple(
            (r.length * r.repeat, None if r.group is None else searched[r.group], r.repeat)
            for r in axis
        )
        if any(group is not None for _, group, _ in runs):
            read[op.layer] = (f"{op.layer}.weight", dim, runs)
    return list(read.values())
