"""Figures of the recomputed tables: correlations by runs averaged, and what subsets could do.

Each function returns a `BookFigure` whose alternative text is made from the data.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["by_runs", "by_subset"]

_MARKS = {
    "pearson": ("o", COLORS["UA"]),
    "spearman": ("s", COLORS["BC"]),
    "kendall": ("^", COLORS["BCv2"]),
}


@styled
def by_runs(found: pd.DataFrame, printed: Mapping[str, tuple]) -> BookFigure:
    """Correlations (%) against the number of runs averaged; dashed, what is printed.

    Args:
        found: one row a choice of runs: ``row`` (a panel's title), ``runs``, ``pearson``,
            ``spearman``, ``kendall``.
        printed: title -> (pearson, spearman, kendall), at most four.
    """
    figure, axes = panels(6.4, 2, 2, sharex=True)
    said = []
    for ax, (title, numbers) in zip(axes.flat, printed.items(), strict=False):
        rows = found[found.row == title]
        for (name, (mark, color)), number in zip(_MARKS.items(), numbers, strict=True):
            means = rows.groupby("runs")[name].mean()
            ax.plot(means.index, means, color=color, lw=1.2)
            ax.plot(rows.runs, rows[name], mark, color=color, ms=6, mec="white", label=name.title())
            ax.axhline(number, color=color, lw=1.4, ls="--")
        kendall = rows.groupby("runs").kendall.mean()
        said.append(
            f"{title}: Kendall {kendall.iloc[0]:.0f} % with one run, {kendall.iloc[-1]:.0f} % "
            f"with {kendall.index[-1]}, {numbers[2]:.0f} % printed"
        )
        ax.set_title(title, fontsize=11)
        ax.set_xticks(sorted(rows.runs.unique()))
        ax.set_xlim(rows.runs.min() - 0.3, rows.runs.max() + 0.3)
        ax.grid(axis="y")
    for ax in axes[-1]:
        ax.set_xlabel("runs averaged")
    for ax in axes[:, 0]:
        ax.set_ylabel("correlation (%)")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), ncols=3, loc="outside upper center", fontsize=11
    )
    figure.alt = "Correlations rise with the number of runs averaged. " + "; ".join(said)
    return figure


@styled
def by_subset(
    bands: pd.DataFrame, printed: Mapping[str, tuple], coefficient: str = "kendall"
) -> BookFigure:
    """Where 95 % of random subsets fall, by their size, and the printed number.

    Args:
        bands: ``row`` (a panel's title), ``size``, ``coefficient``, ``low``, ``high`` in percent.
        printed: title -> (pearson, spearman, kendall), at most four.
        coefficient: which of the three is drawn.
    """
    figure, axes = panels(5.8, 2, 2, sharex=True)
    at, said = list(_MARKS).index(coefficient), []
    for ax, (title, numbers) in zip(axes.flat, printed.items(), strict=False):
        rows = bands[(bands.row == title) & (bands.coefficient == coefficient)]
        ax.fill_between(
            rows["size"], rows.low, rows.high, color=NEUTRAL, alpha=0.35, lw=0, label="subsets"
        )
        ax.axhline(numbers[at], color=_MARKS[coefficient][1], ls="--", lw=1.6, label="printed")
        ax.axhline((rows.low + rows.high).iloc[-1] / 2, color=INK, lw=1.2, label="all networks")
        ax.set_title(title, fontsize=11)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator([100, 1000]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        ax.grid()
        inside = rows[(rows.low <= numbers[at]) & (numbers[at] <= rows.high)]["size"]
        largest = f"up to {np.max(inside):,} networks" if len(inside) else "at no size drawn"
        said.append(f"{title}: the printed number lies in the band {largest}")
    for ax in axes[-1]:
        ax.set_xlabel("networks in the subset")
    for ax in axes[:, 0]:
        ax.set_ylabel(f"{coefficient.title()} (%)")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), ncols=3, loc="outside upper center", fontsize=11
    )
    figure.alt = (
        f"Bands in which 95 % of random subsets fall narrow as subsets grow ({coefficient}). "
        + "; ".join(said)
    )
    return figure
