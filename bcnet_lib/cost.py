"""Cost of many widths at once: multiply-accumulates and parameters, exact; latency, measured.

Every weighted layer costs ``coefficient x size(out axis) x size(in axis)``, and an axis is a sum of
channel counts. So all MACs of a network are one quadratic form in the sizes of its distinct axes,
and a hundred thousand width vectors are two matrix products. Counts are exact integers.

The paper's FLOPs are these MACs: convolutions and linear layers, without biases, normalisation,
activations and pooling. Latency is looked up in a table measured on one machine (``latency.py``).
"""

import copy
from dataclasses import dataclass
from math import prod

import numpy as np

__all__ = ["CostTable", "Pairwise"]


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """MACs as a sum over groups and pairs of groups, for the expectation in Eq. 15.

    With ``k = c - base``, MACs are the constant plus the sum of ``unary[i][k_i]`` over groups and
    of ``pairs[i, j][k_i, k_j]`` over pairs.
    """

    constant: int
    unary: tuple[np.ndarray, ...]  # L int64 arrays (K - base_i + 1,)
    pairs: dict[tuple[int, int], np.ndarray]  # i < j -> int64 (K - base_i + 1, K - base_j + 1)


class _Quadratic:
    """Sum of coefficient x axis x axis over layers, for a whole array of channel counts."""

    def __init__(self, terms, groups: int):
        self.axes: dict[tuple, int] = {}
        rows = [(k, self._index(a), self._index(b)) for k, a, b in terms]
        n = len(self.axes)
        self.slope = np.zeros((groups, n))  # channels -> axis sizes
        self.offset = np.zeros(n)
        for axis, u in self.axes.items():
            for run in axis:
                if run.group is None:
                    self.offset[u] += run.length * run.repeat
                else:
                    self.slope[run.group, u] += run.repeat
        self.form = np.zeros((n, n))
        for k, a, b in rows:
            self.form[a, b] += k

    def _index(self, axis) -> int:
        return self.axes.setdefault(tuple(axis), len(self.axes))

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """(n, G) channel counts -> (n,) int64. Doubles hold integers exactly below 2**53."""
        size = channels.astype(np.float64) @ self.slope + self.offset  # (n, axes)
        value = ((size @ self.form) * size).sum(axis=1)
        if len(value) and value.max() >= 2**53:
            raise OverflowError(f"cost {value.max():.3g} is too large to be exact in a double")
        return value.astype(np.int64)


class CostTable:
    """MACs, parameters and latency of width vectors, without building a network.

    Args:
        model: the model the space was made from.
        space: its ``WidthSpace``.
        example_input: (B, C, H, W); the image size the MACs are counted at (per image).
    """

    def __init__(self, model, space, example_input):
        from .graph import Run, layer_ops

        self.space = space
        one = (Run(None, 1),)
        groups = len(space.graph.groups)
        self._ops = layer_ops(model, space.graph, example_input)
        self._macs = _Quadratic([(op.coefficient, op.out, op.inner) for op in self._ops], groups)
        terms = []
        for name, p in model.named_parameters():
            axes = space.graph.axes.get(name) or tuple((Run(None, n),) for n in p.shape)
            free = [a for a in axes if any(r.group is not None for r in a)]
            rest = prod(r.length * r.repeat for a in axes if a not in free for r in a)
            if len(free) > 2:
                raise ValueError(
                    f"parameter '{name}' changes size along {len(free)} axes, not 1 or 2"
                )
            terms.append((rest, *free, *[one] * (2 - len(free))))
        self._params = _Quadratic(terms, groups)
        self.latencies = None  # a LatencyTable, once with_latency has given one

    def with_latency(self, table) -> "CostTable":
        """The same table with ``latency`` as well.

        Args:
            table: ``LatencyTable`` measured for this space (see ``latency.measure_latency``).
        Raises:
            ValueError: if it was measured for other groups; names the first that differs.
        """
        table.fits(self.space)
        out = copy.copy(self)
        out.latencies = table
        return out

    def _evaluate(self, form, C):
        return self._at(form, self.space.channels(C))

    def _at(self, form, channels):
        channels = self.space.all_channels(channels)  # (…, G)
        value = form(np.atleast_2d(channels))
        return value[0].item() if channels.ndim == 1 else value

    def macs(self, C):
        """Multiply-accumulates per image: (n, L) widths -> (n,) int64; one vector (L,) -> int."""
        return self._evaluate(self._macs, C)

    def params(self, C):
        """Parameters: (n, L) widths -> (n,) int64; one vector (L,) -> int."""
        return self._evaluate(self._params, C)

    def macs_of(self, channels):
        """MACs of any channel counts of the searched groups, also above the model's own.

        Args:
            channels: (n, L) integers -> (n,) int64; one vector (L,) -> int.
        """
        return self._at(self._macs, channels)

    def params_of(self, channels):
        """Parameters of any channel counts, as ``macs_of``."""
        return self._at(self._params, channels)

    def latency(self, C):
        """Milliseconds a batch, predicted: (n, L) widths -> (n,) float64; one vector -> float.

        Raises:
            ValueError: if no latency was measured; says how to.
        """
        if self.latencies is None:
            raise ValueError(
                "this cost table holds no latencies: measure them on the machine that will run the "
                "network, table = bcnet_lib.latency.measure_latency(model, space), and search with "
                "cost=cost.with_latency(table)"
            )
        return self._evaluate(self.latencies, C)

    def layers(self, c) -> dict:
        """MACs of every weighted layer, in forward order.

        Args:
            c: (L,) widths, or (n, L).
        Returns:
            layer name -> int; or (n,) int64 array where there are n.
        """
        n = self.space.all_channels(self.space.channels(c))  # (…, G)
        size = self.space.graph.size
        out: dict = {}
        for op in self._ops:
            macs = op.coefficient * size(op.out, n) * size(op.inner, n)
            out[op.layer] = out.get(op.layer, 0) + (int(macs) if n.ndim == 1 else macs)
        return out

    def pairwise(self) -> Pairwise:
        """MACs split into single groups and pairs of groups, exactly (used by Eq. 15).

        Layers with the same group at both ends, and squeeze layers, which follow a group, count in
        that group's own table: their expectation needs E[w^2], not E[w]^2.
        """
        space = self.space
        widths = [np.arange(b, space.K + 1) for b in space.base]
        place = {g.name: i for i, g in enumerate(space.groups)}
        # per group of the graph: index of the searched group, channels of each of its widths
        leader, size = [], []
        for k, g in enumerate(space.graph.groups):
            i = place[g.follows or g.name]
            grid = np.tile(space.full, (len(widths[i]), 1))
            grid[:, i] = widths[i]
            leader.append(i)
            size.append(space.all_channels(space.channels(grid))[:, k])
        constant, unary = 0, [np.zeros(len(w), dtype=np.int64) for w in widths]
        pairs: dict[tuple[int, int], np.ndarray] = {}
        for op in self._ops:
            for a in op.out:
                for b in op.inner:
                    k = op.coefficient * a.repeat * b.repeat
                    if a.group is None and b.group is None:
                        constant += k * a.length * b.length
                    elif a.group is None or b.group is None:
                        run, other = (b, a) if a.group is None else (a, b)
                        unary[leader[run.group]] += k * other.length * size[run.group]
                    elif leader[a.group] == leader[b.group]:
                        unary[leader[a.group]] += k * size[a.group] * size[b.group]
                    else:
                        (i, x), (j, y) = sorted([(leader[r.group], r.group) for r in (a, b)])
                        table = k * np.outer(size[x], size[y])
                        pairs[i, j] = pairs.get((i, j), 0) + table
        return Pairwise(constant=constant, unary=tuple(unary), pairs=pairs)
