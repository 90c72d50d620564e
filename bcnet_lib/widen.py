"""A network made wider everywhere by one factor, until it has so many times the MACs.

A budget as large as the network itself leaves nothing to search in that network: its full width is
the only one that uses it up. So the paper searches such budgets in a network of 1.5 times the MACs
(arXiv 2203.13714, section 7.1). MACs grow nearly as the square of the width, so that takes about
1.23 times the width; how much exactly depends on the network, and is solved for here.
"""

import numpy as np
from torch import Tensor, nn

from .cost import CostTable
from .space import WidthSpace

__all__ = ["widened"]


def widened(
    model: nn.Module, example_input: Tensor, times: float = 1.5, *, seed: int | None = None
) -> tuple[nn.Module, float]:
    r"""The network with all groups of channels wider by one factor.

    A group of :math:`l` channels gets :math:`\lfloor f l + 1/2 \rfloor`, in whole blocks where its
    convolutions are grouped; squeeze layers keep their ratio to the group they gate. Of all factors
    f that one is taken whose MACs are nearest to those asked for.

    Args:
        model: any network that ``WidthSpace.from_model`` knows; left as it is.
        example_input: (B, C, H, W); MACs are counted at its image size.
        times: MACs of the result, in multiples of the model's, 1 or more.
        seed: of the new weights; None: torch's global generator.
    Returns:
        (newly initialised network of the model's class, in training mode; the factor f).
    Raises:
        ValueError: if times is below 1, or not reached by factors up to twice as large.
        GraphError: if the model cannot be traced, or cannot be widened (says which layer).
    """
    if not 1 <= times < float("inf"):
        raise ValueError(f"times={times!r} must be 1 or more, in multiples of the model's MACs")
    space = WidthSpace.from_model(model, example_input, K=1)
    cost = CostTable(model, space, example_input)
    width = np.array([g.width for g in space.groups])  # (L,)
    block = np.array([g.multiple for g in space.groups])

    def channels(factor: float) -> np.ndarray:
        return np.maximum(1, np.floor(factor * width / block + 0.5).astype(np.int64)) * block

    def macs(factor: float) -> int:
        return cost.macs_of(channels(factor))

    goal = times * macs(1.0)
    low, high = 1.0, 2.0 * times
    if macs(high) < goal:
        raise ValueError(
            f"times={times}: widths of {high:.3g} times those of the model have only "
            f"{macs(high) / macs(1.0):.3g} times its MACs, most of them in layers of fixed width"
        )
    while high - low > 1e-12 * high:  # MACs jump between the two in the end
        middle = (low + high) / 2
        low, high = (low, middle) if macs(middle) >= goal else (middle, high)
    factor = min((low, high), key=lambda f: abs(macs(f) - goal))
    return space.build(model, channels=channels(factor), seed=seed), float(factor)
