"""All experiments of a profile at once: every cell side by side, then every chapter.

``python -m bcnet_lib.ablations --profile digits --jobs 2``, or ``make ablations``. What is done
stays done: a run that fails, is stopped or killed goes on with the same command, and no record is
touched before its numbers are complete. A cluster takes the same command with ``--backend``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from joblib import parallel_config

from .. import needs
from ..cifar10 import DataError
from ..results import Record
from . import EXPERIMENTS, chapter
from .cells import CODE, Cell, Where, compute
from .experiment import Experiment

__all__ = ["Line", "Log", "check_options", "compute_all", "drive", "main"]

PROFILES = tuple(dict.fromkeys(p for e in EXPERIMENTS.values() for p in e.profiles))
BACKENDS = ("dask", "ray")
CHAPTERS = Path("book/ablations")
WORK = Path("_build/ablations")


@dataclass(frozen=True, kw_only=True)
class Line:
    """What came of one experiment; a row of the summary."""

    experiment: str
    state: str
    """``made``, ``made anew``, ``unchanged``, ``failed`` or ``time up``."""
    log: Path
    """Says why, if it failed."""
    record: Record | None = None
    """The record that is there, new or old."""
    wall: float = 0.0
    """Seconds of its page; cells are shared, and counted together."""

    @property
    def good(self) -> bool:
        return self.state not in ("failed", "time up")


class Log:
    """Lines on the screen and in a file, with the time before each in the file."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, text: str, show: bool = True) -> None:
        if show:
            print(text, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


# ------------------------------------------------------------------------------- cells


def compute_all(
    chosen: Sequence[Experiment], profile: str, where: Where, *, seeds, jobs: int, log: Log
) -> dict[str, str]:
    """Compute the cells of all experiments, stage by stage; equal ones once.

    Returns:
        for every experiment that is not complete, by name: ``"failed"`` or ``"time up"``.
    """
    missing, stages = {}, {}
    for e in chosen:
        try:
            p = e.profiles[profile]
            stages[e.name] = e.stages(p, e.seeds(p, seeds))
        except Exception as error:  # data that is not here, say: the others go on
            missing[e.name] = "failed"
            log(f"{e.name}: {error}")
            log(traceback.format_exc(), show=False)
    for i in range(max(map(len, stages.values()), default=0)):
        _one_stage(i, stages, missing, where, jobs, log)
    return missing


def _one_stage(i: int, stages: dict, missing: dict, where: Where, jobs: int, log: Log) -> None:
    """Compute stage i of all experiments that are complete so far; say in ``missing`` what is not.

    An experiment with a failed cell goes on with those that do not need it: they may be shared.
    """
    own = {name: list(s[i]) for name, s in stages.items() if i < len(s)}
    cells = list(dict.fromkeys(cell for part in own.values() for cell in part))
    there = sum(cell.path(where.folder).exists() for cell in cells)
    log(f"stage {i + 1}: {len(cells)} cells of {', '.join(own)}; {there} are there")
    try:
        outcome = compute(cells, where, jobs=jobs, progress=True)
        failed = outcome.failed
    except Exception:  # a worker that was killed, a damaged file: what is done is done
        log(f"stage {i + 1} broke off")
        log(traceback.format_exc())
        failed = dict.fromkeys((c for c in cells if not c.path(where.folder).exists()), "broke off")
    for cell, why in failed.items():
        log(f"failed: {cell.name} {cell.slug}: {why.strip().splitlines()[-1]}")
        log(why, show=False)
    for name, part in own.items():
        if any(cell in failed for cell in part):
            missing[name] = "failed"
        elif name not in missing and not all(c.path(where.folder).exists() for c in part):
            missing[name] = "time up"


def foreign(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Finished cells that another version of the library computed."""
    bodies = ((cell, cell.load(folder)) for cell in dict.fromkeys(cells))
    return [cell for cell, body in bodies if body is not None and body["library"] != CODE]


@contextmanager
def cluster(backend: str | None, scheduler: str | None, jobs: int):
    """Gives the number of jobs for ``compute`` while cells go to this computer or to a cluster.

    Args:
        backend: None, this computer; ``"dask"``, ``"ray"``.
        scheduler: address; None: a local cluster of ``jobs`` processes.
    """
    if backend is None:
        yield jobs
    elif backend == "dask":
        from dask.distributed import Client

        options = {"address": scheduler} if scheduler else {"n_workers": jobs}
        if not scheduler:  # a process a cell: they measure processor time
            options |= {"threads_per_worker": 1, "dashboard_address": None}
        with Client(**options), parallel_config(backend="dask", n_jobs=-1):
            yield -1
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(address=scheduler, **({} if scheduler else {"num_cpus": jobs}))
        register_ray()
        try:
            with parallel_config(backend="ray", n_jobs=-1):
                yield -1
        finally:
            ray.shutdown()


# ------------------------------------------------------------------------------- chapters


def page(
    experiment: Experiment, profile: str, where: Where, *, seeds, out: Path, chapters: Path, logs
) -> Line:
    """Run one chapter by papermill, which makes the record of cells that are all there.

    An experiment without a chapter has its record made here.
    """
    name, log = experiment.name, Path(logs) / f"{experiment.name}.log"
    path = chapter.record_path(experiment, profile, out)
    before, began = path.read_bytes() if path.exists() else None, time.monotonic()
    notebook = Path(os.path.normpath(chapters / experiment.notebook))
    given = {"profile": profile, "device": where.device, "seeds": seeds, "jobs": 1}
    given |= {"folder": str(where.folder.absolute()), "out_root": str(out.absolute())}
    with log.open("w", encoding="utf-8") as file:
        if notebook.exists():
            command = [
                sys.executable,
                "-m",
                "papermill",
                str(notebook),
                str(logs / f"{name}.ipynb"),
            ]
            command += ["--cwd", str(notebook.parent), "--log-output"]
            for key, value in given.items():  # YAML, so that a folder called 1 stays a name
                command += ["-y", f"{key}: {_yaml(value)}"]
            environment = os.environ | {"TQDM_DISABLE": "1"}  # no bars in a log
            failed = subprocess.run(command, stdout=file, stderr=file, env=environment).returncode
        else:
            try:
                failed = chapter.make(experiment, **given) is None
            except Exception:  # the other pages go on
                failed = file.write(traceback.format_exc())
    now = path.read_bytes() if path.exists() else None
    state = "unchanged" if now == before else "made" if before is None else "made anew"
    return Line(
        experiment=name,
        state="failed" if failed or now is None else state,
        log=log,
        record=Record.load(path) if now is not None else None,
        wall=time.monotonic() - began,
    )


def _yaml(value) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


# ------------------------------------------------------------------------------- all of it


def drive(
    chosen: Sequence[Experiment],
    profile: str,
    where: Where,
    *,
    seeds: int | None = None,
    jobs: int = 1,
    backend: str | None = None,
    scheduler: str | None = None,
    out: Path = Path("figures"),
    chapters: Path = CHAPTERS,
    logs: Path = WORK,
) -> list[Line]:
    """Compute all cells, then run the chapters of experiments that are complete.

    Args:
        profile: known to all that are ``chosen``. where, seeds: of ``experiment.run``.
        jobs: processes. backend, scheduler: of ``cluster``.
        out: folder of all records. chapters: folder of notebooks. logs: gets a log file of the
            run, and a log and the executed notebook of every chapter.
    """
    log = Log(logs / "log.txt")
    log(f"profile {profile}: {', '.join(e.name for e in chosen)}; cells in {where.folder}")
    with cluster(backend, scheduler, jobs) as workers:
        missing = compute_all(chosen, profile, where, seeds=seeds, jobs=workers, log=log)
    options = {"seeds": seeds, "out": out, "chapters": chapters, "logs": logs}
    with ThreadPoolExecutor(jobs) as pool:
        pages = {
            e.name: pool.submit(page, e, profile, where, **options)
            for e in chosen
            if e.name not in missing
        }
        lines = []
        for e in chosen:
            if e.name in pages:
                line = pages[e.name].result()
            else:
                path = chapter.record_path(e, profile, out)
                old = Record.load(path) if path.exists() else None
                line = Line(experiment=e.name, state=missing[e.name], log=log.path, record=old)
            log(f"{e.name}: {line.state}")
            lines.append(line)
    return lines


def summary(lines: Sequence[Line]) -> str:
    """One table of all experiments, a headline below each row."""
    head = ("experiment", "state", "rows", "seeds", "core s", "page s", "log")
    table = [head]
    for line in lines:
        r = line.record
        about = [str(len(r.rows)), str(len(r.parameters["seeds"]))] if r else ["-", "-"]
        about.append(f"{r.parameters.get('core_seconds', '-'):,}" if r else "-")
        table.append((line.experiment, line.state, *about, f"{line.wall:.0f}", str(line.log)))
    wide = [max(len(row[i]) for row in table) for i in range(len(head))]
    text = ["  ".join(x.ljust(w) for x, w in zip(row, wide, strict=True)).rstrip() for row in table]
    out = [text[0]]
    for line, row in zip(lines, text[1:], strict=True):
        said = line.record.headline if line.record else "no record"
        out += [row, f"    {said if line.good or not line.record else f'(before: {said})'}"]
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the ablations of a profile, and make their records, figures and pages."""
    parser = argparse.ArgumentParser(prog="python -m bcnet_lib.ablations", description=main.__doc__)
    add = parser.add_argument
    add("--profile", choices=PROFILES, default="smoke", help="default: smoke")
    add("--only", nargs="+", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    add("--seeds", type=int, help="how many, from 0; default: as the profile says")
    add("--jobs", type=int, default=1, help="processes")
    add("--minutes", type=float, help="stop cleanly after so many; run again to go on")
    add("--device", default="cpu", help="cpu (default), cuda, …")
    add("--backend", choices=BACKENDS, help="send cells to a cluster (extra: scale)")
    add("--scheduler", help="its address; default: a local cluster of --jobs processes")
    add("--folder", type=Path, default=WORK / "cells", help="keeps finished cells")
    add("--out", type=Path, help="folder of records; default: figures, of smoke below _build")
    add("--chapters", type=Path, default=CHAPTERS, help="folder of the notebooks")
    add("--same-code", action="store_true", help="refuse cells of another version of the library")
    o = parser.parse_args(arguments)
    chosen = _chosen(parser, o.only, o.profile)
    logs = WORK / o.profile
    out = o.out or (logs / "figures" if o.profile == "smoke" else Path("figures"))
    check_options(parser, o, folder=o.folder, out=out)
    if o.scheduler and not o.backend:
        parser.error("--scheduler needs --backend dask or --backend ray")
    needs.absolute_root()
    until = None if o.minutes is None else time.time() + 60 * o.minutes
    where = Where(folder=o.folder.absolute(), device=o.device, until=until)
    try:
        for e in chosen:
            chapter.keep_larger(e, o.profile, out, o.seeds)
        _say_foreign(chosen, o, where)
        began = time.monotonic()
        options = {"backend": o.backend, "scheduler": o.scheduler, "out": out}
        options |= {"chapters": o.chapters, "logs": logs, "seeds": o.seeds, "jobs": o.jobs}
        lines = drive(chosen, o.profile, where, **options)
    except (ValueError, OSError) as error:  # also DataError
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        scale = 'the extra "scale" brings it: pip install -e ".[scale]"'
        print(f"{parser.prog}: {error}; {scale}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on", file=sys.stderr)
        return 130
    text = summary(lines)
    Log(logs / "log.txt")(f"after {time.monotonic() - began:.0f} s\n{text}", show=False)
    print(f"\n{text}\n\n{time.monotonic() - began:.0f} s; log: {logs / 'log.txt'}")
    return 0 if all(line.good for line in lines) else 1


def check_options(parser: argparse.ArgumentParser, options, **folders: Path) -> None:
    """Refuse what would only fail after long work; options of ``main``, and folders by option.

    Raises:
        SystemExit: naming the option.
    """
    if getattr(options, "jobs", 1) < 1:
        parser.error(f"--jobs {options.jobs}: at least one process is needed")
    minutes = getattr(options, "minutes", None)
    if minutes is not None and not minutes >= 0:  # also NaN
        parser.error(f"--minutes {minutes}: 0 or more are needed")
    try:
        device = torch.device(options.device)
    except RuntimeError:
        parser.error(f"--device {options.device}: torch knows no such device; cpu or cuda, say")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = f"torch finds {torch.cuda.device_count() or 'no'} CUDA device here"
        parser.error(f"--device {options.device}: {there}")
    for name, folder in folders.items():
        there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            parser.error(f"--{name} {folder}: cannot write to '{there}' ({error.strerror})")


def _chosen(parser, only: Sequence[str] | None, profile: str) -> list[Experiment]:
    if unknown := [name for name in only or () if name not in EXPERIMENTS]:
        parser.error(f"--only {unknown[0]}: known are {', '.join(EXPERIMENTS)}")
    for name in only or ():
        if profile not in (known := EXPERIMENTS[name].profiles):
            parser.error(f"--only {name}: it has no profile {profile!r}, only {', '.join(known)}")
    names = dict.fromkeys(only) if only else EXPERIMENTS
    return [EXPERIMENTS[n] for n in names if profile in EXPERIMENTS[n].profiles]


def _say_foreign(chosen: Sequence[Experiment], options, where: Where) -> None:
    """Warn of, or refuse, cells that another version of the library left in the folder."""
    if not where.folder.exists():
        return
    cells = []
    for e in chosen:
        profile = e.profiles[options.profile]
        try:
            stages = e.stages(profile, e.seeds(profile, options.seeds))
        except DataError:  # said again, with the experiment that failed
            continue
        cells += [cell for stage in stages for cell in stage]
    if found := foreign(cells, where.folder):
        says = f"{len(found)} cells in {where.folder} are of another version of the library"
        if options.same_code:
            raise ValueError(f"--same-code: {says}; name a fresh --folder")
        print(f"{says} and are used; records will name both versions", flush=True)
