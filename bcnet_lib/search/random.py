"""Random search: widths drawn uniformly among those within the budget."""

import numpy as np

from ..data import mix
from ..progress import bar as progress_bar
from .budget import check_budget, draw_within
from .result import Scores, SearchResult, make_score
from .resume import load_scores, save_scores, score_settings
from .whole import whole

__all__ = ["random_search"]

SAVE_EVERY = 10  # new scores between two writes of a checkpoint


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
    checkpoint=None,
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
        checkpoint: file that keeps the scores, written after every tenth and at the end. If it
            exists, those are not computed again; n may be larger then. A ``score`` of your own is
            first checked: one width on file must come out the same again.
        measure: what the budget limits: ``"macs"``, ``"params"`` or ``"latency"``.
        progress: show a progress bar.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network, or if n
            widths were not found in ``max_draws`` draws.
        CheckpointError: if ``checkpoint`` is damaged or belongs to another search (named).
        ValueError: if a score is not finite, or n or max_draws is no positive integer.
    """
    space, cost = net.space, net.cost if cost is None else cost
    n, max_draws = whole("n", n), whole("max_draws", max_draws)
    check_budget(space, cost, budget, measure)
    rng = np.random.default_rng(mix(seed))
    C = draw_within(space, cost, budget, rng, n, max_draws, measure)  # (n, L)
    scores = Scores(
        make_score(net, data, split, batch_size, score), objectives=(measure,), cost=cost
    )
    settings = None
    if checkpoint is not None:
        settings = score_settings(net, data, split, score) | {
            "search": "random",
            "budget": float(budget),
            "measure": measure,
            "seed": seed,
            "batch_size": batch_size,
        }
        scores.known.update(load_scores(checkpoint, settings, score))
    macs, saved = cost.macs(C), len(scores.known)  # macs: (n,)
    pairs = zip(C, macs, strict=True)
    for c, m in progress_bar(pairs, total=len(C), desc="random search", show=progress):
        scores(c, m)
        if checkpoint is not None and len(scores.known) >= saved + SAVE_EVERY:
            save_scores(checkpoint, settings, scores)
            saved = len(scores.known)
    if checkpoint is not None:
        save_scores(checkpoint, settings, scores)
    return scores.result()
