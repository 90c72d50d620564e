"""Cells: the units of work of an experiment. Each leaves one file, whole or not at all.

A run that is stopped, killed or fails in one cell loses nothing of the others: the next run takes
their files and goes on. What a cell computes depends on its settings and key alone, never on where
and beside which others it runs.

Under ``torchrun`` all processes compute each cell together, one cell after another
(``bcnet_lib.distributed``), and the first of them reads and writes the files of cells.
"""

import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from joblib import Parallel, delayed

from .. import distributed
from ..cifar10 import DataError
from ..files import write_whole
from ..progress import bar as progress_bar
from ..results import library_hash

__all__ = ["CODE", "Cell", "CellError", "Outcome", "TimeUp", "Where", "compute", "finish"]

CODE = library_hash()
"""Of the library that this process runs, even if its files are edited meanwhile."""


class CellError(DataError):
    """A file of a cell that is none."""


class TimeUp(Exception):
    """The time was over deep inside a cell, which has kept what it needs to go on."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where cells are computed, and how long; their numbers do not depend on it."""

    folder: Path
    """Keeps the files of finished cells, and the checkpoints of unfinished ones."""
    device: str = "cpu"
    """``cpu`` or a torch device such as ``cuda``."""
    root: str | None = None
    """Folder of the images and benchmarks (default ``$BCNET_DATA``)."""
    until: float | None = None
    """Stop cleanly at this time (``time.time()``); None: run to the end."""

    def left(self) -> float | None:
        """Minutes left, never below 0, by the first process's clock; None: as it takes."""
        if self.until is None:
            return None
        return distributed.first(max(0.0, self.until - time.time()) / 60)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.left() == 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One unit of work; two are equal if they leave the same file."""

    name: str
    """Of the kind of work; the folder of its files."""
    run: Callable
    """``run(settings, where, file, **key) -> dict`` of JSON values, or None (or ``TimeUp``) if the
    time was not enough; ``file`` is a path without ending, for its checkpoints. A function of a
    module."""
    settings: object
    """Frozen dataclass."""
    key: tuple[tuple[str, object], ...]
    """What tells it from the other cells: (name, JSON value) pairs, a seed among them."""

    @classmethod
    def of(cls, name: str, run: Callable, settings, **key) -> "Cell":
        """A cell with its key as keywords."""
        return cls(name=name, run=run, settings=settings, key=tuple(key.items()))

    def __eq__(self, other) -> bool:
        if not isinstance(other, Cell):
            return NotImplemented
        return (self.name, self.slug) == (other.name, other.slug)

    def __hash__(self) -> int:
        return hash((self.name, self.slug))

    @property
    def identity(self) -> dict:
        """What decides its numbers; the number of seeds of an experiment does not."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in ("seeds", "values")}
        return json.loads(json.dumps({"settings": settings, "key": dict(self.key)}))

    @cached_property
    def slug(self) -> str:
        """Its name in messages and of its files: the key in words, and a digest of all."""
        words = "-".join(re.sub(r"\W+", "_", str(v)).strip("_") for _, v in self.key)[:60]
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        return f"{words}-{digest[:12]}"

    def path(self, folder: str | Path) -> Path:
        """Its file."""
        return Path(folder) / self.name / f"{self.slug}.json"

    def load(self, folder: str | Path) -> dict | None:
        """What it left: ``result``, ``seconds``, ``library``, ``device``; None if it is not done.

        Raises:
            CellError: if the file is no such file.
        """
        return distributed.call_first(lambda: self._load(folder))

    def _load(self, folder: str | Path) -> dict | None:
        path = self.path(folder)
        if not path.exists():
            return None
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            whole = body["identity"] == self.identity and isinstance(body["result"], dict)
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise CellError(f"'{path}' is no whole file of '{self.slug}': delete it, and run again")
        return body


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call of ``compute`` left."""

    done: dict[Cell, dict]
    """Of every finished cell, what its file holds: see ``Cell.load``."""
    failed: dict[Cell, str]
    """Why a cell failed."""
    left: tuple[Cell, ...]
    """Cells for which the time was not enough."""


def compute(
    cells: Iterable[Cell], where: Where, *, jobs: int = 1, progress: bool = False
) -> Outcome:
    """Compute every cell that has no file yet, side by side; one that fails stops no other.

    Under ``torchrun`` they are computed one after another, by all processes together, and one that
    fails ends the run.

    Args:
        cells: equal ones are computed once.
        jobs: processes, through joblib: inside ``joblib.parallel_config(backend="dask")`` or
            ``"ray"`` the cells go to that cluster instead, and jobs must be -1 or left at 1. The
            folder is then to be one that all of its machines see.
        progress: show a progress bar.
    Raises:
        CellError: if the file of a cell is none of its.
        ValueError: for several jobs under torchrun.
    """
    cells = list(dict.fromkeys(cells))
    todo = [cell for cell in cells if cell.load(where.folder) is None]
    if distributed.processes() > 1:
        if jobs != 1:
            raise ValueError(f"jobs={jobs}: the processes of torchrun compute a cell together")
        answers = (_together(cell, where) for cell in todo)
    else:
        answers = _parallel(jobs)(delayed(_work)(cell, where) for cell in todo)
    failed = {}
    with progress_bar(total=len(cells), initial=len(cells) - len(todo), show=progress) as bar:
        for cell, error in answers:
            if error is not None:
                failed[cell] = error
            bar.update()
    done = {cell: body for cell in cells if (body := cell.load(where.folder)) is not None}
    left = tuple(cell for cell in cells if cell not in done and cell not in failed)
    return Outcome(done=done, failed=failed, left=left)


def _parallel(jobs: int) -> Parallel:
    options = {"n_jobs": jobs, "batch_size": 1}
    try:
        return Parallel(**options, return_as="generator_unordered")
    except ValueError:  # ray's backend gives all answers at the end
        return Parallel(**options)


def finish(cell: Cell, where: Where) -> dict | None:
    """What a cell left, computed and written first if it is not there; None: the time was over."""
    body = cell.load(where.folder)
    if body is not None or where.over:
        return body
    clock = time.process_time if where.device == "cpu" else time.monotonic
    path, began = cell.path(where.folder), clock()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        result = cell.run(cell.settings, where, path.with_suffix(""), **dict(cell.key))
    except TimeUp:
        result = None
    if result is None:
        return None
    seconds = round(clock() - began, 3)
    body = {"identity": cell.identity, "seconds": seconds, "library": CODE}
    body["device"] = where.device.partition(":")[0]  # of several, the first
    body |= distributed.settings()
    body["result"] = result
    if distributed.is_first():
        write_whole(path, json.dumps(body, allow_nan=False).encode())
    distributed.wait()  # the others read the files of finished cells
    return body


def _together(cell: Cell, where: Where) -> tuple[Cell, None]:
    """Finish a cell in all processes of a group; an error ends them, as the others would wait."""
    if where.device == "cpu":
        torch.set_num_threads(1)
    finish(cell, where)
    return cell, None


def _work(cell: Cell, where: Where) -> tuple[Cell, str | None]:
    """Finish a cell; the cell, and why it failed."""
    if where.device == "cpu":
        torch.set_num_threads(1)  # as many processes as cores, and the same sums on any machine
    try:
        finish(cell, where)
    except Exception:  # whatever it is, the other cells go on
        return cell, traceback.format_exc()
    return cell, None
