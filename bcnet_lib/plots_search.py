"""Figures of evolutionary search: fronts and crowding, operators, regret, fronts by generation.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data. ``front_slider`` returns a figure of plain HTML, SVG and a few lines of script.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from .intervals import mean_interval
from .search.result import pareto_front
from .style import COLORS, INK, NEUTRAL, BookFigure, panels, styled

__all__ = [
    "SliderFigure",
    "crossover",
    "front_slider",
    "fronts",
    "mutation",
    "ranked",
    "regret_curves",
]

BLUE, ORANGE, PURPLE = "#56B4E9", "#E69F00", "#7A4FBF"
METHODS = {  # colour and line of every search in all figures
    "random search": (NEUTRAL, (0, (1, 1.5))),
    "prior only": (ORANGE, (0, (4, 2))),
    "evolution, random start": (BLUE, "-"),
    "evolution, prior start": (COLORS["Cyclic"], "-"),
    "evolution, filled start": (COLORS["BCv2"], (0, (6, 1.5))),
    "evolution, accuracy alone": (INK, (0, (5, 1, 1, 1))),
    "true": (ORANGE, "-"),
}


def _look(name: str, k: int):
    return METHODS.get(name, (list(METHODS.values())[k % len(METHODS)]))


@styled
def ranked(points, rank, crowding) -> BookFigure:
    """Points of two objectives, joined to their fronts; beside each its crowding distance.

    Args:
        points: (n, 2) MACs and score. rank: (n,) from 0. crowding: (n,), infinite at the ends.
    """
    points, rank = np.asarray(points, dtype=float), np.asarray(rank)
    figure, axes = panels(3.9)
    ax = axes[0, 0]
    colors = [COLORS["BC"], ORANGE, NEUTRAL, INK]
    for r in range(rank.max() + 1):
        mine = points[rank == r]
        mine = mine[np.argsort(mine[:, 0])]
        ax.plot(*mine.T, "o-", ms=8, lw=1.2, color=colors[min(r, 3)], label=f"rank {r}")
    for (x, y), d in zip(points, crowding, strict=True):
        text = "∞" if np.isinf(d) else f"{d:.2f}"
        ax.annotate(text, (x, y), (7, -13), textcoords="offset points", fontsize=10.5)
    ax.set(xlabel="MACs (share of the full network)", ylabel="score")
    ax.margins(0.12)
    ax.grid()
    ax.legend(loc="upper left")
    sizes = [int((rank == r).sum()) for r in range(rank.max() + 1)]
    figure.alt = (
        f"{len(points)} networks by MACs and score in {len(sizes)} fronts of "
        f"{', '.join(map(str, sizes))}; the ends of each front have infinite crowding distance"
    )
    return figure


@styled
def crossover(
    parents, children, names=("parent A", "parent B", "child 1", "child 2")
) -> BookFigure:
    """Rows of genes: which parent each gene of a child comes from.

    Args:
        parents, children: (2, L) positions.
    """
    parents, children = np.asarray(parents), np.asarray(children)
    rows = np.concatenate([parents, children])
    L = rows.shape[1]
    figure, axes = panels(2.5)
    ax = axes[0, 0]
    from_b = []
    for y, row in enumerate(rows):
        for i, gene in enumerate(row):
            second = y == 1 or (y > 1 and gene == parents[1, i] and gene != parents[0, i])
            if y > 1 and second:
                from_b.append((y - 1, i + 1))
            color = ORANGE if second else BLUE
            ax.add_patch(_box(i, y, color, "//" if second else ""))
            ax.text(i + 0.5, y + 0.45, str(gene), ha="center", va="center", fontweight="bold",
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"})  # fmt: skip
    ax.set(xlim=(0, L), ylim=(4, 0), xticks=np.arange(L) + 0.5, yticks=np.arange(4) + 0.45)
    ax.set_xticklabels(range(1, L + 1))
    ax.set_yticklabels(names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("group")
    genes = "; ".join(
        f"child {k}: groups {', '.join(str(i) for c, i in from_b if c == k) or 'none'}"
        for k in (1, 2)
    )
    figure.alt = f"Two-point crossover of {L} genes. From the second parent come, {genes}"
    return figure


def _box(x, y, color, hatch):
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.04, y + 0.05), 0.92, 0.8, fc=color, ec="white", hatch=hatch)


@styled
def mutation(children: Mapping[str, Sequence[int]], parent: int, last: int) -> BookFigure:
    """Where polynomial mutation puts a gene, a panel a setting.

    Args:
        children: name of the setting -> positions drawn. parent: where the gene was.
        last: largest position.
    """
    figure, axes = panels(0.7 + 1.5 * len(children), len(children), sharex=True)
    said = []
    x = np.arange(last + 1)
    for ax, (name, drawn) in zip(axes[:, 0], children.items(), strict=True):
        share = np.bincount(np.asarray(drawn), minlength=last + 1) / len(drawn)
        ax.bar(x, 100 * share, 0.8, color=np.where(x == parent, NEUTRAL, BLUE))
        ax.set_title(f"{name}: unchanged in {share[parent]:.0%}", loc="left", fontweight="bold")
        ax.set_ylabel("%")
        ax.grid(axis="y")
        said.append(f"{name}: unchanged in {share[parent]:.0%}")
    axes[-1, 0].set_xticks(x[:: 1 if last < 12 else 2])
    axes[-1, 0].set_xlabel(f"new position (it was {parent})")
    figure.alt = f"Positions after polynomial mutation of {parent} in 0..{last}. " + "; ".join(said)
    return figure


@styled
def regret_curves(
    curves: Mapping[str, np.ndarray], unit: str = "accuracy missing to the best (points)",
    scale: float = 100,
) -> BookFigure:  # fmt: skip
    """Fig. 10's comparison: what is missing to the optimum against the number of evaluations.

    Args:
        curves: method -> (seeds, evaluations); mean and 95 % interval over the seeds are drawn.
    """
    figure, axes = panels(4.8)
    ax = axes[0, 0]
    said, least = [], np.inf
    for k, (name, raw) in enumerate(curves.items()):
        color, line = _look(name, k)
        y = np.asarray(raw) * scale  # (seeds, N)
        x = np.arange(1, y.shape[1] + 1)
        bands = [mean_interval(column) for column in y.T]
        mean = np.array([b.mean for b in bands])
        low = np.maximum([b.low for b in bands], 1e-9)  # a logarithmic axis has no zero
        ax.fill_between(x, low, [b.high for b in bands], color=color, alpha=0.15, lw=0)
        ax.plot(x, mean, color=color, ls=line, label=name)
        said.append(f"{name}: {mean[-1]:.2f}")
        least = min(least, mean[mean > 0].min())
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.6 * least)
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    ax.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t <= x[-1]]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="networks scored", ylabel=unit, xlim=(1, x[-1]))
    ax.grid()
    ax.legend(ncols=1, loc="lower left")
    seeds = len(next(iter(curves.values())))
    figure.alt = f"{unit} after {x[-1]} networks, mean of {seeds} seeds. " + "; ".join(said)
    return figure


@styled
def fronts(found: Mapping[str, pd.DataFrame], full: float) -> BookFigure:
    """Pareto fronts as stairs: the best score within each number of MACs.

    Args:
        found: name -> table with score and macs. full: MACs of the full network.
    """
    figure, axes = panels(4.0)
    ax = axes[0, 0]
    end = max(front.macs.max() for front in found.values()) / full
    for k, (name, front) in enumerate(found.items()):
        color, line = _look(name, k)
        front = front.sort_values("macs")
        x, y = np.append(front.macs / full, end), front.score.to_numpy()
        wide = {"lw": 7, "alpha": 0.3, "color": ORANGE} if name == "true" else {}
        look = {"color": color, "ls": line, "label": name} | wide
        ax.plot(x, 100 * np.append(y, y[-1]), drawstyle="steps-post", **look)
        ax.plot(front.macs / full, 100 * y, ".", color=look["color"], ms=6)
    ax.set(xlabel="MACs (share of the full network)", ylabel="accuracy (%)")
    ax.grid()
    ax.legend(loc="lower right")
    figure.alt = "Pareto fronts. " + "; ".join(
        f"{name}: {len(front)} networks up to {front.score.max():.1%}"
        for name, front in found.items()
    )
    return figure


class SliderFigure:
    """A figure of HTML, with alternative text; what a notebook shows is the HTML."""

    def __init__(self, html: str, alt: str):
        self.html, self.alt = html, alt

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self.html, "text/plain": repr(self)}


def front_slider(history: pd.DataFrame, full: float, budget: float) -> SliderFigure:
    """The Pareto front by generation: a slider moves through the generations of one search.

    Without JavaScript the last generation is shown. Works from a file and offline.

    Args:
        history: of a ``SearchResult``. full: MACs of the full network. budget: MACs.
    """
    last = int(history.generation.max())
    low, high = history.score.min(), history.score.max()
    room = (high - low) * 0.08 or 0.01
    low, high = low - room, high + room
    end = budget / full * 1.04

    def place(table):
        x = 56 + 560 * table.macs / full / end
        y = 250 - 230 * (table.score - low) / (high - low)
        return np.column_stack([x, y]).round(1).tolist()

    dots = [place(history[history.generation == g]) for g in range(last + 1)]
    lines = [place(pareto_front(history[history.generation <= g])) for g in range(last + 1)]
    best = [float(history[history.generation <= g].score.max()) for g in range(last + 1)]
    said = [
        f"generation {g + 1} of {last + 1}: {(history.generation <= g).sum()} networks scored, "
        f"{len(lines[g])} on the front, best {100 * best[g]:.1f} %"
        for g in range(last + 1)
    ]
    alt = f"Pareto front of one search; first, {said[0]}; last, {said[-1]}"
    data = json.dumps({"dots": dots, "lines": lines, "said": said}, separators=(",", ":"))
    limit = 56 + 560 * (budget / full) / end
    ticks = "".join(_tick_x(s, 56 + 560 * s / end) for s in np.arange(0.1, end, 0.1))
    steps = np.linspace(low + room, high - room, 4)
    ticks += "".join(_tick_y(100 * s, 250 - 230 * (s - low) / (high - low)) for s in steps)
    html = _TEMPLATE.format(
        alt=escape(alt), ticks=ticks, limit=f"{limit:.1f}", last=last, said=said[-1], data=data,
        dots="".join(_dot(p) for group in dots for p in group), line=_stairs(lines[-1]),
        blue=COLORS["BC"], orange=COLORS["UA"],
    )  # fmt: skip
    return SliderFigure(html, alt)


def _dot(p) -> str:
    return f'<circle cx="{p[0]}" cy="{p[1]}" r="3.2"/>'


def _stairs(points) -> str:
    """A path that keeps its height until the next, higher point."""
    (x, y), *rest = points
    return f"M{x} {y}" + "".join(f"H{a}V{b}" for a, b in rest)


def _tick_x(share: float, x: float) -> str:
    return f'<text x="{x:.1f}" y="268" text-anchor="middle">{100 * share:.0f} %</text>'


def _tick_y(percent: float, y: float) -> str:
    return (
        f'<text x="50" y="{y + 4:.1f}" text-anchor="end">{percent:.1f}</text>'
        f'<path d="M56 {y:.1f}H616" stroke="#D8DCE0"/>'
    )


_TEMPLATE = """<div class="front-slider" style="max-width:640px">
<svg viewBox="0 0 640 292" role="img" aria-label="{alt}" style="width:100%;background:#fff"
 font-family="sans-serif" font-size="12" fill="#1F2328">{ticks}
<text x="336" y="287" text-anchor="middle">MACs, share of the full network</text>
<text x="14" y="135" text-anchor="middle" transform="rotate(-90 14 135)">accuracy (%)</text>
<path d="M56 20V250H616" fill="none" stroke="#1F2328"/>
<path d="M{limit} 20V250" stroke="{orange}" stroke-width="1.6" stroke-dasharray="5 4"/>
<g class="dots" fill="#9AA3AB">{dots}</g>
<path class="line" d="{line}" fill="none" stroke="{blue}" stroke-width="2.4"/></svg>
<label style="display:flex;gap:.8em;align-items:center">Generation
<input type="range" min="0" max="{last}" value="{last}" style="flex:1"></label>
<p class="said" aria-live="polite">{said}</p>
<script type="application/json">{data}</script>
<script>for (const box of document.querySelectorAll(".front-slider:not([data-ready])")) {{
  const pick = (s) => box.querySelector(s);
  const data = JSON.parse(pick('script[type="application/json"]').textContent);
  const step = ([x, y]) => `H${{x}}V${{y}}`;
  box.dataset.ready = "yes";
  pick("input").addEventListener("input", (event) => {{
    const g = +event.target.value, line = data.lines[g];
    pick(".dots").innerHTML = data.dots.slice(0, g + 1).map((group, k) => group.map(([x, y]) =>
      `<circle cx="${{x}}" cy="${{y}}" r="3.2" fill="${{k === g ? "#1F2328" : "#9AA3AB"}}"/>`
    ).join("")).join("");
    pick(".line").setAttribute("d", "M" + line[0].join(" ") + line.slice(1).map(step).join(""));
    pick(".said").textContent = data.said[g];
  }});
}}</script></div>"""
