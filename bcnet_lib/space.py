"""The search space: channel groups of a network times candidate widths.

A width vector ``c = (c_1, …, c_L)`` counts *units*: ``c_i`` in ``base_i … K``, one entry a group.
A unit of group i is ``l_i / K`` channels; where K does not divide ``l_i``, width c has
``ceil(c l_i / K)`` channels, as in the authors' released configurations.

Source: Su et al., arXiv 2203.13714, sections 3 and 5.1. No torch here but for building networks.
"""

from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm, prod

import numpy as np

from .principles import WidthError

__all__ = ["WidthSpace"]


@dataclass(frozen=True, kw_only=True, eq=False)
class WidthSpace:
    """Groups of a model x widths ``base .. K``. Make it with ``WidthSpace.from_model``.

    Attributes:
        groups: the searched groups in forward order; ``.name`` (first producing layer), ``.width``
            (channels l_i in the model), ``.layers``, ``.multiple``.
        K: units of the full width, the same in every group.
        base: int64 array (L,), smallest width of each group, in units.
        graph: where the groups stand in the parameters (``graph.ChannelGraph``); also holds
            squeeze layers, which follow the group they gate and are not searched.
    """

    K: int
    base: np.ndarray
    graph: object

    @classmethod
    def from_model(cls, model, example_input, K=20, base=1, *, fixed=(), strict=False, exact=False):
        """Find the groups of any CNN by one forward pass on the meta device.

        Args:
            model: an ``nn.Module`` whose forward takes one image batch.
            example_input: (B, C, H, W) tensor; only its shape matters.
            K: number of units of the full width.
            base: smallest width l_s in units, 1..K; one number, or one a group.
            fixed: names (or prefixes) of layers whose width must not change.
            strict: raise if an operation without a rule keeps some group from being searched.
            exact: raise if K does not divide some group (complements then tile only up to one
                channel).
        Raises:
            GraphError: the model cannot be traced or has nothing to search.
            WidthError: K or base is no number of units, or ``exact`` and K does not divide.
        """
        from .graph import discover

        if not _is_int(K) or K < 1:
            raise WidthError(f"K must be a positive integer number of units, got {K!r}")
        graph = discover(model, example_input, fixed=fixed, strict=strict)
        groups = [g for g in graph.groups if g.follows is None]
        bases = [base] * len(groups) if np.ndim(base) == 0 else list(base)
        if len(bases) != len(groups):
            raise WidthError(f"base has {len(bases)} entries, the model has {len(groups)} groups")
        for b, g in zip(bases, groups, strict=True):
            if not _is_int(b) or not 1 <= b <= K:
                raise WidthError(f"base {b!r} for group '{g.name}' is not an integer in 1..{K}")
        if exact and (odd := [g for g in groups if (g.width // g.multiple) % K]):
            common = gcd(*(g.width // g.multiple for g in groups))
            names = ", ".join(f"'{g.name}' ({g.width})" for g in odd[:5])
            raise WidthError(
                f"K={K} does not divide the channels of {len(odd)} of {len(groups)} groups: "
                f"{names}. K must divide {common} to divide them all; or leave exact=False"
            )
        return cls(K=int(K), base=np.array(bases, dtype=np.int64), graph=graph)

    @cached_property
    def groups(self) -> tuple:
        return tuple(g for g in self.graph.groups if g.follows is None)

    @cached_property
    def candidates(self) -> tuple[np.ndarray, ...]:
        """The distinct widths of every group, in units, ascending.

        Where a group has fewer channels than K units, several widths have the same channel count;
        the largest of them stands for all. Every entry ends with K.
        """
        out = []
        for i, group in enumerate(self.groups):
            c = np.arange(self.base[i], self.K + 1)
            n = _channels(c, group, self.K)
            out.append(c[np.append(n[1:] != n[:-1], True)])
        return tuple(out)

    @property
    def L(self) -> int:
        return len(self.groups)

    @property
    def full(self) -> np.ndarray:
        """The widest vector, int64 (L,)."""
        return np.full(self.L, self.K, dtype=np.int64)

    @property
    def narrowest(self) -> np.ndarray:
        """The narrowest vector, int64 (L,)."""
        return np.array([c[0] for c in self.candidates], dtype=np.int64)

    @property
    def size(self) -> int:
        """Number of width vectors, the product of ``K - base_i + 1``, as the paper counts."""
        return prod(self.K - int(b) + 1 for b in self.base)

    @property
    def networks(self) -> int:
        """Number of *different* networks: fewer than ``size`` where K exceeds a group's blocks."""
        return prod(len(c) for c in self.candidates)

    def check(self, c) -> np.ndarray:
        """Width vectors as an int64 array, shape (L,) or (n, L).

        Raises:
            WidthError: wrong length, not integers, or outside ``base_i … K``; names the group.
        """
        a = np.asarray(c)
        if a.ndim not in (1, 2) or a.shape[-1] != self.L:
            raise WidthError(
                f"a width vector of this space has {self.L} entries ('{self.groups[0].name}' … "
                f"'{self.groups[-1].name}'), got shape {a.shape}"
            )
        if a.dtype.kind not in "iu":
            broken = a[a != np.round(a)] if a.dtype.kind == "f" else a
            what = (
                f"got {broken.flat[0]!r}" if broken.size else "got whole floats: use .astype(int)"
            )
            raise WidthError(f"widths are integer numbers of units, {what}")
        bad = np.argwhere((a < self.base) | (a > self.K))
        if len(bad):
            i = int(bad[0][-1])
            g = self.groups[i]
            raise WidthError(
                f"width {a[tuple(bad[0])]} for group '{g.name}' is outside {self.base[i]}.."
                f"{self.K} (units of {g.width / self.K:.4g} channels; the layer has {g.width})"
            )
        return a.astype(np.int64)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n independent widths, uniform over the candidates of every group; int64 (n, L)."""
        return np.stack([rng.choice(c, size=n) for c in self.candidates], axis=1)

    def complement(self, c, principle) -> np.ndarray:
        """The complement of every group's width; int64, same shape as c.

        Where a principle has none (BC at c = K leaves nothing free), the nearest width there is:
        total - c is clipped to ``base_i … K``. ``principle.complement`` tells the two cases apart.
        """
        c = self.check(c)
        total = np.array([principle.total(self.K, int(b)) for b in self.base])
        return np.clip(total - c, self.base, self.K)

    def channels(self, c) -> np.ndarray:
        """Channel counts of width vectors: ``ceil(c l / K)``, in whole blocks; (L,) or (n, L)."""
        c = self.check(c)
        columns = [_channels(c[..., i], g, self.K) for i, g in enumerate(self.groups)]
        return np.stack(columns, axis=-1)

    def rounded(self, channels, multiple: int = 8) -> np.ndarray:
        """The nearest channel counts that are multiples of a number hardware likes; (L,) or (n, L).

        At least one multiple is kept, and halves go up, so that a count may exceed the model's own
        by less than one multiple. Groups in blocks stay in whole blocks.

        Raises:
            WidthError: if ``multiple`` is below 1, or no integer.
        """
        if not _is_int(multiple) or multiple < 1:
            raise WidthError(f"multiple={multiple!r} must be a positive integer")
        channels = np.asarray(channels)
        step = np.array([lcm(multiple, g.multiple) for g in self.groups])
        return np.maximum((2 * channels + step) // (2 * step), 1) * step

    def all_channels(self, channels) -> np.ndarray:
        """Counts of every group of the graph from those of the searched ones; (…, L) -> (…, G).

        A squeeze layer keeps its ratio to the group it gates: ``ceil(squeeze * n / gated)``.
        """
        channels = np.asarray(channels)
        place = {g.name: i for i, g in enumerate(self.groups)}
        width = {g.name: g.width for g in self.graph.groups}
        columns = []
        for g in self.graph.groups:
            leader = g.name if g.follows is None else g.follows
            n = channels[..., place[leader]]
            columns.append(n if g.follows is None else -(-g.width * n // width[leader]))
        return np.stack(columns, axis=-1)

    def total_channels(self, principle) -> np.ndarray:
        """Channels of the supernet's layers under a principle, int64 (L,)."""
        units = [principle.total(self.K, int(b)) for b in self.base]
        pairs = zip(units, self.groups, strict=True)
        return np.array([_channels(np.int64(t), g, self.K) for t, g in pairs])

    def build(self, model, c=None, *, channels=None, seed=None):
        """A fresh plain network with these widths, newly initialised (see ``resize.initialise``).

        Args:
            model: the model the space was made from (its weights are not used).
            c: width vector (L,), in units; or
            channels: channel counts (L,), any positive multiples of ``group.multiple``.
            seed: for the initial weights; the global generator if None.
        Returns:
            ``nn.Module`` of the model's class, in training mode, on the model's device.
        Raises:
            WidthError: not exactly one of c and channels, or not valid in this space.
        """
        import torch

        from .resize import initialise, resize

        if (c is None) == (channels is None):
            raise WidthError("build needs either c (units) or channels, and not both")
        counts = self.channels(c) if channels is None else self._check_channels(channels)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        plain = resize(model, self.graph, self.all_channels(counts))
        return initialise(plain, model, generator).train()

    def _check_channels(self, channels) -> np.ndarray:
        a = np.asarray(channels)
        if a.shape != (self.L,) or a.dtype.kind not in "iu":
            raise WidthError(f"channels must be {self.L} integers, one a group, got {channels!r}")
        for n, g in zip(a, self.groups, strict=True):
            if n < 1 or n % g.multiple:
                raise WidthError(
                    f"{n} channels for group '{g.name}': not a positive multiple of {g.multiple}"
                )
        return a.astype(np.int64)

    def __repr__(self) -> str:
        low, high = int(self.base.min()), int(self.base.max())
        base = f"{low}" if low == high else f"{low}..{high}"
        return f"WidthSpace({self.L} groups, K={self.K}, base={base}, {self.networks:.3g} networks)"


def _is_int(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _channels(c, group, K):
    """ceil(c n / K) blocks of a group with n blocks, in channels."""
    blocks = group.width // group.multiple
    return -(-c * blocks // K) * group.multiple
