"""The widest uniform width: every group keeps the same share of its channels."""

import numpy as np

from .budget import check_budget

__all__ = ["uniform"]


def uniform(space, cost, budget) -> np.ndarray:
    """The widest width vector (k, …, k) within the budget, k in units.

    A group whose base is above k stays at its base; where several widths have the same number of
    channels, the one in ``space.candidates`` stands for them.

    Args:
        space: ``WidthSpace``. cost: its ``CostTable``. budget: MACs.
    Returns:
        int64 (L,).
    Raises:
        BudgetError: if the budget is no positive number, or below the narrowest network.
    """
    check_budget(space, cost, budget)
    units = np.arange(1, space.K + 1)  # (K,)
    columns = []
    for candidates in space.candidates:  # the first at or above k has the channels of k
        columns.append(candidates[np.searchsorted(candidates, units)])
    C = np.stack(columns, axis=1)  # (K, L), wider and wider
    return C[np.flatnonzero(cost.macs(C) <= budget)[-1]]
