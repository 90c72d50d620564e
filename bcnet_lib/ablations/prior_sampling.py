"""Where an evolution starts: widths from the prior, or random ones, under the same budget.

Every start gives the same number of widths to the same search of the same supernet, which then
scores the same number of widths in all. Follows Su et al., arXiv 2203.13714, sections 4.3 and 4.4,
Figs. 4 and 10.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from .. import distributed
from ..checkpoint import read_state, weights_digest, write_state
from ..data import mix
from ..intervals import headline, mean_interval
from ..profiles import PROFILES, Profile
from ..results import Record
from ..search import BudgetError, evolve, fit_prior
from ..search.budget import draw_within, shrink_within, widen_within
from ..search.result import make_score
from ..search.spread import spread_prior
from . import searches, supernets
from .cells import Cell, TimeUp, Where
from .experiment import Experiment
from .findings import Finding, better, paired, signs
from .problem import Problem, problem_of

__all__ = ["METHOD", "PRIOR_SAMPLING", "STARTS", "population_of"]

METHOD = "BCv2 + complement"
"""What trains the supernets, at equal passes."""
STARTS = (
    *("prior, optimum", "prior", "prior, 4 x warmer", "prior, 16 x warmer"),
    *("random", "random, narrowed", "random, widened", "default of evolve"),
)
"""Where a search starts. The optimum of Eqs. 14-15 describes two networks at most; "prior" has the
lowest temperature that gives a whole population of different widths. "random": uniform over all
widths within the budget; "narrowed": uniform over the space, then narrowed until it fits;
"widened": these widened until the budget is used up; "default of evolve": half of each."""
REPEATS = 8  # searches of one supernet from one start, where scores are looked up


class _Stop(Exception):
    """Enough widths are scored."""


def _repeats(problem: Problem) -> int:
    return REPEATS if problem.bench is not None and problem.profile.widths is None else 1


def population_of(start: str, problem: Problem, errors: np.ndarray, seed: int) -> np.ndarray:
    """A first generation (n, L), n = ``profile.population``.

    Its widths differ, but for "prior, optimum", which is drawn with repetition.

    Args:
        errors: (L, K) of the supernet's records (Eq. 13).
    """
    n, space = problem.profile.population, problem.space
    cost, budget = problem.cost, problem.budget
    rng = np.random.default_rng(mix(seed, 7))
    if start == "prior, optimum":
        return fit_prior(errors, cost, budget).sample(rng, n)
    if start.startswith("prior"):
        times = {"prior": 1, "prior, 4 x warmer": 4, "prior, 16 x warmer": 16}[start]
        prior = spread_prior(errors, cost, budget, n, seed)
        if times > 1:
            prior = fit_prior(errors, cost, budget, temperature=times * prior.temperature)
        for _ in range(20):  # other draws than those that fixed it may repeat themselves too often
            try:
                return prior.sample(rng, n, distinct=True)
            except BudgetError:
                prior = fit_prior(errors, cost, budget, temperature=2 * prior.temperature)
        raise BudgetError(f"no temperature gives {n} different widths within the budget")
    if start == "random":
        return draw_within(space, cost, budget, rng, n)
    C = np.empty((0, space.L), dtype=np.int64)
    while len(C) < n:  # until they differ
        new = shrink_within(space, cost, budget, space.sample(rng, n), rng)
        wide = {"random, widened": n, "default of evolve": n // 2}.get(start, 0)
        new[:wide] = widen_within(space, cost, budget, new[:wide], rng)
        _, first = np.unique(C := np.concatenate([C, new]), axis=0, return_index=True)
        C = C[np.sort(first)[:n]]
    return C


def run(
    settings: Profile, where: Where, file: Path, *, start: str, seed: int, steps: int
) -> dict | None:
    """Search one supernet from one start, several times where scores are looked up.

    Where a supernet scores, scores are kept after each generation in ``file`` with the ending
    ``.search``, and a search that was stopped goes on with them.

    Returns:
        None if the time was over; else lists with one entry a search: populations (n, L), scored
        (the widths in order, ``population * generations`` or fewer if the space has no more),
        scores of these, and of the population's widths one by one. Accuracies of the best width
        of the first search, after training from scratch.
    """
    problem = problem_of(settings, where.root)
    trained = supernets.cell(settings, METHOD, seed, steps)
    result = trained.load(where.folder)["result"]
    looked_up = problem.bench is not None and settings.widths is None
    net = SimpleNamespace(space=problem.space, cost=problem.cost)
    if looked_up:
        score = searches.score_of(problem, result)
    else:
        net = supernets.load_net(trained, where)
        score = make_score(net, problem.data, "val", settings.score_batch, None)
    kept = None if looked_up else _Kept(file.with_suffix(".search"), net)
    out = {"populations": [], "scored": [], "scores": [], "first": []}
    for repeat in range(_repeats(problem)):
        C = population_of(start, problem, supernets.errors_of(result), mix(seed, 8, repeat))
        scored = _search(net, problem, score, C, mix(seed, 9, repeat), where, kept)
        first = [scored.get(c) for c in map(tuple, C.tolist())]
        out["populations"].append(C.tolist())
        out["scored"].append([list(c) for c in scored])
        out["scores"].append(list(scored.values()))
        out["first"].append(first)
    best = max(range(len(out["scores"][0])), key=out["scores"][0].__getitem__)
    out["accuracies"] = searches.judge(problem, out["scored"][0][best], seed, where)
    if out["accuracies"] is None:
        return None
    if distributed.is_first():
        file.with_suffix(".search").unlink(missing_ok=True)
    return out


class _Kept:
    """Scores on file, of one supernet: width -> score."""

    def __init__(self, path: Path, net):
        self.path, self.weights = path, weights_digest(net)
        state = read_state(path) if path.exists() else {}
        mine = state.get("weights") == self.weights  # else of one that was trained before
        self.scores = {tuple(c): s for *c, s in state["table"]} if mine else {}

    def keep(self, scored: Mapping[tuple, float]) -> None:
        self.scores |= scored
        table = [[*c, s] for c, s in self.scores.items()]
        write_state(self.path, {"weights": self.weights, "table": table})


def _search(
    net, problem: Problem, score, C, seed: int, where: Where, kept: _Kept | None = None
) -> dict[tuple, float]:
    """Widths and scores in the order in which ``evolve`` asks for them, so many and no more.

    Raises:
        TimeUp: if the time is over.
    """
    profile, scored = problem.profile, {}
    most = profile.population * profile.generations

    def limited(c):
        if len(scored) == most:
            raise _Stop
        key = tuple(int(w) for w in c)
        if kept is not None and key in kept.scores:
            scored[key] = kept.scores[key]
        elif where.over:
            raise TimeUp
        else:
            scored[key] = float(score(c))
        return scored[key]

    sizes = {"population": profile.population, "generations": 4 * profile.generations}
    try:  # offspring over the budget is not scored: more generations for as many evaluations
        options = {"initial": C, "score": limited, "progress": False}
        if kept is not None:
            options["callback"] = lambda *_: kept.keep(scored)
        evolve(net, problem.data, budget=problem.budget, seed=seed, **sizes, **options)
    except _Stop:
        pass
    return scored


def cell(profile: Profile, start: str, seed: int) -> Cell:
    """The cell that searches a supernet from one start."""
    steps = supernets.steps_of(profile, METHOD, "passes")
    return Cell.of("starts", run, profile, start=start, seed=seed, steps=steps)


def _stages(profile: Profile, seeds: Sequence[int]) -> list[list[Cell]]:
    steps = supernets.steps_of(profile, METHOD, "passes")
    train = [supernets.cell(profile, METHOD, seed, steps) for seed in seeds]
    return [train, [cell(profile, start, seed) for seed in seeds for start in STARTS]]


def _rows(
    profile: Profile, seeds: Sequence[int], results: Mapping[Cell, dict], where: Where
) -> list[dict]:
    problem, rows = problem_of(profile, where.root), []
    for seed in seeds:
        for start in STARTS:
            result = results[cell(profile, start, seed)]
            about = {"seed": seed, "start": start}
            rows.append(about | {"generation": 0} | _population(problem, result))
            for g in range(1, profile.generations + 1):
                found = [
                    _best(problem, C, s, g * profile.population)
                    for C, s in zip(result["scored"], result["scores"], strict=True)
                ]
                row = {k: _mean([f[k] for f in found]) for k in found[0]}
                if problem.bench is None and g == profile.generations:
                    row["accuracy"] = _mean(result["accuracies"])
                rows.append(about | {"generation": g} | row)
    return rows


def _population(problem: Problem, result: dict) -> dict:
    """Means over the population, and over its repetitions."""
    C = np.array(result["populations"])  # (repeats, n, L)
    scores, flat = np.array(result["first"]), C.reshape(-1, C.shape[-1])
    known = problem.bench is not None
    return {
        "evaluations": float(np.mean([len(np.unique(c, axis=0)) for c in C])),
        "score": float(scores.mean()),
        "accuracy": float(problem.bench.accuracy(flat).mean()) if known else None,
        "macs": float(problem.cost.macs(flat).mean() / problem.budget),
    }


def _best(problem: Problem, scored, scores, n: int) -> dict:
    """The best by score of the first n widths scored; of several the first."""
    n = min(n, len(scores))
    c = np.array(scored[int(np.argmax(scores[:n]))])
    known = problem.bench is not None
    return {
        "evaluations": n,
        "score": max(scores[:n]),
        "accuracy": float(problem.bench.accuracy(c)) if known else None,
        "macs": float(problem.cost.macs(c) / problem.budget),
    }


def _mean(values):
    return None if any(v is None for v in values) else float(np.mean(values))


def _headline(rows: list[dict]) -> str:
    last = max(r["generation"] for r in rows)
    found = [r["accuracy"] for r in rows if (r["start"], r["generation"]) == ("prior", last)]
    return headline("test accuracy (%) of widths evolved from the prior", found)


def _findings(record: Record) -> list[Finding]:
    """Two tests, adjusted together: is the population better, and does the search end better?"""
    last = max(r["generation"] for r in record.rows)

    def minus(other: str, generation: int, metric: str = "accuracy"):
        at = {"generation": generation}
        return paired(record, metric, at | {"start": "prior"}, at | {"start": other})

    ended, score = minus("random", last), 100 * minus("random", last, "score")
    note = (
        "Evolution from the prior minus evolution from uniform random widths, after as many "
        f"evaluations: {mean_interval(ended).text()} points of test accuracy, "
        f"{mean_interval(score).text()} points of score. "
    )
    if any(r["accuracy"] is None for r in record.rows):  # no benchmark
        verdict = better(mean_interval(ended))
        note += "The accuracy of the populations is not known: their widths are not trained."
    else:
        drawn, widened = minus("random", 0), minus("random, widened", 0)
        sure = signs([drawn, ended])
        verdict = "contradicted" if -1 in sure else "not reproduced"
        verdict = {(1, 1): "reproduced", (1, 0): "trend only"}.get(tuple(sure), verdict)
        note += (
            f"The populations themselves: {mean_interval(drawn).text()} points against uniform "
            f"random, {mean_interval(widened).text()} against random widths that are widened "
            "until the budget is used up. Where the evolution ends, against its default start: "
            f"{mean_interval(minus('default of evolve', last)).text()} points."
        )
    return [
        Finding(
            claim="prior-start",
            place="Figs. 4 and 10",
            what="evolution from the prior minus from random widths, at equal evaluations",
            paper="the prior's population is better than a random one, and so is where it leads",
            ours=mean_interval(ended),
            verdict=verdict,
            note=note,
            profile=record.profile,
        )
    ]


PRIOR_SAMPLING = Experiment(
    name="prior_sampling",
    profiles=PROFILES["prior_sampling"],
    stages=_stages,
    rows=_rows,
    headline=_headline,
    findings=_findings,
    missing="accuracy: only a benchmark knows that of every width",
)
