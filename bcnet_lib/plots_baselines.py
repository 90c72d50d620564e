"""Figures of the plain searches: all scores of a small space, the best of n draws, greedy's way.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text
is made from the data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["best_of_n", "greedy_way", "score_cloud"]

_CLOUD = "#B4BBC2"
_MARKS = (("o", COLORS["UA"]), ("s", COLORS["BC"]), ("^", COLORS["BCv2"]), ("D", COLORS["Cyclic"]))


@styled
def score_cloud(
    share: Sequence[float],
    score: Sequence[float],
    marked: Mapping[str, tuple],
    budget: float | None = None,
) -> BookFigure:
    """Score against MACs of every network of a space, with a few sets of them marked and joined.

    Args:
        share: (n,) MACs as shares of the full network's. score: (n,) accuracies in [0, 1].
        marked: name -> (shares, scores), at most four.
        budget: as a share.
    """
    share, score = np.asarray(share), np.asarray(score)
    figure, axes = panels(4.2)
    ax = axes[0, 0]
    ax.plot(share, score * 100, ".", ms=2.5, color=_CLOUD, label=f"all {score.size:,}")
    said = []
    for (name, (x, y)), (mark, color) in zip(marked.items(), _MARKS, strict=False):
        x, y = np.atleast_1d(x), np.atleast_1d(y) * 100
        ax.plot(x, y, mark, ls="-" if x.size > 1 else "", lw=1.4, ms=7, mec="white", color=color,
                label=name)  # fmt: skip
        said.append(f"{name}: {y[-1]:.0f} % at {x[-1]:.0%} of the MACs")
    if budget is not None:
        ax.axvline(budget, color=INK, lw=1.5, ls="--", label="budget")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="MACs, as a share of the full network's", ylabel="accuracy (%)")
    ax.set_ylim(np.percentile(score, 0.5) * 100, score.max() * 100 + 2)
    ax.grid()
    ax.legend(ncols=2, loc="lower right", handlelength=1.4, markerscale=1)
    figure.alt = (
        f"Accuracy against MACs of all {score.size:,} networks, "
        f"{score.min() * 100:.0f} to {score.max() * 100:.0f} %. " + "; ".join(said)
    )
    return figure


@styled
def best_of_n(
    n: Sequence[int],
    expected: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    optimum: float,
    marked: Mapping[str, tuple[int, float]] | None = None,
) -> BookFigure:
    """The best score among n random networks: its expectation and a band, against n (logarithmic).

    Args:
        n: (m,) numbers of draws. expected, low, high: (m,) accuracies in [0, 1].
        optimum: the best of all.
        marked: name -> (evaluations, accuracy) of other searches.
    """
    n, expected = np.asarray(n), np.asarray(expected) * 100
    figure, axes = panels(3.8)
    ax = axes[0, 0]
    low, high = np.asarray(low) * 100, np.asarray(high) * 100
    ax.fill_between(n, low, high, color=NEUTRAL, alpha=0.3, lw=0, label="90 % of searches")
    ax.plot(n, expected, color=INK, label="expected best")
    ax.axhline(optimum * 100, color=COLORS["BC"], lw=1.5, ls="--", label="best of all")
    said = []
    for (name, (x, y)), (mark, color) in zip((marked or {}).items(), _MARKS, strict=False):
        ax.plot(x, y * 100, mark, ms=9, mec="white", color=color, label=name)
        said.append(f"{name}: {y * 100:.1f} % with {x:,}")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.set(xlabel="networks scored (logarithmic)", ylabel="best accuracy (%)")
    ax.grid()
    ax.legend(loc="lower right")
    figure.alt = "; ".join(
        [f"Expected best accuracy rises from {expected[0]:.1f} % with {n[0]} network to "
         f"{expected[-1]:.1f} % with {n[-1]:,}; the best of all has {optimum * 100:.1f} %", *said]
    )  # fmt: skip
    return figure


@styled
def greedy_way(
    history: pd.DataFrame, budget: float, full: float, names: Sequence[str] | None = None
) -> BookFigure:
    """Greedy slimming step by step: what was tried and taken, and the widths that were left.

    Args:
        history: of ``greedy``: generation, c1 … cL, score, macs, taken.
        budget, full: MACs; those of the full network.
        names: (L,) of the groups.
    """
    way = history[history.taken]
    widths = way.filter(regex=r"^c\d+$").to_numpy()  # (steps + 1, L)
    L = widths.shape[1]
    names = [f"group {i + 1}" for i in range(L)] if names is None else list(names)
    figure, axes = panels(3.4 + 0.42 * L, 2, height_ratios=[3.0, 0.42 * L])
    ax, grid = axes[:, 0]
    ax.plot(history.macs / full, history.score * 100, ".", ms=5, color=_CLOUD, label="tried")
    ax.plot(way.macs / full, way.score * 100, "o-", ms=5, color=COLORS["UA"], label="taken")
    ax.axvline(budget / full, color=INK, lw=1.5, ls="--", label="budget")
    ax.invert_xaxis()  # time runs to the right
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="MACs, as a share of the full network's", ylabel="accuracy (%)")
    ax.grid()
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, handlelength=1.6)
    grid.imshow(widths.T, cmap="Greens", vmin=0, vmax=widths.max() * 1.9, aspect="auto")
    for t, row in enumerate(widths):
        for i, c in enumerate(row):
            slimmed = t > 0 and widths[t - 1, i] != c
            grid.text(t, i, c, ha="center", va="center", fontsize=11 if len(widths) <= 18 else 9,
                      fontweight="bold" if slimmed else "normal",
                      color=INK)  # fmt: skip
            if slimmed:
                box = {"fill": False, "ec": COLORS["UA"], "lw": 2}
                grid.add_patch(Rectangle((t - 0.44, i - 0.42), 0.88, 0.84, **box))
    grid.set_yticks(range(L), names)
    grid.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    grid.set_xlabel("step (framed: the width just slimmed)")
    grid.tick_params(length=0)
    grid.spines[:].set_visible(False)
    figure.alt = (
        f"Greedy slimming in {len(way) - 1} steps and {len(history)} evaluations, from "
        f"{widths[0].tolist()} at {way.score.iloc[0] * 100:.1f} % to {widths[-1].tolist()} at "
        f"{way.score.iloc[-1] * 100:.1f} % and {way.macs.iloc[-1] / full:.0%} of the MACs"
    )
    return figure
