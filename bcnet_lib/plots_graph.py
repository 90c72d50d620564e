"""Figures of channel groups: which layers of a network change together, and how wide they are.

Each function returns a `BookFigure` whose alternative text is made from the data.
"""

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from .style import COLORS, INK, NEUTRAL, PALE, BookFigure, panels, styled

__all__ = ["coupling", "group_widths"]


def _rows(graph) -> list[tuple[str, int | None]]:
    """Weighted layers in forward order, each with the group its output channels belong to.

    A layer whose outputs lie in several groups (halves of a gate) counts with the first of them;
    None where the output width stays.
    """
    rows: dict[str, int | None] = {}
    for op in graph.ops:
        rows.setdefault(op.layer, next((r.group for r in op.out if r.group is not None), None))
    return list(rows.items())


@styled
def coupling(graph, what: str) -> BookFigure:
    """Layers as dots in forward order; an arc joins neighbours in the same group.

    Args:
        graph: a ``ChannelGraph``, as in ``space.graph``. what: name of the network, for the title.
    """
    rows = _rows(graph)
    places: dict[int, list[int]] = {}
    for x, (_, group) in enumerate(rows):
        if group is not None:
            places.setdefault(group, []).append(x)
    shared = {g: xs for g, xs in places.items() if len(xs) > 1}
    figure, axes = panels(2.5)
    ax = axes[0, 0]
    color = dict.fromkeys(places, NEUTRAL)
    palette = list(COLORS.values())
    far = [g for g, xs in shared.items() if max(np.diff(xs)) > 1]  # residual: over other layers
    color |= dict.fromkeys(shared, INK)  # depthwise copies: the layer just before
    color |= {g: palette[i % len(palette)] for i, g in enumerate(far)}
    t = np.linspace(0, np.pi, 40)
    for g, xs in shared.items():
        for a, b in zip(xs, xs[1:], strict=False):
            arc_x, arc_y = (a + b) / 2 - (b - a) / 2 * np.cos(t), (b - a) / 2 * np.sin(t)
            ax.plot(arc_x, arc_y, color=color[g], lw=1.6)
    size = 8 if len(rows) < 30 else 5
    for x, (_, group) in enumerate(rows):
        fill, edge = ("white", INK) if group is None else (color[group], "none")
        ax.plot(x, 0, "o", ms=size, mfc=fill, mec=edge, zorder=3)
    widest = max((max(np.diff(xs)) for xs in shared.values()), default=1)
    ax.set(xlim=(-0.8, len(rows) - 0.2), ylim=(-0.12 * widest, 0.58 * widest), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_xlabel(f"the {len(rows)} weighted layers, in forward order")
    ax.set_title(f"{what}: {len(rows)} layers, {len(places)} groups", loc="left", fontweight="bold")
    joined = "; ".join(
        f"{graph.groups[g].name} with {', '.join(rows[x][0] for x in shared[g][1:])}" for g in far
    )
    stay = sum(group is None for _, group in rows)
    figure.alt = (
        f"{len(rows)} layers of {what} in a row, {len(places)} groups, {stay} layers that stay. "
        f"Arcs over other layers join {joined or 'none'}"
    )
    return figure


@styled
def group_widths(space, what: str) -> BookFigure:
    """Channels of every group in forward order: at full width, and at the smallest.

    Args:
        space: a ``WidthSpace``. what: name of the network, for the title.
    """
    full, least = space.channels(space.full), space.channels(space.narrowest)
    figure, axes = panels(2.9)
    ax = axes[0, 0]
    x = np.arange(1, space.L + 1)
    ax.bar(x, full, 0.8, color=PALE, edgecolor=NEUTRAL, lw=0.8, label=f"width {space.K}")
    ax.bar(x, least, 0.8, color=COLORS["BC"], label="smallest width")
    ax.set_yscale("log", base=2)
    ticks = [2**k for k in range(0, 14, 2) if min(least) / 2 < 2**k <= 2 * max(full)]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticklabels([str(t) for t in ticks])
    ax.set_ylim(min(least) / 2, 4 * max(full))
    ax.grid(axis="y")
    ax.set_xticks([1, *range(5, space.L + 1, 5)])
    ax.set(xlabel="group, in forward order", ylabel="channels")
    ax.set_title(f"{what}: {space.L} groups", loc="left", fontweight="bold")
    ax.legend(loc="upper left", ncols=2)
    figure.alt = (
        f"Channels of the {space.L} groups of {what}, from {least.min()} to {least.max()} at the "
        f"smallest width and {full.min()} to {full.max()} at full width: {' '.join(map(str, full))}"
    )
    return figure
