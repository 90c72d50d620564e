"""What every chapter of an experiment does: make a record, and read those that are there."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..results import Record
from ..style import save
from .cells import CODE, Where
from .experiment import Experiment, run

__all__ = [
    "command",
    "keep_larger",
    "make",
    "other_code",
    "record_path",
    "records",
    "records_text",
    "same_numbers",
    "store",
]

PARTS = ("rows", "parameters", "experiment", "profile", "headline", "missing")


def make(
    experiment: Experiment,
    profile: str,
    *,
    seeds: int | Sequence[int] | None = None,
    device: str = "cpu",
    jobs: int = 1,
    minutes: float | None = None,
    folder: str | Path | None = None,
    out_root: str | Path | None = None,
    figures: Callable[[Record], Mapping] | None = None,
) -> Record | None:
    """Run an experiment and keep its record; says in a line what came of it.

    Args:
        profile, seeds, device, jobs: of ``run`` and ``Where``.
        minutes: stop cleanly after so many; None: when all is done.
        folder: keeps finished cells; None: a temporary one, so that all are computed.
        out_root: folder of all records, ``figures``; None: keep none.
        figures: ``figures(record)``: file name without ending -> ``BookFigure``, kept as well.
    Returns:
        the record, or None if the time was not enough: call it again with the same folder.
    Raises:
        ValueError: for an unknown profile, wrong seeds, or fewer than the record there has.
        bcnet_lib.ablations.experiment.ExperimentError: if a cell failed.
    """
    if out_root is not None:  # known before the long work, not after it
        keep_larger(experiment, profile, out_root, seeds)
    until = None if minutes is None else time.time() + 60 * minutes
    with tempfile.TemporaryDirectory() as temporary:
        where = Where(folder=Path(folder or temporary), device=device, until=until)
        record = run(experiment, profile, where, seeds=seeds, jobs=jobs, progress=True)
    if record is None:
        goes_on = "the same command goes on where it stopped"
        print(f"the time is up: {goes_on if folder else 'with a folder, a run can go on'}")
        return None
    if out_root is None:
        print(f"{record.headline}\nno record written: this was a trial")
    else:
        state = store(record, out_root, figures)
        print(f"{record.headline}\n{state}: {record_path(experiment, profile, out_root)}")
    if said := other_code(record):
        print(said)
    return record


def store(
    record: Record, out_root: str | Path, figures: Callable[[Record], Mapping] | None = None
) -> str:
    """Write a record, and its figures as SVG and PNG beside it.

    A record whose numbers are there already stays as it is, with the time and the memory of the
    run that computed them.

    Returns:
        ``"made"``, ``"made anew"`` or ``"unchanged"``.
    Raises:
        ValueError: if the record that is there has more seeds.
    """
    path = Path(out_root) / record.experiment / record.profile / "results.json"
    old = Record.load(path) if path.exists() else None
    _keep_larger(path, len(record.parameters["seeds"]))
    unchanged = old is not None and same_numbers(old, record)
    if not unchanged:
        record.save(path)
    for name, figure in (figures(record) if figures else {}).items():
        for ending in ("svg", "png"):
            file = path.with_name(f"{name}.{ending}")
            if not (unchanged and file.exists()):
                save(figure, file)
    return "unchanged" if unchanged else "made" if old is None else "made anew"


def keep_larger(
    experiment: Experiment,
    profile: str,
    out_root: str | Path,
    seeds: int | Sequence[int] | None = None,
) -> None:
    """Refuse to replace a record by one of fewer seeds.

    Raises:
        ValueError: if that is what a run with these seeds would do.
    """
    if profile in experiment.profiles:
        count = len(experiment.seeds(experiment.profiles[profile], seeds))
        _keep_larger(record_path(experiment, profile, out_root), count)


def _keep_larger(path: Path, seeds: int) -> None:
    if not path.exists():
        return
    there = len(Record.load(path).parameters["seeds"])
    if there > seeds:
        raise ValueError(
            f"'{path}' has {there} seeds, this run {seeds}: name another folder for its record"
        )


def same_numbers(a: Record, b: Record) -> bool:
    """Whether two records say the same; when, where and how long they were made is left out."""
    return all(getattr(a, part) == getattr(b, part) for part in PARTS)


def other_code(record: Record) -> str:
    """A sentence if cells of a record were computed by another version of the library, else ""."""
    others = [h[:12] for h in record.parameters["libraries"] if h != CODE]
    if not others:
        return ""
    return (
        f"warning: cells were computed by another version of the library ({', '.join(others)}, "
        f"here {CODE[:12]}): for numbers of this one, run in a fresh folder"
    )


# ------------------------------------------------------------------------------- reading records


def record_path(experiment: Experiment, profile: str, root: str | Path) -> Path:
    """Where a record lies below the folder of all records."""
    return Path(root) / experiment.name / profile / "results.json"


def records(experiment: Experiment, root: str | Path = "../../figures") -> dict[str, Record]:
    """The records that are there, by profile, in the order of the profiles."""
    paths = {name: record_path(experiment, name, root) for name in experiment.profiles}
    return {name: Record.load(path) for name, path in paths.items() if path.exists()}


def command(experiment: Experiment, profile: str) -> str:
    """What to type for a record."""
    device = " DEVICE=cuda" if experiment.profiles[profile].fast else ""
    return f"make ablations PROFILE={profile} ONLY={experiment.name}{device}"


def records_text(experiment: Experiment, root: str | Path = "../../figures") -> str:
    """One line a profile: what its record says, or the command that makes it."""
    there = records(experiment, root)
    lines = []
    for name in experiment.profiles:
        if name in there:
            lines.append(f"{name}: {there[name].headline}")
        elif name != "smoke":  # its numbers mean nothing, so none are kept
            lines.append(f"{name}: no record; to make it: {command(experiment, name)}")
    return "\n".join(lines)
