"""Figures of what a width benchmark holds: histograms, effects of widths, fronts, best epochs.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = [
    "best_epochs",
    "budget_widths",
    "front",
    "histograms",
    "main_curves",
    "pair_map",
    "worth",
]

SPACES = {"MobileNet": COLORS["BC"], "ResNet": "#E69F00", "digits": COLORS["BCv2"]}


def _color(name: str) -> str:
    return SPACES.get(name, NEUTRAL)


@styled
def histograms(benches: Mapping) -> BookFigure:
    """Accuracy, MACs and parameters of all networks, a row a benchmark: the paper's Fig. 5.

    Args:
        benches: label -> ``ChannelBench``.
    """
    figure, axes = panels(2.3 * len(benches) + 0.3, len(benches), 3)
    said = []
    for row, (label, bench) in zip(axes, benches.items(), strict=True):
        parts = []
        counted = (("MACs", bench.macs), ("parameters", bench.params))
        for ax, (what, value, unit) in zip(
            row,
            [("accuracy", bench.mean, "%"), *((w, *_in_thousands(v)) for w, v in counted)],
            strict=True,
        ):
            ax.hist(value, bins=40, color=_color(label))
            ax.set(xlabel=f"{what} ({unit})", yticks=[])
            ax.spines["left"].set_visible(False)
            ax.axvline(np.median(value), color=INK, lw=1.2, ls="--")
            skew = (np.mean(value) - np.median(value)) / np.std(value)
            tail = f", longer tail to the {'left' if skew < 0 else 'right'}"
            parts.append(
                f"{what} {value.min():.1f} to {value.max():.1f} {unit}, median "
                f"{np.median(value):.1f}{tail if abs(skew) > 0.05 else ''}"
            )
        row[0].set_ylabel(label)
        said.append(f"{label}: " + ", ".join(parts))
    figure.alt = "Histograms of all networks. " + "; ".join(said)
    return figure


def _in_thousands(counts) -> tuple[np.ndarray, str]:
    """Counts in millions or thousands, and the letter for it."""
    unit, letter = (1e6, "M") if np.max(counts) >= 1e6 else (1e3, "k")
    return np.asarray(counts) / unit, letter


@styled
def best_epochs(epochs: Sequence[int], gains: Mapping[str, Sequence[float]], bound) -> BookFigure:
    """How much the best of several epochs is above an epoch, in standard deviations of an epoch.

    Args:
        epochs: (m,) numbers of epochs looked at. gains: label -> (m,). bound: (m,), no correlation
            can exceed it.
    """
    figure, axes = panels(3.6)
    ax = axes[0, 0]
    ax.plot(epochs, bound, color=INK, lw=1.2, ls=":", label="bound, any correlation")
    shades = (COLORS["BC"], "#56B4E9", "#E69F00", NEUTRAL)
    for (label, gain), color, mark in zip(gains.items(), shades, "osD^", strict=False):
        ax.plot(epochs, gain, color=color, marker=mark, ms=5, label=label)
    ax.set(xscale="log", xlabel="epochs looked at", ylabel="gain (sd of an epoch)")
    ax.set_xticks(epochs, [str(e) for e in epochs], minor=False)
    ax.minorticks_off()
    ax.set_ylim(0)
    ax.grid(axis="y")
    ax.legend(loc="upper left")
    figure.alt = f"Gain of the best of {epochs[0]} to {epochs[-1]} epochs: " + "; ".join(
        f"{label}: {gain[-1]:.1f} standard deviations at {epochs[-1]}"
        for label, gain in {**gains, "bound": bound}.items()
    )
    return figure


@styled
def main_curves(found: Mapping) -> BookFigure:
    """What each width of each group adds to the mean accuracy: a row a benchmark, a panel a group.

    Args:
        found: label -> ``Effects``.
    """
    L, K = next(iter(found.values())).main.shape
    figure, axes = panels(2.3 * len(found) + 0.3, len(found), L, sharey=True, sharex=True)
    said = []
    for row, (label, parts) in zip(axes, found.items(), strict=True):
        for g, ax in enumerate(row):
            ax.axhline(0, color=NEUTRAL, lw=0.8)
            ax.plot(range(1, K + 1), parts.main[g], "o-", ms=4, color=_color(label))
            ax.set_title(f"$c_{g + 1}$", fontsize=12)
            ax.set_xticks(range(1, K + 1))
            ax.grid(axis="y")
        row[0].set_ylabel(f"{label} (points)")
        gain = parts.main[:, -1] - parts.main[:, 0]
        said.append(
            f"{label}, from narrowest to widest: "
            + ", ".join(f"c{g + 1} {x:+.2f}" for g, x in enumerate(gain))
        )
    figure.supxlabel("width (quarters)", fontsize=12)
    figure.alt = "Effect of each group's width on accuracy, in points. " + "; ".join(said)
    return figure


@styled
def worth(
    gains: Mapping[str, Sequence[float]], prices: Mapping[str, Sequence[float]]
) -> BookFigure:
    """What widening a group from narrowest to widest gains, against what it costs.

    Args:
        gains: label -> (L,) points of accuracy. prices: label -> (L,) share of the widest
            network's MACs.
    """
    figure, axes = panels(3.5, 1, len(gains), sharey=True)
    said = []
    for ax, (label, values) in zip(axes[0], gains.items(), strict=True):
        gain = np.asarray(values, dtype=float)
        price = 100 * np.asarray(prices[label])
        ax.scatter(price, gain, s=42, color=_color(label), zorder=3)
        points = np.column_stack([price / price.max(), gain / np.max(gain)])
        for g, point in enumerate(points):  # on the left where another label is on the right
            crowded = (np.abs(points[:g] - point).max(axis=1, initial=0) < 0.12).any()
            side, at = ("right", -6) if crowded else ("left", 6)
            style = {"textcoords": "offset points", "fontsize": 12, "ha": side}
            ax.annotate(f"$c_{g + 1}$", (price[g], gain[g]), (at, 3), **style)
        ax.set_title(label, loc="left", fontsize=12)
        ax.set(xlabel="MACs (% of the widest)", xlim=(0, 1.15 * price.max()), ylim=(0, None))
        ax.grid()
        rate = gain / price
        said.append(
            f"{label}: most per MAC c{np.argmax(rate) + 1}, {rate.max():.3f} points a percent, "
            f"least c{np.argmin(rate) + 1}, {rate.min():.3f}"
        )
    axes[0, 0].set_ylabel("accuracy (points)")
    figure.alt = "Gain in accuracy against cost in MACs of widening each group. " + "; ".join(said)
    return figure


@styled
def pair_map(shares: Mapping[str, np.ndarray]) -> BookFigure:
    """Share of the variance that each pair of groups has beyond its two main effects.

    Args:
        shares: label -> (L, L) as ``Effects.pair_shares`` gives it.
    """
    figure, axes = panels(3.3, 1, len(shares))
    top = max(np.nanmax(table) for table in shares.values())
    said = []
    for ax, (label, table) in zip(axes[0], shares.items(), strict=True):
        L = len(table)
        edge = (0.5, L + 0.5, L + 0.5, 0.5)
        image = ax.imshow(100 * table, extent=edge, cmap="cividis_r", vmin=0, vmax=100 * top)
        ax.set(xticks=range(1, L + 1), yticks=range(1, L + 1), xlabel="group")
        ax.set_title(label, loc="left", fontsize=12)
        i, j = np.unravel_index(np.nanargmax(table), table.shape)
        said.append(f"{label}: largest c{i + 1} with c{j + 1}, {table[i, j]:.2%}")
    axes[0, 0].set_ylabel("group")
    figure.colorbar(image, ax=axes[0].tolist(), label="% of the variance", shrink=0.8)
    figure.alt = "Variance of pairs of groups beyond their main effects. " + "; ".join(said)
    return figure


@styled
def front(bench, label: str, rows, judged, smooth) -> BookFigure:
    """All networks by MACs and mean accuracy; the Pareto front, and two views of it without luck.

    Args:
        bench: ``ChannelBench``. rows: row numbers of the front, from cheap to dear.
        judged: (budgets, accuracies) of networks chosen by some runs and judged by another.
        smooth: (budgets, accuracies), the same on a table of effects of widths.
    """
    figure, axes = panels(4.2)
    ax = axes[0, 0]
    macs = bench.macs / 1e6
    ax.plot(macs, bench.mean, ".", ms=1.6, color=NEUTRAL, alpha=0.45, rasterized=True)
    even = bench.index(np.arange(1, bench.K + 1)[:, None].repeat(bench.L, axis=1))
    ax.plot(macs[rows], bench.mean[rows], "-", lw=1.6, color=COLORS["BC"], drawstyle="steps-post",
            label=f"front, {len(rows)} networks")  # fmt: skip
    ax.plot(np.asarray(smooth[0]) / 1e6, smooth[1], "--", lw=2, color=INK,
            label="best by effects of widths")  # fmt: skip
    ax.plot(np.asarray(judged[0]) / 1e6, judged[1], "D", ms=6, mfc="white", color=COLORS["UA"],
            label="best, judged by another run")  # fmt: skip
    ax.plot(macs[even], bench.mean[even], "s", ms=8, mfc="white", mew=2, color=INK, label="uniform")
    ax.set(xlabel="MACs (M)", ylabel="accuracy, mean of the runs (%)")
    ax.set_title(label, loc="left", fontsize=12)
    ax.grid()
    ax.legend(loc="lower right", markerscale=1)
    figure.alt = (
        f"{label}, {len(bench):,} networks by MACs and accuracy: {len(rows)} on the Pareto front, "
        f"from {bench.mean[rows[0]]:.2f} % to {bench.mean[rows[-1]]:.2f} %; judged by a run that "
        f"had no part in choosing, the best are up to "
        f"{max(_front_at(bench, rows, judged[0]) - judged[1]):.2f} points below it; the best by "
        f"effects of widths up to {max(_front_at(bench, rows, smooth[0]) - smooth[1]):.2f}"
    )
    return figure


def _front_at(bench, rows, budgets) -> np.ndarray:
    place = np.searchsorted(bench.macs[rows], budgets, side="right") - 1
    return bench.mean[np.asarray(rows)[place]]


@styled
def budget_widths(found: Mapping[str, np.ndarray], shares: Sequence[float], K: int) -> BookFigure:
    """Mean width of every group among the best networks within each budget, as a map.

    Args:
        found: label -> (L, B) as ``widths_by_budget`` gives it. shares: (B,) of the widest
            network's MACs. K: the largest width.
    """
    figure, axes = panels(3.3, 1, len(found), sharey=True)
    said = []
    for ax, (label, table) in zip(axes[0], found.items(), strict=True):
        L, B = table.shape
        image = ax.imshow(table, cmap="cividis_r", vmin=1, vmax=K, aspect="auto")
        step = max(1, B // 4)
        ax.set_xticks(range(0, B, step), [f"{100 * s:.0f}" for s in shares[::step]])
        ax.set_yticks(range(L), [f"$c_{g + 1}$" for g in range(L)])
        ax.set(xlabel="budget (% of the MACs)")
        ax.set_title(label, loc="left", fontsize=12)
        middle = table[:, B // 2]
        said.append(
            f"{label} at {shares[B // 2]:.0%}: "
            + ", ".join(f"c{g + 1} {w:.1f}" for g, w in enumerate(middle))
        )
    figure.colorbar(image, ax=axes[0].tolist(), label="mean width", ticks=range(1, K + 1))
    figure.alt = "Mean widths of the best networks within a budget. " + "; ".join(said)
    return figure
