r"""Prior initial population sampling (Eqs. 13-15): where an evolution should start.

Source: Su et al., arXiv 2203.13714, section 4.3. From the training losses of a supernet, every
width of every group gets an expected error (Eq. 13); distributions P over the widths are then
chosen to make the expected error least (Eq. 14) with expected MACs within the budget (Eq. 15).

The solution is certified: ``fit_prior`` returns a value and a lower bound. Distributions come from
alternating linear programs (cvxpy, HiGHS), each over groups that share no layer, so that the value
falls monotonically; and from exact steps on two groups at a time, which get out of the corners
where the alternation is stuck. The bound comes from ``bounds``.
"""

import warnings
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .alternation import Alternation, entropy
from .bounds import FITS, LARGEST, elimination, gibbs_bound, lagrangian, mccormick
from .budget import BudgetError, check_budget
from .qcqp import QCQP
from .whole import whole

__all__ = ["Prior", "fit_prior", "layer_errors"]


def layer_errors(records, m: int = 100, *, space=None, keep: str = "last") -> np.ndarray:
    r"""Expected error of every width of every group, from a supernet's training losses (Eq. 13).

    .. math:: E(i, c) = \frac1m \sum_{j=1}^{m} \mathcal L_\mathrm{train}(c^{(j)}),
              \qquad c^{(j)}_i = c

    the mean over the last m recorded passes whose width of group i is c; over all of them where
    there are fewer than m.

    Args:
        records: ``SupernetTrainer.records`` (widths (n, L), losses (n,)).
        m: passes to average for each entry.
        space: ``WidthSpace``, for K and to count its candidates only; else K is the largest width
            recorded, and widths are counted from the smallest one recorded.
        keep: ``"last"``, as above; ``"lowest"``: as in the released code, the m passes of lowest
            loss are chosen first, out of all, and the means are taken over those.
    Returns:
        float64 (L, K), column c - 1 for width c in units; NaN where a width never occurred.
    Raises:
        ValueError: if records are empty or malformed, m is no positive integer, or keep is unknown.
        WidthError: if a recorded width is none of ``space`` (names the group).
    Warns:
        UserWarning: counts the widths that never occurred. ``fit_prior`` takes their errors from
            the neighbouring widths of the same group (linear interpolation; beyond the smallest and
            largest width that occurred, the error of that one).
    """
    C, losses = np.asarray(records.widths), np.asarray(records.losses, dtype=float)
    whole = isinstance(m, (int, np.integer)) and m >= 1
    if len(losses) == 0 or not whole or keep not in ("last", "lowest"):
        raise ValueError(
            f"layer_errors needs records (got {len(losses)}), an integer m >= 1 (got {m}) and "
            f"keep='last' or 'lowest' (got {keep!r}): train the supernet first, and pass "
            "trainer.records"
        )
    if C.ndim != 2 or len(C) != len(losses) or C.dtype.kind not in "iu" or C.min() < 1:
        raise ValueError(
            f"records need one row of integer widths >= 1 for each of the {len(losses)} losses, "
            f"got shape {C.shape} of {C.dtype}: pass trainer.records"
        )
    if space is not None:
        C = space.check(C)
    if keep == "lowest":
        chosen = np.argsort(losses, kind="stable")[:m]
        C, losses = C[chosen], losses[chosen]
    K = int(C.max()) if space is None else space.K
    E = np.full((C.shape[1], K), np.nan)
    for i, column in enumerate(C.T):
        for c in np.unique(column):
            E[i, c - 1] = losses[column == c][-m:].mean()
    everything = range(int(np.asarray(records.widths).min()), K + 1)
    wanted = [everything] * len(E) if space is None else space.candidates
    missing = [np.isnan(e[np.asarray(w) - 1]).sum() for e, w in zip(E, wanted, strict=True)]
    if sum(missing):
        warnings.warn(
            f"{sum(missing)} of the {sum(map(len, wanted))} widths never occur in the "
            f"{len(losses):,} records used (most in group {int(np.argmax(missing)) + 1} of "
            f"{len(E)}): their errors are NaN, and fit_prior interpolates them from neighbouring "
            "widths; train longer, or make the space with a smaller K",
            stacklevel=2,
        )
    return E


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """Distributions over the widths of every group, with a certificate of how good they are."""

    P: list[np.ndarray]
    """L float64 arrays (K - base_i + 1,): probability of every width from base_i to K. Widths that
    have the channels of a wider one (see ``WidthSpace.candidates``) have probability 0."""
    cost: object
    """``CostTable`` of the model."""
    budget: float
    """MACs."""
    value: float
    """Eq. 14: expected error, summed over groups (nats)."""
    objective: float
    """What was minimised: ``value``, less the temperature times the entropy."""
    bound: float
    """No distributions within the budget have a lower objective."""
    macs: float
    """Eq. 15: expected MACs."""
    temperature: float
    slack: bool
    """Whether the budget binds nothing: the unconstrained optimum is within it."""
    unseen: int
    """Candidate widths whose error had to be interpolated."""

    @property
    def gap(self) -> float:
        """Relative distance of the objective from the bound; 0 is proven optimal."""
        return max(0.0, self.objective - self.bound) / max(abs(self.bound), 1e-12)

    @property
    def undecided(self) -> int:
        """Groups with more than one width of positive probability."""
        return sum(int((p > 0).sum() > 1) for p in self.P)

    @property
    def support(self) -> int:
        """Number of different networks of positive probability."""
        return prod(int((p > 0).sum()) for p in self.P)

    def sample(self, rng, n: int, budget: float | None = None, *, distinct=False) -> np.ndarray:
        """n widths from P, conditional on being within the budget (rejection of all others).

        Conditioning is the only bias: MACs of the samples lie below those of P, whose *mean* is
        the budget.

        Args:
            rng: NumPy generator. n: how many.
            budget: MACs; default the one that P was fitted to.
            distinct: draw without replacement, skipping widths already drawn.
        Returns:
            int64 (n, L), in units.
        Raises:
            BudgetError: if too few (different) widths of P are within the budget.
            ValueError: if n is no number of widths.
        """
        space = self.cost.space
        n = whole("n", n, 0)
        budget = self.budget if budget is None else budget
        check_budget(space, self.cost, budget)
        found: list[np.ndarray] = []
        seen: set[bytes] = set()
        drawn = accepted = 0
        while len(found) < n and drawn < MOST_DRAWS:
            columns = [
                b + rng.choice(len(p), size=1024, p=p)
                for b, p in zip(space.base, self.P, strict=True)
            ]
            C = np.stack(columns, axis=1)  # (1024, L)
            fits = C[self.cost.macs(C) <= budget]
            drawn, accepted = drawn + len(C), accepted + len(fits)
            for c in fits:
                if not distinct or c.tobytes() not in seen:
                    seen.add(c.tobytes())
                    found.append(c)
            if distinct and len(seen) >= self.support:
                break
        if len(found) < n:
            raise BudgetError(
                f"only {len(found)} of {n} widths could be drawn: this prior has {self.support:,} "
                f"different networks ({self.undecided} of {space.L} groups undecided), and "
                f"{accepted:,} of {drawn:,} draws were within the budget. Fit it with a higher "
                f"temperature (now {self.temperature:g}), or ask for fewer"
            )
        return np.array(found[:n], dtype=np.int64).reshape(n, space.L)

    def __repr__(self) -> str:
        soft = f"objective={self.objective:.4f}, " if self.temperature else ""
        slack = "slack budget, " if self.slack else ""
        return (
            f"Prior(value={self.value:.4f}, {soft}bound={self.bound:.4f}, gap={self.gap:.2%}, "
            f"{slack}{self.macs / self.budget:.2%} of the budget, {self.undecided} of "
            f"{len(self.P)} groups undecided)"
        )


MOST_DRAWS = 200_000


def fit_prior(
    errors, cost, budget: float, *, temperature: float = 0.0, starts: int = 4, seed: int = 0
) -> Prior:
    r"""Distributions of least expected error with expected MACs within the budget (Eqs. 14, 15).

    .. math::
        \min_P \sum_i \sum_c P_i(c)\, E(i, c) - \tau \sum_i H(P_i) \quad\text{so that}\quad
        \mathbb E_{c \sim P}\, \mathrm{MACs}(c) \le F_b

    over the model's real coupling graph: a residual group is coupled to many others, and layers
    with the same group at both ends count with E[c^2]. The paper's problem has temperature 0. Its
    optimum leaves at most one group undecided (see the book), so that it describes two networks,
    not a population; a temperature above 0 spreads it.

    Args:
        errors: ``layer_errors(records, space=space)``, (L, K), column c - 1 for width c; or a list
            of one array (K - base_i + 1,) a group. NaN
            (a width that never occurred) is interpolated linearly between neighbouring widths of
            the group, and constant beyond the outermost that occurred.
        cost: ``CostTable``. budget: MACs.
        temperature: weight of the entropy H, in nats of error a nat of entropy.
        starts: points to alternate from: two of the Lagrangian's, the rest random. Ends early once
            the bound is met.
        seed: for the random starts.
    Returns:
        Prior.
    Raises:
        BudgetError: if the budget is no positive number, or below the narrowest network.
        ValueError: if errors have the wrong shape (names the group), or a group has none at all.
    Warns:
        UserWarning: if the whole network is within the budget.
    """
    space = cost.space
    check_budget(space, cost, budget)
    if not 0 <= temperature < np.inf or starts < 1:
        raise ValueError(f"temperature must be >= 0 and starts >= 1, got {temperature}, {starts}")
    table, unseen = candidate_errors(errors, space)
    problem = QCQP.from_cost(table, cost, budget)
    P, bound, slack = best_distributions(problem, temperature=temperature, starts=starts, seed=seed)
    facts = {"bound": bound, "temperature": temperature, "slack": slack, "unseen": unseen}
    return certified(problem, P, cost, budget, **facts)


def best_distributions(problem: QCQP, *, temperature: float = 0.0, starts: int = 4, seed: int = 0):
    """Solve one instance; see ``fit_prior``.

    Returns:
        (L arrays (K_i,), lower bound, whether the constraint binds nothing).
    """
    # solvers and tolerances want errors of ordinary size: distributions do not depend on the unit
    scale = sum(np.ptp(e) for e in problem.errors) or 1.0
    problem = replace(problem, errors=tuple(e / scale for e in problem.errors))
    temperature = temperature / scale
    bound, first = _bound(problem, temperature)
    free = problem.point([e.argmin() for e in problem.errors])  # of equals the cheapest
    if temperature > 0:
        free = [np.exp(-(e - e.min()) / temperature) for e in problem.errors]
        free = [p / p.sum() for p in free]
    if problem.cost(free) <= FITS:
        return free, bound * scale, True
    fits, rng, best = Alternation(problem, temperature), np.random.default_rng(seed), None
    for k in range(starts):
        P = fits.run(first[k] if k < len(first) else random_start(problem, rng))
        if best is None or fits.objective(P) < fits.objective(best):
            best = P
        if fits.objective(best) - bound <= 1e-9 * max(1.0, abs(bound)):
            break
    if temperature > 0 and problem.cost(best) > FITS:  # by a conic solver's tolerance
        best = _toward(problem, _cheapest(problem), best)
    return best, bound * scale, False


def certified(
    problem, P, cost, budget, *, bound=None, temperature=0.0, slack=False, unseen=0
) -> Prior:
    """Distributions over candidates (however they were found) as a Prior, with a lower bound."""
    space = cost.space
    if bound is None:
        bound, _ = _bound(problem, temperature)
    objective = problem.value(P) - temperature * entropy(P)
    if abs(objective - bound) <= 1e-9 * max(1.0, abs(bound)):
        bound = min(bound, objective)  # equal but for rounding
    full = [np.zeros(space.K - b + 1) for b in space.base]
    for wide, p, c, b in zip(full, P, space.candidates, space.base, strict=True):
        wide[c - b] = p
    return Prior(
        P=full,
        cost=cost,
        budget=float(budget),
        value=problem.value(P),
        objective=objective,
        bound=bound,
        macs=problem.cost(P) * budget,
        temperature=float(temperature),
        slack=slack,
        unseen=unseen,
    )


def candidate_errors(errors, space) -> tuple[list[np.ndarray], int]:
    """Errors of the candidates of every group, unseen ones filled in, and how many those were."""
    table = getattr(errors, "ndim", 0) == 2
    rows = [np.asarray(e, dtype=float) for e in errors]
    if len(rows) != space.L:
        raise ValueError(f"errors have {len(rows)} rows, the space has {space.L} groups")
    out, unseen = [], 0
    for e, group, candidates, b in zip(
        rows, space.groups, space.candidates, space.base, strict=True
    ):
        if e.shape != (space.K,) and (table or e.shape != (space.K - b + 1,)):
            raise ValueError(
                f"errors of group '{group.name}' have shape {e.shape}: a table needs {space.K} "
                f"columns (widths 1..{space.K}; layer_errors(records, space=space) gives them), a "
                f"list of rows {space.K} or {space.K - b + 1} entries (widths {b}..{space.K})"
            )
        e = e[candidates - space.K - 1]  # both kinds of row end with width K
        seen = np.isfinite(e)
        if not seen.any():
            raise ValueError(
                f"no width of group '{group.name}' has an error: train the supernet longer"
            )
        unseen += int((~seen).sum())
        out.append(np.interp(candidates, candidates[seen], e[seen]))
    return out, unseen


def _bound(problem: QCQP, temperature: float) -> tuple[float, list]:
    """A lower bound, and the starts that come with it."""
    order, largest = elimination(problem)
    if largest > LARGEST:
        bound, relaxed = mccormick(problem, temperature)
        return bound, [_toward(problem, _cheapest(problem), relaxed)]
    dual = lagrangian(problem, order)
    below, above = problem.point(dual.below), problem.point(dual.above)
    starts = [_toward(problem, below, above), below]
    if temperature == 0:
        return dual.bound, starts
    bound, price = gibbs_bound(problem, order, temperature)
    P = starts[0]
    for _ in range(50):  # mean field at that price, to start from
        for i in range(problem.L):
            z = -(problem.errors[i] + price * problem.slope(P, i)) / temperature
            z = np.exp(z - z.max())
            P = [*P[:i], z / z.sum(), *P[i + 1 :]]
    return bound, [_toward(problem, _cheapest(problem), P), starts[0]]


def _cheapest(problem: QCQP) -> list[np.ndarray]:
    return problem.point([0] * problem.L)  # candidates ascend, and so does every cost


def random_start(problem: QCQP, rng) -> list[np.ndarray]:
    """Random distributions within the budget."""
    P = [rng.dirichlet(np.full(len(e), 0.3)) for e in problem.errors]
    return _toward(problem, _cheapest(problem), P)


def _toward(problem: QCQP, inside, P) -> list[np.ndarray]:
    """The mixture of a point within the budget and P that lies as near to P as bisection finds."""

    def mix(t):
        return [(1 - t) * a + t * b for a, b in zip(inside, P, strict=True)]

    if problem.cost(P) <= 1:
        return list(P)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if problem.cost(mix(middle)) <= 1 else (low, middle)
    return mix(low)
