"""Searches for widths within a budget of MACs, under the shared weights of a supernet."""

from .budget import BudgetError
from .evolution import evolve
from .greedy import greedy
from .prior import Prior, fit_prior, layer_errors
from .random import random_search
from .released import released_prior
from .result import SearchResult
from .retrain import Retrained, random_retrain
from .uniform import uniform

__all__ = [
    "BudgetError",
    "Prior",
    "Retrained",
    "SearchResult",
    "evolve",
    "fit_prior",
    "greedy",
    "layer_errors",
    "random_retrain",
    "random_search",
    "released_prior",
    "uniform",
]
