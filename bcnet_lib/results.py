"""Run records: what was measured, how often, with what, and how sure we are.

A record is one JSON file. Its first field says the result in one line; the raw numbers of every
seed follow, then all that is needed to judge or repeat them. A file is written beside its old
version and moved over it, so a reader sees the old record or the new one, never half of one.

A number that does not exist is ``None``, and the record says in ``missing`` why; NaN and infinity
are refused, because a mean swallows them in silence.
"""

import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from .claims import Claim, Comparison, Ledger, LedgerError, PaperVsOurs
from .files import write_whole
from .intervals import Interval, headline, mean_interval, paired_difference

__all__ = [
    "Claim",
    "Comparison",
    "Interval",
    "Ledger",
    "LedgerError",
    "Measured",
    "PaperVsOurs",
    "Record",
    "RecordError",
    "headline",
    "library_hash",
    "mean_interval",
    "measured",
    "paired_difference",
    "provenance",
]

FORMAT = 1  # of the file; a reader refuses what it does not know


class RecordError(ValueError):
    """A record that is incomplete, damaged, or holds a number that is none."""


# ---------------------------------------------------------------------------- provenance


def library_hash() -> str:
    """SHA-256 over names and contents of all ``bcnet_lib/**/*.py``: which code ran."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _commit() -> str | None:
    here = Path(__file__).parent

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *args], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository: ask about this very file.
        git("ls-files", "--error-unmatch", "principles.py")
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def provenance(device: str = "cpu") -> dict:
    """Versions, device, commit (None outside git), library hash and time of this run.

    Args:
        device: where it ran, ``"cpu"`` or a torch device such as ``"cuda:0"``.
    """
    from importlib.metadata import PackageNotFoundError, version

    from . import __version__

    versions = {"python": platform.python_version(), "bcnet_lib": __version__}
    for package in ("numpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    if device.startswith("cuda"):
        import torch

        name = torch.cuda.get_device_name(device)
    else:
        name = f"{device} ({os.cpu_count()} cores)"
    return {
        "versions": versions,
        "device": name,
        "commit": _commit(),
        "library": library_hash(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@dataclass
class Measured:
    """Filled when the ``measured()`` block ends."""

    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured(device: str = "cpu"):
    """``with measured() as m: ...``; then ``m.wall_seconds`` and ``m.peak_memory_bytes``.

    Memory is the process's peak resident size on a CPU (from its start, as the system counts it)
    and the peak of allocated device memory within the block on CUDA.
    """
    result = Measured()
    cuda = device.startswith("cuda")
    if cuda:
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    try:
        yield result
    finally:
        result.wall_seconds = time.perf_counter() - start
        if cuda:
            result.peak_memory_bytes = int(torch.cuda.max_memory_allocated(device))
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            result.peak_memory_bytes = peak if sys.platform == "darwin" else peak * 1024


# ---------------------------------------------------------------------------- records


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of one experiment at one profile; ``save`` and ``load`` keep it whole."""

    headline: str  # what was measured, in one line: see ``headline()``
    experiment: str
    profile: str  # smoke | digits | cifar10 | paper
    parameters: dict  # every setting that could change the numbers
    rows: list  # one flat dict a seed (and method, width, …), all with the same keys, "seed" first
    missing: str = ""  # why a None in rows is None; needed where there is one
    versions: dict
    device: str
    commit: str | None
    library: str  # library_hash()
    wall_seconds: float
    peak_memory_bytes: int
    timestamp: str  # UTC, ISO 8601

    def __post_init__(self):
        _check(self)

    @classmethod
    def new(
        cls,
        headline: str,
        rows: Sequence[Mapping],
        *,
        experiment: str,
        profile: str,
        parameters: Mapping,
        measured: Measured,
        missing: str = "",
        device: str = "cpu",
    ) -> "Record":
        """A record of a run that just ended, with the provenance of this process.

        Raises:
            RecordError: NaN or infinity, rows with different keys, no seed, a None unexplained.
        """
        return cls(
            headline=headline,
            rows=_plain(list(rows)),
            experiment=experiment,
            profile=profile,
            parameters=_plain(dict(parameters)),
            missing=missing,
            wall_seconds=round(measured.wall_seconds, 3),
            peak_memory_bytes=int(measured.peak_memory_bytes),
            **provenance(device),
        )

    def frame(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(self.rows)

    def values(self, metric: str, **where) -> np.ndarray:
        """One number a seed, in the order of seeds: ``record.values("kendall", method="UA")``.

        Raises:
            RecordError: if nothing matches, a value is missing, or a seed occurs twice.
        """
        unknown = [k for k in (metric, *where) if k not in self.rows[0]]
        if unknown:
            raise RecordError(f"{self.experiment}: no column {unknown}; has {list(self.rows[0])}")
        rows = [r for r in self.rows if all(r[k] == v for k, v in where.items())]
        rows.sort(key=lambda r: r["seed"])
        seeds = [r["seed"] for r in rows]
        if not rows or len(set(seeds)) != len(seeds):
            raise RecordError(
                f"{self.experiment}: {metric} where {where} matches {len(rows)} rows with seeds "
                f"{seeds}; each seed must occur once, so name more columns"
            )
        if any(r[metric] is None for r in rows):
            raise RecordError(f"{self.experiment}: {metric} is missing: {self.missing}")
        return np.array([r[metric] for r in rows])

    def interval(self, metric: str, level: float = 0.95, **where) -> Interval:
        """``mean_interval`` of ``values``."""
        return mean_interval(self.values(metric, **where), level)

    def save(self, path: str | Path) -> Path:
        """Write atomically: a crash at any moment leaves the old file or the new one."""
        path = Path(path)
        body = {"headline": self.headline, "format": FORMAT}
        body |= {f.name: getattr(self, f.name) for f in fields(self)}
        body["checksum"] = _checksum(body)
        text = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Record":
        """Read and verify a record.

        Raises:
            FileNotFoundError: no such record.
            RecordError: not JSON, another format, a field too many or too few, wrong checksum.
        """
        try:
            body = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"{path} is not a whole JSON file ({error}): run it again") from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            found = body.get("format") if isinstance(body, dict) else type(body).__name__
            raise RecordError(f"{path} is no record of format {FORMAT} (found {found!r})")
        stored = body.pop("checksum", None)
        if stored != _checksum(body):
            raise RecordError(f"{path} was changed after it was written (checksum): run it again")
        del body["format"]
        names = {f.name for f in fields(cls)}
        if names != set(body):
            raise RecordError(
                f"{path}: missing fields {sorted(names - set(body))}, "
                f"unknown fields {sorted(set(body) - names)}"
            )
        return cls(**body)


def _checksum(body: Mapping) -> str:
    rest = {k: v for k, v in body.items() if k != "checksum"}
    try:
        text = json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"record cannot be written as JSON: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value):
    """NumPy values and tuples as what JSON gives back, so that load equals what was saved."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return value


def _not_finite(value, where: str) -> list[str]:
    if isinstance(value, float) and not math.isfinite(value):
        return [where]
    if isinstance(value, Mapping):
        return [x for k, v in value.items() for x in _not_finite(v, f"{where}.{k}")]
    if isinstance(value, (list, tuple)):
        return [x for i, v in enumerate(value) for x in _not_finite(v, f"{where}[{i}]")]
    return []


def _check(r: Record) -> None:
    types = {
        "headline": str, "experiment": str, "profile": str, "parameters": dict, "rows": list,
        "missing": str, "versions": dict, "device": str, "library": str, "timestamp": str,
        "wall_seconds": (int, float), "peak_memory_bytes": int,
    }  # fmt: skip
    for name, kind in types.items():
        if not isinstance(getattr(r, name), kind):
            raise RecordError(f"record field {name!r} is {type(getattr(r, name)).__name__}")
    if not r.headline.strip() or "\n" in r.headline:
        raise RecordError("a record's headline is one line that says what was measured")
    if not r.rows:
        raise RecordError(f"{r.experiment}: a record without rows measured nothing")
    bad = _not_finite({"parameters": r.parameters, "rows": r.rows}, r.experiment)
    if bad:
        raise RecordError(f"NaN or infinity at {', '.join(bad[:3])}: store None and say why")
    keys = list(r.rows[0])
    for i, row in enumerate(r.rows):
        if list(row) != keys:
            raise RecordError(f"row {i} has columns {list(row)}, row 0 has {keys}")
        if isinstance(row.get("seed"), bool) or not isinstance(row.get("seed"), int):
            raise RecordError(f"row {i} has no integer 'seed': {row}")
    if any(v is None for row in r.rows for v in row.values()) and not r.missing:
        raise RecordError("a row holds None: say in `missing` why that number does not exist")
