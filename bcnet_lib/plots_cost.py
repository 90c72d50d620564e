"""Figures of what widths cost: three measures against one another, couplings, predicted latency.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["couplings", "predicted_latency", "ranks", "time_and_macs"]

BLUE, ORANGE = "#56B4E9", "#E69F00"  # Okabe and Ito, not those of the principles


@styled
def couplings(pairwise, full) -> BookFigure:
    """Share of a network's MACs between every two groups, at a width; the diagonal is one group's
    own share (with layers whose other side is not searched). Only pairs that share a layer count.

    Args:
        pairwise: ``CostTable.pairwise()``. full: (L,) positions among the widths of each group,
            from 0, to look the tables up at.
    """
    L = len(pairwise.unary)
    share = np.zeros((L, L))
    for i, table in enumerate(pairwise.unary):
        share[i, i] = table[full[i]]
    for (i, j), table in pairwise.pairs.items():
        share[i, j] = share[j, i] = table[full[i], full[j]]
    total = np.triu(share).sum() + pairwise.constant
    share /= total
    figure, axes = panels(4.6)
    ax = axes[0, 0]
    edge = (0.5, L + 0.5, L + 0.5, 0.5)
    shown = np.where(share > 0, share, np.nan)
    image = ax.imshow(100 * shown, extent=edge, cmap="cividis_r", vmin=0)
    ticks = [1, *range(5, L + 1, 5)] if L > 8 else list(range(1, L + 1))
    ax.set(xticks=ticks, yticks=ticks, xlabel="group", ylabel="group")
    figure.colorbar(image, ax=ax, label="share of all MACs (%)")
    pairs = len(pairwise.pairs)
    i, j = np.unravel_index(np.argmax(np.triu(share)), share.shape)
    figure.alt = (
        f"MACs between pairs of {L} groups: {pairs} of {L * (L - 1) // 2} pairs share a layer; the "
        f"largest entry is groups {i + 1} and {j + 1} with {share[i, j]:.0%} of all MACs"
    )
    return figure


@styled
def ranks(values: Mapping[str, Sequence[float]], by: str) -> BookFigure:
    """Each measure against one of them, a panel each, as shares of the largest value.

    Args:
        values: measure -> (n,), one number a network. by: the measure of the x axis.
    """
    others = [name for name in values if name != by]
    figure, axes = panels(3.3, 1, len(others), sharey=True)
    x = np.asarray(values[by], dtype=float)
    said = []
    for ax, name, color in zip(axes[0], others, (BLUE, ORANGE), strict=False):
        y = np.asarray(values[name], dtype=float)
        rho = spearmanr(x, y).statistic
        ax.plot(x / x.max(), y / y.max(), ".", ms=4, color=color, alpha=0.6)
        ax.plot([0, 1], [0, 1], color=INK, lw=1, ls=":")
        ax.set_title(f"{name}: rank correlation {rho:.2f}", loc="left", fontsize=11.5)
        ax.set(xlabel=by, xlim=(0, 1.03), ylim=(0, 1.03))
        ax.grid()
        said.append(f"{name} with rank correlation {rho:.2f}")
    axes[0, 0].set_ylabel("share of the largest")
    figure.alt = f"{len(x)} networks, against {by}: " + "; ".join(said)
    return figure


@styled
def predicted_latency(check) -> BookFigure:
    """Predicted against measured milliseconds of whole networks: the sum of layers, and the line.

    Args:
        check: ``LatencyCheck``.
    """
    table, fitted = check.table, check.fitted
    slope = fitted.scale / check.latencies.scale
    line = fitted.overhead - slope * check.latencies.overhead + slope * table.predicted
    figure, axes = panels(3.9)
    ax = axes[0, 0]
    top = 1.06 * max(table.measured.max(), table.predicted.max(), line.max())
    ax.plot([0, top], [0, top], color=INK, lw=1, ls=":", label="equal")
    ax.plot(table.measured, table.predicted, "o", ms=6, mfc="none", color=NEUTRAL,
            label="sum of layers")  # fmt: skip
    fit = np.arange(len(table)) % 2 == 0
    ax.plot(table.measured[~fit], line[~fit], "s", ms=6, color=COLORS["BC"], mec="white",
            label="on the line, not fitted to")  # fmt: skip
    ax.set(xlabel="measured (ms a batch)", ylabel="predicted (ms)", xlim=(0, top), ylim=(0, top))
    ax.grid()
    ax.legend(loc="upper left")
    errors = check.errors["median"]
    figure.alt = (
        f"Predicted against measured latency of {len(table)} networks: median error "
        f"{errors['sum of layers']:.0%} for the sum of layers, "
        f"{errors['line through sums']:.0%} on a fitted line"
    )
    return figure


@styled
def time_and_macs(time: pd.Series, macs: pd.Series) -> BookFigure:
    """Where the time goes and where the MACs are, by kind of layer: two bars each.

    Args:
        time: kind of layer -> milliseconds. macs: kind of layer -> MACs (kinds not named have 0).
    """
    time = time.sort_values(ascending=False)
    spent = 100 * time / time.sum()
    work = 100 * macs.reindex(time.index, fill_value=0) / macs.sum()
    figure, axes = panels(0.9 + 0.62 * len(time))
    ax = axes[0, 0]
    y = np.arange(len(time))
    ax.barh(y - 0.19, spent, 0.36, color=ORANGE, label="time")
    ax.barh(y + 0.19, work, 0.36, color=NEUTRAL, label="MACs")
    for k, (a, b) in enumerate(zip(spent, work, strict=True)):
        ax.text(a, k - 0.19, f" {a:.0f}", va="center", fontsize=10.5)
        ax.text(b, k + 0.19, f" {b:.0f}", va="center", fontsize=10.5)
    ax.set_yticks(y, list(time.index))
    ax.set_ylim(len(time) - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * max(spent.max(), work.max()))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("share (%)")
    ax.legend(loc="lower right")
    figure.alt = "Shares of time and of MACs by kind of layer. " + "; ".join(
        f"{name}: {a:.0f} % and {b:.0f} %"
        for name, a, b in zip(time.index, spent, work, strict=True)
    )
    return figure
