"""Speed and memory of the library, in one table: ``make bench``.

Times are CPU seconds of one thread (``time.process_time``), so that other work on the machine
disturbs them little; on CUDA, wall seconds. Two things are compared by interleaved pairs in
alternating order: the median of their ratios, with its 95 % interval. A target is missed where the
whole interval lies above it, and not clear where only the median does.

    python -m tests.bench [--quick] [--device cuda]
"""

import argparse
import platform
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parent))
import zoo  # noqa: E402

from bcnet_lib import BCv2, CostTable, Recipe, Supernet, SupernetTrainer, WidthSpace  # noqa: E402
from bcnet_lib.data import load  # noqa: E402
from bcnet_lib.evaluate import evaluate_many  # noqa: E402
from bcnet_lib.latency import measure_latency, stopwatch  # noqa: E402
from bcnet_lib.latency_check import check_latency  # noqa: E402
from bcnet_lib.memory import peak_memory  # noqa: E402
from bcnet_lib.models import digits_cnn, macro_mobilenet  # noqa: E402
from bcnet_lib.prefix import order, prefix_macs  # noqa: E402
from bcnet_lib.search import fit_prior, released_prior  # noqa: E402

K, BASE, RIGHT = 8, 2, 1
TARGET = 1.05  # a path's step against the stand-alone network's, from half the width on


class Bench:
    """Measures on one device and prints each row as soon as it is known."""

    def __init__(self, device: str = "cpu", quick: bool = False):
        self.device, self.quick = torch.device(device), quick
        self.missed: list[str] = []  # rows above their target

    def row(self, what: str, value: str, target: str = "", verdict: str = "") -> None:
        self.missed += [what] if verdict == "MISSED" else []
        print(f"{what:<58} {value:>26}  {target:>8} {verdict}", flush=True)

    def seconds(self, step) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            start = time.perf_counter()
            step()
            torch.cuda.synchronize()
            return time.perf_counter() - start
        start = time.process_time()
        step()
        return time.process_time() - start

    def pairs(self, a, b, n: int) -> np.ndarray:
        """(n, 2) seconds of a and b, taken in turn, each first in every other pair."""
        a(), b()
        out = np.empty((n, 2))
        for i in range(n):
            for j in (0, 1) if i % 2 else (1, 0):
                out[i, j] = self.seconds((a, b)[j])
        return out

    def images(self, batch: int, size: int):
        x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
        return x.to(self.device), (torch.arange(batch) % 10).to(self.device)

    def supernet(self, name: str, size: int):
        model = zoo.make(name)
        space = WidthSpace.from_model(model, torch.empty(1, 3, size, size), K=K, base=BASE)
        return Supernet(model, space, BCv2(), seed=0).to(self.device)

    # -- rows ---------------------------------------------------------------------------------
    def steps(self, name: str) -> None:
        """Forward and backward of a sampled path against the network of that width alone."""
        size, batch, n = (32, 4, 2) if self.quick else (64, 64, 31)
        net, (x, y) = self.supernet(name, size), self.images(batch, size)
        for width in (2, 4, 6, 8):
            c = np.full(net.space.L, width)
            alone = export(net, c)

            def step(model, run):
                model.zero_grad(set_to_none=True)
                F.cross_entropy(run(x), y).backward()

            path = partial(step, net, partial(net, c=c, path=RIGHT))
            t = self.pairs(path, partial(step, alone, alone), n)
            low, middle, high = median_interval(t[:, 0] / t[:, 1])
            verdict = "met" if middle <= TARGET else "MISSED" if low > TARGET else "not clear"
            wide = width >= K / 2
            self.row(
                f"step, path / alone: {name}, width {width / K:.0%}",
                f"{middle:.3f} ({low:.3f}-{high:.3f})",
                f"<= {TARGET}" if wide else "",
                verdict if wide else "",
            )

    def overhead(self, name: str) -> None:
        """What a path's forward takes beyond the network alone, on two small images."""
        net, (x, _) = self.supernet(name, 32), self.images(2, 32)
        c = np.full(net.space.L, 4)
        alone = export(net, c)
        with torch.no_grad():
            t = self.pairs(lambda: net(x, c, RIGHT), lambda: alone(x), 5 if self.quick else 60)
        extra, slots = np.median(t[:, 0] - t[:, 1]), len(net._slots)
        self.row(f"overhead per forward: {name}, {slots} tensors", f"{1e3 * extra:.1f} ms")

    def discovery(self, name: str) -> None:
        model, x = zoo.make(name, 1000, device="meta"), torch.empty(1, 3, 224, 224)
        n = 1 if self.quick else 3
        times = [self.seconds(lambda: WidthSpace.from_model(model, x)) for _ in range(n)]
        self.row(f"discovery: {name} at 224 px", f"{np.median(times):.2f} s")

    def costs(self, name: str) -> None:
        model, x = zoo.make(name, 1000, device="meta"), torch.empty(1, 3, 224, 224)
        space = WidthSpace.from_model(model, x)
        cost = CostTable(model, space, x)
        n = 1_000 if self.quick else 100_000
        C = space.sample(np.random.default_rng(0), n)
        times = [self.seconds(lambda: cost.macs(C)) for _ in range(3)]
        self.row(f"MACs of {n:,} widths: {name}, {space.L} groups", f"{np.median(times):.2f} s")

    def memory(self, name: str) -> None:
        """Peak memory of one optimiser step's passes, by the trainer's own options."""
        size, batch = (32, 4) if self.quick else (64, 64)
        data = load("fake", shape=(3, size, size), size=4 * batch).to(self.device)
        recipe = Recipe(epochs=9, batch_size=batch, lr=1e-6)
        for label, options in {
            "Eq. 22, one path a batch": {"update": "alternate"},
            "Eq. 10, one after another": {},
            "Eq. 10, at once": {"at_once": True},
            "Eq. 11, one after another": {"complement": True},
            "Eq. 11, at once": {"complement": True, "at_once": True},
        }.items():
            net = self.supernet(name, size)

            def halves(rng, n, L=net.space.L):
                return np.full((n, L), (K + BASE) // 2)  # its own complement: four equal paths

            trainer = SupernetTrainer(net, data, recipe, progress=False, sample=halves, **options)
            trainer.fit(max_steps=1)  # the optimiser's own state is there from now on
            step = partial(trainer.fit, max_steps=1)
            peak = peak_memory(step, net, data.train.x, device=self.device)
            cuda = "" if peak.allocated is None else f", {peak.allocated / 2**20:.0f} MiB in all"
            self.row(f"saved activations, {label}", f"{peak.saved / 2**20:.1f} MiB{cuda}")

    def evaluation(self) -> None:
        """Eq. 12 on the digits' search-validation images, both paths of every width."""
        model, data = digits_cnn(), load("digits")
        space = WidthSpace.from_model(model, data.val.x[:1], K=K, base=BASE)
        net = Supernet(model, space, BCv2(), seed=0).to(self.device)
        C = space.sample(np.random.default_rng(0), 4 if self.quick else 100)
        seconds = self.seconds(lambda: evaluate_many(net, C, data.val))
        what = f"evaluation: digits_cnn, {len(data.val)} images, both paths"
        self.row(what, f"{len(C) / seconds:.0f} widths/s")

    def prefixes(self) -> None:
        """Shared prefixes in the MobileNet space of Channel-Bench-Macro (7 groups, K=4)."""
        model, data = macro_mobilenet(), load("fake", shape=(3, 32, 32), size=200)
        space = WidthSpace.from_model(model, data.val.x[:1], K=4)
        net = Supernet(model, space, BCv2(), seed=0).to(self.device)
        C = np.array(list(np.ndindex(*[4] * space.L))) + 1  # all 16,384
        some = C[np.random.default_rng(0).choice(len(C), 2048, replace=False)]
        n, images = (4, 2) if self.quick else (64, len(data.val))
        split = replace(data.val, x=data.val.x[:images], y=data.val.y[:images])
        sets = {"all 16,384": (C, 3.0), "2,048 at random": (some[order(some)], None)}
        for what, (D, target) in sets.items():
            part = D[len(D) // 2 :][:n]  # neighbours in order: they share what all share
            run = partial(evaluate_many, net, part, split, paths=[RIGHT])
            t = self.pairs(partial(run, share=False), run, 1 if self.quick else 7)
            low, middle, high = median_interval(t[:, 0] / t[:, 1])
            macs = np.divide(*prefix_macs(net.cost, D))
            verdict = "met" if middle >= (target or 0) else "MISSED"
            self.row(
                f"shared prefixes, {what}: {macs:.1f}x fewer MACs, time",
                f"{middle:.1f}x less ({low:.1f}-{high:.1f})",
                f">= {target:g}x" if target else "",
                verdict if target else "",
            )

    def latency(self, name: str, size: int, batch: int) -> None:
        """Relative error of the layer table on whole networks that nothing was fitted to."""
        model = digits_cnn() if name == "digits_cnn" else zoo.make(name)
        x = torch.empty(1, 1 if name == "digits_cnn" else 3, size, size)
        space = WidthSpace.from_model(model, x, K=K, base=BASE)
        # on the CPU, time of this process: other work on the machine disturbs it less
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        options = {"timer": stopwatch(self.device, clock=clock), "progress": False}
        rounds = 2 if self.quick else 8
        table = measure_latency(
            model, space, batch=batch, device=self.device, repeats=rounds, **options
        )
        check = check_latency(model, space, table, n=6 if self.quick else 24, **options)
        for how, row in check.errors.iterrows():
            if how != "sum + constant":
                self.row(
                    f"latency error, {how}: {name}, {size} px, batch {batch}",
                    f"median {row['median']:.1%}, 90 % {row['90 %']:.1%}",
                )

    def prior(self, name: str, share: float = 0.4) -> None:
        """Prior sampling on a real coupling graph: errors that fall with width, and noise."""
        model, x = zoo.make(name, 1000, device="meta"), torch.empty(1, 3, 224, 224)
        space = WidthSpace.from_model(model, x, K=20)
        cost = CostTable(model, space, x)
        rng = np.random.default_rng(0)
        fall = rng.uniform(0.05, 0.5, (space.L, 1)) * (1 - np.arange(1, 21) / 20) ** 2
        errors = 2 + fall + rng.normal(0, 0.01, fall.shape)
        budget = share * cost.macs(space.full)
        rules = {
            "certified": partial(fit_prior, errors, cost, budget),
            "released recipe": partial(
                released_prior, errors, cost, budget, steps=20 if self.quick else 2000
            ),
        }
        for rule, solve in rules.items():
            found = []
            seconds = self.seconds(lambda solve=solve, found=found: found.append(solve()))
            target = 2.0 if rule == "certified" else None
            verdict = "" if target is None else "met" if seconds <= target else "MISSED"
            self.row(
                f"prior, {rule}: {name}, {space.L} groups",
                f"{seconds:.2f} s, gap {found[0].gap:.2%}",
                "" if target is None else f"<= {target:g} s",
                verdict,
            )

    def run(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self._run()
        finally:
            torch.set_num_threads(threads)

    def _run(self) -> None:
        where = f"1 thread of {platform.processor() or platform.machine()}"
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        print(
            f"torch {torch.__version__}, {where}; supernets: BCv2, K={K}, base={BASE}, right path"
        )
        models = ["squeezenet1_0"] if self.quick else ["mobilenet_v2", "resnet18"]
        for name in models:
            self.steps(name)
        for name in models:
            self.overhead(name)
        for name in models if self.quick else ["mobilenet_v2", "densenet121"]:
            self.costs(name)
        for name in models if self.quick else [n for n in zoo.GROUPS if "regnet" not in n]:
            self.discovery(name)
        self.memory(models[0])
        self.evaluation()
        self.prefixes()
        for name in models if self.quick else ["mobilenet_v2", "resnet50"]:
            self.prior(name)
        self.latency("digits_cnn", 8, 32)
        if not self.quick:
            self.latency("mobilenet_v2", 96, 1)
            self.latency("resnet18", 64, 4)


def median_interval(x) -> tuple[float, float, float]:
    """Median between the order statistics that hold it with 95 % confidence (binomial)."""
    x = np.sort(x)
    k = max(int(binom.ppf(0.025, len(x), 0.5)) - 1, 0)  # 0-based
    return x[k], float(np.median(x)), x[len(x) - 1 - k]


def export(net, c):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trained on batch statistics only
        return net.export(c, RIGHT)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: checks that it runs")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    options = parser.parse_args(arguments)
    bench = Bench(options.device, options.quick)
    bench.run()
    if bench.missed:
        print(f"{len(bench.missed)} above target: {'; '.join(bench.missed)}")
    return 0  # a number, not a verdict: machines differ


if __name__ == "__main__":
    raise SystemExit(main())
