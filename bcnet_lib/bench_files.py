"""Channel-Bench-Macro as its authors released it: found, verified, parsed.

Each of the two files is one JSON object: key ``"4432214"`` (the widths c1 … c7, in quarters) to an
object with ``acc`` (three test accuracies in percent, one a run), ``mean``, ``std`` (sample
standard deviation), ``flops`` (our MACs) and ``params``. The repository has no licence file: we
load the files and redistribute nothing of them.
"""

import gc
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cifar10 import DataError
from .files import fetch, find, intact, places

__all__ = ["BenchError", "Released", "locate", "parse", "read"]

FOLDER = "channel_bench_macro"
URL = "https://raw.githubusercontent.com/xiusu/Channel-Bench-Macro/HEAD/"
FILES = {  # name -> file and the SHA-256 of the released content
    "mobilenet": (
        "Results_MobileNet.json",
        "f640474d8ff3ff2231d0c45986bb0f10af291545316342fb009952e7641908e0",
    ),
    "resnet": (
        "Results_ResNet.json",
        "bf13bcaea3f2076f2c1bfbf5c2fee044aafe0385fae6a0d64c433b1d7f5a7520",
    ),
}
L, K, RUNS = 7, 4, 3
FIELDS = ("acc", "mean", "std", "flops", "params")


class BenchError(DataError):
    """A benchmark that is missing or damaged, or scores that do not fit it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Released:
    """A released file as arrays, rows in lexicographic order of the widths."""

    C: np.ndarray
    """(n, L) int64 widths, 1..K."""
    accuracies: np.ndarray
    """(n, runs) float64, percent."""
    mean: np.ndarray
    """(n,) float64, as released."""
    std: np.ndarray
    """(n,) float64, as released: sample standard deviation."""
    macs: np.ndarray
    """(n,) int64; the file calls them flops."""
    params: np.ndarray
    """(n,) int64."""


def locate(name: str, root=None, download: bool = False) -> Path:
    """The path of a released file, fetched first where that is asked for.

    Args:
        name: ``mobilenet`` or ``resnet``.
        root: the only folder to look in; None: ``$BCNET_DATA``, then ``~/.cache/bcnet``; a damaged
            file counts only where no other is found.
        download: fetch the file if it is in none of them, or damaged.
    Raises:
        BenchError: if it is not found and must not, or cannot, be fetched.
    """
    file, sha256 = FILES[name]
    paths = places(f"{FOLDER}/{file}", root)
    path = find(f"{FOLDER}/{file}", sha256, root)
    if path is not None and not (download and not intact(path, sha256)):
        return path
    if not download:
        looked = " and ".join(f"'{path}'" for path in dict.fromkeys(paths))
        raise BenchError(
            f"Channel-Bench-Macro '{name}' was not found: looked for {looked}. Set BCNET_DATA to "
            f"the folder that holds '{FOLDER}/', or let it be downloaded (3 MB): "
            f"ChannelBench.load('{name}', download=True)"
        )
    try:
        return fetch(URL + file, paths[0], sha256)
    except DataError as error:
        raise BenchError(str(error)) from error


def read(path: Path, sha256: str | None = None) -> Released:
    """Read and check a file.

    Args:
        path: a released file. sha256: what its content must be; None: any content with the right
            structure and consistent values.
    Raises:
        BenchError: if it cannot be read, is another file, or fails ``parse``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"'{path}' cannot be read ({error})") from error
    if sha256 is not None and (digest := _sha256(content)) != sha256:
        raise BenchError(
            f"'{path}' is not the released file ({len(content):,} bytes, sha256 {digest[:12]}…, "
            f"expected {sha256[:12]}…): it is cut short, damaged or altered. Delete it, or replace "
            "it with load(..., download=True)"
        )
    return parse(content, str(path))


def parse(content: bytes, path: str = "file") -> Released:
    """Arrays out of the JSON text, with every check that needs no network.

    Structure: exactly the 4^7 keys, once each; the five fields; three accuracies. Values: finite,
    accuracies in 0..100, mean and sample standard deviation those of the accuracies, positive
    whole MACs and parameters.

    Raises:
        BenchError: naming the file, the network and what is wrong with it.
    """
    rows = _rows(content, path)
    keys = list(rows)
    C = _widths(keys, path)
    order = np.argsort(((C - 1) * K ** np.arange(L)[::-1]).sum(axis=1), kind="stable")
    columns = {field: _column(keys, rows, field, path) for field in FIELDS}
    acc, mean, std = columns["acc"], columns["mean"], columns["std"]

    def demand(good: np.ndarray, what: str) -> None:
        if not good.all():
            at = keys[int(np.argmin(good))]
            raise BenchError(f"'{path}': network \"{at}\": {what}, its entry is {rows[at]}")

    with np.errstate(invalid="ignore"):
        demand(((acc >= 0) & (acc <= 100)).all(axis=1), "accuracies must be percent, in 0..100")
        demand(np.abs(acc.mean(axis=1) - mean) < 1e-6, "'mean' is not the accuracies' mean")
        deviation = acc.std(axis=1, ddof=1)
        demand(np.abs(deviation - std) < 1e-6, "'std' is not the accuracies' sample deviation")
    for field in ("flops", "params"):
        demand(columns[field] > 0, f"'{field}' must be positive")
    return Released(
        C=C[order],
        accuracies=acc[order],
        mean=mean[order],
        std=std[order],
        macs=columns["flops"][order],
        params=columns["params"][order],
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _rows(content: bytes, path: str) -> dict:
    collecting = gc.isenabled()
    gc.disable()  # 50,000 small objects in one go: the collector would double the time
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:  # also bytes that are no text; [[[[…
        raise BenchError(f"'{path}' is not whole JSON ({error}): fetch it again") from error
    finally:
        if collecting:
            gc.enable()
    if not isinstance(rows, dict):
        raise BenchError(f"'{path}' holds a JSON {type(rows).__name__}, not an object of networks")
    if len(rows) < K**L:  # a repeated key hides in a dict
        pairs = json.loads(content, object_pairs_hook=list)
        twice = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
        if twice:
            raise BenchError(f"'{path}' has network \"{twice[0]}\" more than once")
    return rows


def _widths(keys: list[str], path: str) -> np.ndarray:
    """(n, L) int64 out of distinct keys; they must be all 4^7."""
    for key in keys:
        if len(key) != L or not key.isascii() or key.strip("1234"):
            raise BenchError(
                f'\'{path}\': "{key}" is no network: a key is {L} digits in 1..{K}, like "4432214"'
            )
    if len(keys) != K**L:
        raise BenchError(f"'{path}' has {len(keys):,} networks, not {K**L:,}: fetch it again")
    digits = np.frombuffer("".join(keys).encode(), dtype=np.uint8).reshape(-1, L)
    return digits.astype(np.int64) - ord("0")


def _column(keys: list[str], rows: dict, field: str, path: str) -> np.ndarray:
    """One field of every network: (n, 3) float64 of ``acc``, (n,) float64 or int64 of the others.

    Whatever fits no regular array is looked for row by row, to name it.
    """
    whole = field in ("flops", "params")
    shape = (len(keys), RUNS) if field == "acc" else (len(keys),)
    try:
        values = [row[field] for row in rows.values()]
        flat = itertools.chain.from_iterable(values) if field == "acc" else values
        column = None if bool in set(map(type, flat)) else np.array(values)  # would make true a 1
    except (KeyError, TypeError, ValueError, OverflowError):
        column = None
    if (
        column is not None
        and column.shape == shape
        and column.dtype.kind in ("i" if whole else "fi")
    ):
        return column.astype(np.int64 if whole else np.float64)
    what = "a whole number" if whole else "three numbers" if field == "acc" else "a number"
    for key, row in rows.items():
        value = row.get(field) if isinstance(row, dict) else None
        values = value if field == "acc" and isinstance(value, list) else [value]
        kinds = (int,) if whole else (int, float)
        good = all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)
        if not good or len(values) != (RUNS if field == "acc" else 1):
            raise BenchError(
                f"'{path}': network \"{key}\": '{field}' must be {what}, got {value!r}"
            )
    raise BenchError(f"'{path}': '{field}' holds a number that is too large")
