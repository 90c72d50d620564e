"""Exhaustive width benchmarks: every network of a space trained from scratch, several times.

``mobilenet`` and ``resnet`` are Channel-Bench-Macro (Su et al., arXiv 2203.13714, section 6), on
CIFAR-10; ``digits`` is our own, on 8x8 digits, and needs no download. Accuracies are in percent.
What the released files call flops are MACs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from . import bench_files, ranking
from .bench_files import BenchError
from .cifar10 import DataError
from .cost import CostTable
from .models import macro_mobilenet, macro_resnet
from .principles import WidthError
from .space import WidthSpace

__all__ = ["BenchError", "ChannelBench"]

NAMES = ("mobilenet", "resnet", "digits")
MAKERS = {"mobilenet": macro_mobilenet, "resnet": macro_resnet}
MAXIMA = {  # Tables 2 and 3
    "mobilenet": (128, 768, 768, 768, 256, 1536, 1024),
    "resnet": (256, 256, 256, 512, 512, 512, 512),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelBench:
    """All networks of a space of L groups with K widths each, and what training them gave.

    Make it with ``ChannelBench.load``. Rows are in lexicographic order of (c1, …, cL), in every
    array and in ``table``; the arrays cannot be written to.
    """

    name: str
    """``mobilenet``, ``resnet`` or ``digits``."""
    C: np.ndarray = field(repr=False)
    """(n, L) int64 widths in units, 1..K."""
    accuracies: np.ndarray = field(repr=False)
    """(n, runs) float64, percent."""
    mean: np.ndarray = field(repr=False)
    """(n,) float64, mean of the runs; as released where it was."""
    std: np.ndarray = field(repr=False)
    """(n,) float64, sample standard deviation of the runs; as released where it was."""
    macs: np.ndarray = field(repr=False)
    """(n,) int64 multiply-accumulates an image."""
    params: np.ndarray = field(repr=False)
    """(n,) int64."""
    provenance: dict = field(repr=False)
    """Where the numbers come from."""
    maxima: tuple[int, ...]
    """(L,) channels of each group at its largest width."""
    image: tuple[int, int, int]
    """(C, H, W) of the images the networks take."""
    maker: Callable = field(repr=False)
    """Channels (L,) -> a fresh network."""

    def __post_init__(self):
        for name in ("C", "accuracies", "mean", "std", "macs", "params"):
            getattr(self, name).setflags(write=False)

    @classmethod
    def load(cls, name: str, root=None, *, download: bool = False) -> "ChannelBench":
        """Read a benchmark: from ``root`` or ``$BCNET_DATA``, else ``~/.cache/bcnet``.

        Args:
            name: ``mobilenet`` or ``resnet`` (released files, known by their SHA-256), or
                ``digits`` (comes with the library).
            root: the only folder to look in; it holds ``channel_bench_macro/``.
            download: fetch the released file (3 MB) where it is missing or damaged.
        Raises:
            BenchError: for an unknown name; a file that is missing, damaged or another one; no
                network. Says what to do.
        """
        if name not in NAMES:
            known = ", ".join(f"'{n}'" for n in NAMES)
            raise BenchError(f"unknown benchmark {name!r}: known are {known}")
        if name == "digits":
            return cls._digits()
        path = bench_files.locate(name, root, download)
        released = bench_files.read(path, bench_files.FILES[name][1])
        return cls(
            name=name,
            **vars(released),
            provenance={"file": path.name, "sha256": bench_files.FILES[name][1]},
            maxima=MAXIMA[name],
            image=(3, 32, 32),
            maker=MAKERS[name],
        )

    @classmethod
    def _digits(cls) -> "ChannelBench":
        from .digits_bench import read
        from .models import digits_cnn

        try:
            table = read()
        except DataError as error:
            raise BenchError(str(error)) from error
        cost = table.setting.cost()
        return cls(
            name="digits",
            C=table.C,
            accuracies=table.accuracies,
            mean=table.accuracies.mean(axis=1),
            std=table.accuracies.std(axis=1, ddof=1),
            macs=cost.macs(table.C),
            params=cost.params(table.C),
            provenance=table.provenance,
            maxima=table.setting.channels,
            image=(1, 8, 8),
            maker=digits_cnn,
        )

    def __len__(self) -> int:
        return len(self.C)

    def __repr__(self) -> str:
        return (
            f"ChannelBench({self.name}: {len(self):,} networks, {self.L} groups x {self.K} widths, "
            f"{self.accuracies.shape[1]} runs each, {self.mean.min():.2f} to "
            f"{self.mean.max():.2f} %)"
        )

    @property
    def L(self) -> int:
        """Number of groups."""
        return self.C.shape[1]

    @property
    def K(self) -> int:
        """Number of widths of each group; the smallest is 1 unit."""
        return int(self.C[-1, 0])

    @property
    def table(self) -> pd.DataFrame:
        """One row a network: c1 … cL, acc0 …, mean, std (percent), macs, params; a new copy."""
        columns = {f"c{i + 1}": c for i, c in enumerate(self.C.T)}
        columns |= {f"acc{r}": a for r, a in enumerate(self.accuracies.T)}
        columns |= {n: getattr(self, n) for n in ("mean", "std", "macs", "params")}
        return pd.DataFrame(columns)

    @cached_property
    def space(self) -> WidthSpace:
        """Of the widest network; its groups are c1 … cL in this order, each of K units."""
        return WidthSpace.from_model(self.network(), self._example, K=self.K)

    @cached_property
    def cost(self) -> CostTable:
        """Of the space, counted layer by layer, not read from the benchmark."""
        return CostTable(self.network(), self.space, self._example)

    @property
    def _example(self) -> torch.Tensor:
        return torch.empty(1, *self.image)

    def network(self, c=None):
        """A fresh network of the benchmark, with torch's default initial weights.

        Args:
            c: (L,) widths in units, or ``"4432214"``; None: the widest.
        """
        c = np.full(self.L, self.K) if c is None else self.check(c)  # (L,)
        if c.ndim != 1:
            raise WidthError(f"one width vector makes a network, got shape {c.shape}")
        return self.maker(tuple(int(k) * m // self.K for k, m in zip(c, self.maxima, strict=True)))

    def check(self, C) -> np.ndarray:
        """Widths as int64, (L,) or (n, L); they may be written ``"4432214"``, one or a list.

        Raises:
            WidthError: wrong length, not integers, or outside 1..K; names the group.
            BenchError: for a string that is no network.
        """
        a = np.asarray(C)
        if a.dtype.kind == "U" and a.ndim < 2:
            a = self.C[self._rows(a.ravel().tolist())].reshape(*a.shape, self.L)
        if a.ndim not in (1, 2) or a.shape[-1] != self.L:
            raise WidthError(
                f"a network of '{self.name}' has {self.L} widths (c1 … c{self.L}), got shape "
                f"{a.shape}"
            )
        if a.dtype.kind not in "iu":
            raise WidthError(f"widths are integer numbers of units, got {a.dtype}: {a.flat[0]!r}")
        if (outside := (a < 1) | (a > self.K)).any():
            at = tuple(np.argwhere(outside)[0])
            raise WidthError(
                f"width {a[at]} of c{at[-1] + 1} is outside 1..{self.K} in benchmark '{self.name}'"
            )
        return a.astype(np.int64)

    def index(self, C):
        """Row numbers of networks: (n, L) widths -> (n,) int64; one vector -> int.

        Raises:
            WidthError: see ``check``.
        """
        a = self.check(C)
        rows = (a - 1) @ (self.K ** np.arange(self.L)[::-1])
        return int(rows) if a.ndim == 1 else rows

    def accuracy(self, C):
        """Mean accuracies in percent: (n, L) widths -> (n,) float64; one vector -> float."""
        accuracy = self.mean[self.index(C)]
        return float(accuracy) if np.ndim(accuracy) == 0 else accuracy

    def verify(self) -> "ChannelBench":
        """Compare MACs and parameters of every row with those of the network itself.

        Raises:
            BenchError: naming the first network that differs.
        """
        for what, ours in (("macs", self.cost.macs), ("params", self.cost.params)):
            stated, counted = getattr(self, what), ours(self.C)
            if (wrong := stated != counted).any():
                at = int(np.argmax(wrong))
                raise BenchError(
                    f"network {self._key(at)} of '{self.name}' has {what} {stated[at]:,} in the "
                    f"benchmark and {counted[at]:,} when it is built ({wrong.sum():,} rows differ)"
                )
        return self

    def rank(
        self,
        scores,
        top=(1, 10, 100),
        bootstrap: int = 1000,
        seed: int = 0,
        missing: str = "error",
    ) -> ranking.Ranking:
        """How well scores rank the networks by their mean accuracy.

        Args:
            scores: larger is better. (n,) numbers in the order of the rows, such as a column of
                ``table``; or a mapping or pandas Series from networks, written ``"4432214"``,
                ``4432214`` or ``(4, 4, 3, 2, 2, 1, 4)``, to numbers.
            top: the k of overlap and regret, one or several.
            bootstrap: resamples over networks for the 95 % intervals; 0 for none.
            seed: of the resamples.
            missing: ``error``; or ``drop``: rank only networks with a score (NaN is none).
        Raises:
            BenchError: for scores that are NaN or missing (unless dropped), infinite, constant,
                given twice, of unknown networks or of the wrong number; names the network.
        """
        if missing not in ("error", "drop"):
            raise BenchError(f"missing={missing!r} must be 'error' or 'drop'")
        x = self._scores(scores)  # (n,), NaN where there is none
        if np.isinf(x).any():
            raise BenchError(
                f"the score of network {self._key(np.argmax(np.isinf(x)))} is infinite"
            )
        absent = np.isnan(x)
        if absent.any() and missing == "error":
            raise BenchError(
                f"{absent.sum():,} of {len(self):,} networks have no score or NaN, the first is "
                f"{self._key(np.argmax(absent))}: score them, or rank(..., missing='drop')"
            )
        rows = np.flatnonzero(~absent)
        if len(rows) < 2:
            raise BenchError(
                f"{len(rows)} of {len(self):,} networks have a score: two or more can be ranked"
            )
        try:
            return ranking.rank(x[rows], self, rows, top=top, resamples=bootstrap, seed=seed)
        except ValueError as error:
            raise BenchError(f"these scores cannot be ranked: {error}") from error

    def _scores(self, scores) -> np.ndarray:
        in_order = pd.RangeIndex(len(self))  # of a column of the table
        if isinstance(scores, pd.Series) and scores.index.equals(in_order):
            scores = scores.to_numpy()
        if isinstance(scores, torch.Tensor):
            scores = scores.detach().cpu()
        if not isinstance(scores, (pd.Series, Mapping)):
            x = np.asarray(scores)
            if x.shape != (len(self),) or x.dtype.kind not in "fiu":
                raise BenchError(
                    f"scores must be {len(self):,} numbers, one a row of the table, got shape "
                    f"{x.shape} of {x.dtype}; for some networks only, give a mapping"
                )
            return x.astype(np.float64)
        pairs = list(scores.items())
        x, seen = np.full(len(self), np.nan), np.zeros(len(self), dtype=bool)
        rows = self._rows([key for key, _ in pairs])
        for row, (key, score) in zip(rows, pairs, strict=True):
            if seen[row]:
                raise BenchError(f"network {self._key(row)} has more than one score")
            seen[row] = True
            try:
                x[row] = score
            except (TypeError, ValueError) as error:
                raise BenchError(f"the score of network {key!r} is no number: {score!r}") from error
        return x

    def _rows(self, keys) -> np.ndarray:
        """Row numbers of networks as users write them."""
        C = np.ones((len(keys), self.L), dtype=np.int64)
        for i, key in enumerate(keys):
            try:
                c = key if isinstance(key, (tuple, list, np.ndarray)) else map(int, str(key))
                C[i] = self.check(list(c))
            except (ValueError, TypeError) as error:
                what = error if isinstance(error, WidthError) else "it must be digits"
                raise BenchError(
                    f"{key!r} is no network of '{self.name}' ({what}); write it like "
                    f"{self._key(len(self) - 1)}"
                ) from error
        return self.index(C) if len(keys) else np.zeros(0, dtype=np.int64)

    def _key(self, row) -> str:
        return '"' + "".join(map(str, self.C[row])) + '"'
