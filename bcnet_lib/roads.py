"""The comparison of the chapter on other methods: ten ways to a width, at equal passes, on digits.

``python -m bcnet_lib.roads`` writes the record that the chapter shows. One seed decides everything
of a row: initial weights, order of images, search, final training; all methods share it.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from .cost import CostTable
from .data import load
from .principles import UA, BCv2
from .progress import bar as progress_bar
from .recipe import Recipe
from .results import Record, headline, measured
from .scratch import train_from_scratch
from .search import (
    DMCP,
    TAS,
    MetaPruning,
    bn_l1,
    evolve,
    greedy,
    importance,
    random_retrain,
    uniform,
)
from .space import WidthSpace
from .supernet import Supernet
from .train import SupernetTrainer

__all__ = ["METHODS", "Setting", "compare", "five_convolutions", "make_record"]

METHODS = (
    "uniform",
    "random, 20 trained",
    "BCNetV2 + evolution",
    "UA + greedy",
    "MetaPruning",
    "TAS",
    "DMCP",
    "magnitude",
    "slimming",
    "FPGM",
)
DISTILLED = ("uniform, distilled", "TAS, distilled")


def five_convolutions(channels: int = 8) -> nn.Sequential:
    """The network of the quick start: five convolutions, normalised, and a linear classifier."""
    layers, before = [], 1
    for stride in (1, 1, 2, 1, 1):
        conv = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all methods share, and the few numbers each has of its own."""

    passes: int = 560
    """Forward-backward passes a method may use to find a width."""
    epochs: int = 20
    """Of the final training, from scratch, of every width."""
    batch_size: int = 64
    """Images a pass."""
    K: int = 8
    """Units a layer; one channel each."""
    base: int = 2
    """Smallest width."""
    uniform_width: int = 5
    """The budget is what this uniform width costs."""
    lr: float = 0.2
    """Learning rate, also of the final training; twice as large for mean losses of four paths."""
    structure_lr: float = 0.05
    """Of TAS's distribution; twice as large for DMCP, which has fewer steps."""
    sparsity: float = 1e-3
    """Penalty of network slimming."""
    population: int = 16
    """Of evolution."""
    generations: int = 8
    """Of evolution."""
    randoms: int = 20
    """Random networks that are trained for a short time, as in the paper."""


class _Problem:
    """Network, data, space and budget of a setting."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.model = five_convolutions()
        example = torch.zeros(1, 1, 8, 8)
        options = {"K": setting.K, "base": setting.base}
        self.space = WidthSpace.from_model(self.model, example, **options)
        self.cost = CostTable(self.model, self.space, example)
        self.budget = self.cost.macs([setting.uniform_width] * self.space.L)
        self.data = load("digits", test=0.5, val=0.5)
        self.alone = Recipe(epochs=setting.epochs, batch_size=setting.batch_size, lr=setting.lr)

    @cached_property
    def steps_per_epoch(self) -> int:
        return len(self.data.train) // self.setting.batch_size

    def recipe(self, passes_a_step: float = 1.0, lr: float = 1.0, halves: bool = False) -> Recipe:
        """As many steps as the passes allow; ``halves``: an epoch goes through half the images."""
        s = self.setting
        steps = len(self.data.train) // 2 // s.batch_size if halves else self.steps_per_epoch
        epochs = s.passes / passes_a_step / steps
        return Recipe(epochs=epochs, batch_size=s.batch_size, lr=lr * s.lr)

    def network(self, c, seed: int) -> nn.Module:
        return self.space.build(self.model, c, seed=seed)

    def options(self, seed: int) -> dict:
        return {"budget": self.budget, "seed": seed, "progress": False}

    def evolution(self) -> dict:
        return {"population": self.setting.population, "generations": self.setting.generations}

    # a width of every method: (widths, passes used to find it)

    def widths(self, seed: int) -> Iterator[tuple[str, object, int]]:
        """(method, widths, passes) of every method, with the full network's training shared."""
        p, s = self, self.setting
        yield "uniform", uniform(p.space, p.cost, p.budget), 0
        yield "random, 20 trained", *p.random(seed)
        net, passes = p.supernet(BCv2(), 4, 2.0, seed, complement=True)
        found = evolve(net, p.data, **p.options(seed), **p.evolution())
        yield "BCNetV2 + evolution", found.best, passes
        net, passes = p.supernet(UA(), 1, 1.0, seed)
        found = greedy(net, p.data, budget=p.budget, progress=False)
        yield "UA + greedy", found.best, passes
        meta = MetaPruning(p.model, p.space, p.data, p.recipe(), **p.options(seed)).fit()
        yield "MetaPruning", meta.search(**p.evolution()).best, meta.passes
        both = (p.model, p.space, p.data)
        own = p.options(seed) | {"structure_lr": s.structure_lr}
        tas = TAS(*both, p.recipe(2, halves=True), **own).fit()
        yield "TAS", tas.search().best, tas.passes
        own = p.options(seed) | {"structure_lr": 2 * s.structure_lr}
        dmcp = DMCP(
            *both, p.recipe(4.75, 2.0, halves=True), **own
        ).fit()  # 4 in the warm-up, then 5
        yield "DMCP", dmcp.search().best, dmcp.passes
        full, sparse = p.full(seed), p.full(seed, bn_l1(s.sparsity))
        for name, trained, criterion in (
            ("magnitude", full, "magnitude"),
            ("slimming", sparse, "bn_scale"),
            ("FPGM", full, "fpgm"),
        ):
            ranking = importance(
                trained.model, p.space, budget=p.budget, cost=p.cost, criterion=criterion
            )
            yield name, ranking.best, trained.passes
        self.teacher = full

    def random(self, seed: int):
        p, s = self, self.setting
        short = max(1, s.passes // (s.randoms * p.steps_per_epoch))
        options = p.options(seed) | {"n": s.randoms, "short": short, "eval_test": False}
        found = random_retrain(p.model, p.space, p.data, p.alone, cost=p.cost, **options)
        return found.search.best, s.randoms * short * p.steps_per_epoch

    def supernet(self, principle, passes_a_step, lr, seed: int, **options):
        p = self
        net = Supernet(p.model, p.space, principle, seed=seed)
        recipe = p.recipe(passes_a_step, lr)
        trainer = SupernetTrainer(net, p.data, recipe, seed=seed, progress=False, **options)
        return net, trainer.fit().passes

    def full(self, seed: int, penalty: Callable | None = None):
        network = self.network(self.space.full, seed)
        options = {"seed": seed, "penalty": penalty, "eval_test": False}
        return train_from_scratch(network, self.data, self.recipe(), **options)

    def accuracy(self, c, seed: int, **options) -> float:
        """Test accuracy of a width after its own training; the one look at the test images."""
        network = self.network(c, seed)
        return train_from_scratch(
            network, self.data, self.alone, seed=seed, **options
        ).test_accuracy


def compare(setting: Setting, seed: int) -> list[dict]:
    """One row a method: seed, method, passes (of the search), taught (passes of its teacher's
    training), budget (share of it that is used), accuracy (test), c1 … c5."""
    problem, rows = _Problem(setting), []

    def add(method, c, passes, taught=0, **options):
        row = {"seed": seed, "method": method, "passes": int(passes), "taught": int(taught)}
        row["budget"] = problem.cost.macs(c) / problem.budget
        row["accuracy"] = problem.accuracy(c, seed, **options)
        rows.append(row | {f"c{i + 1}": int(w) for i, w in enumerate(c)})

    found = {}
    for method, c, passes in problem.widths(seed):
        found[method] = c, passes
        add(method, c, passes)
    teacher = problem.teacher
    for method in DISTILLED:
        c, passes = found[method.removesuffix(", distilled")]
        add(method, c, passes, teacher.passes, teacher=teacher.model)
    return rows


def make_record(setting: Setting, seeds: Sequence[int], progress: bool = True) -> Record:
    """The comparison over seeds, with provenance."""
    rows = []
    with measured() as run:
        for seed in progress_bar(list(seeds), desc="seeds", show=progress):
            rows += compare(setting, seed)
    values = {m: [r["accuracy"] * 100 for r in rows if r["method"] == m] for m in METHODS}
    first = headline("test accuracy of uniform widths", values["uniform"], digits=1)
    return Record.new(
        f"{first}, {len(METHODS)} methods at {setting.passes} passes, digits",
        rows,
        experiment="other_roads",
        profile="digits",
        parameters=asdict(setting) | {"seeds": list(seeds)},
        measured=run,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(prog="python -m bcnet_lib.roads", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=16, help="number of seeds, from 0")
    parser.add_argument("--passes", type=int, default=Setting.passes, help="of every search")
    parser.add_argument("--out", type=Path, default=Path("figures/other_roads/digits/results.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = make_record(Setting(passes=options.passes), range(options.seeds))
    print(record.save(options.out))
    print(record.headline)


if __name__ == "__main__":
    main()
