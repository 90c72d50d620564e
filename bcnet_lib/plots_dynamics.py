"""Figures of what supernets do while they are trained, and of the statistics they are scored with.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import Interval, mean_interval
from .style import INK, NEUTRAL, PALE, BookFigure, color_of, panels, styled

__all__ = ["by_size", "spread_dots", "through_training", "unit_rows"]

_MARKS = "osD^vP"


def _look_of(name: str) -> tuple[str, str]:
    """Line style and colour: complements are dashed, what is no principle is grey and dotted."""
    color = color_of(name)
    if color == NEUTRAL:
        return ":", INK
    return ("--" if "complement" in name else "-"), color


def _band(ax, x, means: Sequence[Interval], color: str) -> None:
    if all(np.isfinite(m.half) for m in means):
        ax.fill_between(x, [m.low for m in means], [m.high for m in means], color=color, alpha=0.15)


@styled
def through_training(
    panels_of: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
) -> BookFigure:
    """Quantities over the passes of training, a panel a quantity, a line a method.

    Args:
        panels_of: quantity -> method -> passes -> (seeds,) numbers; bands are 95 % intervals.
    """
    figure, axes = panels(3.1 * len(panels_of) + 1.0, len(panels_of), sharex=True)
    said = []
    for ax, (title, lines) in zip(axes[:, 0], panels_of.items(), strict=True):
        for k, (name, points) in enumerate(lines.items()):
            style, color = _look_of(name)
            means = [mean_interval(v) for v in points.values()]
            x = list(points)
            _band(ax, x, means, color)
            ax.plot(
                x,
                [m.mean for m in means],
                style,
                color=color,
                marker=_MARKS[k % len(_MARKS)],
                ms=5,
                mfc="white" if style == "--" else color,
                label=name,
            )
            said.append(f"{title}, {name}: {means[0].mean:.2f} to {means[-1].text()}")
        ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # no spread is below 0
        ax.set_title(title, loc="left", fontsize=12)
        ax.grid(axis="y")
    ax.set_xscale("log")
    ticks = [t for t in (4, 10, 30, 100, 300, 1000, 3000, 10000, 100000) if x[0] <= t <= x[-1]]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("passes")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.alt = "From the first look to the last. " + "; ".join(said)
    return figure


@styled
def spread_dots(
    values: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, floor: Interval | None = None
) -> BookFigure:
    """Two or three quantities on one scale, a row a method: seeds as dots, mean and interval.

    Args:
        values: method -> quantity -> (seeds,) numbers. floor: a band across all rows.
    """
    figure, axes = panels(0.5 * len(values) + 1.4)
    ax, said = axes[0, 0], []
    if floor is not None:
        ax.axvspan(floor.low, floor.high, color=PALE, lw=0)
        ax.axvline(floor.mean, color=NEUTRAL, lw=1.2)
    for y, (name, of) in enumerate(values.items()):
        color = _look_of(name)[1]
        for k, (what, numbers) in enumerate(of.items()):
            mean, at = mean_interval(numbers), y + 0.3 * (k - (len(of) - 1) / 2)
            ax.plot(numbers, np.full(len(numbers), at), "o", ms=4, color=color, alpha=0.35, mew=0)
            if np.isfinite(mean.half):
                ax.plot((mean.low, mean.high), (at, at), color=color, lw=2.2)
            face = color if k else "white"
            ax.plot(mean.mean, at, _MARKS[k], ms=7, color=color, mfc=face)
            said.append(f"{name}, {what}: {mean.text()}")
    for k, what in enumerate(next(iter(values.values()))):
        ax.plot([], [], _MARKS[k], ms=7, color=INK, mfc=INK if k else "white", label=what)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(left=min(-0.01, ax.get_xlim()[0]))
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.alt = f"{xlabel}. " + "; ".join(said)
    return figure


@styled
def unit_rows(
    values: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: tuple[str, str] = ("uses", "gradient"),
    predicted: Mapping[str, Sequence[float]] | None = None,
) -> BookFigure:
    """Uses and gradients of a layer's units relative to their mean, a panel a method.

    Args:
        values: method -> (seeds, units) of both quantities; bars, and dots with 95 % intervals.
        predicted: method -> (units,) drawn as crosses.
    """
    columns = 2
    rows = -(-len(values) // columns)
    figure, axes = panels(1.75 * rows + 0.9, rows, columns, sharey=True)
    said, predicted = [], predicted or {}
    for ax, (name, (bars, dots)) in zip(axes.flat, values.items(), strict=False):
        color = _look_of(name)[1]
        at = np.arange(1, bars.shape[1] + 1)
        ax.axhline(1, color=NEUTRAL, lw=1, zorder=0)
        ax.bar(at, bars.mean(axis=0), width=0.8, color="#D8DCE0", label=names[0])
        means = [mean_interval(column) for column in dots.T]
        half = [m.half if np.isfinite(m.half) else 0 for m in means]
        ax.errorbar(
            at, [m.mean for m in means], half, fmt="o", ms=6, color=color, capsize=4, label=names[1]
        )
        if name in predicted:
            ax.plot(at, predicted[name], "x", ms=9, mew=2, color=INK, label="predicted")
        ax.set_title(name, loc="left", fontsize=12)
        ax.set_xticks(at)
        ax.tick_params(axis="x", length=0)
        uses = ", ".join(f"{v:.2f}" for v in bars.mean(axis=0))
        said.append(f"{name}: {names[0]} {uses}; {names[1]} " + ", ".join(m.text() for m in means))
    for ax in axes.flat[len(values) :]:
        ax.set_visible(False)
    axes.flat[0].set_ylim(bottom=0)
    figure.supxlabel("unit of the layer", fontsize=12)
    figure.supylabel("relative to the mean", fontsize=12)
    labels = {}
    for ax in axes.flat[: len(values)]:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            labels.setdefault(label, handle)
    figure.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=3)
    figure.alt = "Unit by unit, relative to the mean. " + "; ".join(said)
    return figure


@styled
def by_size(
    panels_of: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    xlabel: str = "images that share their statistics",
) -> BookFigure:
    """Measures against whose statistics were used, a panel a measure, a curve a method.

    Args:
        panels_of: measure -> method -> label on the x axis -> (seeds,) numbers. Labels that are no
            number stand apart, at the right.
    """
    figure, axes = panels(2.7 * len(panels_of) + 0.9, len(panels_of), sharex=True)
    labels = list(dict.fromkeys(k for of in panels_of.values() for m in of.values() for k in m))
    said = []
    for ax, (title, lines) in zip(axes[:, 0], panels_of.items(), strict=True):
        for i, (name, points) in enumerate(lines.items()):
            color, shift = color_of(name), 0.16 * (i - (len(lines) - 1) / 2)
            x = np.array([labels.index(k) for k in points]) + shift
            means = [mean_interval(v) for v in points.values()]
            for at, numbers, mean in zip(x, points.values(), means, strict=True):
                ax.plot(
                    np.full(len(numbers), at), numbers, "o", ms=4, color=color, alpha=0.35, mew=0
                )
                if np.isfinite(mean.half):
                    ax.plot((at, at), (mean.low, mean.high), color=color, lw=2.2)
            batch = [k.isdigit() for k in points]
            centre = np.array([m.mean for m in means])
            ax.plot(x[batch], centre[batch], color=color, lw=1.3)
            ax.plot(x, centre, _MARKS[i], ms=6.5, color=color, label=name)
            pairs = zip(points, means, strict=True)
            said.append(f"{title}, {name}: " + ", ".join(f"{m.text()} at {k}" for k, m in pairs))
        apart = sum(k.isdigit() for k in labels)
        if apart < len(labels):
            ax.axvline(apart - 0.5, color=NEUTRAL, lw=1, ls=":")
        ax.set_title(title, loc="left", fontsize=12)
        ax.grid(axis="y")
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel(xlabel)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.alt = f"By {xlabel}. " + "; ".join(said)
    return figure
