"""Figures of found networks in use: channels that hardware likes, boxes that a detector found.

Continues `plots.py`: each function returns a `BookFigure` whose alternative text is made from the
data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle

from .style import INK, NEUTRAL, BookFigure, panels, styled

__all__ = ["boxes", "detector_costs", "rounding", "time_by_channels"]

BLUE, ORANGE = "#56B4E9", "#E69F00"  # Okabe and Ito, not those of the principles


@styled
def rounding(change: Mapping[int, np.ndarray], unit: str = "MACs") -> BookFigure:
    """What rounding channel counts to multiples does to a cost: a row of points a multiple.

    Args:
        change: multiple -> (n,) change of the cost in percent, one number a network.
    """
    figure, axes = panels(0.9 + 0.62 * len(change))
    ax, rng, said = axes[0, 0], np.random.default_rng(0), []
    for row, (multiple, values) in enumerate(change.items()):
        y = row + rng.uniform(-0.25, 0.25, len(values))
        ax.plot(values, y, ".", ms=3, color=BLUE, alpha=0.5)
        low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
        ax.plot([low, high], [row, row], color=INK, lw=1.5)
        ax.plot(middle, row, "D", ms=7, color=ORANGE, mec=INK)
        said.append(f"{multiple}: median {middle:+.1f} %, 95 % of them {low:+.1f} to {high:+.1f} %")
    ax.axvline(0, color=NEUTRAL, lw=1, ls=":")
    ax.set_yticks(range(len(change)), [f"{m}" for m in change])
    ax.set(ylabel="multiple of", xlabel=f"change of {unit} (%)", ylim=(len(change) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    figure.alt = f"Change of {unit} by rounding, multiples of " + "; ".join(said)
    return figure


@styled
def time_by_channels(channels: Sequence[int], seconds: np.ndarray, multiple: int = 8) -> BookFigure:
    """Time of one layer against its channels; multiples are marked.

    Args:
        channels: counts. seconds: (n,) of each.
    """
    channels, ms = np.asarray(channels), 1e3 * np.asarray(seconds)
    marked = channels % multiple == 0
    figure, axes = panels(3.4)
    ax = axes[0, 0]
    ax.plot(channels, ms, color=NEUTRAL, lw=1)
    ax.plot(channels[~marked], ms[~marked], ".", color=BLUE, ms=7, label="others")
    ax.plot(channels[marked], ms[marked], "D", color=ORANGE, mec=INK, ms=7,
            label=f"multiples of {multiple}")  # fmt: skip
    ax.set(xlabel="channels", ylabel="time (ms)", ylim=(0, None))
    ax.legend(loc="upper left")
    figure.alt = (
        f"Time of a convolution against its channels, {channels[0]} to {channels[-1]}: from "
        f"{ms[0]:.2f} to {ms[-1]:.2f} ms; multiples of {multiple} are marked"
    )
    return figure


@styled
def boxes(images: Sequence, found: Sequence[dict], known: Sequence[dict], names) -> BookFigure:
    """Images with the boxes of the annotations (dotted) and those a detector found (drawn).

    Args:
        images: (3, H, W) tensors in [0, 1]. found: ``boxes``, ``labels``, ``scores`` of each.
        known: ``boxes`` and ``labels`` of each. names: of the classes, label 1 first.
    """
    figure, axes = panels(2.3, 1, len(images))
    said = []
    for ax, image, f, k in zip(axes[0], images, found, known, strict=True):
        ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, image.shape[2], image.shape[1], 0))
        for these, style in ((k, {"ls": ":", "ec": "white"}), (f, {"ec": "#F0E442"})):
            for x0, y0, x1, y1 in these["boxes"].tolist():
                ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=2, **style))
        ax.axis("off")
        words = [names[label - 1] for label in f["labels"].tolist()]
        ax.set_title(", ".join(words) or "none", fontsize=11)
        said.append(f"{len(k['boxes'])} boxes, found {', '.join(words) or 'none'}")
    figure.alt = f"{len(images)} images: " + "; ".join(said)
    return figure


@styled
def detector_costs(macs: Mapping[str, Mapping[str, float]]) -> BookFigure:
    """Where the MACs of detectors are: a bar each, stacked by part.

    Args:
        macs: detector -> part -> MACs; the same parts in every one.
    """
    figure, axes = panels(1.3 + 0.5 * len(macs))
    ax, left = axes[0, 0], np.zeros(len(macs))
    parts = list(next(iter(macs.values())))
    for part, color in zip(parts, (ORANGE, BLUE, NEUTRAL), strict=True):
        value = np.array([m[part] for m in macs.values()]) / 1e9
        ax.barh(range(len(macs)), value, 0.62, left=left, color=color, ec="white", label=part)
        left += value
    for row, total in enumerate(left):
        ax.text(total, row, f" {total:.0f}", va="center", fontsize=11)
    ax.set_yticks(range(len(macs)), list(macs))
    ax.set(xlabel="MACs an image (G)", xlim=(0, 1.12 * left.max()), ylim=(len(macs) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=len(parts), fontsize=11)
    figure.alt = "Giga-MACs by part. " + "; ".join(
        f"{name}: " + ", ".join(f"{part} {n / 1e9:.0f}" for part, n in m.items())
        for name, m in macs.items()
    )
    return figure
