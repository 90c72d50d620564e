"""The supernet scores the authors released beside Channel-Bench-Macro: a reader that checks.

Nine JSON files of ``{"Result": [{"Num": 1, "subnet": 1111111, "score": 90.01}, …]}``: accuracies in
percent of architectures with *shared* weights, in lexicographic order, from the folder
``BCNetV2/example/classification/json_results`` of github.com/xiusu/BCNetV2. They carry no licence:
load them, don't redistribute them. Which of them, if any, stand behind the paper's Table 9 is not
said anywhere in the files.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .cifar10 import DataError
from .files import find, places

__all__ = ["FILES", "ReleasedScores", "names", "read"]

FOLDER = "bcnet_released/supernet_scores"
GET = "python -m bcnet_lib.needs bcnet_released"
SOURCE = "github.com/xiusu/BCNetV2, folder BCNetV2/example/classification/json_results"
URL = (
    "https://raw.githubusercontent.com/xiusu/BCNetV2/HEAD/"
    "BCNetV2/example/classification/json_results/"
)
K, L = 4, 7
FILES = {  # (space, name) -> file, sha256
    ("mobilenet", "AutoSlim 3"): (
        "bin20_min1_autoslim_3.json",
        "01d5c304d1fd333034a9389f458ffa7181737ba6b018f871d48dd45526f91cfb",
    ),
    ("mobilenet", "BCNet 1"): (
        "bin20_min1_bcnet_1.json",
        "0f3c68652cc5a79421decf3f8323d9d8ff22770ecc39c515c0a39f2c95421c3e",
    ),
    ("mobilenet", "BCNet 2"): (
        "bin20_min1_bcnet_2.json",
        "9d5a7155636376f238b7c945f02a1fcadbcdf11d61b0ffcea681958fc03776ad",
    ),
    ("mobilenet", "BCNet 3"): (
        "bin20_min1_bcnet_3.json",
        "ad11443b09ec5df4fb75b79c207dc6fa3db19651d00e20731789c6e73d4e0410",
    ),
    ("mobilenet", "BCNet, partial"): (
        "bin20_min1_bcnet.json",
        "954197e4390bc365de1dc369233419eb8a5949449887d37aae667d86f73c461f",
    ),
    ("resnet", "AutoSlim 3"): (
        "bin20_min1_autoslim_3_resnet.json",
        "61c28bb2f92fe766993ae7774fdd74fe1f4f88a23760502aa787f5806226b4ac",
    ),
    ("resnet", "BCNet 1"): (
        "bin20_min1_bcnet_1_resnet.json",
        "a9a64ec268d5956886ae5c709cf387c0b51fc2240e9c62c20d3dbd5a73a1f1c1",
    ),
    ("resnet", "BCNet 2"): (
        "bin20_min1_bcnet_2_resnet.json",
        "dc6edc6271bb72ea7b9e93d5d5a81e4656d68b2bf5fe468daf1cd961715c680d",
    ),
    ("resnet", "BCNet 3"): (
        "bin20_min1_bcnet_3_resnet.json",
        "923565b07e671641b9dd79d321bff19255708ec19061cb4834bb30ee83667fb1",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleasedScores:
    """One released file, checked."""

    space: str
    """``mobilenet`` or ``resnet``."""
    name: str
    """Our short name, ``AutoSlim 3``, ``BCNet 1`` …; the number is the file's own."""
    file: str
    """The file's name."""
    scores: pd.Series
    """Score in percent, as released; index: the architecture, ``"1111111"`` …, sorted."""
    missing: tuple[str, ...]
    """Architectures of the benchmark without a score, sorted."""

    def on(self, C) -> np.ndarray:
        """Scores of architectures, NaN where the file has none.

        Args:
            C: (n, 7) widths 1..4, e.g. ``bench.C``.
        Returns:
            (n,) float64, rounded to 0.001: the released mean of two accuracies carries rounding
            errors of the last bit, which would break ties.
        Raises:
            DataError: if C is not (n, 7).
        """
        C = np.asarray(C)
        if C.ndim != 2 or C.shape[1] != L:
            raise DataError(f"'{self.file}' scores {L} groups, got widths of shape {C.shape}")
        keys = ["".join(map(str, c)) for c in C.tolist()]
        return self.scores.reindex(keys).to_numpy().round(3)

    def __repr__(self) -> str:
        return (
            f"ReleasedScores({self.name}, {self.space}: {len(self.scores):,} scores, "
            f"{len(self.missing):,} missing)"
        )


def names(space: str) -> tuple[str, ...]:
    """The short names of a space's files.

    Raises:
        DataError: for an unknown space.
    """
    found = tuple(name for s, name in FILES if s == space)
    if not found:
        raise DataError(f"no released scores for {space!r}: there are 'mobilenet' and 'resnet'")
    return found


def read(space: str, name: str, root: str | Path | None = None) -> ReleasedScores:
    """Read one released file.

    Args:
        space: ``mobilenet`` or ``resnet``. name: one of ``names(space)``.
        root: the only folder to look in, it holds ``bcnet_released/``; None: ``$BCNET_DATA``, then
            ``~/.cache/bcnet``.
    Raises:
        DataError: for an unknown name, or a file that is missing, is not the released one, or
            does not hold one finite score for each of its architectures.
    """
    known = names(space)
    if (space, name) not in FILES:
        raise DataError(f"no released scores {name!r} for '{space}': there are {list(known)}")
    file, digest = FILES[space, name]
    path = find(f"{FOLDER}/{file}", digest, root)
    if path is None:
        raise DataError(
            f"'{places(f'{FOLDER}/{file}', root)[0]}' is missing: set BCNET_DATA to the folder "
            f"that holds bcnet_released/, or get the files: {GET}"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DataError(
            f"'{path}' is not the released file: its SHA-256 is {found[:12]}…, expected "
            f"{digest[:12]}…; it is damaged or another version. Get it again: "
            f"{GET} (from {SOURCE})"
        )
    scores = _parse(content, path)
    grid = ("".join(k) for k in itertools.product("1234", repeat=L))
    missing = tuple(k for k in grid if k not in scores.index)
    return ReleasedScores(space=space, name=name, file=file, scores=scores, missing=missing)


def _parse(content: bytes, path) -> pd.Series:
    """Scores by architecture, sorted; every row checked."""
    try:
        rows = json.loads(content)["Result"]
        keys = [str(row["subnet"]) for row in rows]
        values = np.array([row["score"] for row in rows], dtype=float)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f'\'{path}\' is not a list of {{"subnet", "score"}} under "Result" '
            f"({type(error).__name__}: {error})"
        ) from None
    bad = [k for k in keys if len(k) != L or not set(k) <= set("1234")]
    if bad:
        raise DataError(f"'{path}': architecture {bad[0]!r} is not {L} widths of 1..{K}")
    twice = [k for k, n in pd.Series(keys).value_counts().items() if n > 1]
    if twice:
        raise DataError(f"'{path}' has architecture {twice[0]!r} more than once")
    wrong = ~((values >= 0) & (values <= 100))  # NaN is neither
    if wrong.any():
        k = int(wrong.argmax())
        raise DataError(f"'{path}': the score of {keys[k]!r} is {values[k]}, no percentage")
    return pd.Series(values, index=keys, name="score", dtype=float).sort_index()
