"""Figures on rankings: correlations side by side, under every filter, by budget, at the top.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data. Correlations come in -1..1 and are drawn in per cent, as the paper prints them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgba

from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = [
    "by_budget",
    "filter_duel",
    "filter_spread",
    "kendall_dots",
    "marginal_effects",
    "scores_against_accuracy",
    "top_regrets",
    "unequal_wins",
]

PURPLE, SKY = "#7A4FBF", "#56B4E9"
LOOKS = {  # colour, line and mark of a method in every figure
    "AutoSlim 3": (COLORS["UA"], "-", "s"),
    "BCNet 1": (SKY, (0, (1, 1.4)), "v"),
    "BCNet 2": (SKY, (0, (4, 1.6)), "^"),
    "BCNet 3": (COLORS["BC"], "-", "o"),
    "BCNet, partial": (SKY, "-", "P"),
    "MACs": (NEUTRAL, "-", "D"),
    "parameters": (NEUTRAL, (0, (1, 1.4)), "X"),
    "additive model": (PURPLE, "-", "*"),
    "from scratch": (INK, "-", "o"),
    "one run": (INK, (0, (5, 1.5)), "h"),
}


def _look(name: str) -> tuple:
    return LOOKS.get(name, (INK, "-", "o"))


def _percent(ax, axis: str = "x") -> None:
    getattr(ax, f"{axis}axis").set_major_formatter(lambda v, _: f"{100 * v:.0f}")


@styled
def kendall_dots(values: Mapping[str, Mapping[str, Mapping[str, Sequence]]]) -> BookFigure:
    """Kendall's tau with its interval, a row a method, a panel a space, a mark a set of networks.

    Args:
        values: panel -> method -> set of networks -> (value, low, high), low and high NaN where
            there is no interval; at most two sets.
    """
    rows = max(len(methods) for methods in values.values())
    figure, axes = panels(0.42 * rows + 1.5, 1, len(values), sharey=True, sharex=True)
    said, shapes = [], (("o", 1.0), ("D", 0.0))
    for ax, (space, methods) in zip(axes[0], values.items(), strict=True):
        for y, (name, sets) in enumerate(methods.items()):
            color = _look(name)[0]
            for (label, (value, low, high)), (mark, full) in zip(
                sets.items(), shapes, strict=False
            ):
                ends = (value, value) if np.isnan(low) else (low, high)
                ax.plot(ends, (y, y), color=color, lw=2.4, solid_capstyle="butt")
                face = color if full else "white"
                ax.plot(value, y, mark, ms=8, color=color, mfc=face, mew=1.6, zorder=3)
                said.append(f"{space}, {name}, {label}: {100 * value:.0f}")
        ax.axvline(0, color=INK, lw=0.8)
        ax.set_title(space, loc="left", fontweight="bold")
        ax.set_yticks(range(len(methods)), list(methods))
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        _percent(ax)
    axes[0, 0].set_ylim(rows - 0.4, -0.6)
    figure.supxlabel("Kendall (%)", fontsize=12)
    sets = next(iter(next(iter(values.values())).values()))
    for label, (mark, full) in zip(sets, shapes, strict=False):
        axes[0, 0].plot([], [], mark, color=INK, mfc=INK if full else "white", label=label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.alt = "Kendall in per cent. " + "; ".join(said)
    return figure


@styled
def filter_spread(
    taus: Mapping[str, Sequence[float]], marks: Mapping[str, Mapping[str, float]]
) -> BookFigure:
    """How Kendall spreads over all filters, a row a method.

    Args:
        taus: method -> (F,) Kendall under each filter.
        marks: what is marked, e.g. ``no filter`` -> method -> Kendall; at most two.
    """
    figure, axes = panels(0.75 * len(taus) + 1.3)
    ax = axes[0, 0]
    edges = np.linspace(min(map(np.min, taus.values())), max(map(np.max, taus.values())), 90)
    said = []
    for y, (name, values) in enumerate(taus.items()):
        color = _look(name)[0]
        share, _ = np.histogram(values, edges)
        height = 0.72 * share / share.max()
        ax.fill_between(
            edges[:-1], y + 0.3, y + 0.3 - height, step="post", color=color, alpha=0.45, lw=0
        )
        for (_, at), (mark, face) in zip(
            marks.items(), (("o", color), ("D", "white")), strict=False
        ):
            ax.plot(at[name], y + 0.3, mark, ms=8, color=color, mfc=face, mew=1.6, clip_on=False)
        said.append(f"{name}: {100 * np.min(values):.0f} to {100 * np.max(values):.0f}")
    for label, (mark, face) in zip(marks, (("o", INK), ("D", "white")), strict=False):
        ax.plot([], [], mark, color=INK, mfc=face, mew=1.6, label=label)
    ax.set_yticks(np.arange(len(taus)) + 0.1, list(taus))
    ax.set_ylim(len(taus) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("Kendall (%)")
    ax.grid(axis="x")
    _percent(ax)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    n = len(next(iter(taus.values())))
    figure.alt = f"Kendall in per cent under each of {n:,} filters. " + "; ".join(said)
    return figure


@styled
def filter_duel(
    duels: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    names: tuple[str, str],
    marks: Mapping[str, Mapping[str, tuple[float, float]]],
) -> BookFigure:
    """One method against another under every filter, a panel a space.

    Above the diagonal the second wins.

    Args:
        duels: panel -> (Kendall of the first (F,), Kendall of the second (F,)).
        names: of the two. marks: what is marked -> panel -> (first, second); at most two.
    """
    figure, axes = panels(4.1, 1, len(duels), sharex=True, sharey=True)
    everything = np.concatenate([np.ravel(d) for d in duels.values()])
    low, high = everything.min() - 0.03, everything.max() + 0.03
    said = []
    for ax, (space, (x, y)) in zip(axes[0], duels.items(), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        ax.fill_between([low, high], [low, high], high, color=_look(names[1])[0], alpha=0.09, lw=0)
        ax.plot([low, high], [low, high], color=INK, lw=1)
        above = y > x
        for part, name in ((~above, names[0]), (above, names[1])):
            color = to_rgba(_look(name)[0], 0.35)
            ax.plot(x[part], y[part], ".", ms=2.2, color=color, rasterized=True)
        for (label, at), (mark, face) in zip(
            marks.items(), (("o", INK), ("D", "white")), strict=False
        ):
            ax.plot(*at[space], mark, ms=9, color=INK, mfc=face, mew=1.6, label=label)
        share = f"{100 * above.mean():.1f} %"
        ax.set_title(f"{space}: {share} above", loc="left", fontweight="bold")
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        ax.grid()
        _percent(ax)
        _percent(ax, "y")
        said.append(f"{space}: {names[1]} wins under {share}")
    figure.supxlabel(f"Kendall of {names[0]} (%)", fontsize=12)
    axes[0, 0].set_ylabel(f"Kendall of {names[1]} (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    n = len(np.ravel(next(iter(duels.values()))[0]))
    figure.alt = f"{names[1]} against {names[0]} under {n:,} filters. " + "; ".join(said)
    return figure


@styled
def marginal_effects(C, lists: Mapping[str, Sequence[float]]) -> BookFigure:
    """What a group's width does on average, a panel a group, a line a list of scores.

    Args:
        C: (n, L) widths. lists: name -> (n,) scores or accuracies, NaN where there is none. Each
            list is drawn in its own standard deviations from its own mean.
    """
    C = np.asarray(C)
    L, widths = C.shape[1], np.unique(C)
    columns = 4
    rows = -(-(L + 1) // columns)
    figure, axes = panels(1.75 * rows + 0.3, rows, columns, sharex=True, sharey=True)
    falls = {}
    for g, ax in enumerate(axes.ravel()[:L]):
        for name, values in lists.items():
            values = np.asarray(values)
            z = (values - np.nanmean(values)) / np.nanstd(values)
            line = [np.nanmean(z[C[:, g] == w]) for w in widths]
            color, style, mark = _look(name)
            ax.plot(widths, line, mark, ls=style, color=color, ms=5, lw=1.7, label=name)
            falls[name] = falls.get(name, 0) + (line[-1] < line[-2])
        ax.set_title(f"$c_{g + 1}$", loc="left")
        ax.set_xticks(widths)
        ax.grid()
    for ax in axes.ravel()[L:]:
        ax.axis("off")
    axes.ravel()[-1].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", fontsize=10)
    figure.supylabel("mean, in standard deviations", fontsize=12)
    figure.supxlabel("width of the group", fontsize=12)
    figure.alt = (
        f"Mean by width of each of {L} groups. From the second widest to the widest it "
        + ("; ".join(f"falls in {n} of {L} groups for {name}" for name, n in falls.items()))
    )
    return figure


@styled
def scores_against_accuracy(
    scores: Mapping[str, Sequence[float]], accuracy: Sequence[float], kept
) -> BookFigure:
    """Supernet score against accuracy from scratch, a panel a file; kept networks in front.

    Args:
        scores: name -> (n,), NaN where there is none. accuracy: (n,), percent. kept: (n,) bool.
    """
    accuracy, kept = np.asarray(accuracy), np.asarray(kept)
    figure, axes = panels(3.7, 1, len(scores), sharex=True)
    said = []
    for ax, (name, values) in zip(axes[0], scores.items(), strict=True):
        values = np.asarray(values)
        color = _look(name)[0]
        ax.plot(accuracy[~kept], values[~kept], ".", ms=2, color="#B4BBC2", rasterized=True)
        ax.plot(accuracy[kept], values[kept], ".", ms=3, color=to_rgba(color, 0.6), rasterized=True)
        ax.set_title(name, loc="left", fontweight="bold")
        ax.grid()
        inside = kept & ~np.isnan(values)
        r = [np.corrcoef(accuracy[p], values[p])[0, 1] for p in (~np.isnan(values), inside)]
        said.append(f"{name}: Pearson {100 * r[0]:.0f} of all, {100 * r[1]:.0f} of those kept")
    axes[0, 0].set_ylabel("score with shared weights (%)")
    figure.supxlabel("accuracy from scratch (%)", fontsize=12)
    figure.alt = "Scores against accuracies. " + "; ".join(said)
    return figure


@styled
def by_budget(
    spaces: Mapping[str, Mapping[str, Sequence[float]]], label: str = "tenth of the MACs"
) -> BookFigure:
    """Kendall within bands of equal cost, a panel a space, a line a method.

    Args:
        spaces: panel -> method -> Kendall in each band, cheapest first.
    """
    figure, axes = panels(4.2, 1, len(spaces), sharex=True, sharey=True)
    said = []
    for ax, (space, methods) in zip(axes[0], spaces.items(), strict=True):
        for name, values in methods.items():
            color, style, mark = _look(name)
            x = np.arange(1, len(values) + 1)
            ax.plot(x, values, mark, ls=style, ms=5.5, lw=1.7, color=color, label=name)
            said.append(f"{space}, {name}: {100 * min(values):.0f} to {100 * max(values):.0f}")
        ax.axhline(0, color=INK, lw=0.8)
        ax.set_title(space, loc="left", fontweight="bold")
        ax.set_xticks(x)
        ax.grid()
        _percent(ax, "y")
    axes[0, 0].set_ylabel("Kendall (%)")
    figure.supxlabel(label, fontsize=12)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.alt = f"Kendall in per cent within each {label}. " + "; ".join(said)
    return figure


@styled
def top_regrets(
    spaces: Mapping[str, Mapping[str, Sequence[float]]], ks: Sequence[int]
) -> BookFigure:
    """Accuracy lost when the k best by score are trained and the best of them kept.

    Args:
        spaces: panel -> method -> regret in points at each k. ks: how many are trained.
    """
    figure, axes = panels(4.2, 1, len(spaces), sharex=True, sharey=True)
    said = []
    for ax, (space, methods) in zip(axes[0], spaces.items(), strict=True):
        for name, values in methods.items():
            color, style, mark = _look(name)
            ax.plot(ks, values, mark, ls=style, ms=5.5, lw=1.7, color=color, label=name)
            said.append(
                f"{space}, {name}: {values[0]:.2f} at {ks[0]}, {values[-1]:.2f} at {ks[-1]}"
            )
        ax.set_xscale("log")
        ax.set_xticks(ks, [f"{k:,}" for k in ks])
        ax.minorticks_off()
        ax.set_ylim(bottom=0)
        ax.set_title(space, loc="left", fontweight="bold")
        ax.grid()
    axes[0, 0].set_ylabel("accuracy lost (points)")
    figure.supxlabel("networks taken from the top of the ranking", fontsize=12)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.alt = "Points of accuracy lost by trusting the top. " + "; ".join(said)
    return figure


@styled
def unequal_wins(shares: Mapping[str, Sequence[float]]) -> BookFigure:
    """Share of filters under which the method that is worse over all networks wins; a dot a pair.

    Args:
        shares: kind of error -> share of filters, one a simulated pair of methods.
    """
    figure, axes = panels(0.8 * len(shares) + 1.1)
    ax = axes[0, 0]
    said = []
    for y, (name, values) in enumerate(shares.items()):
        values = np.sort(values)
        shift = 0.24 * np.sin(2.4 * np.arange(len(values)))  # apart, the same at every run
        color = (COLORS["BC"], COLORS["UA"], COLORS["BCv2"])[y % 3]
        ax.plot(values, y + shift, "o", ms=7, color=to_rgba(color, 0.6), mec=color)
        ax.plot(np.median(values) * np.ones(2), (y - 0.36, y + 0.36), color=INK, lw=2)
        said.append(f"{name}: median {np.median(values):.0%}, up to {values[-1]:.0%}")
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set_ylim(len(shares) - 0.45, -0.55)
    ax.set_xlabel("filters under which the worse of the two wins (%)")
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(-0.02, 1.02)
    ax.grid(axis="x")
    _percent(ax)
    figure.alt = "Filters won by the worse of two methods. " + "; ".join(said)
    return figure
