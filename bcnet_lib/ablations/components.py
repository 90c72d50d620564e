"""What each component of the method adds: search x supernet x complement x base widths x prior.

Follows Su et al., arXiv 2203.13714, section 7.5 and Table 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..intervals import headline, mean_interval
from ..profiles import PROFILES, Profile
from ..ranking import correlations
from ..results import Record
from . import searches, supernets
from .cells import Cell, Where
from .experiment import Experiment
from .findings import Finding, better, paired, signs
from .problem import Problem, problem_of

__all__ = ["COMPLEMENT", "COMPONENTS", "LADDER", "SUPERNETS"]

NARROW = {4: 2, 20: 5}  # K -> the smallest width where there is one: half of four, a quarter of 20
SUPERNETS = (
    *(("UA", False), ("BC", False), ("BC + complement", False)),
    *(("UA", True), ("BC", True), ("BCv2", True), ("BCv2 + complement", True)),
)
"""Method, and whether narrow widths are left out."""


def _of(method: str, base: bool, search: str) -> dict:
    return {"method": method, "base": base, "search": search}


LADDER = {
    "start: UA, greedy": _of("UA", False, "greedy"),
    "evolution": _of("UA", False, "evolution"),
    "both sides (BC)": _of("BC", False, "evolution"),
    "complement": _of("BC + complement", False, "evolution"),
    "smallest width (BCv2)": _of("BCv2 + complement", True, "evolution"),
    "prior": _of("BCv2 + complement", True, "prior + evolution"),
}
"""Components, each added to all before it; the rows of Table 10 that lead from first to last."""
COMPLEMENT = {
    "under BC": (_of("BC + complement", False, "evolution"), _of("BC", False, "evolution")),
    "under BCv2": (_of("BCv2 + complement", True, "evolution"), _of("BCv2", True, "evolution")),
}
"""What the complement is compared with, everything else being the same."""


def _profile(profile: Profile, narrow: bool) -> Profile:
    return replace(profile, base=NARROW[profile.K]) if narrow else profile


def _searches(profile: Profile) -> list[str]:
    known = problem_of(profile).bench is not None
    return [s for s in searches.SEARCHES if known or s != "every width"]


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    train, find = [], []
    for seed in seeds:
        for method, narrow in SUPERNETS:
            p, steps = _profile(profile, narrow), supernets.steps_of(profile, method, "passes")
            train.append(supernets.cell(p, method, seed, steps))
            find += [searches.cell(p, s, seed, method, steps) for s in _searches(profile)]
        find += [searches.cell(profile, b, seed) for b in searches.BASELINES]
    return [train, find]


def top(problem: Problem, result: Mapping | None) -> dict:
    """What a supernet's scores are worth within the budget, and at their top.

    Args:
        result: of the supernet's cell; None: there is no supernet.
    Returns:
        kendall of scores and accuracies; near, how many widths score within one standard error of
        the best; near_accuracy, their mean accuracy: what a pick among them by lot would reach;
        near_widest, the accuracy of the one of them with most MACs; top10, the mean accuracy of
        the ten best by score. All None without a benchmark.
    """
    if problem.bench is None or result is None:
        return dict.fromkeys(("kendall", "near", "near_accuracy", "near_widest", "top10"))
    macs = problem.cost.macs(problem.C)
    fits = macs <= problem.budget
    score, truth = supernets.scores_of(result).mean(axis=1)[fits], problem.truth[fits]  # (m,)
    best = score.max()
    near = score >= best - np.sqrt(best * (1 - best) / result["images"])
    ten = np.argsort(-score, kind="stable")[:10]
    return {
        "kendall": correlations(score, truth).kendall,
        "near": int(near.sum()),
        "near_accuracy": float(truth[near].mean()),
        "near_widest": float(truth[near][macs[fits][near].argmax()]),
        "top10": float(truth[ten].mean()),
    }


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    rows, budget = [], problem_of(profile, where.root).budget
    for seed in seeds:
        none = top(problem_of(profile, where.root), None)
        asked = [
            (_of("", False, b), searches.cell(profile, b, seed), none) for b in searches.BASELINES
        ]
        for method, narrow in SUPERNETS:
            p, steps = _profile(profile, narrow), supernets.steps_of(profile, method, "passes")
            trained = results[supernets.cell(p, method, seed, steps)]
            known = top(problem_of(p, where.root), trained)
            for search in _searches(profile):
                found = searches.cell(p, search, seed, method, steps)
                asked.append((_of(method, narrow, search), found, known))
        for about, found, known in asked:
            result = results[found]
            row = {"seed": seed} | about | {"accuracy": float(np.mean(result["accuracies"]))}
            row |= {k: result[k] for k in ("score", "evaluations")}
            row |= {"macs": result["macs"] / budget} | known
            rows.append(row | {"widths": " ".join(map(str, result["widths"]))})
    return rows


def _headline(rows: list[dict]) -> str:
    last = LADDER["prior"]
    found = [r["accuracy"] for r in rows if all(r[k] == v for k, v in last.items())]
    return headline("test accuracy (%) of widths by BCv2 + complement, prior, evolution", found)


def _said(names: Sequence[str], differences: Sequence[np.ndarray]) -> str:
    """Every difference in words: "complement +0.62 ± 0.51; prior -0.68 ± 1.04"."""
    each = map(mean_interval, differences)
    signed = [f"{'+' * (i.mean >= 0)}{i.text()}" for i in each]
    return "; ".join(f"{n} {text}" for n, text in zip(names, signed, strict=True))


def _findings(record: Record) -> list[Finding]:
    return [_every_step(record), _complement(record), _evolution(record)]


def _every_step(record: Record) -> Finding:
    """Reproduced if every step is surely better; contradicted if one, or all together, is worse."""
    rungs = list(LADDER.values())
    steps = [paired(record, "accuracy", b, a) for a, b in zip(rungs[:-1], rungs[1:], strict=True)]
    told, whole = signs(steps), paired(record, "accuracy", rungs[-1], rungs[0])
    all_of_it = mean_interval(whole)
    if all(sign == 1 for sign in told):
        verdict = "reproduced"
    elif -1 in told or all_of_it.high < 0:
        verdict = "contradicted"
    else:
        verdict = "trend only" if all_of_it.low > 0 else "not reproduced"
    words = {1: "surely better", -1: "surely worse", 0: "could not tell"}
    counts = [f"{words[sign]}: {told.count(sign)}" for sign in words if sign in told]
    return Finding(
        claim="components",
        place="Table 10",
        what="all components minus none (UA, greedy)",
        paper="every component adds",
        ours=all_of_it,
        verdict=verdict,
        note=(
            f"Points each component adds to those before it: {_said(list(LADDER)[1:], steps)}. "
            f"Of {len(told)} steps, adjusted together: {', '.join(counts)}. At equal passes."
        ),
        profile=record.profile,
    )


def _complement(record: Record) -> Finding:
    pairs = [paired(record, "accuracy", a, b) for a, b in COMPLEMENT.values()]
    mean = mean_interval(np.mean(pairs, axis=0))
    return Finding(
        claim="complement-accuracy",
        place="Table 10",
        what="with the complement minus without, mean of BC and BCv2",
        paper="the complement finds better networks",
        ours=mean,
        verdict=better(mean),
        note=(
            f"Points of test accuracy of the width found by evolution, at equal passes: "
            f"{_said(list(COMPLEMENT), pairs)}."
        ),
        profile=record.profile,
    )


def _evolution(record: Record) -> Finding:
    def minus(metric):
        both = [
            paired(record, metric, _of(m, b, "evolution"), _of(m, b, "greedy"))
            for m, b in SUPERNETS
        ]
        return np.mean(both, axis=0)  # (seeds,)

    mean, score = mean_interval(minus("accuracy")), mean_interval(100 * minus("score"))
    used = {
        s: np.mean([r["evaluations"] for r in record.rows if r["search"] == s])
        for s in ("evolution", "greedy")
    }
    return Finding(
        claim="evolution-beats-greedy",
        place="Table 10",
        what=f"evolution minus greedy on the same supernet, mean of {len(SUPERNETS)} kinds",
        paper="evolution finds better widths",
        ours=mean,
        verdict=better(mean),
        note=(
            f"{mean.text()} points of test accuracy, and {score.text()} points of the score that "
            f"both search by. Evolution scored {used['evolution']:.0f} widths, greedy "
            f"{used['greedy']:.0f}; the paper's 2,000 are not reached."
        ),
        profile=record.profile,
    )


COMPONENTS = Experiment(
    name="components",
    profiles=PROFILES["components"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    missing=(
        "score, kendall, near, top10: uniform and random widths have no supernet, "
        "and only a benchmark knows the accuracy of every width"
    ),
)
