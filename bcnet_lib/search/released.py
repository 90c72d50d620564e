r"""Prior sampling as the released code does it: gradient descent on a softmax, with a penalty.

Implemented from a description of ``BCNetV2/edgenn/algorithm/searcher/bcnet_searcher.py`` of the
authors' repository (github.com/xiusu/BCNetV2). From normal random logits, 2,000 steps of plain SGD
lower

.. math:: \frac1L \sum_i E_i^\top P_i
          + 1000 \Big(1 - \frac{\mathbb E_{c \sim P}\,\mathrm{MACs}(c)}{0.4\,F_b}\Big)^2,
          \qquad P_i = \mathrm{softmax}(z_i)

so that expected MACs are pulled *to* 0.4 of the budget, from both sides, and nothing bounds them.

One thing differs here: the released code counts MACs along a chain of layers, each coupled to the
next; we give it the model's real couplings, as ``fit_prior`` has them, so that both solve the same
problem.
"""

import numpy as np
import torch

from .budget import check_budget
from .prior import Prior, candidate_errors, certified
from .qcqp import QCQP

__all__ = ["released_prior"]


def released_prior(
    errors,
    cost,
    budget: float,
    *,
    steps: int = 2000,
    lr: float = 0.01,
    target: float = 0.4,
    penalty: float = 1000.0,
    unseen: float = 10.0,
    seed: int = 0,
) -> Prior:
    """The released code's recipe, for comparison with ``fit_prior``.

    Args:
        errors, cost, budget: as in ``fit_prior``.
        steps, lr: of plain SGD. target: share of the budget that the penalty pulls to.
        penalty: its weight. unseen: error of widths that never occurred, in the released code 10.
        seed: for the logits to start from.
    Returns:
        Prior: same bound as ``fit_prior``'s; ``.macs`` may exceed the budget.
    Raises:
        BudgetError, ValueError: as ``fit_prior``.
    """
    check_budget(cost.space, cost, budget)
    errors = [np.where(np.isnan(e), unseen, e) for e in map(np.asarray, errors)]
    problem = QCQP.from_cost(candidate_errors(errors, cost.space)[0], cost, budget)
    E, unary, i, j, tables = _padded(problem)  # (L, K), (L, K), (M,), (M,), (M, K, K)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(E.shape, generator=generator, dtype=torch.float64)
    z = torch.where(torch.isinf(E), -torch.inf, start).requires_grad_()
    E = E.nan_to_num(posinf=0.0)
    optimizer = torch.optim.SGD([z], lr=lr)
    for _ in range(steps):
        P = torch.softmax(z, dim=1)  # (L, K)
        error = (E * P).sum() / len(E)
        together = (torch.bmm(P[i, None], tables) @ P[j, :, None]).sum()  # (M, 1, 1) summed
        macs = problem.constant + (unary * P).sum() + together  # in budgets
        optimizer.zero_grad()
        (error + penalty * (1 - macs / target) ** 2).backward()
        z.grad.nan_to_num_(0.0)  # of widths that are not there
        optimizer.step()
    P = torch.softmax(z.detach(), dim=1).numpy()
    P = [p[: len(e)] for p, e in zip(P, problem.errors, strict=True)]
    return certified(problem, P, cost, budget)


def _padded(problem: QCQP):
    """The instance as rectangular tensors; errors of widths that are not there are infinite."""
    K = max(len(e) for e in problem.errors)

    def row(a, fill):
        return np.pad(a, (0, K - len(a)), constant_values=fill)

    E = np.stack([row(e, np.inf) for e in problem.errors])
    unary = np.stack([row(u, 0.0) for u in problem.unary])
    tables = np.zeros((len(problem.pairs), K, K))
    for out, table in zip(tables, problem.pairs.values(), strict=True):
        out[: len(table), : table.shape[1]] = table
    i, j = np.array(list(problem.pairs), dtype=np.int64).reshape(-1, 2).T.copy()
    return tuple(map(torch.from_numpy, (E, unary, i, j, tables)))
