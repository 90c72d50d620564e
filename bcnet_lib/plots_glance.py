"""The figure of the page that shows all ablations: every finding, one below the other.

Continues `plots.py`: the function returns a `BookFigure` whose alternative text is made from the
data.
"""

import textwrap
from collections.abc import Sequence

import numpy as np

from .claims import MARKS
from .style import BookFigure, panels, styled

__all__ = ["forest"]

SHAPES = dict(zip(MARKS, "osDX|", strict=True))  # colours are those of the tables


@styled
def forest(findings: Sequence, unit: str = "points") -> BookFigure:
    """Means of findings with their 95 % intervals, a row each; the line at 0 is "no effect".

    Args:
        findings: ``ablations.findings.Finding``; those of another unit are left out.
        unit: of the axis.
    Raises:
        ValueError: if none has this unit.
    """
    shown = [f for f in findings if f.unit == unit]
    if not shown:
        raise ValueError(
            f"no finding in {unit}: the units are {sorted({f.unit for f in findings})}"
        )
    figure, axes = panels(0.75 * len(shown) + 1.1)
    ax = axes[0, 0]
    ax.axvline(0, color="#5a6570", lw=1)
    said, labels, seen = [], [], set()
    for y, f in enumerate(shown):
        mark, color = SHAPES[f.verdict], MARKS[f.verdict][1]
        mean, half = f.ours.mean, f.ours.half
        if np.isfinite(half):
            ax.plot((mean - half, mean + half), (y, y), color=color, lw=2.4)
        label = None if f.verdict in seen else f.verdict
        seen.add(f.verdict)
        ax.plot(mean, y, mark, color=color, ms=8, ls="", label=label)
        name = "\n".join(textwrap.wrap(f.claim.replace("-", " "), 16))
        labels.append(f"{name}\n{f.profile}, {f.ours.n} seeds")
        said.append(
            f"{f.claim}, {f.profile}, {f.ours.n} seeds: {f.ours.text()} {unit}, {f.verdict}"
        )
    ax.set_yticks(range(len(shown)), labels, fontsize=12)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel(f"effect, {unit} of test accuracy" if unit == "points" else f"effect, {unit}")
    figure.legend(loc="outside upper right", ncols=2)
    figure.alt = "Effects with 95 % intervals. " + "; ".join(said)
    return figure
