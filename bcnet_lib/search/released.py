r"""Prior sampling as the released code does it: gradient descent on a softmax, with a penalty.

Implemented from a description of ``BCNetV2/edgenn/algorithm/searcher/bcnet_searcher.py`` of the
authors' repository (github.com/xiusu/BCNetV2). From normal random logits, 2,000 steps of plain SGD
lower

.. math:: \frac1L \sum_i E_i^\top P_i
          + 1000 \Big(1 - \frac{\mathbb E_{c \sim P}\,\mathrm{MACs}(c)}{0.4\,B}\Big)^2,
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
    E, unary = ([torch.from_numpy(a) for a in group] for group in (problem.errors, problem.unary))
    pairs = {ij: torch.from_numpy(table) for ij, table in problem.pairs.items()}
    generator = torch.Generator().manual_seed(seed)
    z = [
        torch.randn(len(e), generator=generator, dtype=torch.float64, requires_grad=True) for e in E
    ]
    optimizer = torch.optim.SGD(z, lr=lr)
    for _ in range(steps):
        P = [torch.softmax(logits, dim=0) for logits in z]  # L of (K_i,)
        error = sum(e @ p for e, p in zip(E, P, strict=True)) / len(E)
        alone = sum(u @ p for u, p in zip(unary, P, strict=True))
        together = sum(P[i] @ table @ P[j] for (i, j), table in pairs.items())
        macs = problem.constant + alone + together  # in budgets
        optimizer.zero_grad()
        (error + penalty * (1 - macs / target) ** 2).backward()
        optimizer.step()
    P = [torch.softmax(logits.detach(), dim=0).numpy() for logits in z]
    return certified(problem, P, cost, budget)
