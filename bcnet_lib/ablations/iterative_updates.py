"""Both paths in one step, or in turn: accuracy, ranking, memory and time.

Follows Su et al., arXiv 2203.13714, section 7.5 and Table 11.
"""

from collections.abc import Mapping, Sequence

from ..intervals import headline
from ..profiles import PROFILES, Profile
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .problem import problem_of
from .ranking import measures

__all__ = ["ITERATIVE_UPDATES", "METHODS"]

METHODS = (
    *("BC", "BC, at once", "BC iterative"),
    *("BCv2 + complement", "BCv2 + complement, at once", "BCv2 + complement, iterative"),
)


def _asked(profile: Profile) -> list[tuple[str, str, int]]:
    """(method, equal, steps); losses at once take the same steps, so once is enough."""
    out = []
    for equal in supernets.EQUAL:
        for method in METHODS:
            if equal == "passes" or not method.endswith("at once"):
                out.append((method, equal, supernets.steps_of(profile, method, equal)))
    return out


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    asked = [(seed, method, steps) for seed in seeds for method, _, steps in _asked(profile)]
    train = [supernets.cell(profile, method, seed, steps) for seed, method, steps in asked]
    find = [searches.cell(profile, "evolution", seed, m, steps) for seed, m, steps in asked]
    return [train, find]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    problem, rows = problem_of(profile, where.root), []
    for seed in seeds:
        for method, equal, steps in _asked(profile):
            trained = results[supernets.cell(profile, method, seed, steps)]
            found = results[searches.cell(profile, "evolution", seed, method, steps)]
            row = {"seed": seed, "method": method, "equal": equal, "steps": steps}
            row |= {"passes": trained["passes"], "seconds": trained["seconds"]}
            accuracies, ranked = found["accuracies"], None
            if problem.bench is not None:
                ranked = measures(supernets.scores_of(trained), problem)["kendall"]
            row |= {"accuracy": sum(accuracies) / len(accuracies), "kendall": ranked}
            rows.append(row | {"widths": " ".join(map(str, found["widths"]))})
    return rows


def _headline(rows: list[dict]) -> str:
    found = [r["accuracy"] for r in rows if (r["method"], r["equal"]) == ("BC", "passes")]
    return headline("test accuracy (%) of widths found with BC, both paths a step", found)


ITERATIVE_UPDATES = Experiment(
    name="iterative_updates",
    profiles=PROFILES["iterative_updates"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    missing="kendall: only a benchmark knows the accuracy of every width",
)
