"""What a search returns: the best width, the Pareto front, and every width it scored."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .budget import amount, measure_of

__all__ = ["Scores", "SearchResult", "pareto_front"]

SPLITS = ("train", "val", "test")
"""Splits of a ``Data`` by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """A search's outcome; ``best`` and ``front`` are within the budget.

    So is all of ``history``, but for ``greedy``, which comes from above: there a column ``fits``
    says which rows are within it.
    """

    best: np.ndarray
    """int64 (L,), the width of the highest score; of several, the cheapest by the objectives."""
    score: float
    """Score of ``best`` (accuracy on the search-validation split, unless a score was given)."""
    macs: int
    """MACs of ``best``."""
    front: pd.DataFrame
    """Widths that no other scored one beats in score and objectives: c1 … cL, score, macs and the
    other objectives, cheapest first."""
    history: pd.DataFrame
    """Every scored width in order: generation, c1 … cL, score, macs and the other objectives."""
    evaluations: int
    """Number of different widths scored."""
    objectives: tuple[str, ...] = ("macs",)
    """What the front trades the score against: any of macs, params, latency."""

    def trace(self) -> pd.DataFrame:
        """Best score so far within the budget, a row a generation: generation, evaluations, best.

        NaN before the first width that fits.
        """
        fits = self.history.get("fits", pd.Series(True, index=self.history.index))
        best = self.history.score.where(fits).cummax().ffill()
        last = self.history.groupby("generation").tail(1).index
        columns = {"generation": self.history.generation[last], "evaluations": last + 1}
        return pd.DataFrame(columns | {"best": best[last]}).reset_index(drop=True)

    def __repr__(self) -> str:
        row = self.front.loc[self.front.score.idxmax()]
        costs = [amount(row[name], name) for name in dict.fromkeys(("macs", *self.objectives))]
        return (
            f"SearchResult(score={self.score:.4f}, {', '.join(costs)}, "
            f"best={self.best.tolist()}, {self.evaluations:,} evaluations, "
            f"{len(self.front)} on the front)"
        )


def pareto_front(table: pd.DataFrame, objectives=("macs",)) -> pd.DataFrame:
    """Rows that no other row beats: score at least as high, no objective above; cheapest first.

    Of rows that are the same in score and objectives, the one of fewest macs and then the first
    stays. Without objectives the front is the best row alone.

    Args:
        table: columns score, macs and the objectives. objectives: columns, smaller is better.
    """
    keys = [*objectives, "score", *[k for k in ("macs",) if k not in objectives]]
    table = table.sort_values(keys, ascending=[k != "score" for k in keys], kind="stable")
    costs = [table[name] for name in objectives]
    points = np.column_stack([*costs, -table.score]).astype(float)  # (n, m + 1)
    front: list[int] = []
    for i, point in enumerate(points):  # what beats a row comes before it
        if not (points[front] <= point).all(axis=1).any():
            front.append(i)
    return table.iloc[front].reset_index(drop=True)


@dataclass(eq=False)
class Scores:
    """Scores of widths, each computed once, in the order in which a search asked for them."""

    score: object
    """callable (L,) widths -> one number, larger is better; also as an array or tensor of one."""
    known: dict[tuple, float] = field(default_factory=dict)
    """Scores from an earlier, interrupted run; used instead of computing them again."""
    asked: dict[tuple, tuple[int, int]] = field(default_factory=dict)
    """Widths this search asked for: (generation, macs)."""
    objectives: tuple[str, ...] = ("macs",)
    """What the front trades the score against."""
    cost: object = None
    """``CostTable``, needed for objectives other than macs."""

    def __call__(self, c: np.ndarray, macs: int, generation: int = 0) -> float:
        """Score of one width.

        Raises:
            ValueError: if the score is no finite number.
        """
        key = tuple(int(w) for w in c)
        if key not in self.known:
            value = self.score(np.array(key, dtype=np.int64))
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: of tensors
                number = math.nan
            if not math.isfinite(number):
                raise ValueError(f"the score of widths {list(key)} is {value!r}, no finite number")
            self.known[key] = number
        self.asked.setdefault(key, (generation, int(macs)))
        return self.known[key]

    @property
    def best(self) -> float:
        """Highest score so far."""
        return max(self.known[key] for key in self.asked)

    def history(self) -> pd.DataFrame:
        """Every width asked for so far, in order: generation, c1 … cL, score, macs, objectives."""
        C = np.array(list(self.asked), dtype=np.int64)  # (n, L)
        generation, macs = np.array(list(self.asked.values())).T
        history = pd.DataFrame(C, columns=[f"c{i + 1}" for i in range(C.shape[1])])
        history["score"] = [self.known[key] for key in self.asked]
        history["macs"] = macs
        for name in self.objectives:
            if name != "macs":
                history[name] = measure_of(self.cost, name)(C)
        history.insert(0, "generation", generation)
        return history

    def result(self, budget: float | None = None, measure: str = "macs") -> SearchResult:
        """The search's outcome so far.

        Args:
            budget: for a search that also scores widths over it: they stay in the history, which
                then tells them apart (``fits``), and are neither best nor on the front.
            measure: what it limits: macs, or one of the objectives.
        """
        history = self.history()
        inside = history
        if budget is not None:
            history["fits"] = history[measure] <= budget
            inside = history[history.fits].drop(columns="fits")
        front = pareto_front(inside.drop(columns="generation"), self.objectives)
        best = front.loc[front.score.idxmax()]
        return SearchResult(
            best=best.filter(regex=r"^c\d+$").to_numpy(dtype=np.int64),
            score=float(best.score),
            macs=int(best.macs),
            front=front,
            history=history,
            evaluations=len(history),
            objectives=tuple(self.objectives),
        )


def split_of(data, split):
    """A ``Split``, given itself or by its name in ``data``.

    Raises:
        ValueError: if there is no split of that name.
    """
    if not isinstance(split, str):
        return split
    if split not in SPLITS:
        known = ", ".join(repr(name) for name in SPLITS)
        raise ValueError(f"split must be one of {known}, or a Split, got {split!r}")
    return getattr(data, split)


def make_score(net, data, split, batch_size, score, amp: bool = False):
    """The score a search maximises: the given one, or the supernet's accuracy (Eq. 12)."""
    if score is not None:
        return score
    from ..evaluate import evaluate

    images = split_of(data, split).to(next(net.parameters()).device)
    return lambda c: evaluate(net, c, images, batch_size=batch_size, amp=amp)
