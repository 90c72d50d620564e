r"""Lower bounds for prior sampling: what no choice of distributions can go below.

Lagrangian: with a price :math:`\lambda \ge 0` on cost, the least of
:math:`\sum_i E_i^\top P_i + \lambda (\mathrm{cost}(P) - 1)` over all distributions is a bound. That
sum is linear in each P_i, so a single network attains its least value, and dynamic programming over
the coupling graph (variable elimination) finds it, whatever the errors look like:

.. math:: g(\lambda) = \min_c \sum_i E_i(c_i) + \lambda (\mathrm{cost}(c) - 1) \le \text{optimum}

With a temperature the least of expected error minus :math:`\tau` times the entropy is
:math:`-\tau \log \sum_c e^{-(\cdot)/\tau}` (Gibbs), by the same elimination.

McCormick: where elimination would need tables that are too large (dense concatenations), each
product of two mean costs is replaced by its convex envelope over a box, and cvxpy solves the linear
program. It is weaker, but it always fits.
"""

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from .qcqp import QCQP

__all__ = ["Dual", "distribution", "elimination", "gibbs_bound", "lagrangian", "least", "mccormick"]

LARGEST = 2_000_000  # entries of a table that elimination may make (16 MB)
FITS = 1 + 1e-9  # the budget, and the rounding of a cost that is exactly at it


@dataclass(frozen=True, kw_only=True, eq=False)
class Dual:
    """A lower bound and the networks that meet it."""

    bound: float
    price: float
    """The multiplier: error that one whole budget of cost is worth."""
    below: np.ndarray
    """(L,) candidate positions of the cheapest minimiser at that price; its cost is <= 1."""
    above: np.ndarray
    """(L,) of the dearest one; its cost is >= 1 unless the budget is slack."""


def elimination(problem: QCQP) -> tuple[list[int], int]:
    """An order to eliminate groups in (least fill first), and the entries of its largest table."""
    near = [set(n) for n in problem.neighbours]
    left, order, largest = set(range(problem.L)), [], 1

    def fill(i: int) -> tuple[int, int, int]:
        around = sorted(near[i])
        missing = sum(b not in near[a] for n, a in enumerate(around) for b in around[:n])
        return missing, len(around), i

    while left:
        i = min(left, key=fill)
        sizes = [len(problem.errors[j]) for j in (i, *near[i])]
        largest = max(largest, int(np.prod(sizes, dtype=float)))
        for j in near[i]:
            near[j] |= near[i] - {j}
            near[j].discard(i)
        left.discard(i)
        order.append(i)
    return order, largest


def least(problem: QCQP, price: float, order, temperature: float = 0.0):
    """The least of error + price x cost over all networks, by eliminating one group at a time.

    Args:
        order: from ``elimination``.
        temperature: above 0, the soft minimum ``-T log sum exp(-(error + price x cost) / T)``.
    Returns:
        (value, candidate positions (L,) of a minimiser, or None with a temperature).
    """
    sizes = [len(e) for e in problem.errors]
    alone = zip(problem.errors, problem.unary, strict=True)
    factors = [((i,), e + price * u) for i, (e, u) in enumerate(alone)]
    factors += [(ij, price * table) for ij, table in problem.pairs.items()]
    value, decided = price * problem.constant, []
    for i in order:
        mine = [f for f in factors if i in f[0]]
        factors = [f for f in factors if i not in f[0]]
        scope = tuple(sorted({j for s, _ in mine for j in s} - {i}))
        total = np.zeros([sizes[j] for j in (*scope, i)])
        for s, table in mine:  # bring every table to the axes (scope..., i)
            axes = [(*scope, i).index(j) for j in s]
            shape = [1] * total.ndim
            for axis, j in zip(axes, s, strict=True):
                shape[axis] = sizes[j]
            total = total + table.transpose(np.argsort(axes)).reshape(shape)
        if temperature > 0:
            message = -temperature * logsumexp(-total / temperature, axis=-1)
        else:
            decided.append((i, scope, total.argmin(axis=-1)))
            message = total.min(axis=-1)
        if scope:
            factors.append((scope, message))
        else:
            value += float(message)
    if temperature > 0:
        return value, None
    k = np.zeros(problem.L, dtype=np.int64)
    for i, scope, choice in reversed(decided):
        k[i] = choice[tuple(k[list(scope)])]
    return value, k


def lagrangian(problem: QCQP, order) -> Dual:
    """The best Lagrangian bound: the price at which the cheapest and the dearest minimiser meet.

    g is concave and piecewise linear in the price; two of its lines, one of a network below the
    budget and one of a network above, cross at the next price to try, until no line lies below.
    """

    def line(price):
        value, k = least(problem, price, order)
        point = problem.point(k)
        return value - price, problem.value(point), problem.cost(point), k

    g, _, cost, above = line(0.0)
    if cost <= FITS:
        return Dual(bound=g, price=0.0, below=above, above=above)
    high = (problem.value(problem.point(above)), cost, above)
    price = 1.0
    while True:  # a price so high that the minimiser fits; there is one, as the narrowest fits
        g, error, cost, k = line(price)
        if cost <= FITS:
            break
        high, price = (error, cost, k), 4 * price
    low, bound, best = (error, cost, k), g, price
    while True:
        price = (low[0] - high[0]) / (high[1] - low[1])
        g, error, cost, k = line(price)
        if g > bound:
            bound, best = g, price
        crossing = low[0] + price * (low[1] - 1)
        if g >= crossing - 1e-12 * (1 + abs(crossing)) or not low[1] < cost < high[1]:
            return Dual(bound=bound, price=best, below=low[2], above=high[2])
        if cost <= FITS:
            low = (error, cost, k)
        else:
            high = (error, cost, k)


def gibbs_bound(problem: QCQP, order, temperature: float) -> tuple[float, float]:
    """(bound, price) with an entropy term: the best soft Lagrangian bound over prices >= 0."""

    def minus(log_price):
        price = np.exp(log_price)
        return price - least(problem, price, order, temperature)[0]

    found = minimize_scalar(minus, bounds=(-15, 15), method="bounded", options={"xatol": 1e-6})
    free = least(problem, 0.0, order, temperature)[0]
    return max((-float(found.fun), float(np.exp(found.x))), (free, 0.0))


def mccormick(problem: QCQP, temperature: float = 0.0) -> tuple[float, list[np.ndarray]]:
    r"""A bound by linear programming: products of means replaced by their convex envelopes.

    A pair's table is a sum of products :math:`a b^\top`; with :math:`x = a^\top P_i` in
    [x0, x1] and :math:`y = b^\top P_j` in [y0, y1],

    .. math:: x y \ge \max(x_0 y + y_0 x - x_0 y_0,\; x_1 y + y_1 x - x_1 y_1)

    Returns:
        (bound, the relaxed distributions).
    """
    P = [cp.Variable(len(e), nonneg=True) for e in problem.errors]
    cost = problem.constant + sum(u @ p for u, p in zip(problem.unary, P, strict=True))
    rules = [cp.sum(p) == 1 for p in P]
    for (i, j), table in problem.pairs.items():
        for a, b in _products(table):
            x, y, z = a @ P[i], b @ P[j], cp.Variable()
            x0, x1, y0, y1 = a.min(), a.max(), b.min(), b.max()
            rules += [z >= x0 * y + y0 * x - x0 * y0, z >= x1 * y + y1 * x - x1 * y1]
            cost = cost + z
    value = sum(e @ p for e, p in zip(problem.errors, P, strict=True))
    if temperature > 0:
        value = value - temperature * sum(cp.sum(cp.entr(p)) for p in P)
    program = cp.Problem(cp.Minimize(value), [*rules, cost <= 1])
    try:
        program.solve(solver=cp.CLARABEL if temperature > 0 else cp.HIGHS)
    except cp.SolverError:
        if temperature == 0:
            raise
    if program.value is None or not np.isfinite(program.value):
        if temperature == 0:
            raise RuntimeError(f"HiGHS ended the relaxed problem as '{program.status}'")
        bound, relaxed = mccormick(problem)  # an entropy is at most the logarithm of the widths
        return bound - temperature * sum(np.log(len(e)) for e in problem.errors), relaxed
    return float(program.value), [distribution(p.value) for p in P]


def _products(table: np.ndarray):
    """Vectors a, b with ``table = sum a b^T``: one pair for a layer's MACs, channels x channels."""
    u, s, v = np.linalg.svd(table)
    for n in np.flatnonzero(s > 1e-12 * max(s[0], 1e-300)):
        yield s[n] * u[:, n], v[n]


def distribution(p: np.ndarray) -> np.ndarray:
    """A solver's answer without its rounding dust: entries below 1e-9 are 0, the sum is 1."""
    p = np.where(p < 1e-9, 0.0, p)
    return p / p.sum()
