"""Every figure of the book, in one style.

Each function returns a `BookFigure`: a matplotlib figure that knows its alternative text. The text
is made from the data and is what ``repr`` prints, so a notebook's stored output says in words what
the picture shows and a test can compare it. One principle has one colour in all figures; marks and
hatches repeat what colour says. ``python -m bcnet_lib.plots`` draws the README's figure.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .intervals import mean_interval
from .plots_principles import (
    cardinality,
    kernel_counts,
    paths_grid,
    tiling,
    unit_counts,
)
from .principles import BC, UA, BCv2
from .style import (
    COLORS,
    INK,
    NEUTRAL,
    BookFigure,
    color_of,
    label_of,
    panels,
    save,
    styled,
    unit_axis,
    use_style,
)

__all__ = [
    "COLORS",
    "BookFigure",
    "accuracy_dots",
    "cardinality",
    "color_of",
    "kernel_counts",
    "label_of",
    "loss_curve",
    "memory_bars",
    "pareto",
    "paths_grid",
    "save",
    "tiling",
    "unit_counts",
    "use_style",
    "widths_bar",
]


@styled
def widths_bar(
    base_channels: Sequence[int],
    channels: Sequence[int] | Mapping[str, Sequence[int]],
    names: Sequence[str] | None = None,
) -> BookFigure:
    """Figs. 9 and 11: channels of a found network, group by group, over the base network's (grey).

    Args:
        base_channels: (L,) channels of the base network.
        channels: (L,) of the found one; or several by name, one panel each.
        names: (L,) group names for the axis; numbers 1..L without them.
    """
    base = np.asarray(base_channels)
    found = channels if isinstance(channels, Mapping) else {"found": channels}
    figure, axes = panels(
        0.6 + 2.2 * len(found) + 0.8 * (names is not None), len(found), sharex=True
    )
    x = np.arange(1, base.size + 1)  # (L,)
    for ax, (name, widths) in zip(axes[:, 0], found.items(), strict=True):
        widths = np.asarray(widths)
        if widths.shape != base.shape:
            raise ValueError(f"{name} has {widths.size} groups, the base network {base.size}")
        color = color_of(name) if color_of(name) != NEUTRAL else COLORS["BC"]
        ax.bar(x, base, 0.86, color="#D3D8DD", label="base")
        ax.bar(x, widths, 0.5, color=color, label=name)
        share = widths.sum() / base.sum()
        ax.set_title(f"{name}: {share * 100:.0f} % of all channels", loc="left", fontweight="bold")
        ax.set_ylim(0, max(base.max(), widths.max()) * 1.08)
        ax.grid(axis="y")
        ax.set_ylabel("channels")
        ax.legend(ncols=2, loc="upper left", handlelength=1)
    if names is None:
        unit_axis(axes[-1, 0], base.size)
        axes[-1, 0].set_xlabel("group")
    else:
        size = 11 if base.size <= 16 else 9
        axes[-1, 0].set_xticks(x, names, rotation=90, fontsize=size)
        axes[-1, 0].tick_params(axis="x", length=0)
    figure.alt = f"Channels of {base.size} groups against the base network. " + "; ".join(
        f"{n}: {' '.join(map(str, w))}" for n, w in found.items()
    )
    return figure


@styled
def pareto(
    front: pd.DataFrame,
    history: pd.DataFrame | None = None,
    budget: float | None = None,
    score: str = "score",
    macs: str = "macs",
) -> BookFigure:
    """Accuracy against MACs: every evaluated width in grey, the Pareto front joined, the budget.

    Args:
        front, history: tables with columns ``score`` (accuracy in [0, 1]) and ``macs``.
    """
    figure, axes = panels(4.0)
    ax = axes[0, 0]
    top = max(front[macs].max(), budget or 0, 0 if history is None else history[macs].max())
    units = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"), (1, "1"))
    scale, unit = next((s, n) for s, n in units if top >= s or s == 1)
    if history is not None:
        ax.plot(history[macs] / scale, history[score] * 100, ".", ms=5, color="#B4BBC2",
                label=f"{len(history):,} evaluated")  # fmt: skip
    best = front.sort_values(macs)
    ax.plot(best[macs] / scale, best[score] * 100, "o-", ms=6, color=COLORS["BC"],
            label=f"Pareto front, {len(best)}")  # fmt: skip
    if budget is not None:
        ax.axvline(budget / scale, color=COLORS["UA"], ls="--", lw=1.6, label="budget")
    ax.set(xlabel=f"MACs ({unit})", ylabel="accuracy (%)")
    ax.grid()
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, handlelength=1.6)
    top_row = best.iloc[-1]
    figure.alt = (
        f"Accuracy against MACs: a front of {len(best)} networks, up to "
        f"{top_row[score] * 100:.1f} % at {top_row[macs] / scale:.3g} {unit} MACs"
    )
    return figure


@styled
def accuracy_dots(
    values: Mapping[str, Sequence[float]],
    level: float = 0.95,
    xlabel: str = "test accuracy (%)",
    scale: float = 100,
) -> BookFigure:
    """Every seed a dot, the mean a line, its confidence interval a bar; one row a method.

    Args:
        values: method -> one number a seed. scale: 100 shows accuracies in percent.
    """
    figure, axes = panels(0.9 + 0.62 * len(values))
    ax = axes[0, 0]
    said = []
    for y, (name, raw) in enumerate(values.items()):
        x = np.asarray(raw, dtype=float) * scale
        interval = mean_interval(x, level)
        color = color_of(name)
        # Spread by rank, not by chance: the same figure at every run.
        lift = 0.09 * ((np.argsort(np.argsort(x)) % 3) - 1)
        ax.plot(x, y + lift, "o", ms=6, mfc=color, mec="white", mew=0.8, alpha=0.75)
        if np.isfinite(interval.half):
            ax.plot([interval.low, interval.high], [y + 0.3] * 2, color=color, lw=5,
                    solid_capstyle="butt", alpha=0.6)  # fmt: skip
        ax.plot([interval.mean] * 2, [y - 0.2, y + 0.4], color=INK, lw=2)
        said.append(f"{name}: {interval.text(1 if scale == 100 else 2)}, n = {interval.n}")
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.4, -0.5)
    ax.set_xlabel(f"{xlabel}, mean and {level * 100:.0f} % interval")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    figure.alt = f"{xlabel} by seed. " + "; ".join(said)
    return figure


@styled
def memory_bars(bytes_: Mapping[str, float], xlabel: str = "peak memory (MiB)") -> BookFigure:
    """Peak memory of each way to train, in MiB, with its number at the end of the bar."""
    figure, axes = panels(0.8 + 0.5 * len(bytes_))
    ax = axes[0, 0]
    size = np.array([b / 2**20 for b in bytes_.values()])  # (n,)
    colors = [color_of(n) if color_of(n) != NEUTRAL else COLORS["BC"] for n in bytes_]
    ax.barh(range(size.size), size, 0.62, color=colors)
    for y, mib in enumerate(size):
        ax.text(mib, y, f" {mib:,.1f}", va="center")
    ax.set_yticks(range(size.size), list(bytes_))
    ax.set_ylim(size.size - 0.5, -0.5)
    ax.set_xlim(0, size.max() * 1.18)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(xlabel)
    figure.alt = f"{xlabel}. " + "; ".join(
        f"{n}: {m:,.0f}" for n, m in zip(bytes_, size, strict=True)
    )
    return figure


@styled
def loss_curve(
    losses: Sequence[float] | Mapping[str, Sequence[float]],
    smooth: int = 20,
    ylabel: str = "training loss",
) -> BookFigure:
    """Training loss by step, pale, with its running mean over ``smooth`` steps."""
    curves = losses if isinstance(losses, Mapping) else {"": losses}
    figure, axes = panels(3.4)
    ax = axes[0, 0]
    said = []
    for name, raw in curves.items():
        y = np.asarray(raw, dtype=float)  # (steps,)
        color = color_of(name) if color_of(name) != NEUTRAL else COLORS["BC"]
        window = max(1, min(smooth, y.size))
        mean = np.convolve(y, np.ones(window) / window, mode="valid")
        ax.plot(np.arange(1, y.size + 1), y, color=color, alpha=0.25, lw=1)
        ax.plot(np.arange(window, y.size + 1), mean, color=color, label=name or None)
        said.append(f"{name or 'loss'} from {y[0]:.1f} to {mean[-1]:.1f} in {y.size:,} steps")
    ax.set(xlabel="step", ylabel=ylabel)
    ax.set_ylim(bottom=0)
    ax.grid()
    if any(curves):
        ax.legend()
    figure.alt = f"{ylabel}: " + "; ".join(said)
    return figure


def main() -> None:
    """Draw the README's figure."""
    principles = [UA(), BC(), BCv2(overlap="paper"), BCv2()]
    figure = cardinality(principles, l=12, base=4)
    for suffix in ("svg", "png"):
        print(save(figure, f"figures/readme/cardinality.{suffix}"))


if __name__ == "__main__":
    main()
