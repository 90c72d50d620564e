"""How far a latency table is from networks timed as a whole.

Layers are timed alone, again and again on the same tensors. In a network they share the caches, and
something runs between them. So the sum is often an underestimate; a line through a few whole
networks may repair that, and the check says how much is left.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import theilslopes

from .cost import CostTable
from .latency import LatencyTable, running, stopwatch
from .progress import bar as progress_bar

__all__ = ["LatencyCheck", "check_latency"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LatencyCheck:
    """Predicted and measured milliseconds of whole networks."""

    latencies: LatencyTable
    """The table that was checked."""
    table: pd.DataFrame
    """A row a network: c1 … cL, macs, predicted, measured."""

    @property
    def fitted(self) -> LatencyTable:
        """The table with overhead and scale from a robust line through every other network."""
        slope, start = self._line("predicted")
        old = self.latencies
        overhead = float(start + slope * old.overhead)
        return replace(old, overhead=overhead, scale=float(slope * old.scale))

    def _line(self, column: str) -> tuple[float, float]:
        """Theil and Sen's slope and intercept, which a few disturbed timings do not move."""
        fit = self.table[::2]
        return theilslopes(fit.measured, fit[column])[:2]

    @property
    def errors(self) -> pd.DataFrame:
        """Relative errors on the networks that nothing was fitted to (every other one).

        Rows: the sum of layers as it is; plus a fitted constant; on a fitted line; and, to compare
        with, a fitted line through the MACs alone. Columns: median and 90 % quantile of
        ``|predicted / measured - 1|``, Spearman's rank correlation with the measured times, number
        of networks.
        """
        fit, rest = self.table[::2], self.table[1::2]
        (b, a), (d, c) = self._line("predicted"), self._line("macs")
        guesses = {
            "sum of layers": rest.predicted,
            "sum + constant": rest.predicted + (fit.measured - fit.predicted).median(),
            "line through sums": a + b * rest.predicted,
            "line through MACs": c + d * rest.macs,
        }
        rows = {}
        for name, guess in guesses.items():
            error = (guess / rest.measured - 1).abs()
            rank = guess.corr(rest.measured, method="spearman")
            rows[name] = [error.median(), error.quantile(0.9), rank, len(rest)]
        columns = ["median", "90 %", "spearman", "networks"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def check_latency(
    model, space, table: LatencyTable, *, n: int = 20, seed: int = 0, timer=None, progress=True
) -> LatencyCheck:
    """Build networks at random widths, time them as a whole, and compare with the table.

    Args:
        model, space: as for ``measure_latency``. table: what it returned.
        n: networks, at least 4; the narrowest and the widest are the first two.
        seed: decides which. timer, progress: as in ``measure_latency``; as many rounds.
    Raises:
        ValueError: if n is below 4, or the table is of another space.
    """
    if n < 4:
        raise ValueError(f"check_latency needs n >= 4 networks, got {n}")
    table.fits(space)
    device = torch.device(table.device)
    timer = timer or stopwatch(device)
    rng = np.random.default_rng(seed)
    ends = np.stack([space.narrowest, space.full])
    C = rng.permutation(np.concatenate([ends, space.sample(rng, n - 2)]))  # (n, L)
    networks = [space.build(model, c, seed=seed).to(device).eval() for c in C]
    images = torch.ones((table.batch, *table.shape), device=device)
    measured = np.full(n, np.inf)
    with running(table.threads):
        for _ in progress_bar(range(table.repeats), desc="latency check", show=progress):
            measured = np.minimum(measured, [timer(net, images) for net in networks])
    cost = CostTable(model, space, images[:1]).with_latency(table)
    out = pd.DataFrame(C, columns=[f"c{i + 1}" for i in range(space.L)])
    out = out.assign(macs=cost.macs(C), predicted=cost.latency(C), measured=measured)
    return LatencyCheck(latencies=table, table=out)
