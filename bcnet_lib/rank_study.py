"""Does a fairer supernet rank widths better? Supernets against a benchmark that knows the answer.

Every method trains supernets on the same images with the same recipe; every width of the benchmark
is scored through all its paths; the scores are compared with the accuracies after training from
scratch. Follows Su et al., arXiv 2203.13714, section 7.4 and Table 9.

``python -m bcnet_lib.rank_study --profile digits --jobs 2`` makes the record of the chapter. Each
supernet leaves a file when it is done, so a run can be stopped and goes on from there.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed

from .bench import ChannelBench
from .checkpoint import CheckpointError, read_state, same_settings, write_state
from .data import Data, load, mix
from .digits_bench import DigitsSetting
from .evaluate import evaluate_many
from .fairness import unevenness
from .methods import METHODS, Method, passes_a_step, twins
from .profiles import RANKING, RankProfile
from .progress import bar as progress_bar
from .ranking import correlations, top_overlap, top_regret
from .recipe import Recipe, TrainingError
from .results import Record, headline, measured
from .supernet import Supernet
from .throughput import measure_limits, scoring_throughput, training_throughput
from .train import SupernetTrainer

__all__ = ["EQUAL", "Problem", "make_record", "measures", "run_one", "speed", "steps_of"]

CHUNK = 64  # widths scored between two looks at the clock
EQUAL = ("passes", "steps")  # what all methods have the same number of


class Problem:
    """Benchmark, images and widths of a profile; made once a process."""

    def __init__(self, profile: RankProfile, root=None):
        self.bench = ChannelBench.load(profile.bench, root=root)
        if profile.bench == "digits":
            self.data: Data = DigitsSetting().data()
        else:
            self.data = load("cifar10", root, val=profile.val)
        n = len(self.bench.C)
        if profile.widths is not None and profile.widths < 10:
            raise ValueError(f"widths={profile.widths}: at least 10 are needed for the top ten")
        rows = np.arange(n)
        if profile.widths is not None and profile.widths < n:
            rng = np.random.default_rng(mix(0, profile.widths))
            rows = np.sort(rng.choice(n, size=profile.widths, replace=False))
        self.rows = rows  # of the benchmark's table, in its order
        self.C = self.bench.C[rows]  # (n, L)
        self.truth = self.bench.mean[rows]  # (n,) percent


@lru_cache(maxsize=1)
def _problem(profile: RankProfile, root) -> Problem:
    return Problem(profile, root)


def steps_of(profile: RankProfile, method: Method, equal: str) -> int:
    """Optimiser steps a method gets.

    Args:
        equal: ``"passes"`` or ``"steps"``, what all methods have in common.
    """
    if equal not in EQUAL:
        raise ValueError(f"equal must be one of {', '.join(EQUAL)}, got {equal!r}")
    return profile.steps if equal == "steps" else profile.passes // passes_a_step(method)


def run_one(
    profile: RankProfile,
    method: str,
    seed: int,
    steps: int,
    *,
    folder: str | Path,
    device: str = "cpu",
    root=None,
    minutes: float | None = None,
) -> Path | None:
    """Train one supernet, score all widths through every path, and leave the scores in a file.

    It also holds ``seconds``: of the processor on a CPU, of the clock elsewhere, from the call on
    that ended the training.

    Args:
        method: of ``METHODS``. steps: of the optimiser. folder: for the file and its checkpoint.
        device, root: where to compute; where benchmark and images are (``BCNET_DATA``).
        minutes: stop cleanly after so many; another call goes on where this one stopped.
    Returns:
        the file, or None if the time was not enough.
    Raises:
        CheckpointError: if the checkpoint is of other settings, or damaged.
    """
    if device == "cpu":
        torch.set_num_threads(1)
    how, problem = METHODS[method], _problem(profile, root)
    name = f"{method.replace(' ', '_').replace(',', '')}-{steps}-{seed}"
    done, training = Path(folder) / f"{name}.scores", Path(folder) / f"{name}.training"
    settings = {"method": method, "seed": seed, "steps": steps, "profile": _settings(profile)}
    end = None if minutes is None else time.monotonic() + 60 * minutes
    clock = time.process_time if device == "cpu" else time.monotonic
    began = clock()

    def left() -> float | None:
        return None if end is None else (end - time.monotonic()) / 60

    state = _state(done, settings)
    if state["finished"]:
        return done
    net = _supernet(profile, problem, how, seed, device)
    trainer = SupernetTrainer(
        net,
        problem.data,
        _recipe(profile, problem, steps),
        update=how.update,
        complement=how.complement,
        distill=how.distill,
        seed=seed,
        checkpoint=training,
        checkpoint_every=profile.checkpoint_every,
        progress=False,
    ).fit(minutes=left())
    if trainer.step < trainer.total_steps:
        return None
    seen = trainer.records
    uneven, uneven_block = unevenness(net, zip(seen.widths, seen.paths.tolist(), strict=True))
    scores, before = state["scores"], state["seconds"]
    while len(scores) < len(problem.C):
        if end is not None and left() <= 0:
            return None
        chunk = problem.C[len(scores) : len(scores) + CHUNK]
        options = {"batch_size": profile.score_batch, "per_path": True, "amp": profile.fast}
        new = evaluate_many(net, chunk, problem.data.val, **options)  # (m, P)
        scores = (
            torch.cat([scores, torch.from_numpy(new)]) if len(scores) else torch.from_numpy(new)
        )
        state = {"settings": settings, "scores": scores, "passes": trainer.passes}
        state |= {
            "uneven": uneven,
            "uneven_block": uneven_block,
            "seconds": before + clock() - began,
        }
        write_state(done, state | {"finished": len(scores) == len(problem.C)})
    training.unlink(missing_ok=True)
    return done


def _supernet(profile: RankProfile, problem: Problem, how: Method, seed: int, device) -> Supernet:
    net = Supernet(problem.bench.network(), problem.bench.space, how.principle, seed=seed)
    net = net.to(device)
    return net.to(memory_format=torch.channels_last) if profile.fast else net


def _recipe(profile: RankProfile, problem: Problem, steps: int) -> Recipe:
    epochs = steps / problem.data.train.steps(profile.batch_size, drop_last=True)
    return Recipe(
        epochs=epochs,
        batch_size=profile.batch_size,
        lr=profile.lr,
        weight_decay=profile.weight_decay,
        augment=profile.augment,
        amp=profile.fast,
        warmup_epochs=min(1.0, 0.1 * epochs),
    )


def speed(profile: RankProfile, device: str = "cpu", root=None) -> list[dict]:
    """Images a second of training and of scoring a supernet (BCv2), and what limits them.

    Returns:
        one dict each, as ``throughput.Throughput``.
    """
    problem = _problem(profile, root)
    net = _supernet(profile, problem, METHODS["BCv2"], 0, device)
    limits = measure_limits(device, amp=profile.fast)
    recipe = _recipe(profile, problem, 100)
    options = {"batch_size": profile.score_batch, "amp": profile.fast, "limits": limits}
    return [
        asdict(training_throughput(net, problem.data, recipe, limits=limits)),
        asdict(scoring_throughput(net, problem.data.val, **options)),
    ]


def _state(path: Path, settings: dict) -> dict:
    empty = {"scores": torch.empty(0), "finished": False, "seconds": 0.0}
    if not path.exists():
        return empty
    state = read_state(path)
    if "scores" not in state:
        raise CheckpointError(f"'{path}' holds no scores: name another folder")
    same_settings(path, settings, state["settings"])
    return state


def _settings(profile: RankProfile) -> dict:
    """What a supernet's scores depend on: not how many supernets there are."""
    return {k: v for k, v in asdict(profile).items() if k not in ("seeds", "steps", "passes")}


# ------------------------------------------------------------------------------- the record


def plan(profile: RankProfile, seeds: Sequence[int], methods: Sequence[str]) -> list[tuple]:
    """(method, seed, steps) of every supernet, seed by seed; shared ones occur once."""
    budgets = {m: dict.fromkeys(steps_of(profile, METHODS[m], e) for e in EQUAL) for m in methods}
    return [(m, seed, steps) for seed in seeds for m in methods for steps in budgets[m]]


def _check(seeds: list, methods: list) -> None:
    if unknown := [m for m in methods if m not in METHODS]:
        known = ", ".join(f"'{m}'" for m in METHODS)
        raise ValueError(f"unknown method {unknown[0]!r}: known are {known}")
    for what, given in (("seed", seeds), ("method", methods)):
        if not given:
            raise ValueError(f"at least one {what} is needed")
        if twice := [g for g in given if given.count(g) > 1]:
            raise ValueError(f"{what} {twice[0]!r} is given twice: each counts once")


def measures(scores: np.ndarray, problem: Problem) -> dict[str, float]:
    """How well scores (n, P) of all paths rank the widths; the mean over paths is the score.

    ``filtered`` is Kendall among networks without a narrowest layer, as in the released script;
    ``path`` the mean Kendall of a single path's scores.
    """
    score, truth = scores.mean(axis=1), problem.truth
    all_three = correlations(score, truth)
    wide = (problem.C > 1).all(axis=1)
    enough = wide.sum() > 2
    return {
        "kendall": all_three.kendall,
        "spearman": all_three.spearman,
        "pearson": all_three.pearson,
        "path": float(np.mean([correlations(s, truth).kendall for s in scores.T])),
        "filtered": correlations(score[wide], truth[wide]).kendall if enough else None,
        "overlap10": top_overlap(score, truth, 10),
        "regret1": top_regret(score, truth, 1),
        "regret10": top_regret(score, truth, 10),
        "score": float(score.mean()),
    }


def make_record(
    profile: RankProfile,
    name: str,
    *,
    folder: str | Path,
    seeds: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    device: str = "cpu",
    root=None,
    jobs: int = 1,
    minutes: float | None = None,
    progress: bool = False,
) -> Record | None:
    """Train and score every supernet that ``folder`` does not hold yet, and summarise them.

    Args:
        profile, name: of ``profiles.RANKING``. folder: keeps scores and checkpoints.
        seeds: default 0 … ``profile.seeds`` - 1. methods: default all of ``METHODS`` that differ.
        device, root: as in ``run_one``. jobs: processes, on a CPU.
        minutes: stop cleanly after so many; looked at between training steps, and between 64 widths
            in scoring.
    Returns:
        the record, or None if the time was not enough for all: call it again to go on.
    Raises:
        ValueError: for an unknown method, or a method or seed given twice.
        TrainingError: for a supernet whose loss is not finite, when all others are done.
    """
    seeds = list(range(profile.seeds) if seeds is None else seeds)
    problem = _problem(profile, root)
    same = twins(problem.bench.space)
    methods = [m for m in METHODS if m not in same] if methods is None else list(methods)
    _check(seeds, methods)
    runs = plan(profile, seeds, methods)
    start = time.monotonic()

    def run(method, seed, steps):
        left = None if minutes is None else minutes - (time.monotonic() - start) / 60
        if left is not None and left <= 0:
            return None
        options = {"folder": folder, "device": device, "root": root, "minutes": left}
        try:
            return run_one(profile, method, seed, steps, **options)
        except TrainingError as error:  # the other supernets go on
            return TrainingError(f"{method}, seed {seed}, {steps} steps: {error}")

    with measured(device) as took:
        work = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
        files = work(delayed(run)(*r) for r in runs)
        files = list(progress_bar(files, total=len(runs), desc="supernets", show=progress))
    if failed := [f for f in files if isinstance(f, TrainingError)]:
        raise failed[0]
    if None in files:
        return None
    extra = {"throughput": speed(profile, device, root)} if profile.fast else {}
    states, rows = [read_state(file) for file in files], []
    for equal, ((method, seed, steps), state) in product(EQUAL, zip(runs, states, strict=True)):
        if steps != steps_of(profile, METHODS[method], equal):
            continue
        row = {"seed": seed, "method": method, "equal": equal, "steps": steps}
        row |= {k: state[k] for k in ("passes", "seconds", "uneven", "uneven_block")}
        rows.append(_rounded(row | measures(state["scores"].numpy(), problem)))
    seconds = sum(state["seconds"] for state in states)
    missing = "filtered: too few networks without a narrowest layer"
    first = methods[0]
    taus = [r["kendall"] for r in rows if r["method"] == first and r["equal"] == "passes"]
    return Record.new(
        f"{headline(f'Kendall of {first} with {problem.bench.name}', taus, digits=3)}, "
        f"{len(problem.C):,} networks, {len(methods)} methods",
        rows,
        experiment="ranking",
        profile=name,
        parameters=asdict(profile)
        | extra
        | {"seeds": seeds, "methods": methods, "same_as": same, "core_seconds": round(seconds)},
        measured=took,
        missing=missing if any(None in row.values() for row in rows) else "",
        device=device,
    )


def _rounded(values: dict) -> dict:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train supernets in every way, score a benchmark's widths, and write the record."""
    parser = argparse.ArgumentParser(
        prog="python -m bcnet_lib.rank_study", description=main.__doc__
    )
    parser.add_argument("--profile", choices=list(RANKING), default="smoke")
    parser.add_argument(
        "--seeds", type=int, help="number of seeds, from 0 (default: the profile's)"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all that differ")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes, on a CPU")
    parser.add_argument(
        "--minutes", type=float, help="stop cleanly after so many; run again to go on"
    )
    parser.add_argument("--folder", type=Path, help="keeps scores and checkpoints until the end")
    parser.add_argument(
        "--out",
        type=Path,
        help="default: figures/ranking/PROFILE/results.json; with fewer seeds or methods than the "
        "profile's in FOLDER, so that no larger record is replaced",
    )
    options = parser.parse_args(arguments)
    profile = RANKING[options.profile]
    folder = options.folder or Path("_build/ranking") / options.profile
    whole = options.methods is None and options.seeds in (None, profile.seeds)
    kept = Path("figures/ranking") / options.profile if whole else folder
    out = options.out or kept / "results.json"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)  # before the long work, not after it
        record = make_record(
            profile,
            options.profile,
            folder=folder,
            seeds=None if options.seeds is None else range(options.seeds),
            methods=options.methods,
            device=options.device,
            jobs=options.jobs,
            minutes=options.minutes,
            progress=True,
        )
    except (ValueError, OSError, CheckpointError, TrainingError) as error:  # also missing data
        sys.exit(f"{parser.prog}: {error}")
    if record is None:
        print(f"the time is up; what is done lies in {folder}: run the same command again")
        return
    print(record.save(out))
    print(record.headline)


if __name__ == "__main__":
    # worker processes look functions up by module, and theirs is not __main__
    from bcnet_lib import rank_study

    rank_study.main()
