"""Figures of what runs take: growth of a pass, estimates beside measured times.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .growth import exponent
from .intervals import mean_interval
from .style import INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["estimates", "growth"]

BLUE, ORANGE = "#56B4E9", "#E69F00"  # Okabe and Ito, not those of the principles


@styled
def growth(tables: Mapping[str, pd.DataFrame]) -> BookFigure:
    """Time of a pass against what grows, a panel each, both axes logarithmic; the dotted line is
    in proportion.

    Args:
        tables: label of the axis -> seconds, as ``growth.growth`` gives them.
    """
    figure, axes = panels(3.4, 1, len(tables), sharey=True)
    said = []
    for ax, (label, table) in zip(axes[0], tables.items(), strict=True):
        x = table.index.to_numpy(dtype=float)
        means = [mean_interval(1e3 * row) for row in table.to_numpy()]
        y = np.array([m.mean for m in means])
        bars = [m.half for m in means]
        ax.plot(x, y[-1] * x / x[-1], ls=":", color=NEUTRAL)
        ax.errorbar(x, y, bars, color=BLUE, marker="o", ms=6, mec=INK, capsize=3)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.minorticks_off()
        fit = exponent(table)
        ax.set_title(f"exponent {fit.mean:.2f}", loc="left", fontsize=11.5)
        ax.set_xlabel(label)
        said.append(f"{label} from {x[0]:g} to {x[-1]:g}: {y[0]:.1f} to {y[-1]:.1f} ms, "
                    f"exponent {fit.text(2)}")  # fmt: skip
    axes[0, 0].set_ylabel("time of a pass (ms)")
    figure.alt = f"Time of a pass, means of {table.shape[1]} seeds. " + "; ".join(said)
    return figure


@styled
def estimates(estimated: Mapping[str, float], measured: Mapping[str, float]) -> BookFigure:
    """Estimated and measured seconds of every stage, two bars each."""
    stages = list(estimated)
    figure, axes = panels(0.9 + 0.75 * len(stages))
    ax, y = axes[0, 0], np.arange(len(stages))
    for values, shift, color, label in (
        (estimated, -0.19, ORANGE, "estimated"),
        (measured, 0.19, BLUE, "measured"),
    ):
        seconds = [values[stage] for stage in stages]
        ax.barh(y + shift, seconds, 0.36, color=color, label=label)
        for k, v in enumerate(seconds):
            ax.text(v, k + shift, f" {v:.1f}", va="center", fontsize=10.5)
    ax.set_yticks(y, stages)
    ax.set_ylim(len(stages) - 0.4, -0.6)
    ax.set_xlim(0, 1.15 * max(max(estimated.values()), max(measured[s] for s in stages)))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("seconds")
    ax.legend(loc="lower right")
    figure.alt = "Seconds, estimated and measured. " + "; ".join(
        f"{s}: {estimated[s]:.1f} and {measured[s]:.1f}" for s in stages
    )
    return figure
