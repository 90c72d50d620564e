"""Searches for widths within a budget of MACs, under the shared weights of a supernet."""

from .budget import BudgetError
from .evolution import evolve
from .greedy import greedy
from .random import random_search
from .result import SearchResult
from .retrain import Retrained, random_retrain
from .uniform import uniform

__all__ = [
    "BudgetError",
    "Retrained",
    "SearchResult",
    "evolve",
    "greedy",
    "random_retrain",
    "random_search",
    "uniform",
]
