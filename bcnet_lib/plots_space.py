"""Figures of widths and their cost: the budget's edge, random widths, printed formulas, widening.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text
is made from the data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .style import COLORS, INK, NEUTRAL, PALE, BookFigure, color_of, panels, styled, unit_axis

__all__ = [
    "budget_plane",
    "macs_histogram",
    "printed_against_counted",
    "supernet_growth",
    "uses_by_total",
]


@styled
def budget_plane(share, budget: float = 0.5) -> BookFigure:
    """Which pairs of widths fit a budget: a map of the MACs of a space with two groups.

    Args:
        share: (K, K) MACs as a share of the full network's; row c_1 - 1, column c_2 - 1.
        budget: as a share.
    """
    share = np.asarray(share)
    K = len(share)
    fits = share <= budget
    figure, axes = panels(4.4)
    ax = axes[0, 0]
    edge = (0.5, K + 0.5, 0.5, K + 0.5)
    image = ax.imshow(share.T, origin="lower", extent=edge, cmap="cividis", vmin=0, vmax=1)
    last = fits.sum(axis=1)  # widths c_2 that fit, for each c_1
    ax.stairs(last + 0.5, np.arange(K + 1) + 0.5, baseline=None, color="white", lw=3)
    ax.stairs(last + 0.5, np.arange(K + 1) + 0.5, baseline=None, color=COLORS["UA"], lw=1.6)
    ticks = [1, *range(5, K + 1, 5)] if K > 10 else range(1, K + 1)
    ax.set(xticks=list(ticks), yticks=list(ticks), xlabel="width $c_1$", ylabel="width $c_2$")
    ax.spines[:].set_visible(False)
    ax.set_title(
        f"{fits.sum()} of {fits.size} widths fit {budget:.0%} of the MACs",
        loc="left",
        fontweight="bold",
    )
    figure.colorbar(image, ax=ax, label="share of the full MACs", format=PercentFormatter(1))
    figure.alt = (
        f"MACs over two widths of 1 to {K}; a falling staircase separates the {fits.sum()} of "
        f"{fits.size} pairs that cost at most {budget:.0%}, from c_2 = {last[0]} at c_1 = 1 "
        f"down to c_2 = {last[-1]} at c_1 = {K}"
    )
    return figure


@styled
def macs_histogram(shares: Mapping[str, Sequence[float]], budget: float = 0.5) -> BookFigure:
    """Where the MACs of random widths lie, one panel a space, with the budget as a line.

    Args:
        shares: name of the space -> (n,) MACs as shares of the full network's. budget: as a share.
    """
    figure, axes = panels(0.6 + 1.7 * len(shares), len(shares), sharex=True)
    edges = np.linspace(0, 1, 101)
    said = []
    for ax, (name, x) in zip(axes[:, 0], shares.items(), strict=True):
        x = np.asarray(x)
        weight = np.full(x.size, 1 / x.size)
        over = x > budget
        ax.hist(x[~over], edges, weights=weight[~over], color=COLORS["BC"])
        ax.hist(x[over], edges, weights=weight[over], color=COLORS["UA"], hatch="//", ec="white")
        ax.axvline(budget, color=INK, lw=1.5, ls="--")
        ax.set_title(f"{name}: mean {x.mean():.0%}", loc="left", fontweight="bold")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.grid(axis="y")
        said.append(f"{name}: mean {x.mean():.0%}, {over.mean():.1%} above the budget")
    axes[-1, 0].xaxis.set_major_formatter(PercentFormatter(1))
    axes[-1, 0].set_xlabel(f"MACs, as a share of the full network's (dashed: {budget:.0%})")
    figure.supylabel("share of widths", fontsize=12)
    figure.alt = "Histograms of the MACs of random widths. " + "; ".join(said)
    return figure


@styled
def printed_against_counted(counted, printed, what: str, color: str | None = None) -> BookFigure:
    """Bars: counts by enumeration. Line: what a formula prints. Crosses where they differ.

    Args:
        counted, printed: (total,) uses of each unit. what: title, such as ``"Eq. 19"``.
        color: of the bars; BC's if None.
    """
    counted, printed = np.asarray(counted), np.asarray(printed)
    u = np.arange(1, counted.size + 1)
    wrong = u[counted != printed]
    figure, axes = panels(2.9)
    ax = axes[0, 0]
    ax.bar(u, counted, 0.82, color=color or COLORS["BC"], label="counted")
    ax.step(u, printed, where="mid", color=INK, lw=1.6, label="as printed")
    if wrong.size:
        ax.plot(
            wrong, printed[wrong - 1], "X", color=COLORS["UA"], ms=9, mec="white", label="wrong"
        )
    top = max(counted.max(), printed.max())
    ax.set_ylim(0, 1.36 * top)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(axis="y")
    unit_axis(ax, counted.size)
    ax.set(xlabel="unit u", ylabel="uses of the unit")
    ax.set_title(f"{what}: {wrong.size} of {u.size} units wrong", loc="left", fontweight="bold")
    ax.legend(loc="upper left", ncols=3)
    where = f", units {wrong[0]} to {wrong[-1]}" if wrong.size else ""
    figure.alt = (
        f"{what} against counts: the printed formula is wrong for {wrong.size} of {u.size} units"
        f"{where}; counted {' '.join(map(str, counted))}; printed {' '.join(map(str, printed))}"
    )
    return figure


@styled
def uses_by_total(totals: Sequence[int], low: Sequence[int], high: Sequence[int]) -> BookFigure:
    """Least and most used unit of a layer, for every total number of units; equal ones are marked.

    Args:
        totals, low, high: (n,) units of the layer, uses of its least and of its most used unit.
    """
    totals, low, high = np.asarray(totals), np.asarray(low), np.asarray(high)
    fair = low == high
    figure, axes = panels(2.9)
    ax = axes[0, 0]
    ax.vlines(totals[~fair], low[~fair], high[~fair], color=NEUTRAL, lw=5)
    ax.plot(totals[fair], low[fair], "o", ms=11, color=COLORS["BCv2"], mec="white", label="equal")
    for t, n in zip(totals[fair], low[fair], strict=True):
        label = f"T = {t}: all {n}"
        ax.annotate(label, (t, n), (6, 9), textcoords="offset points", fontweight="bold")
    ax.set_xticks(totals[:: max(1, len(totals) // 8)])
    ax.set_ylim(-0.4, 1.18 * high.max())
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(axis="y")
    ax.set(xlabel="units T of the layer", ylabel="uses: least to most")
    said = ", ".join(f"T = {t} with {n}" for t, n in zip(totals[fair], low[fair], strict=True))
    figure.alt = (
        f"Range of uses over the units of a layer for T = {totals[0]} to {totals[-1]}; "
        f"all units are used equally only for {said or 'none'}"
    )
    return figure


@styled
def supernet_growth(bases: Sequence[int], measured: Mapping[str, Sequence[float]]) -> BookFigure:
    """Parameters of a widened supernet, relative to the unwidened one, over the smallest width.

    Args:
        bases: (n,) smallest widths, in units. measured: name -> (n,) ratios; the first name is what
            was built (line with dots), the others are references (dashed).
    """
    figure, axes = panels(3.2)
    ax = axes[0, 0]
    for i, (name, ratio) in enumerate(measured.items()):
        color, style = (color_of("BCv2"), "o-") if i == 0 else ([INK, NEUTRAL][(i - 1) % 2], "--")
        ax.plot(bases, ratio, style, color=color, label=name, lw=2 if i == 0 else 1.4, ms=5)
    ax.axhline(1, color=PALE, lw=1)
    ax.set(xlabel="smallest width $l_s$, in units", ylabel="parameters, relative")
    ax.grid(axis="y")
    ax.legend()
    figure.alt = "Parameters of the supernet over the smallest width. " + "; ".join(
        f"{name}: {ratio[0]:.2f} at {bases[0]} to {ratio[-1]:.2f} at {bases[-1]}"
        for name, ratio in measured.items()
    )
    return figure
