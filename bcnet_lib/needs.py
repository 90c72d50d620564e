"""What a chapter needs beyond this project, and whether it is here: data of others, a GPU.

A notebook says what it needs in its metadata, ``{"bcnet": {"needs": ["channel_bench_macro"]}}``.
The build of the book, ``pytest --nbval`` and ``make notebooks`` all ask `missing`, and leave a
notebook alone, visibly, whose needs are not met. ``python -m bcnet_lib.needs NAME`` gets the data
from its authors.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import bench_files, released_scores
from .cifar10 import DataError
from .files import data_root, fetch, find, intact

__all__ = [
    "NEEDS",
    "Need",
    "absolute_root",
    "download",
    "fingerprint",
    "missing",
    "of_notebook",
]


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that the project cannot bring along."""

    name: str
    """How a notebook's metadata calls it."""
    what: str
    """What it is, in words that end no sentence."""
    files: tuple[str, ...] = ()
    """Its files, below the data folder; none for a device."""
    get: str
    """What to type to get it; for a device, what to do."""

    def here(self, root: str | Path | None = None) -> bool:
        """Whether all of it is there, and no file is damaged (by SHA-256)."""
        if self.name == "cuda":
            import torch

            return torch.cuda.is_available()
        return None not in self.paths(root) and not self.damaged(root)

    def paths(self, root: str | Path | None = None) -> list[Path | None]:
        """Where each file lies, None where it does not; see `files.find`."""
        sources = _sources()
        return [find(file, sources[file][1], root) for file in self.files]

    def damaged(self, root: str | Path | None = None) -> list[Path]:
        """The files that are there, but are not the released ones."""
        found, sources = zip(self.files, self.paths(root), strict=True), _sources()
        return [path for file, path in found if path and not intact(path, sources[file][1])]

    def say(self, root: str | Path | None = None) -> str:
        """One line for logs and skipped tests: what is missing, where it was looked for, the cure.

        >>> NEEDS["cuda"].say()
        'needs cuda (a CUDA device): run it on a machine that has one'
        """
        where = f", not found in {data_root(root)}" if self.files else ""
        if damaged := self.damaged(root):
            where = f", damaged: {', '.join(map(str, damaged))}"
        return f"needs {self.name} ({self.what}){where}: {self.get}"


def _below(of) -> tuple[str, ...]:
    """Paths below the data folder of the files that a module knows."""
    return tuple(f"{of.FOLDER}/{file}" for file, _ in of.FILES.values())


NEEDS = {
    need.name: need
    for need in (
        Need(
            name="channel_bench_macro",
            what="the two released result files of Channel-Bench-Macro, 6 MB",
            files=_below(bench_files),
            get="python -m bcnet_lib.needs channel_bench_macro",
        ),
        Need(
            name="bcnet_released",
            what="the released supernet scores of BCNet and AutoSlim, 7 MB",
            files=_below(released_scores),
            get=released_scores.GET,
        ),
        Need(name="cuda", what="a CUDA device", get="run it on a machine that has one"),
    )
}


def _sources() -> dict[str, tuple[str, str]]:
    """Address and SHA-256 of the files of all needs, by their path below the data folder."""
    return {
        f"{of.FOLDER}/{file}": (of.URL + file, sha256)
        for of in (bench_files, released_scores)
        for file, sha256 in of.FILES.values()
    }


def absolute_root() -> None:
    """Make a relative ``$BCNET_DATA`` absolute: kernels run in the folder of their notebook."""
    if os.environ.get("BCNET_DATA"):
        os.environ["BCNET_DATA"] = str(data_root())


def missing(names: Iterable[str], root: str | Path | None = None) -> list[Need]:
    """Which of these needs are not met here, in their order.

    Raises:
        DataError: for a need that is not in `NEEDS`.
    """
    names = list(names)
    if unknown := [name for name in names if name not in NEEDS]:
        raise DataError(f"unknown need {unknown[0]!r}: known are {', '.join(NEEDS)}")
    return [NEEDS[name] for name in names if not NEEDS[name].here(root)]


def of_notebook(path: str | Path) -> list[str]:
    """What a notebook file says it needs; an empty list for most.

    Raises:
        DataError: if its metadata has needs that are no list of names.
    """
    metadata = json.loads(Path(path).read_text(encoding="utf-8")).get("metadata", {})
    needs = metadata.get("bcnet", {}).get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        raise DataError(f"{path}: metadata 'bcnet: needs' must be a list of names, got {needs!r}")
    return needs


def fingerprint(root: str | Path | None = None) -> dict[str, bool]:
    """Which needs are met here. Their files are known by SHA-256, so this says what they hold, too.

    The build names its cache by it, so that outputs made with data never answer for a build without
    it, nor the other way round.
    """
    return {name: need.here(root) for name, need in NEEDS.items()}


def download(name: str) -> list[Path]:
    """Get what a need is made of from its authors' repository, checked by SHA-256.

    What is here and intact is kept; the rest goes to ``$BCNET_DATA``, else ``~/.cache/bcnet``,
    where a damaged file is replaced once the new one is whole.

    Returns:
        where the files lie.
    Raises:
        DataError: for an unknown need, one that no download meets, or without a network.
    """
    missing([name])  # refuses an unknown name
    if not NEEDS[name].files:
        raise DataError(f"{NEEDS[name].what} cannot be downloaded: {NEEDS[name].get}")
    got, sources = [], _sources()
    for file, path in zip(NEEDS[name].files, NEEDS[name].paths(), strict=True):
        url, sha256 = sources[file]
        whole = path is not None and intact(path, sha256)
        got.append(path if whole else fetch(url, data_root() / file, sha256))
    return got


def main(names: list[str]) -> int:
    """Get these needs, all that can be downloaded where none is named; 0 where it worked."""
    try:
        for name in names or [need.name for need in NEEDS.values() if need.files]:
            for path in download(name):
                print(path)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
