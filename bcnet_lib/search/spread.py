"""A prior that is a population: the lowest temperature that spreads it over enough networks."""

import numpy as np

from ..data import mix
from .budget import BudgetError
from .prior import Prior, fit_prior

__all__ = ["spread_prior"]


def spread_prior(errors: np.ndarray, cost, budget: float, n: int, seed: int = 0) -> Prior:
    """The prior of Eqs. 13-15 at the lowest temperature tried that gives n different widths.

    Temperatures are a hundredth of the errors' range, doubled until there are enough: the optimum
    at temperature 0 describes two networks, no population.

    Args:
        errors: float (L, K), of ``layer_errors``. cost: ``CostTable``. budget: MACs.
        n: widths that ``prior.sample(rng, n, distinct=True)`` must be able to give.
        seed: of the samples it is tried with.
    Raises:
        BudgetError: if no temperature gives so many.
    """
    temperature = 0.01 * float(np.nanmax(errors) - np.nanmin(errors))
    for _ in range(20):
        prior = fit_prior(errors, cost, budget, temperature=temperature)
        try:
            prior.sample(np.random.default_rng(mix(seed, 5)), n, distinct=True)
            return prior
        except BudgetError:
            temperature *= 2
    raise BudgetError(f"no temperature gives {n} different widths within the budget: ask for fewer")
