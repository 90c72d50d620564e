"""``make reproduce``: compute every committed record anew, from nothing, and compare.

The same library with the same torch on the same kind of processor gives the same numbers, and the
rows are then *identical*. Another processor adds in another order: the last bits of a sum differ,
training enlarges that, and single seeds come out differently. Means over seeds must then still
agree: the difference of two means has to lie *within* the combined half widths of their 99.9 %
intervals, for every setting and every number. What lies outside is printed.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from . import needs, prior_records, roads
from .ablations import EXPERIMENTS, driver, run
from .ablations.cells import CODE, Where
from .intervals import mean_interval
from .results import Record, measured

__all__ = ["LEVEL", "MAKERS", "Verdict", "compare", "main", "settings_of"]

LEVEL = 0.999
"""Of the intervals whose half widths are combined, close to 1 as many numbers are compared."""
TIMINGS = ("seconds", "allocated")
"""Columns that no second run repeats: times, and what a GPU's allocator holds."""
FREE = ("core_seconds", "libraries", "devices", "throughput")
"""Parameters that say how a record was computed, not what."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a record compares with the one computed anew."""

    state: str
    """``identical``, ``within`` or ``outside``."""
    compared: int = 0
    """Means that were compared."""
    farthest: float = 0.0
    """Largest difference in units of what is allowed: above 1 it is outside."""
    differs: tuple[str, ...] = ()
    """What is outside, or cannot be compared, a line each."""


def settings_of(table: pd.DataFrame) -> list[str]:
    """Columns that tell settings apart: not fractional, and the same for every seed."""
    per_seed = [part for _, part in table.groupby("seed")]

    def of_all(column: str) -> bool:
        values = [sorted(map(repr, part[column])) for part in per_seed]
        return all(v == values[0] for v in values)

    whole = [
        c
        for c in table
        if c not in ("seed", *TIMINGS) and not _fractional(table[c]) and table[c].notna().all()
    ]
    return [c for c in whole if of_all(c)]


def _fractional(column: pd.Series) -> bool:
    numbers = [v for v in column if isinstance(v, float) and not np.isnan(v)]
    return any(v != int(v) for v in numbers)


def compare(old: Record, new: Record) -> Verdict:
    """Compare rows, timings left out: equal, or equal in the mean over seeds of every setting.

    Text that training decides (found widths) may differ unless all its numbers are equal. With one
    seed its rows take the place of seeds, and text must be the same.
    """
    wrong = []
    keys = [k for k in {**old.parameters, **new.parameters} if k not in FREE]
    for k in keys:
        a, b = old.parameters.get(k), new.parameters.get(k)
        if a != b:
            wrong.append(f"setting {k}: committed {a!r}, now {b!r}")
    if list(old.rows[0]) != list(new.rows[0]):
        wrong.append(f"columns: committed {list(old.rows[0])}, now {list(new.rows[0])}")
    if len(old.rows) != len(new.rows):
        wrong.append(f"rows: committed {len(old.rows)}, now {len(new.rows)}")
    if wrong:
        return Verdict(state="outside", differs=tuple(wrong))
    if _plain(old) == _plain(new):
        return Verdict(state="identical", compared=0)
    return _compare_means(old.frame(), new.frame())


def _plain(record: Record) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in record.rows]


def _compare_means(a: pd.DataFrame, b: pd.DataFrame) -> Verdict:
    wrong, farthest, compared = [], 0.0, 0
    single = a.seed.nunique() == 1
    by = [] if single else settings_of(a)
    text = [c for c in a if any(isinstance(v, str) for v in a[c]) and c not in by]
    if single:
        wrong += [f"{c}: other text" for c in text if list(a[c]) != list(b[c])]
    measured_ = [c for c in a if c not in ("seed", *by, *text, *TIMINGS)]
    parts_a, parts_b = _parts(a, by), _parts(b, by)
    if parts_a.keys() != parts_b.keys():
        odd = sorted(parts_a.keys() ^ parts_b.keys(), key=repr)[:3]
        return Verdict(state="outside", differs=(f"settings of one record only: {odd}",))
    for key, part in parts_a.items():
        for column in measured_:
            ratio, said = _apart(part[column], parts_b[key][column])
            compared, farthest = compared + 1, max(farthest, ratio)
            if ratio > 1:
                at = ", ".join(f"{k} {v}" for k, v in zip(by, key, strict=True))
                wrong.append(f"{column} at {at or 'all rows'}: {said}")
    state = "outside" if wrong else "within"
    return Verdict(state=state, compared=compared, farthest=farthest, differs=tuple(wrong))


def _parts(table: pd.DataFrame, by: list[str]) -> dict[tuple, pd.DataFrame]:
    """Rows by setting; () where nothing tells them apart."""
    parts: dict[tuple, list[int]] = {}
    for i, row in enumerate(
        table[by].itertuples(index=False, name=None) if by else [()] * len(table)
    ):
        parts.setdefault(row, []).append(i)
    return {key: table.iloc[rows] for key, rows in parts.items()}


def _apart(a: pd.Series, b: pd.Series) -> tuple[float, str]:
    """Difference of two means over what is allowed, and the difference in words."""
    x, y = (pd.to_numeric(s).dropna().to_numpy(float) for s in (a, b))
    if len(x) != len(a) or len(y) != len(b):
        if not len(x) and not len(y):
            return 0.0, ""
        if len(x) != len(y):
            return np.inf, f"committed {len(x)} numbers, now {len(y)}"
    if (x == y).all():
        return 0.0, ""
    i, j = mean_interval(x, LEVEL), mean_interval(y, LEVEL)
    gap, allowed = abs(i.mean - j.mean), float(np.hypot(i.half, j.half))
    said = f"committed {i.mean:.5g}, now {j.mean:.5g}, allowed are {allowed:.2g} apart"
    if not np.isfinite(allowed):  # a single number has no interval
        return np.inf, f"{said}: one number each"
    return (gap / allowed if allowed else np.inf * (gap > 0)), said


# ------------------------------------------------------------------------------- computing anew


def _experiment(old: Record, where: Where, jobs: int) -> Record:
    experiment = EXPERIMENTS[old.experiment]
    return run(experiment, old.profile, where, seeds=old.parameters["seeds"], jobs=jobs)


def _roads(old: Record, where: Where, jobs: int) -> Record:
    """The comparison of other methods, seeds side by side."""
    known = asdict(roads.Setting())
    setting = roads.Setting(**{k: v for k, v in old.parameters.items() if k in known})
    seeds = old.parameters["seeds"]
    with measured() as took:
        work = Parallel(n_jobs=jobs, batch_size=1)
        parts = work(delayed(roads.compare)(setting, seed) for seed in seeds)
    return Record.new(
        "recomputed",
        [row for part in parts for row in part],
        experiment=old.experiment,
        profile=old.profile,
        parameters=asdict(setting) | {"seeds": seeds},
        measured=took,
    )


def _losses(old: Record, where: Where, jobs: int) -> Record:
    return prior_records.make_record(prior_records.Setting(**old.parameters))


MAKERS: Mapping[str, Callable[[Record, Where, int], Record]] = {
    **dict.fromkeys(EXPERIMENTS, _experiment),
    "other_roads": _roads,
    "prior_records": _losses,
}
"""What computes a record anew, by experiment, as ``maker(committed, where, jobs)``."""


def committed(root: Path, profile: str) -> dict[str, Path]:
    """The records of a profile, by experiment; those of ablations first: they share cells."""
    found = {path.parents[1].name: path for path in root.glob(f"*/{profile}/results.json")}
    return {name: found[name] for name in sorted(found, key=lambda n: (n not in EXPERIMENTS, n))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute committed records anew from nothing, and compare them with what is committed."""
    parser = argparse.ArgumentParser(prog="python -m bcnet_lib.reproduce", description=main.__doc__)
    add = parser.add_argument
    add("--profile", default="digits", help="default: digits")
    add("--only", nargs="+", metavar="NAME", help="of these experiments; default: all records")
    add("--jobs", type=int, default=1, help="processes")
    add("--device", default="cpu", help="cpu (default), cuda, …")
    add("--figures", type=Path, default=Path("figures"), help="folder of the committed records")
    add("--folder", type=Path, help="default: _build/reproduce/ and the library's hash: fresh for "
        "every version of the library, kept so that a run which was stopped goes on")  # fmt: skip
    o = parser.parse_args(arguments)
    folder = (o.folder or Path("_build/reproduce") / CODE[:12]).absolute()
    driver.check_options(parser, o, folder=folder)
    records = committed(o.figures, o.profile)
    if unknown := [name for name in o.only or () if name not in records]:
        parser.error(f"--only {unknown[0]}: {o.figures} has records of {', '.join(records)}")
    if not records:
        parser.error(f"no record of profile {o.profile!r} in {o.figures}")
    names = [name for name in records if name in (o.only or records)]
    needs.absolute_root()
    where = Where(folder=folder / "cells", device=o.device)
    chosen = [EXPERIMENTS[name] for name in names if name in EXPERIMENTS]
    if chosen:  # all cells side by side; what fails here is said again below
        log = driver.Log(folder / "log.txt")
        driver.compute_all(chosen, o.profile, where, seeds=None, jobs=o.jobs, log=log)
    good = True
    for name in names:
        good &= _one(name, records[name], where, folder, o.jobs)
    return 0 if good else 1


def _one(name: str, path: Path, where: Where, folder: Path, jobs: int) -> bool:
    """Recompute and compare one record, and say what came of it."""
    began = time.monotonic()
    if name not in MAKERS:
        print(f"{name}: outside: nothing here computes this record; MAKERS does not know it")
        return False
    try:
        old = Record.load(path)
        new = MAKERS[name](old, where, jobs)
    except Exception as error:  # the other records are still compared
        print(f"{name}: failed: {error}\n{traceback.format_exc()}", flush=True)
        return False
    new.save(folder / "records" / name / old.profile / "results.json")
    verdict = compare(old, new)
    about = f"{len(old.rows)} rows"
    if verdict.state != "identical":
        about += f", {verdict.compared} means, farthest {verdict.farthest:.2f} of what is allowed"
    print(f"{name}: {verdict.state} ({about}; {time.monotonic() - began:.0f} s)", flush=True)
    for line in verdict.differs[:20]:
        print(f"    {line}")
    if len(verdict.differs) > 20:
        print(f"    and {len(verdict.differs) - 20} more")
    return verdict.state != "outside"


if __name__ == "__main__":
    # worker processes look functions up by module, and theirs is not __main__
    from bcnet_lib import reproduce

    sys.exit(reproduce.main())
