"""Figures of width vectors beside their base network, after the paper's Figs. 9 and 11.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .plots_sweeps import color_of, differences
from .profiles import PROFILES
from .results import Record
from .style import COLORS, INK, NEUTRAL, PALE, BookFigure, panels, styled
from .width_places import KINDS, Place

__all__ = ["measures", "over_depth", "widths_figures"]

SHADES = {
    "stem": INK,
    "layer": COLORS["BC"],
    "inner": "#56B4E9",
    "block output": COLORS["UA"],
    "last": COLORS["Cyclic"],
}


@styled
def over_depth(
    widths: Mapping[str, np.ndarray],
    places: Sequence[Place],
    uniform: float | None = None,
    unit: str = "seeds",
) -> BookFigure:
    """Relative width of every group over depth, a panel a set of width vectors.

    Args:
        widths: name -> relative widths (n, L) or (L,): channels over those of the base network, so
            that 1 is the base network itself. Bars are means over rows, dots the rows.
        places: (L,) of the groups, from ``width_places.places``: colour by kind, a dashed line
            where images shrink.
        uniform: relative width of a uniform network, drawn as a line.
        unit: what the rows are, for the alternative text.
    Raises:
        ValueError: if a vector has not one entry a place.
    """
    figure, axes = panels(1.9 * len(widths) + 1.2, len(widths), 1, sharex=True, sharey=True)
    x, said = np.arange(1, len(places) + 1), []
    for ax, (name, R) in zip(axes[:, 0], widths.items(), strict=True):
        R = np.atleast_2d(np.asarray(R, dtype=float))  # (n, L)
        if R.shape[1] != len(places):
            raise ValueError(f"'{name}' has {R.shape[1]} widths, the network {len(places)} groups")
        ax.bar(x, R.mean(axis=0), width=0.8, color=[SHADES[p.kind] for p in places], alpha=0.75)
        if len(R) > 1:
            ax.plot(np.tile(x, len(R)), R.ravel(), "o", ms=2.8, color=INK, alpha=0.45, mew=0)
        for i in np.flatnonzero([p.shrinks for p in places]):
            ax.axvline(i + 0.5, color=INK, lw=1, ls="--")
        if uniform is not None:
            ax.axhline(uniform, color=INK, lw=1.2, ls=":")
        ax.axhline(1, color=NEUTRAL, lw=0.8)
        ax.set_ylabel("relative width")
        ax.set_title(name, loc="left", fontsize=11)
        said.append(_said(name, R, places, unit))
    axes[-1, 0].set_xlabel("group, from the image to the classes")
    axes[-1, 0].set_xlim(0.3, len(places) + 0.7)
    axes[0, 0].set_ylim(0, 1.05)
    _legend(figure, places, uniform)
    shrinking = [str(i + 1) for i, p in enumerate(places) if p.shrinks]
    where = f" Images shrink at group {', '.join(shrinking)}." if shrinking else ""
    level = "" if uniform is None else f" A uniform network is at {uniform:.2f}."
    figure.alt = f"Relative width of {len(places)} groups over depth.{where}{level} " + " ".join(
        said
    )
    return figure


def _legend(figure, places: Sequence[Place], uniform: float | None) -> None:
    kinds = [k for k in KINDS if any(p.kind == k for p in places)]
    marks = [Patch(color=SHADES[k], alpha=0.75, label=k) for k in kinds]
    if any(p.shrinks for p in places):
        marks.append(Line2D([], [], color=INK, lw=1, ls="--", label="images shrink"))
    if uniform is not None:
        marks.append(Line2D([], [], color=INK, lw=1.2, ls=":", label="uniform"))
    figure.legend(handles=marks, loc="outside upper center", ncols=3)


def _said(name: str, R: np.ndarray, places: Sequence[Place], unit: str) -> str:
    mean = R.mean(axis=0)
    high, low = int(mean.argmax()), int(mean.argmin())
    kinds = {k: [i for i, p in enumerate(places) if p.kind == k] for k in KINDS}
    by_kind = ", ".join(f"{k} {mean[i].mean():.2f}" for k, i in kinds.items() if i)
    return (
        f"{name}, {len(R)} {unit}: mean by kind {by_kind}; widest group {high + 1} "
        f"({mean[high]:.2f}), narrowest {low + 1} ({mean[low]:.2f})."
    )


@styled
def measures(table: pd.DataFrame) -> BookFigure:
    """What sets of found widths have in common, less what random widths have: a panel a measure.

    Args:
        table: of ``width_patterns.table``. Filled marks are surely above or below random.
    """
    names, sets = list(dict.fromkeys(table.measure)), list(dict.fromkeys(table.set))
    rows = [int((table.measure == n).sum()) for n in names]
    figure, axes = panels(
        0.28 * sum(rows) + 0.75 * len(names), len(names), 1, height_ratios=[r + 0.6 for r in rows]
    )
    said = []
    for ax, name in zip(axes[:, 0], names, strict=True):
        part = table[table.measure == name]
        for y, row in enumerate(part.itertuples()):
            color, over = color_of(row.set), row.found - row.random
            if np.isfinite(row.half):
                ax.plot((over - row.half, over + row.half), (y, y), color=color, lw=2.2)
            ax.plot(over, y, "o", ms=7, color=color, mfc=color if row.told else "white")
            if row.told:
                said.append(f"{name}, {row.set}: {over:+.2f}")
        ax.axvline(0, color=INK, lw=1)
        ax.set_yticks(range(len(part)), list(part.set))
        ax.set_ylim(len(part) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0, labelsize=10)
        ax.set_title(name, loc="left", fontsize=11)
        ax.grid(axis="x", color=PALE)
    axes[-1, 0].set_xlabel("found minus random widths of the same budget")
    figure.alt = (
        f"{len(sets)} sets of found widths less random widths. Surely above or below: "
        f"{'; '.join(said) or 'none'}. Of {len(table)}, the others could not be told."
    )
    return figure


def widths_figures(record: Record) -> dict[str, BookFigure]:
    """The figures of a record of ``found_widths``, by the names they are stored under.

    ``depth``: widths of all groups. ``worth``: what found widths gain, paired over seeds.
    """
    from .ablations.findings import paired
    from .ablations.found_widths import METHODS, widths_of
    from .ablations.width_sets import places_of, relative_widths

    profile = PROFILES["found_widths"][record.profile]
    uniform = float(widths_of(record, method="uniform").mean()) / profile.K
    pairs = [(m, other) for m in METHODS for other in ("uniform", "random")] + [METHODS]
    gains = {
        f"{m.split()[0]} minus {other}": paired(
            record, "accuracy", {"method": m}, {"method": other}
        )
        for m, other in pairs
    }
    return {
        "depth": over_depth(relative_widths(record), places_of(profile), uniform),
        "worth": differences(gains),
    }
