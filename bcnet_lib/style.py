"""The look of the book's figures: size, type, one colour a principle, alternative text."""

import io
from functools import wraps
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "INK",
    "NEUTRAL",
    "PALE",
    "BookFigure",
    "color_of",
    "label_of",
    "panels",
    "save",
    "styled",
    "unit_axis",
    "use_style",
]

# Okabe and Ito's palette, told apart by readers with any common colour blindness.
COLORS = {"UA": "#D55E00", "BC": "#0072B2", "BCv2": "#009E73", "Cyclic": "#CC79A7"}
NEUTRAL, INK, PALE = "#8A929A", "#1F2328", "#E9ECEF"
WIDTH = 6.4  # inches, the book's text column; 12 pt then stays legible on a phone

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "grid.color": "#D8DCE0",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "bcnet",  # the same ids, hence the same file, at every run
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Set the book's style for figures drawn by hand in a notebook; ours use it by themselves."""
    mpl.rcParams.update(STYLE)
    mpl.rcParams["axes.prop_cycle"] = mpl.cycler(color=[*COLORS.values(), NEUTRAL])


class BookFigure(Figure):
    """A figure with alternative text, shown in notebooks without pyplot."""

    alt = ""

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"

    __str__ = __repr__

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(data, format="png", metadata={"Software": None})
        width = round(self.get_figwidth() * 100)  # CSS pixels: half the drawn ones, for sharp text
        return (
            {"image/png": data.getvalue(), "text/plain": repr(self)},
            {"image/png": {"width": width, "alt": self.alt}},
        )


# Matplotlib writes a `set` for every subclass, in markup that only its own documentation reads.
del BookFigure.set


def save(figure: Figure, path: str | Path) -> Path:
    """Write SVG or PNG by the suffix; the same figure gives the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(path, metadata=metadata)
    return path


def label_of(principle) -> str:
    """``UA``, ``BC``, ``BCv2``, ``BCv2 (paper)``, ``Cyclic``; text stays as it is."""
    if isinstance(principle, str):
        return principle
    paper = getattr(principle, "overlap", "exact") == "paper"
    return principle.name + (" (paper)" if paper else "")


def color_of(principle) -> str:
    """A principle's colour in every figure; for text, that of the principle it starts with."""
    words = label_of(principle).split()
    return COLORS.get(words[0] if words else "", NEUTRAL)


def panels(height: float, rows: int = 1, columns: int = 1, **kw):
    """A figure of the text's width and ``height`` inches, and its axes, (rows, columns)."""
    figure = BookFigure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kw)


def styled(draw):
    """Run a figure function under the book's style, whatever the notebook has set."""

    @wraps(draw)
    def drawn(*args, **kwargs):
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def unit_axis(ax, total: int, room: int = 13) -> None:
    """Number the units 1..total on the x axis, as many numbers as there is ``room`` for."""
    step = next((s for s in (1, 2, 5, 10, 20, 50) if total <= s * room), 100)
    ax.set_xticks([1, *range(step if step > 2 else 1 + step, total + 1, step)])
    ax.set_xlim(0.4, total + 0.6)
    ax.tick_params(axis="x", length=0)
