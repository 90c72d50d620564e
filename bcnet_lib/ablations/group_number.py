"""How many units K a group is cut into: finer widths, or an easier search.

Follows Su et al., arXiv 2203.13714, section 7.5 and Fig. 6. At every K a BC supernet is trained
for the same number of passes and searched with the same number of evaluations, and the width that
is found is judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..intervals import headline, paired_difference
from ..profiles import PROFILES, Profile
from ..results import Record
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .findings import Finding
from .sweeps import above, above_all, found_row, space_row

__all__ = ["GROUP_NUMBER", "METHOD"]

METHOD = "BC"


def _asked(profile: Profile, seed: int) -> list[tuple[Profile, Cell, Cell, Cell]]:
    """(profile at K, supernet, search of it, random width), one a value of K."""
    out = []
    for K in profile.values:
        p = replace(profile, K=K)
        steps = supernets.steps_of(p, METHOD, "passes")
        trained = supernets.cell(p, METHOD, seed, steps)
        found = searches.cell(p, "evolution", seed, METHOD, steps)
        out.append((p, trained, found, searches.cell(p, "random", seed)))
    return out


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    asked = [a for seed in seeds for a in _asked(profile, seed)]
    train = [trained for _, trained, _, _ in asked]
    return [train, [cell for _, _, found, drawn in asked for cell in (found, drawn)]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows = []
    for seed in seeds:
        for p, trained, found, drawn in _asked(profile, seed):
            for cell, search in ((found, "evolution"), (drawn, "random")):
                row = {"seed": seed, "K": p.K, "search": search} | found_row(results[cell])
                row |= space_row(p, where.root, results[cell]["macs"])
                net = results[trained] if search == "evolution" else {}
                rows.append(row | {k: net.get(k) for k in ("passes", "uneven", "seconds")})
    return rows


def _headline(rows: list[dict]) -> str:
    values = list(dict.fromkeys(r["K"] for r in rows))
    K = values[len(values) // 2]
    found = [r["accuracy"] for r in rows if (r["K"], r["search"]) == (K, "evolution")]
    return headline(f"test accuracy (%) of widths found at K = {K}", found, f"K in {values}")


def _findings(record: Record) -> list[Finding]:
    """An interior best K: some K in the middle is better than the smallest and the largest."""
    values = list(record.parameters["values"])
    if len(values) < 3:
        return []
    ends, middle = (values[0], values[-1]), values[1:-1]
    at = {K: record.values("accuracy", K=K, search="evolution") for K in values}
    best = max(middle, key=lambda K: at[K].mean())
    end = max(ends, key=lambda K: at[K].mean())
    inside = above_all([[at[K] - at[e] for e in ends] for K in middle])
    outside = above_all([[at[e] - at[K] for K in middle] for e in ends])
    beaten = [
        e for e, yes in zip(ends, above([at[best] - at[e] for e in ends]), strict=True) if yes
    ]
    if inside.any():
        verdict = "reproduced"
        sure = [str(K) for K, yes in zip(middle, inside, strict=True) if yes]
        note = f"Better than both ends: K = {', '.join(sure)}."
    elif outside.any():
        verdict = "contradicted"
        sure = [str(K) for K, yes in zip(ends, outside, strict=True) if yes]
        note = f"Better than every K in the middle: K = {', '.join(sure)}."
    elif beaten and at[best].mean() > at[end].mean():
        verdict = "trend only"
        note = f"K = {best} is better than K = {beaten[0]}; the other end could not be told apart."
    else:
        verdict = "not reproduced"
        note = "No K in the middle could be shown to be better than both ends."
    note += (
        f" K from {values[0]} to {values[-1]}, {METHOD}, equal passes and evaluations. The verdict "
        "is by one-sided paired t-tests, adjusted by Holm; the interval shown is not adjusted for "
        "the choice of the best of the middle."
    )
    return [
        Finding(
            claim="group-number",
            place="Fig. 6",
            what=f"K = {best}, best of the middle, minus K = {end}, the better end",
            paper="best in the middle",
            ours=paired_difference(at[best], at[end]),
            verdict=verdict,
            note=note,
            profile=record.profile,
        )
    ]


GROUP_NUMBER = Experiment(
    name="group_number",
    profiles=PROFILES["group_number"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    missing=(
        "score, passes, uneven, seconds: a random width has no supernet; "
        "spread: a single training has none"
    ),
)
