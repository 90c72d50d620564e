"""Figures of the experiments that sweep one setting of the search space, K or l_s.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import mean_interval
from .style import INK, PALE, BookFigure, panels, styled
from .style import color_of as principle_color

__all__ = ["differences", "losses", "properties", "sweep"]

_STYLES = (("-", "o"), ("-", "s"), ("--", "D"), (":", "^"))  # line and mark, by place


def color_of(name: str) -> str:
    """The colour of the principle a name starts with: "BCv2, 2 minus 1" is BCv2's."""
    return principle_color(name.replace(",", " ").replace(":", " "))


@styled
def sweep(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    xlabel: str,
    ylabel: str = "test accuracy (%)",
) -> BookFigure:
    """Mean and 95 % interval over seeds at each value of a setting, a curve a method.

    Args:
        curves: name -> value of the setting -> (seeds,) numbers; seeds are dots.
    """
    figure, axes = panels(4.4)
    ax = axes[0, 0]
    values = sorted({v for points in curves.values() for v in points})
    said = []
    for i, (name, points) in enumerate(curves.items()):
        line, mark = _STYLES[i % len(_STYLES)]
        color = color_of(name)
        x = np.array([values.index(v) for v in points]) + 0.13 * (i - (len(curves) - 1) / 2)
        means = [mean_interval(numbers) for numbers in points.values()]
        for at, numbers, mean in zip(x, points.values(), means, strict=True):
            ax.plot(np.full(len(numbers), at), numbers, "o", ms=3.5, color=color, alpha=0.3, mew=0)
            if np.isfinite(mean.half):
                ax.plot((at, at), (mean.low, mean.high), color=color, lw=2.2)
        face = "white" if line == "--" else color
        centre = [m.mean for m in means]
        ax.plot(x, centre, line, color=color, lw=1.4, marker=mark, mfc=face, ms=6.5, label=name)
        said.append(
            f"{name}: "
            + ", ".join(f"{m.text()} at {v}" for v, m in zip(points, means, strict=True))
        )
    ax.set_xticks(range(len(values)), [f"{v}" for v in values])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(axis="y")
    if len(curves) > 1:
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    n = len(next(iter(next(iter(curves.values())).values())))
    figure.alt = f"{ylabel} by {xlabel}, {n} seeds. " + "; ".join(said)
    return figure


@styled
def differences(
    values: Mapping[str, Sequence[float]],
    xlabel: str = "difference in test accuracy (points)",
    found: Mapping[str, float] | None = None,
) -> BookFigure:
    """Paired differences, a row each: seeds as dots, mean with its 95 % interval, and zero.

    Args:
        values: name -> (seeds,) differences.
        found: name -> what this number of seeds would find with 80 % power: a band around zero.
    """
    figure, axes = panels(0.46 * len(values) + 1.2)
    ax = axes[0, 0]
    said = []
    for y, (name, d) in enumerate(values.items()):
        color, mean = color_of(name), mean_interval(d)
        band = (found or {}).get(name)
        if band is not None:
            ax.fill_between((-band, band), y - 0.38, y + 0.38, color=PALE, lw=0)
        ax.plot(d, np.full(len(d), y), "o", ms=4, color=color, alpha=0.4, mew=0)
        if np.isfinite(mean.half):
            ax.plot((mean.low, mean.high), (y, y), color=color, lw=2.6)
        ax.plot(mean.mean, y, "|", ms=15, mew=2.4, color=color)
        said.append(f"{name}: {mean}" + ("" if band is None else f", found from {band:.2f}"))
    ax.axvline(0, color=INK, lw=1)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    figure.alt = f"{xlabel}. " + "; ".join(said)
    return figure


@styled
def properties(
    panels_of: Mapping[str, Mapping[str, Mapping[int, float]]],
    xlabel: str,
    log: Sequence[str] = (),
    percent: Sequence[str] = (),
) -> BookFigure:
    """What a setting changes besides accuracy, a panel a property, a line a method.

    Args:
        panels_of: property -> method -> value of the setting -> a number.
        log: properties on a logarithmic axis. percent: properties that are shares, shown as %.
    """
    columns = 2
    rows = -(-len(panels_of) // columns)
    figure, axes = panels(2.5 * rows + 0.5, rows, columns, sharex=True)
    said, seen = [], {}
    for ax, (title, methods) in zip(axes.flat, panels_of.items(), strict=False):
        scale, unit = (100, " %") if title in percent else (1, "")
        drawn = []
        for i, (name, points) in enumerate(methods.items()):
            line, mark = _STYLES[i % len(_STYLES)]
            y = scale * np.array(list(points.values()), dtype=float)
            drawn.append(y)
            face = "white" if line == "--" else color_of(name)
            seen[name] = ax.plot(
                range(len(y)), y, line, marker=mark, ms=5.5, lw=1.6, color=color_of(name), mfc=face
            )[0]
            ends = f"{y[0]:,.3g}{unit} to {y[-1]:,.3g}{unit}"
            said.append(f"{title}{f', {name}' if name else ''}: {ends}")
        ax.set_xticks(range(len(points)), [f"{v}" for v in points])
        if title in log:
            ax.set_yscale("log")
        elif min(map(min, drawn)) < 0.6 * max(map(max, drawn)):  # else all are close together
            ax.set_ylim(bottom=0)
        ax.set_title(title + (" (%)" if title in percent else ""), loc="left", fontsize=11)
        ax.grid(axis="y")
    for ax in axes.flat[len(panels_of) :]:
        ax.set_visible(False)
    figure.supxlabel(xlabel, fontsize=12)
    if any(seen):
        figure.legend(list(seen.values()), list(seen), loc="outside upper center", ncols=2)
    figure.alt = f"By {xlabel}, from the first value to the last. " + "; ".join(said)
    return figure


@styled
def losses(
    lost: Mapping[str, Sequence[float]], budgets: Sequence[float], ylabel: str
) -> BookFigure:
    """What leaving narrow widths out loses at each budget, a line a smallest width.

    Args:
        lost: name -> (budgets,) points, NaN where no network fits. budgets: shares of the MACs.
    """
    figure, axes = panels(4.0)
    ax = axes[0, 0]
    colors = (color_of("BCv2"), color_of("BC"), color_of("UA"))
    said = []
    for i, (name, values) in enumerate(lost.items()):
        line, mark = _STYLES[i % len(_STYLES)]
        x, y = 100 * np.asarray(budgets), np.asarray(values, dtype=float)
        ax.plot(x, y, line, marker=mark, ms=5.5, lw=1.7, color=colors[i % 3], label=name)
        fits = np.isfinite(y)
        said.append(
            f"{name}: {y[fits][0]:.2f} at {x[fits][0]:.0f} %, the smallest budget it fits, "
            f"{y[fits][-1]:.2f} at {x[fits][-1]:.0f} %"
            if fits.any()
            else f"{name}: never fits"
        )
    ax.axhline(0, color=INK, lw=1)
    ax.set(xlabel="budget (% of the full network's MACs)", ylabel=ylabel)
    ax.grid()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.alt = f"{ylabel} by budget. " + "; ".join(said)
    return figure
