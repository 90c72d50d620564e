"""Figures of what training really touched: kernels side by side, and the gap as training goes on.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text
is made from the data.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .style import BookFigure, color_of, panels, styled

__all__ = ["kernel_maps", "running_gap"]


@styled
def kernel_maps(maps: Mapping[str, np.ndarray], what: str = "share of passes") -> BookFigure:
    """Heat maps of kernel uses side by side, on one scale; kernels never used are crossed out.

    Args:
        maps: name -> (out, in) uses, in any unit that can be compared; rows are output channels.
        what: the unit, on the colour bar.
    """
    maps = {name: np.asarray(m) for name, m in maps.items()}
    columns = min(2, len(maps))
    rows = -(-len(maps) // columns)
    figure, axes = panels(0.4 + (3.0 if columns == 2 else 4.6) * rows, rows, columns)
    top = max(m.max() for m in maps.values())
    said = []
    for ax, (name, m) in zip(axes.flat, maps.items(), strict=False):
        image = ax.imshow(m, cmap="cividis", vmin=0, vmax=top)
        never = np.argwhere(m == 0)
        if len(never):
            ax.plot(never[:, 1], never[:, 0], "x", color="white", ms=3.5, mew=0.9)
        for axis, size in ((ax.xaxis, m.shape[1]), (ax.yaxis, m.shape[0])):
            at = [0, size // 2, size - 1]
            axis.set_ticks(at, [str(i + 1) for i in at])
            axis.set_tick_params(length=0)
        ax.spines[:].set_visible(False)
        low, high = f"{m.min():.3g}", f"{m.max():.3g}"
        ax.set_title(
            f"{name}\n{low if low == high else f'{low} to {high}'}", loc="left", fontweight="bold"
        )
        said.append(f"{name}: {low} to {high}, {len(never)} of {m.size} never")
    for ax in axes.flat[len(maps) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("input channel")
    for ax in axes[:, 0]:
        ax.set_ylabel("output channel")
    figure.colorbar(image, ax=axes, shrink=0.7, label=what)
    figure.alt = f"Heat maps of kernels, {what}. " + "; ".join(said)
    return figure


@styled
def running_gap(gaps: Mapping[str, Sequence[int]], steps: Mapping[str, int]) -> BookFigure:
    """Passes by which the most trained channel is ahead of the least trained one, during training.

    Args:
        gaps: name of the run -> (n,) gap after each step; names that start with a principle's take
            its colour, and those that say "complement" are dashed.
        steps: name of the run -> passes of one step, so that runs share an axis of passes.
    """
    figure, axes = panels(4.4)
    ax = axes[0, 0]
    ends = []
    for name, raw in gaps.items():
        gap = np.r_[0, np.asarray(raw)]
        x = np.arange(gap.size) * steps[name]
        color = color_of(name)
        ax.plot(x, gap, "--" if "complement" in name else "-", color=color, lw=2)
        ends.append((float(gap[-1]), name, color, x[-1]))
    top = max(5, *(end for end, *_ in ends))
    ax.set_yscale("symlog", linthresh=10)  # a gap of 0 has a place, and 1 differs from 10
    ax.set_ylim(-1, top * 1.6)
    ax.set_yticks([0, *(t for t in (5, 10, 20, 50, 100, 200, 500, 1000) if t <= top * 1.6)])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set(xlabel="passes", ylabel="gap: most minus least trained")
    ax.grid()
    last = max(x for *_, x in ends)
    ax.set_xlim(0, last)
    floor = -np.inf
    for end, name, color, x in sorted(ends):  # labels from below, none on top of another
        place = max(_scale(end), floor)
        ax.annotate(
            f"{name}: {end:.0f}",
            (x, end),
            (last * 1.03, _unscale(place)),
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
        )
        floor = place + 0.2
    figure.alt = "Gap between the most and the least trained channel at the end. " + "; ".join(
        f"{name}: {end:.0f}" for end, name, *_ in sorted(ends, reverse=True)
    )
    return figure


def _scale(y: float) -> float:
    """Where symlog with threshold 10 puts a number: linear up to 10, then a decade a unit."""
    return y / 10 if y <= 10 else 1 + np.log10(y / 10)


def _unscale(s: float) -> float:
    return s * 10 if s <= 1 else 10 * 10 ** (s - 1)
