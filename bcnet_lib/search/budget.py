"""Budgets of MACs, parameters or latency: what is within one, and random widths that are.

Every function takes a ``measure``: the name of the ``CostTable`` method that the budget limits.
"""

import math
import warnings
from numbers import Real

import numpy as np

__all__ = [
    "MEASURES",
    "BudgetError",
    "amount",
    "check_budget",
    "draw_within",
    "measure_of",
    "shrink_within",
    "walk_within",
    "widen_within",
]

MEASURES = {"macs": ("MACs", 1e6, "M MACs"), "params": ("parameters", 1e6, "M parameters"),
            "latency": ("milliseconds", 1, "ms")}  # fmt: skip
"""By measure, what a budget counts, and the divisor and unit an amount is printed with."""


class BudgetError(ValueError):
    """A budget that no network of the space meets, or that is no amount of its measure."""


def measure_of(cost, measure: str):
    """The method of a ``CostTable`` that a measure names: (n, L) widths -> (n,), (L,) -> number.

    Raises:
        ValueError: if there is no such measure.
    """
    if measure not in MEASURES:
        known = ", ".join(repr(name) for name in MEASURES)
        raise ValueError(f"measure must be one of {known}, got {measure!r}")
    return getattr(cost, measure)


def amount(value, measure: str = "macs") -> str:
    """'300.8 M MACs', '3.505 M parameters', '12.4 ms'."""
    _, divisor, unit = MEASURES[measure]
    return f"{value / divisor:,.4g} {unit}"


def check_budget(space, cost, budget, measure: str = "macs") -> None:
    """Check that some network of the space costs at most the budget.

    Args:
        space: ``WidthSpace``. cost: its ``CostTable``.
        budget: in MACs, parameters or milliseconds. measure: which of them.
    Raises:
        BudgetError: if the budget is no positive number, or below the narrowest network.
        ValueError: if there is no such measure, or no latency table.
    Warns:
        UserWarning: if the whole network is within the budget, so that it binds nothing.
    """
    values = measure_of(cost, measure)
    if not isinstance(budget, Real) or isinstance(budget, bool) or not 0 < budget < math.inf:
        raise BudgetError(
            f"budget must be a positive number of {MEASURES[measure][0]}, got {budget!r}"
        )
    least, most = values(space.narrowest), values(space.full)
    if budget < least:
        less = "smaller base" if max(space.base) > 1 else "larger K"
        raise BudgetError(
            f"a budget of {amount(budget, measure)} is below the narrowest network of this space, "
            f"{amount(least, measure)} (all {space.L} groups at their smallest width): raise the "
            f"budget, or make the space with a {less}"
        )
    if budget >= most:
        warnings.warn(
            f"a budget of {amount(budget, measure)} holds the whole network, "
            f"{amount(most, measure)}: it keeps no width out",
            stacklevel=3,
        )


def draw_within(
    space, cost, budget, rng, n: int, max_draws: int = 1_000_000, measure: str = "macs"
) -> np.ndarray:
    """n distinct widths, uniform over all widths within the budget, by rejection.

    Args:
        space: ``WidthSpace``. cost: ``CostTable``. rng: NumPy generator.
        budget, measure: as in ``check_budget``.
        n: how many. max_draws: uniform draws after which to give up.
    Returns:
        int64 (n, L).
    Raises:
        BudgetError: if ``max_draws`` draws hold fewer than n; says how many were accepted.
    """
    values, found = measure_of(cost, measure), {}  # found: the bytes of a width -> the width
    drawn = accepted = 0
    while drawn < max_draws:
        C = space.sample(rng, min(16_384, max_draws - drawn))  # (m, L)
        inside = C[values(C) <= budget]
        drawn, accepted = drawn + len(C), accepted + len(inside)
        for c in inside:
            found.setdefault(c.tobytes(), c)
            if len(found) == n:
                return np.stack(list(found.values()))
        if len(found) == space.networks:
            break  # there are no more
    raise BudgetError(
        f"only {len(found):,} of the {n:,} widths asked for were found within "
        f"{amount(budget, measure)}: {accepted:,} of {drawn:,} uniform draws fit (share "
        f"{accepted / drawn:.1e}). Raise the budget, ask for fewer widths, allow more draws "
        f"(max_draws={max_draws:,}), or use evolve, which needs no draws to fit"
    )


def walk_within(
    space, cost, budget, rng, n: int, sweeps: int = 50, measure: str = "macs"
) -> np.ndarray:
    """n random widths within the budget, however tight it is, by a walk for each.

    A walk starts at a random width that was narrowed until it fits. A step draws a new width for
    one group, and is taken back where it does not fit: in the long run every width within the
    budget is as likely as any other, as in ``draw_within``. Two walks may end at the same width.

    Args:
        space, cost, rng, budget, measure: as in ``draw_within``. n: walks.
        sweeps: how often a walk visits every group.
    Returns:
        int64 (n, L).
    Raises:
        BudgetError: if the budget is no positive number, or below the narrowest network.
    """
    check_budget(space, cost, budget, measure)
    values = measure_of(cost, measure)
    C = shrink_within(space, cost, budget, space.sample(rng, n), rng, measure)
    for _ in range(sweeps):
        for i in rng.permutation(space.L):
            tried = C.copy()
            tried[:, i] = rng.choice(space.candidates[i], size=n)
            fits = values(tried) <= budget  # (n,)
            C[fits] = tried[fits]
    return C


def shrink_within(space, cost, budget, C: np.ndarray, rng, measure: str = "macs") -> np.ndarray:
    """Make widths fit: while one is over the budget, a random group of it takes its next width.

    Not uniform over the widths within the budget; rows that fit are kept as they are.

    Args:
        C: (n, L) widths out of ``space.candidates``.
    Returns:
        (n, L), every row within a budget that ``check_budget`` has passed.
    """
    values, C = measure_of(cost, measure), C.copy()
    over = np.flatnonzero(values(C) > budget)
    while len(over):
        groups = _pick(C[over] > space.narrowest, rng)
        C[over] = _step(space, C[over], groups, -1)
        over = over[values(C[over]) > budget]
    return C


def widen_within(space, cost, budget, C: np.ndarray, rng, measure: str = "macs") -> np.ndarray:
    """Use the budget up: widen random groups, a width at a time, while the row still fits.

    Args:
        C: (n, L) widths out of ``space.candidates``, within the budget.
    Returns:
        (n, L), rows that no single step could widen further.
    """
    values, C = measure_of(cost, measure), C.copy()
    free = space.full > C  # (n, L); a step that does not fit once never will, as the rest grows
    while len(rows := np.flatnonzero(free.any(axis=1))):
        groups = _pick(free[rows], rng)
        wider = _step(space, C[rows], groups, +1)
        fits = values(wider) <= budget
        C[rows[fits]] = wider[fits]
        free[rows, groups] = fits & (C[rows, groups] < space.K)
    return C


def _pick(allowed: np.ndarray, rng) -> np.ndarray:
    """A random allowed column of each row; (n, L) bool -> (n,)."""
    return (allowed * (1 - rng.random(allowed.shape))).argmax(axis=1)


def _step(space, C: np.ndarray, groups: np.ndarray, by: int) -> np.ndarray:
    """Rows of C with one group each moved to a neighbouring candidate."""
    C = C.copy()
    for row, group in enumerate(groups):
        candidates = space.candidates[group]
        C[row, group] = candidates[np.searchsorted(candidates, C[row, group]) + by]
    return C
