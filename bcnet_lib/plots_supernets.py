"""Figures of the experiment on supernets: how well each kind ranks a benchmark's widths.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import Interval, mean_interval
from .style import INK, BookFigure, color_of, panels, styled

__all__ = ["rank_dots", "rank_scatter", "uses"]


@styled
def rank_dots(
    panels_of: Mapping[str, Mapping[str, Sequence[float]]], lines: Mapping[str, float]
) -> BookFigure:
    """Kendall of every supernet (dots) with mean and 95 % interval, a row a method.

    Args:
        panels_of: panel title -> method -> (seeds,) Kendall.
        lines: what is drawn across for comparison, e.g. ``MACs alone`` -> Kendall; at most three.
    """
    methods = list(next(iter(panels_of.values())))
    figure, axes = panels(0.46 * len(methods) + 1.5, 1, len(panels_of), sharey=True, sharex=True)
    said = []
    for ax, (title, values) in zip(axes[0], panels_of.items(), strict=True):
        for y, name in enumerate(methods):
            taus, color = np.asarray(values[name], dtype=float), color_of(name)
            mean = mean_interval(taus)
            ax.plot(taus, np.full(len(taus), y), "o", ms=4, color=color, alpha=0.35, mew=0)
            if np.isfinite(mean.half):
                ax.plot((mean.low, mean.high), (y, y), color=color, lw=2.6)
            ax.plot(mean.mean, y, "|", ms=15, mew=2.4, color=color)
            said.append(f"{title}, {name}: {mean.text(3)}")
        for (label, at), style in zip(lines.items(), ("--", ":", "-."), strict=False):
            ax.axvline(at, ls=style, color=INK, lw=1.3, label=label)
        ax.set_title(title, loc="left", fontsize=12)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(methods)), methods)
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    figure.supxlabel("Kendall with accuracy after training from scratch", fontsize=12)
    if lines:
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(lines)
        )
    across = [f"{label} {at:.2f}" for label, at in lines.items()]
    figure.alt = "Kendall of supernets' scores. " + "; ".join(said + across)
    return figure


@styled
def rank_scatter(x: Mapping[str, float], y: Mapping[str, Interval], xlabel: str) -> BookFigure:
    """Kendall against another property of each method, a point with its interval a method.

    Args:
        x: method -> the property. y: method -> Kendall with its interval. xlabel: of the property.
    """
    figure, axes = panels(4.2)
    ax, said = axes[0, 0], []
    # names beside the points, pushed apart where points are close
    places = _apart({name: y[name].mean for name in x}, 0.055 * _range(y))
    right = max(x.values())
    for name, at in x.items():
        color = color_of(name)
        half = y[name].half if np.isfinite(y[name].half) else None
        ax.errorbar(at, y[name].mean, half, fmt="o", ms=7, color=color, capsize=3)
        ax.annotate(
            name,
            (at, y[name].mean),
            (1.06 * right, places[name]),
            color=INK,
            fontsize=10,
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#C3C9CF", "lw": 0.7, "shrinkB": 5},
        )
        said.append(f"{name}: {at:.2f}, Kendall {y[name].text(3)}")
    ax.set(xlabel=xlabel, ylabel="Kendall", xlim=(-0.04 * right, 1.62 * right))
    ax.grid()
    figure.alt = f"Kendall against {xlabel}. " + "; ".join(said)
    return figure


def _range(y: Mapping[str, Interval]) -> float:
    ends = [e for i in y.values() for e in (i.low, i.high) if np.isfinite(e)]
    return (max(ends) - min(ends)) if ends else 1.0


def _apart(values: Mapping[str, float], gap: float) -> dict[str, float]:
    """Heights for labels, in the order of the values and at least a gap apart."""
    names = sorted(values, key=values.get)
    heights = np.array([values[n] for n in names])
    for _ in range(200):
        close = np.flatnonzero(np.diff(heights) < gap)
        if not len(close):
            break
        for i in close:
            push = (gap - (heights[i + 1] - heights[i])) / 2 + 1e-9
            heights[i] -= push
            heights[i + 1] += push
    return dict(zip(names, heights.tolist(), strict=True))


@styled
def uses(counts: Mapping[str, Sequence[float]], xlabel: str) -> BookFigure:
    """How often training used each channel of a layer, as a share of passes; a row a method.

    Args:
        counts: method -> (total,) share of passes, channel by channel.
        xlabel: which channels.
    """
    figure, axes = panels(0.62 * len(counts) + 1.0, len(counts), 1, sharex=True, sharey=True)
    said = []
    for ax, (name, share) in zip(axes[:, 0], counts.items(), strict=True):
        share = np.asarray(share, dtype=float)
        ax.bar(np.arange(1, len(share) + 1), share, width=0.86, color=color_of(name))
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
        ax.set(ylim=(0, 1.05), yticks=(0, 1))
        ax.tick_params(axis="x", length=0)
        said.append(f"{name}: {share.min():.2f} to {share.max():.2f}")
    axes[-1, 0].set_xlabel(xlabel)
    figure.alt = "Share of passes that use each channel, least to most. " + "; ".join(said)
    return figure
