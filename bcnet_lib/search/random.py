"""Random search: widths drawn uniformly among those within the budget."""

import numpy as np

from ..data import mix
from ..progress import bar as progress_bar
from .budget import check_budget, draw_within
from .result import Scores, SearchResult, make_score

__all__ = ["random_search"]


def random_search(
    net,
    data,
    *,
    budget: float,
    n: int = 100,
    seed: int = 0,
    cost=None,
    split="val",
    batch_size: int = 2048,
    score=None,
    max_draws: int = 1_000_000,
    measure: str = "macs",
    progress: bool = True,
) -> SearchResult:
    """Score n different widths drawn uniformly among those within the budget.

    Uniform widths are drawn and those over the budget rejected; nothing is skewed, but where the
    budget is so tight that hardly any fit, it gives up and says so.

    Args:
        net: a trained ``Supernet``. data: its ``Data``.
        budget: a hard limit, in MACs, parameters or milliseconds by ``measure``.
        n: widths to score. seed: decides which.
        cost: ``CostTable``; default ``net.cost``.
        split: name of the split to score on, or a ``Split``.
        batch_size: images a batch when scoring (see ``evaluate``).
        score: instead of the supernet's accuracy: callable (L,) -> number, larger is better.
        max_draws: draws after which to give up.
        measure: what the budget limits: ``"macs"``, ``"params"`` or ``"latency"``.
        progress: show a progress bar.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network, or if n
            widths were not found in ``max_draws`` draws.
        ValueError: if a score is not finite.
    """
    space, cost = net.space, net.cost if cost is None else cost
    check_budget(space, cost, budget, measure)
    if n < 1:
        raise ValueError(f"n must be at least 1 width, got {n}")
    rng = np.random.default_rng(mix(seed))
    C = draw_within(space, cost, budget, rng, n, max_draws, measure)  # (n, L)
    scores = Scores(
        make_score(net, data, split, batch_size, score), objectives=(measure,), cost=cost
    )
    macs = cost.macs(C)  # (n,)
    pairs = zip(C, macs, strict=True)
    for c, m in progress_bar(pairs, total=len(C), desc="random search", show=progress):
        scores(c, m)
    return scores.result()
