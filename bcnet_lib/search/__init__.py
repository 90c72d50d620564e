"""Searches for widths within a budget, under the shared weights of a supernet."""

from .budget import BudgetError
from .dmcp import DMCP
from .evolution import evolve, report
from .greedy import greedy
from .importance import Ranking, bn_l1, importance
from .metapruning import MetaPruning
from .prior import Prior, fit_prior, layer_errors
from .random import random_search
from .released import released_prior
from .result import SearchResult
from .retrain import Retrained, random_retrain
from .tas import TAS
from .uniform import uniform

__all__ = [
    "DMCP",
    "TAS",
    "BudgetError",
    "MetaPruning",
    "Prior",
    "Ranking",
    "Retrained",
    "SearchResult",
    "bn_l1",
    "evolve",
    "fit_prior",
    "greedy",
    "importance",
    "layer_errors",
    "random_retrain",
    "random_search",
    "released_prior",
    "report",
    "uniform",
]
