"""What a chapter needs beyond this project, and whether it is here: data of others, a GPU.

A notebook says what it needs in its metadata, ``{"bcnet": {"needs": ["channel_bench_macro"]}}``.
The build of the book, ``pytest --nbval`` and ``make notebooks`` all ask `missing`, and leave a
notebook alone, visibly, whose needs are not met. ``python -m bcnet_lib.needs NAME`` gets the data
from its authors.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .cifar10 import DataError
from .files import data_root, fetch, first, intact

__all__ = [
    "NEEDS",
    "Need",
    "absolute_root",
    "download",
    "find",
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
        """Where each file lies, None where it does not; see `find`."""
        return [find(file, root) for file in self.files]

    def damaged(self, root: str | Path | None = None) -> list[Path]:
        """The files that are there, but are not the released ones."""
        digests = _digests()
        found = {file: find(file, root) for file in self.files}
        return [path for file, path in found.items() if path and not intact(path, digests[file])]

    def say(self, root: str | Path | None = None) -> str:
        """One line for logs and skipped tests: what is missing, where it was looked for, the cure.

        >>> NEEDS["cuda"].say()
        'needs cuda (a CUDA device): run it on a machine that has one'
        """
        where = f", not found in {data_root(root)}" if self.files else ""
        if damaged := self.damaged(root):
            where = f", damaged: {', '.join(map(str, damaged))}"
        return f"needs {self.name} ({self.what}){where}: {self.get}"


_SCORES = [  # after "bin20_min1_"; plain "bcnet" is of MobileNet alone
    "bcnet",
    *(f"{name}{net}" for name in ("autoslim_3", "bcnet_1", "bcnet_2", "bcnet_3")
      for net in ("", "_resnet")),
]  # fmt: skip

NEEDS = {
    need.name: need
    for need in (
        Need(
            name="channel_bench_macro",
            what="the two released result files of Channel-Bench-Macro, 6 MB",
            files=tuple(f"channel_bench_macro/Results_{n}.json" for n in ("MobileNet", "ResNet")),
            get="python -m bcnet_lib.needs channel_bench_macro",
        ),
        Need(
            name="bcnet_released",
            what="the released supernet scores of BCNet and AutoSlim, 7 MB",
            files=tuple(
                f"bcnet_released/supernet_scores/bin20_min1_{name}.json" for name in _SCORES
            ),
            get="python -m bcnet_lib.needs bcnet_released",
        ),
        Need(name="cuda", what="a CUDA device", get="run it on a machine that has one"),
    )
}


def find(file: str | Path, root: str | Path | None = None) -> Path | None:
    """Where a file of the data folder lies, None where it does not; an intact one goes first.

    Args:
        file: path below the data folder.
        root: the only folder to look in; None: ``$BCNET_DATA``, then ``~/.cache/bcnet``.
    """
    roots = [data_root(root)] if root is not None else [data_root(), data_root("~/.cache/bcnet")]
    return first([folder / file for folder in roots], _digests().get(Path(file).as_posix()))


def _digests() -> dict[str, str]:
    """SHA-256 of the files of all needs, by their path below the data folder."""
    from . import bench_files, released_scores

    return {
        f"{Path(of.FOLDER).as_posix()}/{file}": sha256
        for of in (bench_files, released_scores)
        for file, sha256 in of.FILES.values()
    }


def absolute_root() -> None:
    """Make a relative ``$BCNET_DATA`` absolute: kernels run in the folder of their notebook."""
    if os.environ.get("BCNET_DATA"):
        os.environ["BCNET_DATA"] = str(data_root().absolute())


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


def fingerprint(root: str | Path | None = None) -> dict[str, str]:
    """SHA-256 of the files of every need that is here, "" where it is not.

    The build names its cache by it, so that outputs made with data never answer for a build without
    it, nor the other way round.
    """
    found = {}
    for name, need in NEEDS.items():
        digest = hashlib.sha256()
        here = need.here(root)
        for path in need.paths(root) if here else ():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        found[name] = digest.hexdigest() if here else ""
    return found


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
    if name == "channel_bench_macro":
        from .bench_files import FILES, locate

        return [locate(space, download=True) for space in FILES]
    if name == "bcnet_released":
        from .released_scores import FILES, FOLDER, URL

        return [
            path
            if (path := find(FOLDER / file)) and intact(path, sha256)
            else fetch(URL + file, data_root() / FOLDER / file, sha256)
            for file, sha256 in FILES.values()
        ]
    raise DataError(f"{NEEDS[name].what} cannot be downloaded: {NEEDS[name].get}")


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
