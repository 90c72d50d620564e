"""The paper's random baseline: random networks, each trained a little, the best one to the end.

Source: Su et al., arXiv 2203.13714, experiments: 20 networks under the budget, short training, the
best one continued. There is no supernet in it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..checkpoint import settings_of
from ..cost import CostTable
from ..data import mix
from ..progress import bar as progress_bar
from ..recipe import Recipe
from ..scratch import Trained, train_from_scratch
from .budget import check_budget, draw_within
from .result import Scores, SearchResult
from .resume import load_scores, save_scores
from .whole import whole

__all__ = ["Retrained", "random_retrain"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrained:
    """What ``random_retrain`` found, trained."""

    search: SearchResult
    """All networks; ``score`` is the accuracy on the validation split after the short training."""
    trained: Trained
    """The best of them after the whole recipe; its ``history`` holds the epochs after the short
    training."""
    passes: int
    """Forward-backward passes of it all: the short trainings and the rest of the best one."""

    def __repr__(self) -> str:
        return f"Retrained({self.search!r}, {self.trained!r}, {self.passes:,} passes)"


def random_retrain(
    model,
    space,
    data,
    recipe: Recipe,
    *,
    budget: float,
    short: int,
    n: int = 20,
    seed: int = 0,
    cost=None,
    measure: str = "macs",
    checkpoint=None,
    max_draws: int = 1_000_000,
    eval_test: bool = True,
    progress: bool = True,
) -> Retrained:
    """Train n random networks for the first epochs of a recipe, and the best of them to its end.

    The short training is the beginning of the long one (the same schedule), so that the best
    network ends as ``train_from_scratch(space.build(model, best, seed=seed), data, recipe,
    seed=seed)`` would. With s steps in the short epochs and S in all this takes n s + (S - s)
    forward-backward passes.

    Args:
        model: the network that ``space`` was made from; it is not changed.
        space: its ``WidthSpace``. data: trained on ``train``, chosen by ``val``.
        recipe: ``Recipe`` of the whole training.
        budget: a hard limit, in MACs, parameters or milliseconds by ``measure``.
        short: epochs after which the best is chosen, at least 1 and at most those of the recipe.
        n: networks, drawn uniformly among those within the budget, all different.
        seed: decides the widths, and the initial weights and order of images of every network.
        cost: ``CostTable``; default one for the image size of the space.
        checkpoint: file that keeps the accuracy of each network. If it exists, those known are not
            trained again, but for the best one, whose weights it does not hold.
        max_draws: draws after which to give up.
        eval_test: whether to look at the test split, once, with the best network.
        progress: show a progress bar.
    Raises:
        BudgetError: as ``random_search``.
        CheckpointError: if ``checkpoint`` is damaged or belongs to another search (named).
        TrainingError: if a loss is not finite.
        ValueError: if n, max_draws or short is outside its range.
    """
    if cost is None:
        cost = CostTable(model, space, torch.empty((1, *space.graph.example_shape), device="meta"))
    n, max_draws = whole("n", n), whole("max_draws", max_draws)
    check_budget(space, cost, budget, measure)
    per_epoch = data.train.steps(recipe.batch_size, drop_last=True)
    total = recipe.steps(per_epoch)
    last = -(-total // per_epoch)  # epochs, the last one may be a part
    if not 1 <= short <= last or int(short) != short:
        raise ValueError(f"short must be a number of epochs in 1..{last}, got {short!r}")
    rng = np.random.default_rng(mix(seed))
    C = draw_within(space, cost, budget, rng, n, max_draws, measure)  # (n, L)
    runs = _Runs(model, space, data, recipe, short, seed)
    scores = Scores(runs.start, objectives=(measure,), cost=cost)
    settings = None
    if checkpoint is not None:
        settings = _retrain_settings(space, data, recipe) | {
            "budget": float(budget),
            "measure": measure,
            "short": int(short),
            "n": n,
            "seed": seed,
        }
        scores.known.update(load_scores(checkpoint, settings))
    pairs = zip(C, cost.macs(C), strict=True)
    for c, macs in progress_bar(pairs, total=len(C), desc="random networks", show=progress):
        scores(c, macs)
        if len(scores.asked) > 1:
            runs.keep(scores.result().best)
        if checkpoint is not None:
            save_scores(checkpoint, settings, scores)
    found = scores.result()
    trained = runs.finish(found.best, range(short, last), eval_test)
    passes = n * min(total, short * per_epoch) + trained.passes
    return Retrained(search=found, trained=trained, passes=passes)


class _Runs:
    """Trainings that have begun: widths -> (network, its optimiser)."""

    def __init__(self, model, space, data, recipe, short, seed):
        self.model, self.space, self.data, self.recipe = model, space, data, recipe
        self.short, self.seed = short, seed
        self.begun = {}

    def start(self, c: np.ndarray) -> float:
        """Accuracy on the validation split after the short training."""
        network = self.space.build(self.model, c, seed=self.seed)
        optimizer = self.recipe.make_optimizer(network.parameters())
        self.begun[tuple(c)] = network, optimizer
        return self._train(tuple(c), range(self.short), False).val_accuracy

    def keep(self, c: np.ndarray) -> None:
        """Forget all but one."""
        self.begun = {key: run for key, run in self.begun.items() if key == tuple(c)}

    def finish(self, c: np.ndarray, epochs: range, eval_test: bool) -> Trained:
        """Go on with one; after a break it has to begin again first."""
        if tuple(c) not in self.begun:
            self.start(c)
        return self._train(tuple(c), epochs, eval_test)

    def _train(self, key, epochs, eval_test) -> Trained:
        network, optimizer = self.begun[key]
        options = {"seed": self.seed, "epochs": epochs, "optimizer": optimizer}
        return train_from_scratch(network, self.data, self.recipe, eval_test=eval_test, **options)


def _retrain_settings(space, data, recipe) -> dict:
    """What the accuracies depend on, for the checkpoint."""
    return {
        "search": "random_retrain",
        **settings_of(space=space, data=data, recipe=recipe),
        "data.val": data.describe()["val"]["sha256"],
    }
