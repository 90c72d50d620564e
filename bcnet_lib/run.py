"""The whole way: supernet, records, prior, evolution, training from scratch, report.

``python -m bcnet_lib run --model mobilenet_v2 --data imagenet --macs 150e6 …``, or ``run(Run(…),
folder)``. Each stage leaves a file in the folder; what is there is not done again, so the same
command goes on after an interruption, within every stage, to the same numbers. Under ``torchrun``
all processes do each stage together (``distributed.py``), and the first one writes.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import distributed
from .checkpoint import CheckpointError, read, same_settings, write
from .data import mix
from .files import write_whole
from .io import save
from .networks import make
from .results import Record, measured
from .run_report import make_report, summary
from .scratch import train_in_parts
from .search import evolve, layer_errors, uniform
from .search.budget import walk_within
from .search.spread import spread_prior
from .task import Run, Task
from .train import SupernetTrainer

__all__ = ["STAGES", "run"]

STAGES = ("supernet", "prior", "search", "teacher", "retrain", "report")
"""In order; some are left out where the settings do not ask for them."""


class _TimeUp(Exception):
    """The time is over; what is needed to go on is kept."""


@dataclass(frozen=True, kw_only=True)
class _Here:
    """Where and how long a run works; its numbers do not depend on it."""

    folder: Path
    device: str
    until: float | None
    progress: bool

    def say(self, text: str) -> None:
        if self.progress:
            print(text, flush=True)

    def over(self) -> bool:
        """Whether the time is over, by the clock of the first process."""
        return self.until is not None and distributed.first(time.time() >= self.until)

    def minutes(self) -> float | None:
        """Minutes left, None without a limit."""
        return None if self.until is None else max(0.0, (self.until - time.time()) / 60)

    def read(self, name: str) -> dict | None:
        """What ``write`` wrote under a name, in all processes."""

        def look():
            path = self.folder / f"{name}.done"
            if not path.exists():
                return None
            try:
                return json.loads(read(path))
            except ValueError as error:
                raise CheckpointError(f"'{path}' holds no JSON: delete it to do it anew") from error

        return distributed.call_first(look)

    def write(self, name: str, content: dict) -> dict:
        """Keep what a stage found, whole or not at all."""
        write(self.folder / f"{name}.done", json.dumps(content, allow_nan=False).encode())
        return content

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to those of a stage, in ``seconds.done``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            if distributed.is_first():
                path = self.folder / "seconds.done"
                spent = json.loads(read(path)) if path.exists() else {}
                spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - began
                self.write("seconds", spent)


def run(
    settings: Run,
    folder: str | Path,
    *,
    device: str = "cpu",
    root: str | Path | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> Record | None:
    """Find widths within the budget, and train their network from scratch beside baselines.

    Args:
        settings: ``Run``. folder: of this run alone; made if absent.
        device: ``cpu`` or ``cuda``; under ``torchrun`` what ``distributed.joined`` gives.
        root: folder of the data; default ``$BCNET_DATA``.
        minutes: stop cleanly after so many; the same call goes on.
        progress: print what is done, and show bars.
    Returns:
        Record, also in ``report.json``: a row for each training (seed, name, widths, channels,
        MACs, parameters, accuracies in percent); None if the time was over. Trained networks of
        the found width are in ``networks/``, for ``bcnet_lib.load``.
    Raises:
        CheckpointError: if the folder holds a run of other settings (named), or a damaged file.
        ValueError: as ``Task``, before anything is written (DataError, GraphError, WidthError and
            BudgetError are kinds of it).
    """
    task, folder = Task(settings, root), Path(folder)
    until = None if minutes is None else time.time() + 60 * minutes
    progress = progress and distributed.is_first()
    here = _Here(folder=folder, device=device, until=until, progress=progress)
    _claim(task, folder)
    with measured(device) as took:
        try:
            found = here.read("search") or _find(task, here)
            rows = _train_all(task, here, found)
        except _TimeUp:
            here.say("the time is up: the same command goes on")
            return None
    record = make_report(task, found, rows, here.read("seconds"), took, device)
    if distributed.is_first():
        record.save(folder / "report.json")
    distributed.wait()
    here.say(f"{summary(record)}\n{folder / 'report.json'}")
    return record


def _claim(task: Task, folder: Path) -> None:
    """Write what the folder is for, or check that it is for this."""
    file = folder / "run.json"
    mine = task.settings.to_dict() | {"images": task.data.describe()}
    mine |= {"processes": 1} | distributed.settings()  # dropout draws differ in each
    there = distributed.call_first(lambda: _json(file) if file.exists() else None)
    if there is not None:
        same_settings(file, _flat(mine), _flat(there), "give this run a folder of its own (--out)")
    elif distributed.is_first():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"folder '{folder}' cannot be made ({error}): name another") from error
        write_whole(file, json.dumps(mine, indent=1).encode())
    distributed.wait()


def _json(file: Path) -> dict:
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise CheckpointError(f"'{file}' holds no JSON ({error}): name another folder") from error
    return found


def _flat(settings: dict, before: str = "") -> dict:
    out = {}
    for key, value in settings.items():
        inside = isinstance(value, dict)
        out |= _flat(value, f"{before}{key}.") if inside else {before + key: value}
    return out


# ------------------------------------------------------------------------------ the search


def _find(task: Task, here: _Here) -> dict:
    """Supernet, prior and evolution: widths to train by name, and what the search says of them."""
    settings, net = task.settings, task.supernet(here.device)
    with here.timed("supernet"):
        trainer = _train_supernet(task, net, here)
    with here.timed("prior"):
        first = _first_generation(task, trainer, here)

    def look(generation, result) -> None:  # when its scores are kept
        if here.over():
            raise _TimeUp

    here.say(f"search: {settings.generations} generations of {settings.population} widths")
    with here.timed("search"):
        found = evolve(
            net,
            task.data,
            budget=task.budget,
            cost=task.cost,
            population=settings.population,
            generations=settings.generations,
            seed=mix(settings.seed, 2),
            initial="random" if first is None else first,
            checkpoint=here.folder / "search.scores",
            callback=look,
            batch_size=settings.score_batch,
            amp=settings.supernet.amp,
            progress=here.progress,
        )
    here.say(f"search: {found!r}")
    return here.write(
        "search",
        {
            "widths": {"found": found.best.tolist()} | _baselines(task),
            "score": found.score,
            "evaluations": found.evaluations,
            "passes": trainer.passes,
            "front": found.front.to_dict("list"),
        },
    )


def _train_supernet(task: Task, net, here: _Here) -> SupernetTrainer:
    settings = task.settings
    per_epoch = task.data.train.steps(settings.supernet.batch_size, drop_last=True)
    trainer = SupernetTrainer(
        net,
        task.data,
        settings.supernet,
        update=settings.update,
        complement=settings.complement,
        distill=settings.distill,
        seed=mix(settings.seed, 1),
        checkpoint=here.folder / "supernet.checkpoint",
        checkpoint_every=max(50, per_epoch // 4),
        progress=here.progress,
    )
    here.say(f"supernet: {trainer.step:,} of {trainer.total_steps:,} steps are done")
    trainer.fit(minutes=here.minutes())
    if trainer.step < trainer.total_steps:
        raise _TimeUp
    return trainer


def _first_generation(task: Task, trainer: SupernetTrainer, here: _Here) -> np.ndarray | None:
    """Widths (population, L) drawn from the prior over the training records; None: at random."""
    settings = task.settings
    if not settings.prior:
        return None
    drawn = here.read("prior")
    if drawn is None:
        n = min(settings.population, task.space.networks)

        def draw() -> dict:  # once, as solvers on other machines may round otherwise
            errors = layer_errors(trainer.records, settings.prior_passes, space=task.space)
            prior = spread_prior(errors, task.cost, task.budget, n, settings.seed)
            C = prior.sample(np.random.default_rng(mix(settings.seed, 5)), n, distinct=True)
            facts = {"gap": prior.gap, "temperature": prior.temperature, "unseen": prior.unseen}
            return {"widths": C.tolist()} | facts

        drawn = here.write("prior", distributed.call_first(draw))
    here.say(f"prior: {len(drawn['widths'])} widths, at most {drawn['gap']:.2%} from the optimum")
    return np.array(drawn["widths"], dtype=np.int64)


def _baselines(task: Task) -> dict[str, list[int]]:
    """Widths of the baselines that are asked for, by name, but for the model as it is."""
    out, space = {}, task.space
    if "uniform" in task.settings.baselines:
        out["uniform"] = uniform(space, task.cost, task.budget).tolist()
    if "random" in task.settings.baselines:
        rng = np.random.default_rng(mix(task.settings.seed, 3))
        out["random"] = walk_within(space, task.cost, task.budget, rng, 1)[0].tolist()
    return out


# ------------------------------------------------------------------- training from scratch


def _train_all(task: Task, here: _Here, found: dict) -> list[dict]:
    """A row for each training: name, number of the training, accuracies in [0, 1], passes."""
    settings, teacher, rows = task.settings, None, []
    with here.timed("retrain"):
        full = range(settings.retrain_seeds if "full" in settings.baselines else 0)
        if settings.teacher == "full":
            full = range(max(1, len(full)))
        for k in full:  # first, since it teaches
            rows.append(_train(task, here, "full", None, k))
        if settings.teacher is not None:
            folder = here.folder / "networks/full-0"
            folder = folder if settings.teacher == "full" else settings.teacher
            teacher = task.teacher(folder, here.device)
        for name, c in found["widths"].items():
            for k in range(settings.retrain_seeds):
                rows.append(_train(task, here, name, c, k, teacher))
    return rows


def _train(task: Task, here: _Here, name: str, c: list[int] | None, k: int, teacher=None) -> dict:
    """Train one network from scratch, unless that is done; c: widths, None: the model as it is."""
    settings, key = task.settings, f"{name}-{k}"
    if (done := here.read(f"retrain/{key}")) is not None:
        return done
    seed = mix(settings.seed, 6, k)
    model, space, c = task.build(c, seed, here.device)
    here.say(f"from scratch: {name}, {k + 1} of {settings.retrain_seeds}")
    checkpoint = here.folder / f"retrain/{key}.checkpoint"
    trained = train_in_parts(
        model,
        task.data,
        settings.retrain,
        seed=seed,
        checkpoint=checkpoint,
        over=here.over,
        progress=here.progress,
        teacher=teacher,
        distill_weight=settings.distill_weight,
        temperature=settings.temperature,
        keep=True,
    )
    if trained is None:
        raise _TimeUp
    if distributed.is_first():
        save(here.folder / f"networks/{key}", trained.model, space, c, factory=make, **task.factory)
    accuracies = {"val": trained.val_accuracy, "test": trained.test_accuracy}
    row = here.write(
        f"retrain/{key}", {"name": name, "k": k, "passes": trained.passes} | accuracies
    )
    if distributed.is_first():
        checkpoint.unlink(missing_ok=True)
    distributed.wait()  # the others may read the network next, as a teacher
    return row
