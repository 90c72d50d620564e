"""What a record says about a claim of the paper: a number with its interval, and a verdict by rule.

The ledger of claims and the table of all ablations are made of these, so that no verdict on an
experiment is typed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from ..claims import Comparison
from ..intervals import Interval, holm
from ..results import Record

__all__ = ["Finding", "better", "no_worse", "paired", "signs"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim, as one record decides it."""

    claim: str
    """Its id in the ledger."""
    place: str
    """In the paper: "Table 10"."""
    what: str
    """What ``ours`` is: "BCv2 minus BC, mean over l_s > 1"."""
    paper: str
    """What the paper says about it, in a few words of ours."""
    ours: Interval
    """Mean over seeds with its 95 % interval."""
    verdict: str
    """Of ``claims.VERDICTS``."""
    note: str
    """What the verdict rests on, with its numbers, and what it does not reach."""
    profile: str
    """Of the record."""
    unit: str = "points"
    """Of ``ours``; points are percentage points of test accuracy."""

    def comparison(self) -> Comparison:
        """As a row of ``PaperVsOurs``."""
        return Comparison(
            claim=self.claim,
            place=self.place,
            paper=self.paper,
            ours=self.ours,
            profile=self.profile,
            verdict=self.verdict,
            unit=self.unit,
        )


def paired(record: Record, metric: str, ours: dict, other: dict) -> np.ndarray:
    """Differences of a metric between two settings, one a seed."""
    return record.values(metric, **ours) - record.values(metric, **other)


def better(difference: Interval) -> str:
    """Verdict on "this is better": reproduced or contradicted if the interval excludes 0."""
    if difference.low > 0:
        return "reproduced"
    return "contradicted" if difference.high < 0 else "not reproduced"


def no_worse(difference: Interval, margin: float) -> str:
    """Verdict on "this costs nothing": the interval must lie above -margin (non-inferiority)."""
    if difference.low > -margin:
        return "reproduced"
    return "contradicted" if difference.high < 0 else "not reproduced"


def signs(differences: Sequence[Sequence[float]], alpha: float = 0.05) -> list[int]:
    """Which means are surely above (1) or below (-1) zero; 0: could not tell.

    Two-sided t-tests over seeds, adjusted together by Holm: the chance of any false answer among
    them is at most ``alpha``. A single seed tells nothing.

    Args:
        differences: lists of paired differences, one value a seed.
    """
    p = []
    for values in (np.asarray(d, dtype=float) for d in differences):
        constant = len(values) < 2 or np.ptp(values) == 0  # no test of these
        p.append(1.0 if constant else float(ttest_1samp(values, 0).pvalue))
    told = holm(p) < alpha
    return [int(np.sign(np.mean(d))) if t else 0 for d, t in zip(differences, told, strict=True)]
