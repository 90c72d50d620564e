"""An experiment: cells to compute, and the record that comes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from ..profiles import Profile
from ..results import Measured, Record
from ..results import measured as measure
from .cells import Cell, Where, compute
from .findings import Finding

__all__ = ["Experiment", "ExperimentError", "run"]


class ExperimentError(RuntimeError):
    """Cells of an experiment failed."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One ablation: what is computed, and how the rows of its record come of it."""

    name: str
    """Of its folder in ``figures/``, and of its chapter where ``chapter`` does not say."""
    profiles: Mapping[str, Profile]
    """Its settings, by profile name."""
    stages: Callable[[Profile, Sequence[int]], list[list[Cell]]]
    """``stages(profile, seeds)``: cells, those that need the files of others in a later list."""
    rows: Callable[[Profile, Sequence[int], Mapping[Cell, dict], Where], list[dict]]
    """``rows(profile, seeds, results, where)``: rows of the record, from what the cells left (and
    ``seconds``: of the processor on a CPU, of the clock elsewhere)."""
    headline: Callable[[list[dict]], str]
    """The record's first line, from its rows."""
    findings: Callable[[Record], list[Finding]] = lambda record: []
    """What a record says about claims of the paper, one a claim."""
    missing: str = ""
    """Why a number of a row may be None."""
    chapter: str = ""
    """Its notebook, as seen from ``book/ablations/``; default: there, by the name."""

    @property
    def notebook(self) -> str:
        """Its chapter, as seen from ``book/ablations/``."""
        return self.chapter or f"{self.name}.ipynb"

    def seeds(self, profile: Profile, seeds: int | Sequence[int] | None = None) -> list[int]:
        """Seeds to run: so many from 0, these, or as many as the profile says.

        Raises:
            ValueError: for none at all, a negative one, or one given twice.
        """
        seeds = profile.seeds if seeds is None else seeds
        seeds = list(range(seeds) if isinstance(seeds, int) else seeds)
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(
                f"{self.name}: at least one seed, and each once, from 0 on, got {seeds}"
            )
        return seeds

    def record(
        self,
        profile_name: str,
        done: Mapping[Cell, dict],
        where: Where,
        *,
        seeds: Sequence[int],
        measured: Measured,
    ) -> Record:
        """The record of finished cells, from what their files hold (``Cell.load``)."""
        profile = self.profiles[profile_name]
        own = [cell for stage in self.stages(profile, seeds) for cell in stage]
        done = {cell: done[cell] for cell in own}
        results = {
            cell: body["result"] | {"seconds": body["seconds"]} for cell, body in done.items()
        }
        rows = self.rows(profile, seeds, results, where)
        rows = [{k: _rounded(v) for k, v in row.items()} for row in rows]
        parameters = asdict(profile) | {
            "seeds": list(seeds),
            "core_seconds": round(sum(body["seconds"] for body in done.values())),
            "libraries": sorted({body["library"] for body in done.values()}),
        }
        here = where.device.partition(":")[0]
        devices = sorted({body.get("device", here) for body in done.values()})
        if devices != [here]:
            parameters["devices"] = devices  # of cells that were there before
        if together := [body for body in done.values() if "processes" in body]:  # under torchrun
            for what in ("processes", "sync_batchnorm"):
                parameters[what] = sorted({body.get(what, False) for body in together})
        return Record.new(
            self.headline(rows),
            rows,
            experiment=self.name,
            profile=profile_name,
            parameters=parameters,
            measured=measured,
            missing=self.missing if any(v is None for r in rows for v in r.values()) else "",
            device=where.device,
        )


def _rounded(value):
    return round(value, 5) if isinstance(value, float) else value


def run(
    experiment: Experiment,
    profile_name: str,
    where: Where,
    *,
    seeds: int | Sequence[int] | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> Record | None:
    """Compute what is not there yet, and make the record; a chapter's one call.

    Args:
        profile_name: of ``experiment.profiles``. seeds: see ``Experiment.seeds``.
        jobs, progress: of ``cells.compute``.
    Returns:
        the record, or None if ``where.until`` came first: call again to go on.
    Raises:
        ExperimentError: with the first failure, when all other cells are done.
        ValueError: for an unknown profile or wrong seeds.
    """
    if profile_name not in experiment.profiles:
        known = ", ".join(experiment.profiles)
        raise ValueError(f"{experiment.name}: unknown profile {profile_name!r}; known are {known}")
    profile = experiment.profiles[profile_name]
    seeds, done = experiment.seeds(profile, seeds), {}
    with measure(where.device) as took:
        for stage in experiment.stages(profile, seeds):
            outcome = compute(stage, where, jobs=jobs, progress=progress)
            if outcome.failed:
                cell, text = next(iter(outcome.failed.items()))
                raise ExperimentError(
                    f"{experiment.name}: {len(outcome.failed)} cells failed, first "
                    f"'{cell.slug}':\n{text}"
                )
            if outcome.left:
                return None
            done |= outcome.done
    return experiment.record(profile_name, done, where, seeds=seeds, measured=took)
