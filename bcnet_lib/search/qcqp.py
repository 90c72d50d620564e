r"""The problem of prior sampling (Eqs. 14, 15): expected error under an expected-cost constraint.

Source: Su et al., arXiv 2203.13714, section 4.3. With one distribution :math:`P_i` a group,

.. math::
    \min_P \sum_i E_i^\top P_i \quad\text{so that}\quad
    f_0 + \sum_i u_i^\top P_i + \sum_{i<j} P_i^\top T_{ij} P_j \le F_b

where the tables u and T are the cost of single groups and of pairs that share a layer. The products
of two unknown distributions make it non-convex; with all but one of two coupled groups held fixed
it is a linear program, which is what ``prior`` builds on.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["QCQP", "lower_envelope"]


@dataclass(frozen=True, kw_only=True, eq=False)
class QCQP:
    """An instance, its cost in shares of the budget: the constraint reads ``cost(P) <= 1``."""

    errors: tuple[np.ndarray, ...]
    """L arrays (K_i,): E of every candidate of every group."""
    unary: tuple[np.ndarray, ...]
    """L arrays (K_i,): cost of a group alone."""
    pairs: dict[tuple[int, int], np.ndarray]
    """i < j -> (K_i, K_j): cost of the layers that couple two groups."""
    constant: float = 0.0
    """Cost that no width changes."""

    @classmethod
    def from_cost(cls, errors, cost, budget: float) -> "QCQP":
        """The instance of a model's real coupling graph.

        Args:
            errors: L arrays, one entry a candidate of ``cost.space`` (see ``prior.fit_prior``).
            cost: ``CostTable``. budget: MACs.
        """
        space, table = cost.space, cost.pairwise()
        keep = [c - b for c, b in zip(space.candidates, space.base, strict=True)]
        unary = (u[k] / budget for u, k in zip(table.unary, keep, strict=True))
        pairs = {(i, j): t[np.ix_(keep[i], keep[j])] / budget for (i, j), t in table.pairs.items()}
        return cls(
            errors=tuple(np.asarray(e, dtype=float) for e in errors),
            unary=tuple(unary),
            pairs=pairs,
            constant=table.constant / budget,
        )

    @property
    def L(self) -> int:
        return len(self.errors)

    @cached_property
    def neighbours(self) -> list[dict[int, np.ndarray]]:
        """Of every group i: coupled group j -> table (K_i, K_j)."""
        out: list[dict[int, np.ndarray]] = [{} for _ in self.errors]
        for (i, j), table in self.pairs.items():
            out[i][j], out[j][i] = table, table.T
        return out

    def value(self, P) -> float:
        """Eq. 14: expected error, summed over the groups."""
        return float(sum(e @ p for e, p in zip(self.errors, P, strict=True)))

    def cost(self, P) -> float:
        """Eq. 15: expected cost, in shares of the budget."""
        alone = sum(u @ p for u, p in zip(self.unary, P, strict=True))
        return float(
            self.constant + alone + sum(P[i] @ t @ P[j] for (i, j), t in self.pairs.items())
        )

    def slope(self, P, i: int) -> np.ndarray:
        """(K_i,) the cost's derivative in P_i, others fixed: the cost is linear in each P_i."""
        return self.unary[i] + sum(t @ P[j] for j, t in self.neighbours[i].items())

    def point(self, k) -> list[np.ndarray]:
        """All mass on one network, given by its candidate positions (L,)."""
        return [np.eye(len(e))[n] for e, n in zip(self.errors, k, strict=True)]

    @cached_property
    def blocks(self) -> list[list[int]]:
        """Groups in classes without a coupling inside, by greedy colouring, most coupled first.

        The cost is linear in all distributions of a class together.
        """
        colour: dict[int, int] = {}
        for i in sorted(range(self.L), key=lambda i: (-len(self.neighbours[i]), i)):
            taken = {colour[j] for j in self.neighbours[i] if j in colour}
            colour[i] = next(k for k in range(self.L) if k not in taken)
        return [
            [i for i in sorted(colour) if colour[i] == k] for k in range(max(colour.values()) + 1)
        ]


def lower_envelope(x, y) -> list[int]:
    """Corners of the largest convex function below the points (x, y): positions, x ascending.

    The least expected error at a mean number of channels is this function of that mean.
    """
    corners: list[int] = []
    for k in np.argsort(x, kind="stable"):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[k] - x[a]) < (y[k] - y[a]) * (x[b] - x[a]):
                break  # b lies below the line from a to k
            corners.pop()
        corners.append(int(k))
    return corners
