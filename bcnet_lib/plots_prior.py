"""Figures of prior sampling: errors of widths, the two-group problem, bounds, distributions.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .search.qcqp import QCQP, lower_envelope
from .style import INK, NEUTRAL, PALE, BookFigure, panels, styled

__all__ = [
    "alternations",
    "distributions",
    "dual",
    "envelope",
    "error_map",
    "populations",
    "region",
]

BLUE, ORANGE, RED = "#56B4E9", "#E69F00", "#D55E00"  # Okabe and Ito, not those of the principles


@styled
def error_map(errors: np.ndarray) -> BookFigure:
    """Heat map of Eq. 13: expected error of every width (columns) of every group (rows).

    Args:
        errors: (L, K) in nats; NaN (no such width, or it never occurred) stays white.
    """
    errors = np.asarray(errors, dtype=float)
    L, K = errors.shape
    figure, axes = panels(1.4 + 0.17 * max(L, 8))
    ax = axes[0, 0]
    image = ax.imshow(errors, cmap="cividis_r", aspect="auto", extent=(0.5, K + 0.5, L + 0.5, 0.5))
    ax.set(xlabel="width c (units)", ylabel="group")
    ax.set_xticks([1, *range(5, K + 1, 5)] if K > 8 else range(1, K + 1))
    ax.set_yticks([1, *range(5, L + 1, 5)] if L > 8 else range(1, L + 1))
    ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=ax, label="E, nats")
    missing = int(np.isnan(errors).sum())
    figure.alt = (
        f"Expected errors of {L} groups and {K} widths, from {np.nanmin(errors):.2f} to "
        f"{np.nanmax(errors):.2f} nats; {missing} cells are empty"
    )
    return figure


@styled
def envelope(channels, errors, mean: float) -> BookFigure:
    """Errors of one group's widths, their lower convex envelope, and the mixture at one mean.

    Args:
        channels: (K,) channels of the widths. errors: (K,) in nats.
        mean: mean number of channels to show the best mixture at.
    """
    x, y = np.asarray(channels, dtype=float), np.asarray(errors, dtype=float)
    corners = lower_envelope(x, y)
    least = float(np.interp(mean, x[corners], y[corners]))
    figure, axes = panels(3.6)
    ax = axes[0, 0]
    ax.plot(x, y, "o", color=NEUTRAL, label="E of a width")
    ax.plot(x[corners], y[corners], "-", color=BLUE, label="lower convex envelope")
    ax.plot([mean], [least], "D", color=RED, ms=8, label="best mixture with this mean")
    ax.axvline(mean, color=RED, lw=0.8, ls=":")
    ax.set(xlabel="mean channels", ylabel="expected error, nats")
    ax.legend()
    figure.alt = (
        f"Errors of {len(x)} widths; the lower envelope has {len(corners)} corners, and is "
        f"{least:.2f} at a mean of {mean:g} channels"
    )
    return figure


@styled
def region(problem: QCQP, channels, path: Sequence[Sequence[float]] = (), best=None) -> BookFigure:
    """Two coupled groups: mean channels that fit, lines of equal error, and how a search moved.

    Args:
        problem: of two groups. channels: two arrays (K_i,).
        path: points (mean channels of group 1, of group 2) one after another.
        best: the optimum, likewise.
    """
    (a, b), (e, f) = (np.asarray(c, dtype=float) for c in channels), problem.errors
    i, j = lower_envelope(a, e), lower_envelope(b, f)
    x, y = np.linspace(a.min(), a.max(), 300), np.linspace(b.min(), b.max(), 300)
    error = np.interp(x, a[i], e[i])[None] + np.interp(y, b[j], f[j])[:, None]  # (y, x)
    slope = problem.pairs[0, 1][-1, -1] / (a[-1] * b[-1])
    cost = problem.constant + slope * np.outer(y, x)
    figure, axes = panels(5.0)
    ax = axes[0, 0]
    ax.contourf(x, y, cost, levels=[1, np.inf], colors=[PALE])
    ax.contour(x, y, cost, levels=[1], colors=[INK], linewidths=1.5)
    lines = ax.contour(x, y, error, levels=9, cmap="cividis", linewidths=1)
    ax.clabel(lines, fontsize=9, fmt="%.1f")
    if len(path):
        path = np.asarray(path)
        ax.plot(*path.T, "o-", color=ORANGE, lw=1.5, ms=5, label="alternating programs")
    if best is not None:
        ax.plot(*best, "*", color=RED, ms=15, label="optimum")
    ax.text(0.97, 0.95, "over the budget", ha="right", va="top", transform=ax.transAxes)
    ax.set(xlabel="mean channels, group 1", ylabel="mean channels, group 2")
    if len(path) or best is not None:
        ax.legend(loc="lower left")
    figure.alt = (
        "Mean channels of two groups; what fits lies below a hyperbola"
        + ("" if best is None else f", the optimum at ({best[0]:.1f}, {best[1]:.1f})")
        + ("" if not len(path) else f", the programs end at ({path[-1][0]:.1f}, {path[-1][1]:.1f})")
    )
    return figure


@styled
def dual(prices, bounds, lines, value: float) -> BookFigure:
    """The Lagrangian bound as a function of the price, below the lines of single networks.

    Args:
        prices: (n,) >= 0. bounds: (n,) nats, g(price).
        lines: (m, 2) error and cost (in budgets) of networks to draw as lines.
        value: expected error of the distributions found.
    """
    prices, bounds = np.asarray(prices), np.asarray(bounds)
    figure, axes = panels(4.0)
    ax = axes[0, 0]
    for k, (error, cost) in enumerate(lines):
        label = "one network each" if k == 0 else None
        ax.plot(prices, error + prices * (cost - 1), color=NEUTRAL, lw=0.8, label=label)
    ax.plot(prices, bounds, color=BLUE, lw=3, label="bound g: the least of all networks")
    ax.axhline(value, color=RED, lw=1.5, ls="--", label="value found")
    span = value - bounds.min()
    ax.set(xlabel="price of a budget of MACs, nats", ylabel="nats")
    ax.set_xlim(prices[0], prices[-1])
    ax.set_ylim(bounds.min() - 0.05 * span, value + 0.6 * span)
    ax.legend(loc="lower center")
    best = int(bounds.argmax())
    figure.alt = (
        f"The bound rises to {bounds[best]:.3f} at a price of {prices[best]:.2f} nats and falls "
        f"after it; the value found is {value:.3f}"
    )
    return figure


@styled
def alternations(traces: Mapping[str, Sequence[float]], bound: float) -> BookFigure:
    """Expected error above the bound after each linear program, from several starts.

    Args:
        traces: name of the start -> values in nats, one a program, the start's own first.
        bound: nats.
    """
    figure, axes = panels(4.0)
    ax = axes[0, 0]
    colors = [ORANGE, BLUE, "#CC79A7", NEUTRAL, "#009E73", INK]
    for k, (name, values) in enumerate(traces.items()):
        above = np.asarray(values) - bound
        ax.plot(range(len(above)), above, "o-", ms=4, color=colors[k % 6], label=name)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(axis="y")
    ax.set(xlabel="linear programs solved", ylabel="nats above the bound")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    ends = "; ".join(f"{name} ends at {values[-1]:.3f}" for name, values in traces.items())
    figure.alt = f"Expected error falls with every program. {ends}; the bound is {bound:.3f}"
    return figure


@styled
def distributions(priors: Mapping[str, object]) -> BookFigure:
    """Probabilities of every width (columns) of every group (rows), a panel a prior.

    Args:
        priors: name -> ``Prior``, all of one space.
    """
    figure, axes = panels(1.3 + 0.15 * max(10, len(next(iter(priors.values())).P)), 1, len(priors))
    said = []
    for ax, (name, prior) in zip(axes[0], priors.items(), strict=True):
        K = prior.cost.space.K
        table = np.zeros((len(prior.P), K))
        for row, p in zip(table, prior.P, strict=True):
            row[K - len(p) :] = p
        extent = (0.5, K + 0.5, len(table) + 0.5, 0.5)
        image = ax.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto", extent=extent)
        ax.set_title(name, fontsize=11)
        ax.set_xlabel("width (units)")
        ax.set_xticks([1, K // 2, K])
        ax.set_yticks([1, *range(5, len(table) + 1, 5)])
        ax.spines[:].set_visible(False)
        said.append(
            f"{name}: {prior.undecided} of {len(table)} groups undecided, largest probability "
            f"{table.max(axis=1).mean():.2f} on average"
        )
    axes[0, 0].set_ylabel("group")
    figure.colorbar(image, ax=axes, label="probability", shrink=0.8)
    figure.alt = "Distributions over widths. " + "; ".join(said)
    return figure


@styled
def populations(losses: Mapping[str, np.ndarray], what: str = "mean loss, nats") -> BookFigure:
    """Mean loss of initial populations, one dot a seed, with mean and interval.

    Args:
        losses: name of the rule -> (seeds,) mean loss of its population.
        what: the horizontal axis.
    """
    from .intervals import mean_interval

    figure, axes = panels(0.9 + 0.5 * len(losses))
    ax = axes[0, 0]
    said = []
    for k, (name, values) in enumerate(losses.items()):
        interval = mean_interval(values)
        ax.plot(values, np.full(len(values), k), "o", color=BLUE, ms=5, alpha=0.6, mew=0)
        ax.errorbar(
            interval.mean, k + 0.25, xerr=interval.half, fmt="D", color=RED, ms=5, capsize=3
        )
        said.append(f"{name}: {interval.text()}")
    ax.set_yticks(range(len(losses)), list(losses))
    ax.set_ylim(len(losses) - 0.4, -0.6)
    ax.set_xlabel(what)
    ax.grid(axis="x")
    figure.alt = f"Initial populations, {what}. " + "; ".join(said)
    return figure
