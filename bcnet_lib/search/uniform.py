"""The widest uniform width: every group keeps the same share of its channels."""

import numpy as np

from .budget import check_budget, measure_of

__all__ = ["uniform"]


def uniform(space, cost, budget, measure: str = "macs") -> np.ndarray:
    """The widest width vector (k, …, k) within the budget, k in units.

    A group whose base is above k stays at its base; where several widths have the same number of
    channels, the one in ``space.candidates`` stands for them.

    Args:
        space: ``WidthSpace``. cost: its ``CostTable``.
        budget: in MACs, parameters or milliseconds. measure: ``"macs"``, ``"params"`` or
            ``"latency"``.
    Returns:
        int64 (L,).
    Raises:
        BudgetError: if the budget is no positive number, or below the narrowest network.
    """
    check_budget(space, cost, budget, measure)
    units = np.arange(1, space.K + 1)  # (K,)
    columns = []
    for candidates in space.candidates:  # the first at or above k has the channels of k
        columns.append(candidates[np.searchsorted(candidates, units)])
    C = np.stack(columns, axis=1)  # (K, L), wider and wider
    return C[np.flatnonzero(measure_of(cost, measure)(C) <= budget)[-1]]
