"""Where the groups of a network stand: stem, inner, block output, last; and where images shrink.

Read off the channel graph, so that it holds for any network. Follows the markings of Su et al.,
arXiv 2203.13714, Figs. 9 and 11, as far as our other sources describe them.
"""

from dataclasses import dataclass
from math import prod

__all__ = ["KINDS", "Place", "places"]

KINDS = ("stem", "layer", "inner", "block output", "last")
"""In the order of legends. A network without blocks, such as VGG, has layers between its ends."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one group stands."""

    name: str
    """Of its first producing layer."""
    kind: str
    """Of ``KINDS``."""
    shrinks: bool
    """Images get smaller here: its channels are made by a layer with a stride, or behind a pooling
    layer; or a depthwise convolution within it has the stride."""


def places(space) -> tuple[Place, ...]:
    """The place of every searched group of a ``WidthSpace``, in forward order.

    The first group is the stem, also where a shortcut joins the first blocks to it; the groups that
    the class output reads are the last. Of the others, those that depthwise convolutions filter
    are inner ones and the rest block outputs; in a network without such convolutions those that
    several layers add to are block outputs and the rest inner; in one without shortcuts, too, all
    are layers.
    """
    graph = space.graph
    number = {g.name: i for i, g in enumerate(graph.groups)}
    written, kept, deep = _sizes(graph)
    last = {g for op in graph.ops if not _groups(op.out) for g in _groups(op.inner)}
    searched = [number[g.name] for g in space.groups]
    shared = {i for i in searched if len(graph.groups[i].layers) > 1}
    shrinks = _shrinking(graph, kept) | {i for i in searched if kept[i] < written[i]}
    return tuple(
        Place(
            name=graph.groups[i].name,
            kind=_kind(i, i == searched[0], last, deep & set(searched[1:]), shared),
            shrinks=i in shrinks,
        )
        for i in searched
    )


def _kind(i: int, first: bool, last: set, deep: set, shared: set) -> str:
    if first:
        return "stem"
    if i in last:
        return "last"
    if deep:
        return "inner" if i in deep else "block output"
    if shared:
        return "block output" if i in shared else "inner"
    return "layer"


def _groups(axis) -> set[int]:
    return {run.group for run in axis if run.group is not None}


def _positions(graph, op) -> int:
    """Output positions of a layer: its coefficient also counts those of the kernel."""
    kernel = graph.axes.get(f"{op.layer}.weight", ())[2:]
    return op.coefficient // prod(run.length for axis in kernel for run in axis)


def _sizes(graph) -> tuple[dict[int, int], dict[int, int], set[int]]:
    """Positions at which each group is first written, and at which it is kept in the end; the
    groups with depthwise (or blockwise) convolutions within.

    Layers at a single position, such as gates, count only where there are no others.
    """
    made: dict[int, list[int]] = {}
    copied: dict[int, list[int]] = {}
    for op in graph.ops:
        for g in _groups(op.out):
            makes = op.layer in graph.groups[g].layers
            (made if makes else copied).setdefault(g, []).append(_positions(graph, op))
    written = {g: max(sizes) for g, sizes in made.items()}
    kept = {
        g: min([n for n in (*sizes, *copied.get(g, ())) if n > 1], default=1)
        for g, sizes in made.items()
    }
    return written, kept, set(copied)


def _shrinking(graph, kept: dict[int, int]) -> set[int]:
    """Groups that some layer writes at fewer positions than those of the group it reads."""
    out = set()
    for op in graph.ops:
        made = {g for g in _groups(op.out) if op.layer in graph.groups[g].layers}
        here = _positions(graph, op)
        if here > 1 and any(here < kept.get(g, here) for g in _groups(op.inner)):
            out |= made
    return out
