"""An experiment of sums, in two stages, for tests of what runs experiments."""

import os
from dataclasses import replace
from pathlib import Path

from bcnet_lib.ablations import Experiment
from bcnet_lib.ablations.cells import Cell
from bcnet_lib.profiles import Profile

SMOKE = Profile(network="digits", seeds=3)


def part(settings, where, file, *, seed: int, n: int) -> dict | None:
    if os.environ.get("BCNET_TEST_FAIL") == f"{settings.batch_size} {seed} {n}":
        raise RuntimeError(f"no luck with {seed} and {n}")
    return {"value": seed + n / 10, "process": os.getpid()}


def total(settings, where, file, *, seed: int) -> dict:
    parts = [cell.load(where.folder)["result"]["value"] for cell in parts_of(settings, seed)]
    return {"value": sum(parts)}


def parts_of(profile: Profile, seed: int) -> list[Cell]:
    return [Cell.of("parts", part, profile, seed=seed, n=n) for n in range(4)]


def total_of(profile: Profile, seed: int) -> Cell:
    return Cell.of("totals", total, profile, seed=seed)


def stages(profile: Profile, seeds) -> list[list[Cell]]:
    return [
        [cell for seed in seeds for cell in parts_of(profile, seed)],
        [total_of(profile, seed) for seed in seeds],
    ]


def rows(profile: Profile, seeds, results, where) -> list[dict]:
    return [{"seed": s, "total": results[total_of(profile, s)]["value"]} for s in seeds]


SUMS = Experiment(
    name="sums",
    profiles={"smoke": SMOKE, "digits": replace(SMOKE, seeds=8)},
    stages=stages,
    rows=rows,
    headline=lambda rows: f"{len(rows)} totals",
)
OTHER = replace(SUMS, name="other")
"""Has the same cells."""


def below(folder: Path) -> dict[Path, str]:
    """Every finished cell's file and its text."""
    return {path: path.read_text() for path in sorted(Path(folder).rglob("*.json"))}
