"""Every figure of the book, in one style.

Each function returns a `BookFigure`: a matplotlib figure that knows its alternative text. The text
is made from the data and is what ``repr`` prints, so a notebook's stored output says in words what
the picture shows and a test can compare it. One principle has one colour in all figures; marks and
hatches repeat what colour says. ``python -m bcnet_lib.plots`` draws the README's figure.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .intervals import mean_interval
from .principles import BC, UA, BCv2
from .style import (
    COLORS,
    INK,
    NEUTRAL,
    PALE,
    BookFigure,
    color_of,
    label_of,
    panels,
    save,
    styled,
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


def _unit_axis(ax, total: int) -> None:
    step = 1 if total <= 13 else 2 if total <= 26 else 5
    ticks = [1, *range(1 + step, total + 1, step)] if step < 5 else [1, *range(5, total + 1, 5)]
    ax.set_xticks(ticks)
    ax.set_xlim(0.4, total + 0.6)
    ax.tick_params(axis="x", length=0)


def _spread(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"all {low}" if low == high else f"{low} to {high}"


# ---------------------------------------------------------------------------- principles


@styled
def cardinality(principles: Iterable, l: int = 12, base: int = 1) -> BookFigure:
    """How many widths use each unit: bars by enumeration, dots by formula; one panel a principle.

    Args:
        principles: one or several, each a panel on the same scale. l: largest width.
        base: smallest width.
    """
    principles = list(principles)
    counts = [p.cardinality(l, base) for p in principles]
    columns = min(2, len(principles))
    rows = -(-len(principles) // columns)
    figure, axes = panels(0.5 + 2.3 * rows, rows, columns, sharey=True)
    top = max(int(c.max()) for c in counts)
    for ax, p, count in zip(axes.flat, principles, counts, strict=False):
        u = np.arange(1, count.size + 1)  # (total,)
        hatch = "//" if getattr(p, "overlap", "") == "paper" else None
        ax.bar(u, count, 0.82, color=color_of(p), edgecolor="white", hatch=hatch)
        ax.plot(u, p.cardinality_formula(l, base), "o", ms=4, mfc="white", mec=INK, mew=1)
        ax.set_title(f"{label_of(p)}: {_spread(count)}", loc="left", fontweight="bold")
        ax.set_ylim(0, top * 1.12)
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.grid(axis="y")
        _unit_axis(ax, count.size)
    for ax in axes.flat[len(principles) :]:
        ax.set_visible(False)
    figure.supxlabel(f"unit u   (widths {base} to {l})", fontsize=12)
    figure.supylabel("uses of the unit", fontsize=12)
    figure.alt = f"Uses of each unit, l = {l}, base {base}. " + "; ".join(
        f"{label_of(p)}: {_spread(c)} over {c.size} units"
        for p, c in zip(principles, counts, strict=True)
    )
    return figure


def _row(ax, y: float, cells: np.ndarray, color: str, hatch: str | None = None) -> None:
    """One row of cells: pale where 0, coloured where used, a number where more than once."""
    for u, n in enumerate(cells, start=1):
        face = color if n else PALE
        ax.add_patch(
            Rectangle(
                (u - 0.46, y - 0.42), 0.92, 0.84, fc=face, ec="white", hatch=hatch if n else None
            )
        )
        if n > 1:
            ax.text(u, y, str(n), ha="center", va="center", color="white", fontsize=10)


def _counts_row(ax, y: float, count: np.ndarray) -> None:
    for u, n in enumerate(count, start=1):
        ax.text(u, y, str(n), ha="center", va="center", fontweight="bold", fontsize=11)


def _grid_axes(rows: int, total: int):
    figure, axes = panels(0.9 + 0.33 * rows)
    ax = axes[0, 0]
    _unit_axis(ax, total)
    ax.set_ylim(rows - 0.4, -0.6)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("unit u")
    return figure, ax


def _sides(paths) -> tuple[str, ...]:
    return ("left", "right") if len(paths) == 2 else ("",)


@styled
def paths_grid(principle, l: int = 6, base: int = 1) -> BookFigure:
    """Figs. 1 and 3: a row for each width and path, its units coloured, the counts at the bottom.

    Right paths are hatched. With more than two paths (Cyclic) a width is one row, whose numbers say
    how many of its windows use the unit.
    """
    total = principle.total(l, base)
    rows = []  # (label, cells (total,), is it a right path)
    for c in range(base, l + 1):
        paths = principle.paths(c, l, base)
        windows = [np.arange(a, b) % total for a, b in paths]
        used = [np.bincount(w, minlength=total) for w in windows]
        if len(paths) > 2:
            rows.append((f"c = {c}", sum(used), False))
        else:
            for side, cells in zip(_sides(paths), used, strict=True):
                rows.append((f"c = {c} {side}".rstrip(), cells, side == "right"))
    figure, ax = _grid_axes(len(rows) + 1, total)
    for y, (_, cells, right) in enumerate(rows):
        _row(ax, y, cells, color_of(principle), "///" if right else None)
    count = sum(cells for _, cells, _ in rows)
    _counts_row(ax, len(rows), count)
    ax.set_yticks(range(len(rows) + 1), [label for label, _, _ in rows] + ["uses"])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.set_title(
        f"{label_of(principle)}: {total} units, widths {base} to {l}", loc="left", fontweight="bold"
    )
    figure.alt = (
        f"Units used by each path of {label_of(principle)}, widths {base} to {l} on {total} units; "
        f"uses from left to right: {' '.join(map(str, count))}"
    )
    return figure


@styled
def tiling(principle, c: int, l: int = 6, base: int = 1) -> BookFigure:
    """Fig. 2: the paths of a width (coloured) and of its complement (grey), and what they add up to.

    Raises:
        WidthError: if c is no width. ValueError: if the principle has more than two paths.
    """
    total = principle.total(l, base)
    own = principle.paths(c, l, base)
    if len(own) > 2:
        raise ValueError(f"tiling draws one or two paths a width; {label_of(principle)} has {l}")
    rest = principle.complement(c, l, base)
    other = () if rest is None else principle.paths(rest, l, base)
    rows = [(f"c = {c}", s, w, color_of(principle)) for s, w in zip(_sides(own), own, strict=True)]
    mates = [(f"c̄ = {rest}", s, w, NEUTRAL) for s, w in zip(_sides(own), other, strict=False)]
    if len(own) == 2 and mates:  # each left path beside the right path that it meets
        rows = [rows[0], mates[1], mates[0], rows[1]]
    else:
        rows += mates
    figure, ax = _grid_axes(len(rows) + 1, total)
    count = np.zeros(total, dtype=int)
    for y, (_, side, (start, stop), color) in enumerate(rows):
        cells = np.bincount(np.arange(start, stop), minlength=total)
        count += cells
        _row(ax, y, cells, color, "///" if side == "right" else None)
    _counts_row(ax, len(rows), count)
    ax.set_yticks(range(len(rows) + 1), [f"{w} {s}".rstrip() for w, s, _, _ in rows] + ["uses"])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    pair = f"c = {c}, no complement" if rest is None else f"c = {c} and complement {rest}"
    ax.set_title(f"{label_of(principle)}: {pair}", loc="left", fontweight="bold")
    figure.alt = (
        f"{label_of(principle)} on {total} units, {pair}; "
        f"uses from left to right: {' '.join(map(str, count))}"
    )
    return figure


@styled
def kernel_counts(matrix, title: str = "uses of each kernel") -> BookFigure:
    """Heat map: how often each pair of an output unit (row) and an input unit (column) is used.

    Args:
        matrix: (out, in) counts.
    """
    m = np.asarray(matrix)
    if m.ndim != 2:
        raise ValueError(f"kernel_counts needs an (out, in) matrix, got shape {m.shape}")
    figure, axes = panels(0.9 + min(4.6, max(2.2, 4.6 * m.shape[0] / m.shape[1])))
    ax = axes[0, 0]
    image = ax.imshow(m, cmap="cividis", vmin=0, vmax=max(m.max(), 1))
    if max(m.shape) <= 12:
        half = m.max() / 2
        for (i, j), n in np.ndenumerate(m):
            ink = INK if n > half else "white"
            ax.text(j, i, f"{n:.3g}", ha="center", va="center", color=ink, fontsize=10)
    for axis, size in ((ax.xaxis, m.shape[1]), (ax.yaxis, m.shape[0])):
        at = np.arange(size) if size <= 12 else np.arange(0, size, max(1, size // 6))
        axis.set_ticks(at, [str(i + 1) for i in at])
        axis.set_tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="input unit", ylabel="output unit")
    ax.set_title(title, loc="left", fontweight="bold")
    figure.colorbar(image, ax=ax, shrink=0.85, label="uses")
    figure.alt = (
        f"{title}: {m.shape[0]} by {m.shape[1]} pairs, {m.min():g} to {m.max():g} uses; "
        f"corners {m[0, 0]:g}, {m[0, -1]:g}, {m[-1, 0]:g}, {m[-1, -1]:g}"
    )
    return figure


@styled
def unit_counts(counts: Mapping[str, Sequence[int]], what: str = "updates") -> BookFigure:
    """Measured uses of each unit or channel, one panel a run; the dashed line is the mean.

    Args:
        counts: name of the run -> (units,) counts; a name that starts with a principle's takes its
            colour.
    """
    figure, axes = panels(0.4 + 1.7 * len(counts), len(counts), sharey=True)
    top = max(max(c) for c in counts.values())
    for ax, (name, count) in zip(axes[:, 0], counts.items(), strict=True):
        count = np.asarray(count)
        ax.bar(np.arange(1, count.size + 1), count, 0.9, color=color_of(name))
        ax.axhline(count.mean(), color=INK, ls="--", lw=1.2)
        low, high = f"{count.min():,}", f"{count.max():,}"
        ax.set_title(
            f"{name}: {low if low == high else f'{low} to {high}'}", loc="left", fontweight="bold"
        )
        ax.set_ylim(0, top * 1.1)
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.grid(axis="y")
        _unit_axis(ax, count.size)
    axes[-1, 0].set_xlabel("unit u")
    figure.supylabel(what, fontsize=12)
    figure.alt = f"{what} of each unit. " + "; ".join(
        f"{n}: {min(c):,} to {max(c):,} over {len(c)} units" for n, c in counts.items()
    )
    return figure


# ---------------------------------------------------------------------------- networks and searches


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
        ax.set_title(f"{name}: {share:.0%} of all channels", loc="left", fontweight="bold")
        ax.set_ylim(0, max(base.max(), widths.max()) * 1.08)
        ax.grid(axis="y")
        ax.set_ylabel("channels")
        ax.legend(ncols=2, loc="upper left", handlelength=1)
    if names is None:
        _unit_axis(axes[-1, 0], base.size)
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
    power, unit = next(((p, n) for p, n in ((9, "G"), (6, "M"), (3, "k")) if top >= 10**p), (0, ""))
    scale = 10**power
    if history is not None:
        ax.plot(history[macs] / scale, history[score] * 100, ".", ms=5, color="#B4BBC2",
                label=f"{len(history):,} evaluated")  # fmt: skip
    best = front.sort_values(macs)
    ax.plot(best[macs] / scale, best[score] * 100, "o-", ms=6, color=COLORS["BC"],
            label=f"Pareto front, {len(best)}")  # fmt: skip
    if budget is not None:
        ax.axvline(budget / scale, color=COLORS["UA"], ls="--", lw=1.6, label="budget")
    ax.set(xlabel=f"{unit}MACs", ylabel="accuracy (%)")
    ax.grid()
    ax.legend(loc="lower right")
    top_row = best.iloc[-1]
    figure.alt = (
        f"Accuracy against MACs: a front of {len(best)} networks, up to "
        f"{top_row[score] * 100:.1f} % at {top_row[macs] / scale:.3g} {unit}MACs"
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
    ax.set_xlabel(f"{xlabel}, mean and {level:.0%} interval")
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
    panels_ = [UA(), BC(), BCv2(overlap="paper"), BCv2()]
    figure = cardinality(panels_, l=12, base=4)
    for suffix in ("svg", "png"):
        print(save(figure, f"figures/readme/cardinality.{suffix}"))


if __name__ == "__main__":
    main()
