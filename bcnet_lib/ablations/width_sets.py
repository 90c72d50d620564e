"""The widths that the records hold, each set beside random ones of its own space and budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from ..cost import CostTable
from ..data import mix
from ..networks import NETWORKS, make
from ..paper_tables import Widths as Released
from ..profiles import Profile
from ..results import Record
from ..roads import Setting, five_convolutions
from ..search.budget import walk_within
from ..space import WidthSpace
from ..width_patterns import Widths
from ..width_places import Place, places
from . import EXPERIMENTS
from .found_widths import METHODS, widths_of
from .problem import problem_of

__all__ = ["SETS", "WidthSet", "best_by_run", "places_of", "read", "relative_widths", "released"]


@dataclass(frozen=True, kw_only=True)
class WidthSet:
    """Which rows of a record, found by searching which network."""

    record: str
    """Experiment, whose record of profile ``digits`` is read."""
    rows: Mapping
    """Columns and their values."""
    network: str
    """What was searched, in a few words."""
    change: Mapping
    """Settings in which the rows differ from the profile: K, base."""


def _set(record: str, network: str, change: Mapping | None = None, **rows) -> WidthSet:
    return WidthSet(record=record, rows=rows, network=network, change=change or {})


_BENCH, _WIDE = "five layers, K = 4", "five layers, K = {}"
SETS = {
    "BCv2, MobileNetV2": _set("found_widths", "MobileNetV2, K = 20", method=METHODS[0]),
    "UA, MobileNetV2": _set("found_widths", "MobileNetV2, K = 20", method=METHODS[1]),
    "BCv2, components": _set(
        "components", _BENCH, {"base": 2}, method="BCv2 + complement", base=True,
        search="prior + evolution"
    ),
    "UA, components": _set("components", _BENCH, method="UA", base=False, search="evolution"),
    "BCv2, iterative": _set(
        "iterative_updates", _BENCH, method="BCv2 + complement, iterative", equal="passes"
    ),
    "BCv2, l_s = 3": _set("base_width", _WIDE.format(10), {"base": 3}, method="BCv2", base=3),
    "BC, K = 10": _set("group_number", _WIDE.format(10), K=10, search="evolution"),
    "BC, K = 30": _set("group_number", _WIDE.format(30), {"K": 30}, K=30, search="evolution"),
    "BCv2, other roads": _set("other_roads", _WIDE.format(8), method="BCNetV2 + evolution"),
}  # fmt: skip
"""Found widths by name, which begins with the principle of the supernet."""


def read(root: str | Path, draws: int = 500, names=tuple(SETS)) -> dict[str, Widths]:
    """Sets of found widths whose records are there.

    Args:
        root: folder of all records. draws: random widths of each space and budget.
        names: of ``SETS``.
    """
    out = {}
    for name in names:
        which = SETS[name]
        path = Path(root) / which.record / "digits/results.json"
        if path.exists():
            out[name] = _widths(which, Record.load(path), draws)
    return out


def _widths(which: WidthSet, record: Record, draws: int) -> Widths:
    if which.record == "other_roads":  # an experiment of its own, with a column a group
        space, reference = _roads(draws)
        rows = [r for r in record.rows if all(r[k] == v for k, v in which.rows.items())]
        found = np.array([[r[f"c{i + 1}"] for i in range(space.L)] for r in rows])
    else:
        profile = EXPERIMENTS[which.record].profiles["digits"]
        problem = problem_of(replace(profile, **which.change))
        space, found = problem.space, widths_of(record, **which.rows)
        reference = _random(space, problem.cost, problem.budget, draws)
    return Widths(found=found, reference=reference, places=places(space), K=space.K)


def _random(space, cost, budget: float, draws: int) -> np.ndarray:
    return walk_within(space, cost, budget, np.random.default_rng(mix(0, 14)), draws, sweeps=20)


@cache
def _roads(draws: int):
    setting, model, x = Setting(), five_convolutions(), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=setting.K, base=setting.base)
    cost = CostTable(model, space, x)
    budget = float(cost.macs(np.full(space.L, setting.uniform_width)))
    return space, _random(space, cost, budget, draws)


def released(which: Sequence[Released], draws: int = 1500) -> dict[str, Widths]:
    """Widths that others released for one network and budget, beside two kinds of random ones.

    Those over the budget are left out. Random widths are at least as wide, in units, as the
    narrowest found group. ``any cost`` are those within the budget, ``as costly`` the ones among
    them that need at least the MACs of the cheapest found network.

    Args:
        which: rows of ``widths.csv`` in units, of one network, K and budget in MACs.
        draws: random widths within the budget; ``as costly`` are chosen among four times as many.
    Raises:
        ValueError: if they differ in these, count channels, or none fits.
    """
    about = {(w.network, w.K, w.budget.value) for w in which}
    if len(about) != 1 or any(w.K is None for w in which):
        raise ValueError(f"widths in units, of one network, K and budget are needed: {about}")
    ((network, K, budget),) = about
    model, x = make(network), torch.zeros(1, *NETWORKS[network].image)
    space = WidthSpace.from_model(model, x, K=K)
    cost, C = CostTable(model, space, x), np.array([w.values for w in which])
    found = C[cost.macs(C) <= budget]
    if not len(found):
        raise ValueError(f"none of {len(C)} widths needs {budget:,.0f} MACs or less")
    space = replace(space, base=np.full(space.L, found.min()))
    drawn = _random(space, cost, budget, 4 * draws)
    costly = drawn[cost.macs(drawn) >= cost.macs(found).min()]
    kinds = {"any cost": drawn[:draws], "as costly": costly}
    return {
        name: Widths(found=found, reference=reference, places=places(space), K=K)
        for name, reference in kinds.items()
    }


def places_of(profile: Profile) -> tuple[Place, ...]:
    """Where the groups of a profile's network stand; needs none of its images."""
    image = (1, 8, 8) if profile.data == "digits" else NETWORKS[profile.network].image
    model = make(profile.network, channels=image[0])
    options = {"K": profile.K, "base": profile.base}
    return places(WidthSpace.from_model(model, torch.zeros(1, *image), **options))


def relative_widths(record: Record) -> dict[str, np.ndarray]:
    """Relative widths in a record of ``found_widths``, by method: (seeds, L); uniform left out."""
    names = {f"found with {m}": m for m in METHODS} | {"random": "random"}
    K = record.parameters["K"]
    return {name: widths_of(record, method=m) / K for name, m in names.items()}


def best_by_run(bench, budget: float, top: int = 20) -> np.ndarray:
    """The best widths of a complete benchmark within a budget, as each of its runs sees them.

    Args:
        bench: ``ChannelBench``. budget: MACs. top: how many widths.
    Returns:
        int64 (runs, top, L), in units.
    Raises:
        ValueError: where fewer than ``top`` networks fit.
    """
    fits = np.flatnonzero(bench.macs <= budget)
    if len(fits) < top:
        raise ValueError(f"{len(fits)} networks fit {budget:,.0f} MACs, too few to choose {top}")
    order = np.argsort(-bench.accuracies[fits], axis=0, kind="stable")[:top]  # (top, runs)
    return bench.C[fits[order]].transpose(1, 0, 2)
