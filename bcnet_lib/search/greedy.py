"""Greedy slimming: from the full network down, always the group whose slimming hurts least.

Source: Yu & Huang, AutoSlim, arXiv 1903.11728: a trained slimmable network scores every way to slim
one layer by a step, the best of them is taken, and so on until the budget is met.
"""

from dataclasses import replace

import numpy as np

from ..progress import bar as progress_bar
from .budget import check_budget, measure_of
from .result import Scores, SearchResult, make_score
from .resume import load_scores, save_scores, score_settings

__all__ = ["greedy"]


def greedy(
    net,
    data,
    *,
    budget: float,
    cost=None,
    step: int = 1,
    per_cost: bool = False,
    checkpoint=None,
    callback=None,
    split="val",
    batch_size: int = 2048,
    score=None,
    measure: str = "macs",
    progress: bool = True,
) -> SearchResult:
    r"""Slim the full network one group at a time until it is within the budget.

    With :math:`e_i` one step of group i, the widths on the way are

    .. math:: c^{(0)} = (K, \dots, K), \qquad
              c^{(t+1)} = c^{(t)} - e_{i_t}, \quad i_t = \arg\max_i s(c^{(t)} - e_i)

    Of equal scores the one that saves most is taken, and of those the first group. The score after
    the step decides, as in AutoSlim, and not the score lost per MAC saved (``per_cost``). There is
    no chance in it. It scores the full network and then at most L widths a step, no width twice;
    with n candidates a group there are at most L (n - 1) steps.

    Args:
        net: a trained ``Supernet``. data: its ``Data``.
        budget: a hard limit, in MACs, parameters or milliseconds by ``measure``: no width over it
            is returned, but wider ones are scored on the way.
        cost: ``CostTable``; default ``net.cost``.
        step: candidates by which a group is narrowed at a time (at most to its narrowest).
        per_cost: take the step of the least score lost per MAC saved instead (or per parameter or
            millisecond; steps that save nothing come last).
        checkpoint: file that keeps the scores after each step. If it exists, the search is repeated
            with those scores at hand, and so ends as it would have without a break. A ``score`` of
            your own is first checked: one width on file must come out the same again.
        callback: called as ``callback(step, history)`` after each step.
        split, batch_size, score, measure, progress: as in ``evolve``.
    Returns:
        SearchResult. ``history`` holds all widths scored, those over the budget too, with two more
        columns: ``fits`` (within the budget) and ``taken`` (on the way; the last of them is where
        AutoSlim ends). ``generation`` counts steps, 0 is the full network. ``best`` is the highest
        score that fits, which a width not taken may hold.
    Raises:
        BudgetError: if the budget is no positive number or below the narrowest network.
        CheckpointError: if ``checkpoint`` is damaged or belongs to another search (named).
        ValueError: if a score is not finite, or step is below 1.
    """
    space, cost = net.space, net.cost if cost is None else cost
    check_budget(space, cost, budget, measure)
    if step < 1 or int(step) != step:
        raise ValueError(f"step must be a positive number of candidates, got {step!r}")
    price, judge = measure_of(cost, measure), make_score(net, data, split, batch_size, score)
    scores = Scores(judge, objectives=(measure,), cost=cost)
    settings = None
    if checkpoint is not None:
        settings = score_settings(net, data, split, score) | {
            "search": "greedy",
            "budget": float(budget),
            "measure": measure,
            "step": step,
            "per_cost": per_cost,
            "batch_size": batch_size,
        }
        scores.known.update(load_scores(checkpoint, settings, score))

    c, steps = space.full, 0
    here, spent, taken = scores(c, cost.macs(c)), price(c), [c]
    with progress_bar(desc="greedy", unit=" steps", show=progress) as bar:
        while spent > budget:
            C = _narrower(space, c, step)  # (m, L), m <= L
            prices, macs, steps = price(C), cost.macs(C), steps + 1  # (m,)
            after = np.array([scores(w, m, steps) for w, m in zip(C, macs, strict=True)])
            value = _rate(after - here, spent - prices) if per_cost else after  # (m,)
            i = np.lexsort((prices, -value))[0]  # stable: the first group where both are equal
            c, here, spent = C[i], after[i], prices[i]
            taken.append(c)
            bar.update()
            if checkpoint is not None:
                save_scores(checkpoint, settings, scores)
            if callback is not None:
                callback(steps, scores.history())
    result = scores.result(budget, measure)
    way = {tuple(c) for c in np.array(taken).tolist()}
    names = [f"c{i + 1}" for i in range(space.L)]
    rows = result.history[names].itertuples(index=False, name=None)
    return replace(result, history=result.history.assign(taken=[row in way for row in rows]))


def _narrower(space, c: np.ndarray, step: int) -> np.ndarray:
    """Every width that narrows one group of c by a step; (m, L), groups at their end left out."""
    out = []
    for i, candidates in enumerate(space.candidates):
        place = np.searchsorted(candidates, c[i])
        if place > 0:
            out.append(c.copy())
            out[-1][i] = candidates[max(0, place - step)]
    return np.stack(out)


def _rate(gained: np.ndarray, saved: np.ndarray) -> np.ndarray:
    """Score gained per unit of cost saved; a measured latency may even grow with a step."""
    useful = saved > 0
    return np.where(useful, gained / np.where(useful, saved, 1), -np.inf)
