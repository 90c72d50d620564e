"""Figures of ablations of the method: rows side by side, what each step adds, search from a start.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .intervals import mean_interval
from .style import INK, NEUTRAL, BookFigure, color_of, panels, styled

__all__ = [
    "components_figures",
    "differences",
    "iterative_figures",
    "prior_figures",
    "rows_of_dots",
    "traces",
]

SKY, BLUE, VIOLET = "#56B4E9", "#0072B2", "#7A4FBF"
STARTS = {  # colour, line and mark of where a search starts
    "prior, optimum": (SKY, (0, (1, 1.2)), "v"),
    "prior": (VIOLET, "-", "o"),
    "prior, 4 x warmer": (VIOLET, (0, (5, 1.5)), "^"),
    "prior, 16 x warmer": (VIOLET, (0, (1, 1.2)), "P"),
    "random": (INK, "-", "s"),
    "random, narrowed": (NEUTRAL, (0, (1, 1.2)), "X"),
    "random, widened": ("#B8860B", "-", "D"),
    "default of evolve": ("#B8860B", (0, (5, 1.5)), "*"),
}


def _color(name: str) -> str:
    return STARTS[name][0] if name in STARTS else color_of(name.replace(",", " "))


@styled
def rows_of_dots(
    columns: Mapping[str, Mapping[str, Sequence[float]]],
    lines: Mapping[str, Mapping[str, float]] | None = None,
    xlabel: str = "",
    digits: int = 2,
) -> BookFigure:
    """Every seed a dot, the mean with its 95 % interval, a row a method, a panel a measure.

    Args:
        columns: measure -> row -> (seeds,) values; the same rows in every panel.
        lines: measure -> label -> value drawn across that panel, three at most.
        xlabel: of all panels, which then share an axis and have their names above; default: each
            has its own axis and is named below.
        digits: of the alternative text.
    """
    lines = lines or {}
    rows = list(next(iter(columns.values())))
    figure, axes = panels(0.4 * len(rows) + 1.5, 1, len(columns), sharey=True, sharex=bool(xlabel))
    said = []
    for ax, (measure, values) in zip(axes[0], columns.items(), strict=True):
        for y, name in enumerate(rows):
            x, color = np.asarray(values[name], dtype=float), _color(name)
            mean = mean_interval(x)
            ax.plot(x, np.full(len(x), y), "o", ms=4, color=color, alpha=0.3, mew=0)
            if np.isfinite(mean.half):
                ax.plot((mean.low, mean.high), (y, y), color=color, lw=2.6)
            ax.plot(mean.mean, y, "|", ms=14, mew=2.4, color=color)
            said.append(f"{measure}, {' '.join(name.split())}: {mean.text(digits)}")
        for (label, at), style in zip(
            lines.get(measure, {}).items(), ("--", ":", "-."), strict=False
        ):
            ax.axvline(at, ls=style, color=INK, lw=1.3, label=label)
            said.append(f"{label} {at:.{digits}f}")
        if xlabel:
            ax.set_title(measure, loc="left")
        else:
            ax.set_xlabel(measure)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    if xlabel:
        figure.supxlabel(xlabel, fontsize=12)
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    if lines:
        figure.legend(loc="outside upper right", ncols=3)
    figure.alt = f"{xlabel or 'Mean'} and 95 % interval over seeds. " + "; ".join(said)
    return figure


@styled
def differences(
    values: Mapping[str, Sequence[float]], xlabel: str, margin: float | None = None
) -> BookFigure:
    """Paired differences with their intervals, a row a comparison; right of zero is better.

    Args:
        values: comparison -> (seeds,) differences.
        margin: a loss that counts as none, drawn left of zero.
    """
    figure, axes = panels(0.5 * len(values) + 1.1)
    ax, said = axes[0, 0], []
    ax.axvline(0, color=INK, lw=1.2)
    if margin is not None:
        ax.axvspan(-margin, 0, color="#E9ECEF", lw=0)
        said.append(f"shaded: losses up to {margin:g}")
    for y, (name, raw) in enumerate(values.items()):
        x = np.asarray(raw, dtype=float)
        mean = mean_interval(x)
        ax.plot(x, np.full(len(x), y), "o", ms=4, color=NEUTRAL, alpha=0.45, mew=0)
        half = mean.half if np.isfinite(mean.half) else None
        ax.errorbar(mean.mean, y, xerr=half, fmt="D", ms=7, color=BLUE, lw=2.4, capsize=4)
        said.append(f"{' '.join(name.split())}: {mean.text()}")
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    figure.alt = f"{xlabel}, mean with 95 % interval. " + "; ".join(said)
    return figure


@styled
def traces(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]],
    xlabel: str = "widths scored",
) -> BookFigure:
    """How a search climbs from each start: mean over seeds, 95 % interval at the end; a panel each.

    Args:
        curves: panel -> start -> (x (n,), values (seeds, n)).
    """
    figure, axes = panels(4.9, 1, len(curves))
    said = []
    for ax, (title, starts) in zip(axes[0], curves.items(), strict=True):
        for i, (name, (x, values)) in enumerate(starts.items()):
            values = np.asarray(values, dtype=float)
            color, line, mark = STARTS.get(name, (color_of(name), "-", "o"))
            label = None if ax is not axes[0, 0] else name
            ax.plot(x, values.mean(axis=0), mark, ls=line, ms=4.5, lw=1.6, color=color, label=label)
            end = mean_interval(values[:, -1])
            at = x[-1] + (0.02 + 0.018 * i) * (x[-1] - x[0])  # intervals side by side
            if np.isfinite(end.half):
                ax.plot((at, at), (end.low, end.high), color=color, lw=1.6)
            said.append(f"{title}, {name}: {values[:, 0].mean():.2f} to {end.text()}")
        ax.set_ylabel(title)
        ax.set_xlabel(xlabel)
        ax.grid()
    figure.legend(loc="outside upper center", ncols=2)
    figure.alt = "Best so far, first to last. " + "; ".join(said)
    return figure


# ------------------------------------------------------------------------- of a record


def components_figures(record) -> dict[str, BookFigure]:
    """``ladder``: what each component adds; ``searches``: every supernet under every search."""
    from .ablations.components import LADDER, SUPERNETS

    rungs = {name: record.values("accuracy", **at) for name, at in LADDER.items()}
    names = list(rungs)
    steps = {f"+ {b}": rungs[b] - rungs[a] for a, b in zip(names[:-1], names[1:], strict=True)}
    steps["all of them"] = rungs[names[-1]] - rungs[names[0]]
    found = {}
    for method, base in SUPERNETS:
        label = f"{method}\n(none narrow)" if base else method
        found[label] = {
            search: record.values("accuracy", method=method, base=base, search=search)
            for search in ("greedy", "evolution")
        }
    panels_of = {
        search: {name: values[search] for name, values in found.items()}
        for search in ("greedy", "evolution")
    }
    return {
        "ladder": differences(steps, "points of test accuracy added"),
        "searches": rows_of_dots(panels_of, xlabel="test accuracy (%)"),
    }


def iterative_figures(record) -> dict[str, BookFigure]:
    """``accuracy``: in turn minus both in a step; ``measures``: all methods at equal passes."""
    from .ablations.iterative_updates import MARGIN, METHODS, PAIRS

    def lost(name, equal):
        ours, other = (record.values("accuracy", method=m, equal=equal) for m in PAIRS[name])
        return ours - other

    pairs = {f"{name},\nequal {e}": lost(name, e) for name in PAIRS for e in ("passes", "steps")}
    at = {"equal": "passes"}
    columns = {
        "test accuracy (%)": {m: record.values("accuracy", method=m, **at) for m in METHODS},
    }
    if all(row["kendall"] is not None for row in record.rows):
        columns["Kendall"] = {m: record.values("kendall", method=m, **at) for m in METHODS}
    return {
        "accuracy": differences(pairs, "points of test accuracy, in turn minus together", MARGIN),
        "measures": rows_of_dots(columns),
    }


def prior_figures(record) -> dict[str, BookFigure]:
    """``populations``: the starts themselves; ``search``: where an evolution from them gets to."""
    frame = record.frame()
    starts = list(dict.fromkeys(frame.start))
    known = frame.accuracy.notna().all()
    measures = {"score": "score (%)", **({"accuracy": "test accuracy (%)"} if known else {})}
    scale = {"score": 100, "accuracy": 1}

    def table(start, measure):
        rows = frame[(frame.start == start) & (frame.generation > 0)]
        return scale[measure] * rows.pivot(index="seed", columns="generation", values=measure)

    first = {
        f"mean {label}": {s: scale[m] * record.values(m, start=s, generation=0) for s in starts}
        for m, label in measures.items()
    }
    scored = frame[frame.generation > 0].groupby("generation").evaluations.mean().to_numpy()
    climbing = {
        f"best so far: {label}": {s: (scored, table(s, m).to_numpy()) for s in starts}
        for m, label in measures.items()
    }
    return {"populations": rows_of_dots(first), "search": traces(climbing)}
