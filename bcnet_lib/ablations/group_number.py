"""How many units K a group is cut into: finer widths, or an easier search.

Follows Su et al., arXiv 2203.13714, section 7.5 and Fig. 6. At every K a BC supernet is trained
for the same number of passes and searched for the same number of generations (a small space has
fewer different widths to score in them), and the width that is found is judged; so are a random and
the uniform width of the same space and budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..intervals import headline, paired_difference
from ..profiles import PROFILES, Profile
from ..results import Record
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .findings import Finding, signs
from .sweeps import found_row, space_row

__all__ = ["GROUP_NUMBER", "METHOD"]

METHOD = "BC"


def _asked(profile: Profile, seed: int) -> list[tuple[Profile, Cell, dict[str, Cell]]]:
    """(profile at K, supernet, how a width is chosen -> its cell), one a value of K."""
    out = []
    for K in profile.values:
        p = replace(profile, K=K)
        steps = supernets.steps_of(p, METHOD, "passes")
        trained = supernets.cell(p, METHOD, seed, steps)
        chosen = {"evolution": searches.cell(p, "evolution", seed, METHOD, steps)}
        chosen |= {b: searches.cell(p, b, seed) for b in searches.BASELINES}
        out.append((p, trained, chosen))
    return out


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    asked = [a for seed in seeds for a in _asked(profile, seed)]
    train = [trained for _, trained, _ in asked]
    return [train, [cell for _, _, chosen in asked for cell in chosen.values()]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows = []
    for seed in seeds:
        for p, trained, chosen in _asked(profile, seed):
            for search, cell in chosen.items():
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
    pairs = [(K, e) for K in middle for e in ends]
    told = dict(zip(pairs, signs([at[K] - at[e] for K, e in pairs]), strict=True))
    inside = [K for K in middle if all(told[K, e] > 0 for e in ends)]
    outside = [e for e in ends if all(told[K, e] < 0 for K in middle)]
    best = max(middle, key=lambda K: at[K].mean())
    end = max(ends, key=lambda K: at[K].mean())
    beaten = [e for e in ends if told[best, e] > 0]
    if inside:
        verdict, note = "reproduced", f"Better than both ends: {_named(inside)}."
    elif outside:
        verdict, note = "contradicted", f"Better than all in the middle: {_named(outside)}."
    elif beaten and at[best].mean() > at[end].mean():
        verdict = "trend only"
        note = f"{_named([best])} is better than {_named(beaten)}, not surely than the other end."
    else:
        verdict = "not reproduced"
        note = "No K in the middle could be shown to be better than both ends."
    note += (
        f" {METHOD} supernets, K from {values[0]} to {values[-1]}, equal passes and "
        "generations; a space with fewer widths has fewer different ones to score. "
        "The verdict is by paired t-tests of every K in the middle against both ends, adjusted by "
        "Holm; the interval shown is not adjusted for choosing the best of the middle."
    )
    return [
        Finding(
            claim="group-number",
            place="Fig. 6",
            what=f"{_named([best])}, best of the middle, minus {_named([end])}, the better end",
            paper="best in the middle",
            ours=paired_difference(at[best], at[end]),
            verdict=verdict,
            note=note,
            profile=record.profile,
        )
    ]


def _named(values: Sequence[int]) -> str:
    return "K = " + ", ".join(map(str, values))


GROUP_NUMBER = Experiment(
    name="group_number",
    profiles=PROFILES["group_number"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    missing=(
        "score, passes, uneven, seconds: a random or uniform width has no supernet; "
        "spread: a single training has none"
    ),
)
