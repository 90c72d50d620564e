"""Improving distributions of prior sampling (Eqs. 14, 15) a few groups at a time.

Blocks of groups that share no layer make a linear program, solved by cvxpy (HiGHS; with an entropy
term a conic program, Clarabel). Two groups that do share a layer are improved together by exact
steps, which get out of the corners where blocks one after another are stuck.
"""

import cvxpy as cp
import numpy as np

from .bounds import distribution
from .qcqp import QCQP

__all__ = ["Alternation", "best_pairs", "entropy", "two_widths"]


def entropy(P) -> float:
    """Entropy of independent distributions, in nats."""
    return -sum(float(p[p > 0] @ np.log(p[p > 0])) for p in P)


class Alternation:
    """Improves distributions block by block; the objective never rises."""

    def __init__(self, problem: QCQP, temperature: float):
        self.problem, self.temperature = problem, temperature
        self.programs = [_Program(problem, block, temperature) for block in problem.blocks]

    def objective(self, P) -> float:
        return self.problem.value(P) - self.temperature * entropy(P)

    def run(self, P, tolerance: float = 1e-7) -> list[np.ndarray]:
        while True:
            before = self.objective(P)
            for program in self.programs:
                Q = program.solve(P)
                if self.objective(Q) <= self.objective(P) and self.problem.cost(Q) <= 1 + 1e-8:
                    P = Q  # a solver's rounding must not undo what was reached
            if self.objective(P) < before - tolerance:
                continue
            if self.temperature == 0:
                P = best_pairs(self.problem, P)
            if self.objective(P) >= before - tolerance:
                return P


class _Program:
    """The convex program over one block of groups, all others fixed; compiled once by cvxpy."""

    def __init__(self, problem: QCQP, block: list[int], temperature: float):
        self.problem, self.block = problem, block
        sizes = [len(problem.errors[i]) for i in block]
        self.cuts = np.cumsum(sizes)[:-1]
        p = self.p = cp.Variable(sum(sizes), nonneg=True)
        self.slope, self.room = cp.Parameter(sum(sizes)), cp.Parameter()
        one = np.zeros((len(block), sum(sizes)))
        for row, part in zip(one, np.split(np.arange(sum(sizes)), self.cuts), strict=True):
            row[part] = 1
        value = np.concatenate([problem.errors[i] for i in block]) @ p
        if temperature > 0:
            value = value - temperature * cp.sum(cp.entr(p))
        self.program = cp.Problem(cp.Minimize(value), [one @ p == 1, self.slope @ p <= self.room])
        self.options = {"solver": cp.CLARABEL}
        if temperature == 0:
            self.options = {"solver": cp.HIGHS, "primal_feasibility_tolerance": 1e-10}

    def solve(self, P) -> list[np.ndarray]:
        slopes = [self.problem.slope(P, i) for i in self.block]
        used = sum(s @ P[i] for s, i in zip(slopes, self.block, strict=True))
        self.slope.value = np.concatenate(slopes)
        self.room.value = 1 - (self.problem.cost(P) - used)
        try:
            self.program.solve(**self.options)
        except cp.SolverError:
            return P  # the point at hand is within the budget, and stays
        if self.p.value is None:
            return P
        out = list(P)
        for i, p in zip(self.block, np.split(self.p.value, self.cuts), strict=True):
            out[i] = distribution(p)
        return out


def best_pairs(problem: QCQP, P, tolerance: float = 1e-9) -> list[np.ndarray]:
    """One round of exact steps on two groups at a time.

    With all others fixed, an optimum over groups i and j has one of the two on a single width: so
    every width of j is tried, and for each the linear program in P_i, whose optimum mixes at most
    two widths, is solved by comparing all pairs of widths.
    """
    P = list(P)
    cost, slopes = problem.cost(P), [problem.slope(P, n) for n in range(problem.L)]
    for i in range(problem.L):
        for j in range(problem.L):
            if i == j:
                continue
            table = problem.neighbours[i].get(j, np.zeros((len(P[i]), len(P[j]))))
            alone = slopes[i] - table @ P[j]  # (K_i,)
            other = slopes[j] - P[i] @ table  # (K_j,)
            rest = cost - alone @ P[i] - other @ P[j] - P[i] @ table @ P[j]
            slope, room = alone[:, None] + table, 1 - rest - other  # (K_i, K_j), (K_j,)
            value, x, y, t = two_widths(problem.errors[i], slope, room)  # (K_j,) each
            total = value + problem.errors[j]
            k = int(total.argmin())
            if total[k] < problem.errors[i] @ P[i] + problem.errors[j] @ P[j] - tolerance:
                P[i], P[j] = np.zeros(len(P[i])), np.eye(len(P[j]))[k]
                P[i][x[k]] += 1 - t[k]
                P[i][y[k]] += t[k]
                cost, slopes = problem.cost(P), [problem.slope(P, n) for n in range(problem.L)]
    return P


def two_widths(error, slope, room):
    """Least ``error @ p`` with ``slope[:, k] @ p <= room[k]``, for every k, p a distribution.

    Args:
        error: (K,). slope: (K, n). room: (n,).
    Returns:
        value (n,), inf where nothing fits; x, y, t (n,): probability 1 - t on x and t on y.
    """
    n = np.arange(len(room))
    fits = slope <= room  # (K, n)
    alone = np.where(fits, error[:, None], np.inf)
    x = alone.argmin(axis=0)
    value = alone[x, n]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (room - slope[:, None]) / (slope[None] - slope[:, None])  # (K, K, n)
        mixed = (1 - t) * error[:, None, None] + t * error[None, :, None]
    mixed = np.where(fits[:, None] & ~fits[None], mixed, np.inf).reshape(-1, len(room))
    best = mixed.argmin(axis=0)
    better = mixed[best, n] < value
    x2, y2 = np.divmod(best, len(error))
    t = t.reshape(-1, len(room))[best, n]
    return (
        np.where(better, mixed[best, n], value),
        np.where(better, x2, x),
        np.where(better, y2, x),
        np.where(better, t, 0.0),
    )
