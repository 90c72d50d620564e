"""Figures of printed results: accuracy against MACs, and what others got with the same widths.

Each function returns a `BookFigure` whose alternative text is made from the data.
"""

import pandas as pd

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["METHODS", "pareto", "same_widths"]

METHODS = {  # first word of a method -> mark, colour; the paper's own stand out
    "BCNetV2": ("*", COLORS["BCv2"]),
    "BCNet": ("P", COLORS["BC"]),
    "AutoSlim": ("o", "#D55E00"),
    "MetaPruning": ("s", "#CC79A7"),
    "DMCP": ("^", "#56B4E9"),
    "EagleEye": ("D", "#8A6D00"),
    "uniform": ("v", NEUTRAL),
    "original": ("X", INK),
}
_OTHER = ("h", NEUTRAL)


def _kind(method: str) -> str:
    word = method.split()[0].rstrip(",")
    return word if word in METHODS else method


@styled
def pareto(table: pd.DataFrame, title: str, unit: str = "million") -> BookFigure:
    """Top-1 accuracy against MACs of every row that has both; a step line through those
    that no other one beats.

    Filled marks are numbers of the method's own authors, open ones were measured by others.

    Args:
        table: as ``paper_checks.front`` gives it. title: the network. unit: million or billion.
    """
    figure, axes = panels(4.6)
    ax, scale = axes[0, 0], {"million": 1, "billion": 1000}[unit]
    best = table[table.front]
    ax.step(best.macs / scale, best.top1, where="post", color="#B4BBC2", lw=5, zorder=0,
            label="not beaten")  # fmt: skip
    for kind, rows in table.groupby(table.method.map(_kind), sort=False):
        mark, color = METHODS.get(kind, _OTHER)
        label = kind
        for other, part in rows.groupby(rows.source == "rerun"):
            face = "white" if other else color
            ax.plot(part.macs / scale, part.top1, mark, ms=8, color=color, mfc=face, mew=1.6,
                    label=label)  # fmt: skip
            label = None
    ax.set(xlabel=f"MACs ({unit})", ylabel="top-1 (%)", title=title)
    ax.grid()
    ax.legend(loc="lower right", ncols=2, handlelength=1.2, columnspacing=1)
    names = ", ".join(dict.fromkeys(best.method))
    figure.alt = (
        f"{title}: {len(table)} printed results, MACs {table.macs.min() / scale:.3g} to "
        f"{table.macs.max() / scale:.3g} {unit}, top-1 {table.top1.min():.1f} to "
        f"{table.top1.max():.1f} %. Not beaten: {len(best)}, of {names}"
    )
    return figure


@styled
def same_widths(table: pd.DataFrame) -> BookFigure:
    """Accuracies that different people got with the same widths, a row a network.

    Args:
        table: columns ``widths`` (a row's label), ``method``, ``top1`` (%), ``source``.
    """
    groups = list(table.groupby("widths", sort=False))
    figure, axes = panels(1.1 + 0.5 * len(groups))
    ax, said = axes[0, 0], []
    for y, (name, rows) in enumerate(groups):
        ax.plot([rows.top1.min(), rows.top1.max()], [y, y], color="#B4BBC2", lw=5, zorder=0,
                solid_capstyle="round")  # fmt: skip
        for other, part in rows.groupby(rows.source == "rerun"):
            ax.plot(part.top1, [y] * len(part), "o", ms=9, color=COLORS["BC"], mew=1.6,
                    mfc="white" if other else COLORS["BC"])  # fmt: skip
        said.append(f"{name} {rows.top1.min():.1f} to {rows.top1.max():.1f} %")
    ax.set_yticks(range(len(groups)), [name for name, _ in groups])
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlabel("top-1 (%): filled by the authors, open by others")
    ax.grid(axis="x")
    figure.alt = "Accuracies of the same widths by different people. " + "; ".join(said)
    return figure
