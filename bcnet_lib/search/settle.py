"""From a preference over widths to one width within the budget, step by step.

Methods that learn a preference (a distribution over widths, an importance of channels) meet the
budget in expectation or by a threshold only. This rule makes it hard, and uses it up.
"""

import numpy as np

from .budget import check_budget

__all__ = ["settle"]


def settle(space, cost, budget, tables, *, per_mac: bool = True) -> np.ndarray:
    """The preferred width, narrowed until it fits the budget and then widened while it fits.

    Start from the highest entry of each table. While the network is over the budget, one group
    takes its next narrower candidate: the one that loses least, per MAC saved. Then, while any
    step fits, one group takes its next wider candidate: the one that gains most (or loses least)
    per MAC. Greedy, so not always the best sum of entries, but deterministic and never over.

    Args:
        space: ``WidthSpace``. cost: ``CostTable``. budget: MACs.
        tables: L arrays, a finite preference for every entry of ``space.candidates``; larger is
            better; they need not be normalised.
        per_mac: False compares steps by their entries alone, as a global ranking does.
    Returns:
        int64 (L,) out of ``space.candidates``, within the budget; no single step of it fits.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network.
        ValueError: if a table has another length than its candidates, or is not finite.
    """
    check_budget(space, cost, budget)
    tables = [np.asarray(t, dtype=float) for t in tables]
    for group, table, candidates in zip(space.groups, tables, space.candidates, strict=True):
        if table.shape != candidates.shape or not np.isfinite(table).all():
            raise ValueError(
                f"the table of group '{group.name}' must hold {len(candidates)} finite numbers, "
                f"one a candidate width, got shape {table.shape}"
            )
    at = np.array([np.flatnonzero(t == t.max())[-1] for t in tables])  # (L,) positions
    macs = cost.macs(_widths(space, at))
    while macs > budget:
        at, macs = _step(space, cost, tables, at, macs, -1, np.inf, per_mac)
    while (wider := _step(space, cost, tables, at, macs, +1, budget, per_mac)) is not None:
        at, macs = wider
    return _widths(space, at)


def _step(space, cost, tables, at, macs, by, limit, per_mac):
    """The best move of one group to its next candidate; None if there is none within limit."""
    moves = [i for i, t in enumerate(tables) if 0 <= at[i] + by < len(t)]
    if not moves:
        return None
    positions = np.repeat(at[None], len(moves), 0)  # (moves, L)
    positions[np.arange(len(moves)), moves] += by
    after = cost.macs(np.stack([_widths(space, p) for p in positions]))  # (moves,)
    gain = np.array([tables[i][at[i] + by] - tables[i][at[i]] for i in moves])
    if per_mac:
        gain = gain / np.abs(after - macs)
    gain[after > limit] = -np.inf
    best = int(gain.argmax())
    return None if gain[best] == -np.inf else (positions[best], after[best])


def _widths(space, at) -> np.ndarray:
    return np.array([c[k] for c, k in zip(space.candidates, at, strict=True)], dtype=np.int64)
