"""The experiments of the book: Su et al., arXiv 2203.13714, sections 7.4 and 7.5.

``python -m bcnet_lib.ablations --profile digits --jobs 2`` computes them.
"""

from .base_width import BASE_WIDTH
from .bn_statistics import BN_STATISTICS
from .components import COMPONENTS
from .experiment import Experiment, ExperimentError, run
from .fairness_in_time import FAIRNESS_IN_TIME
from .found_widths import FOUND_WIDTHS
from .group_number import GROUP_NUMBER
from .iterative_updates import ITERATIVE_UPDATES
from .prior_sampling import PRIOR_SAMPLING
from .ranking import RANKING

__all__ = ["EXPERIMENTS", "Experiment", "ExperimentError", "run"]

EXPERIMENTS = {
    e.name: e
    for e in (RANKING, COMPONENTS, ITERATIVE_UPDATES, PRIOR_SAMPLING, GROUP_NUMBER, BASE_WIDTH)
    + (FAIRNESS_IN_TIME, BN_STATISTICS, FOUND_WIDTHS)
}
