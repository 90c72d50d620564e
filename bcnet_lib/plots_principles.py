"""Figures of the principles: which units a width uses, how often each is used, what pairs tile."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .style import INK, NEUTRAL, PALE, BookFigure, color_of, label_of, panels, styled, unit_axis

__all__ = ["cardinality", "kernel_counts", "paths_grid", "tiling", "unit_counts"]


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
        unit_axis(ax, count.size, room=14 if columns == 1 else 8)
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
            ax.text(u, y, str(n), ha="center", va="center", color=INK, fontsize=10)


def _counts_row(ax, y: float, count: np.ndarray) -> None:
    for u, n in enumerate(count, start=1):
        ax.text(u, y, str(n), ha="center", va="center", fontweight="bold", fontsize=11)


def _grid_axes(rows: int, total: int):
    figure, axes = panels(0.9 + 0.33 * rows)
    ax = axes[0, 0]
    unit_axis(ax, total)
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
    """Fig. 2: the paths of a width (coloured), of its complement (grey), and their sum.

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
        at = np.arange(size) if size <= 12 else np.r_[0, 4:size:5] if size <= 40 else [0, size - 1]
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
        unit_axis(ax, count.size)
    axes[-1, 0].set_xlabel("unit u")
    figure.supylabel(what, fontsize=12)
    figure.alt = f"{what} of each unit. " + "; ".join(
        f"{n}: {min(c):,} to {max(c):,} over {len(c)} units" for n, c in counts.items()
    )
    return figure
