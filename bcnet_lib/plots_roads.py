"""Figures of the other methods: what they learned about widths, and how they compare.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import paired_difference
from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["expected_course", "paired_dots", "ranked_channels", "width_map"]


@styled
def width_map(
    tables: Sequence[np.ndarray],
    candidates: Sequence[np.ndarray],
    chosen: Sequence[int],
    names: Sequence[str],
    what: str = "probability",
) -> BookFigure:
    """A row a group, a column a width, a shade its number; the chosen width of each is framed.

    Args:
        tables: L arrays of numbers in [0, 1], one a candidate. candidates: L arrays of widths.
        chosen: L widths. names: of the groups. what: the numbers, on the colour bar.
    """
    low, high = min(c[0] for c in candidates), max(c[-1] for c in candidates)
    grid = np.full((len(tables), high - low + 1), np.nan)
    for i, (table, c) in enumerate(zip(tables, candidates, strict=True)):
        grid[i, np.asarray(c) - low] = table
    figure, axes = panels(1.5 + 0.42 * len(tables))
    ax = axes[0, 0]
    image = ax.imshow(grid, cmap="cividis", vmin=0, vmax=np.nanmax(grid), aspect="auto")
    for i, w in enumerate(chosen):
        place, size = (w - low - 0.5, i - 0.5), {"width": 1, "height": 1}
        for color, lw in (("white", 5), (COLORS["UA"], 2.5)):
            ax.add_patch(_rectangle(place, **size, color=color, lw=lw))
    ax.set_xticks(range(grid.shape[1]), range(low, high + 1))
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("width (units)")
    figure.colorbar(image, ax=ax, label=what, shrink=0.9)
    said = []
    for name, table, c, w in zip(names, tables, candidates, chosen, strict=True):
        top = int(np.argmax(table))
        said.append(f"{name}: highest {table[top]:.2f} at width {c[top]}, chosen {w}")
    figure.alt = f"Heat map of {what} by group and width. " + "; ".join(said)
    return figure


def _rectangle(place, *, width, height, color, lw):
    from matplotlib.patches import Rectangle

    inset = 0.06
    x, y = place
    return Rectangle(
        (x + inset, y + inset), width - 2 * inset, height - 2 * inset, fill=False, ec=color, lw=lw
    )


@styled
def expected_course(courses: Mapping[str, Sequence[float]], budget: float) -> BookFigure:
    """Expected MACs, as a share of the budget, over the course of the training.

    Args:
        courses: method -> expected MACs after each step. budget: MACs.
    """
    figure, axes = panels(3.4)
    ax, said = axes[0, 0], []
    for (name, raw), style in zip(courses.items(), ("-", "--", ":", "-."), strict=False):
        y = np.asarray(raw, dtype=float) / budget
        x = np.arange(1, len(y) + 1) / len(y) * 100
        ax.plot(x, y, style, color=INK if style == "-" else COLORS["BC"], label=name)
        said.append(f"{name}: {y[0]:.2f} to {y[-1]:.2f}")
    ax.axhline(1, color=NEUTRAL, lw=1.2)
    ax.annotate(" budget", (100, 1), va="center", color=INK, annotation_clip=False)
    ax.set(xlabel="training (%)", ylabel="expected MACs / budget", xlim=(0, 100))
    ax.margins(y=0.15)
    ax.grid(axis="y")
    ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), handlelength=2.4)
    figure.alt = "Expected MACs as a share of the budget, first and last step. " + "; ".join(said)
    return figure


@styled
def ranked_channels(
    importances: Sequence[np.ndarray], kept: Sequence[int], names: Sequence[str]
) -> BookFigure:
    """Every channel a dot at its importance, one row a group; the kept ones are filled.

    Args:
        importances: L arrays (l_i,). kept: channels kept of each. names: of the groups.
    """
    figure, axes = panels(1.1 + 0.5 * len(names))
    ax, said = axes[0, 0], []
    for y, (values, n) in enumerate(zip(importances, kept, strict=True)):
        order = np.sort(values)[::-1]
        ax.plot(order[:n], np.full(n, y), "o", ms=8, color=COLORS["BCv2"], alpha=0.8)
        ax.plot(order[n:], np.full(len(order) - n, y), "o", ms=8, mfc="white", mec=COLORS["UA"])
        said.append(f"{names[y]}: {n} of {len(order)} kept")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("importance (mean of the layer = 1)")
    ax.grid(axis="x")
    figure.alt = "Importance of every channel by layer. " + "; ".join(said)
    return figure


@styled
def paired_dots(
    values: Mapping[str, Sequence[float]], reference: Sequence[float], xlabel: str
) -> BookFigure:
    """Mean paired difference to a reference with its 95 % interval, and every seed a dot.

    Args:
        values: method -> one number a seed. reference: the same for the reference.
        xlabel: what is shown, with its unit.
    """
    figure, axes = panels(1.0 + 0.46 * len(values))
    ax, said = axes[0, 0], []
    ax.axvline(0, color=INK, lw=1.2)
    for y, (name, raw) in enumerate(values.items()):
        d = np.asarray(raw, dtype=float) - np.asarray(reference, dtype=float)
        interval = paired_difference(raw, reference)
        known = "BCv2" if interval.low > 0 else "UA" if interval.high < 0 else None
        color = COLORS.get(known, NEUTRAL)
        ax.plot(d, np.full(len(d), y + 0.16), "o", ms=4, color=color, alpha=0.5, mew=0)
        ax.plot([interval.low, interval.high], [y - 0.14] * 2, color=color, lw=4)
        ax.plot([interval.mean], [y - 0.14], "|", color=INK, ms=12, mew=2)
        said.append(f"{name}: {interval.mean:+.1f} ± {interval.half:.1f}")
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    figure.alt = f"{xlabel}, mean and 95 % interval. " + "; ".join(said)
    return figure
