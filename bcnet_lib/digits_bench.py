"""Channel-Bench-Digits: every width of a small network, trained from scratch, on 8x8 digits.

Five layers with four widths each make 4^5 = 1,024 networks. Each is trained several times, with
another seed each time, on images that come with scikit-learn. ``python -m bcnet_lib.digits_bench``
makes the whole table anew; it keeps every finished training in a journal and goes on from there.

Differs from Channel-Bench-Macro (Su et al., arXiv 2203.13714, section 6) in one respect besides its
size: the accuracy of a run is the one of its last epoch. That of its best epoch on the test images,
which the released files hold for their networks, is kept beside it, to see what the choice does.
"""

import argparse
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed

from .cost import CostTable
from .data import Data, DataError, load, mix
from .evaluate import accuracy
from .files import write_whole
from .journal import is_whole, locked, read_journal
from .models import digits_cnn
from .progress import bar as progress_bar
from .ranking import correlations
from .recipe import Recipe
from .results import measured, provenance
from .scratch import train_from_scratch
from .space import WidthSpace

__all__ = ["PATH", "DigitsBench", "DigitsSetting", "make", "read", "train_one"]

PATH = Path(__file__).parent / "channel_bench_digits.json"
FORMAT = 1
KINDS = ("last", "best", "val")  # images right: test, last epoch; test, best epoch; val, last epoch


@dataclass(frozen=True, kw_only=True)
class DigitsSetting:
    """What decides every number of the table.

    Raises:
        ValueError: naming the field, if a value is outside its range.
    """

    channels: tuple[int, ...] = (12, 12, 12, 12, 12)
    """Of the widest network, a layer (``models.digits_cnn``)."""
    K: int = 4
    """Widths a layer: quarters of its channels."""
    runs: int = 3
    """Trainings of every network, with seeds 0, 1, …"""
    epochs: int = 10
    """Of every training."""
    batch_size: int = 32
    """Images a step."""
    lr: float = 0.1
    """Largest learning rate, after one epoch of warm-up."""
    test: float = 0.45
    """Share of the 1,797 images in the test split."""
    val: float = 0.4
    """Share of the rest that is held out for scoring supernets, never trained on."""

    def __post_init__(self):
        layers = self.channels if isinstance(self.channels, tuple) else ()
        counts = ("K", "runs", "batch_size")
        rules = {n: (is_whole(getattr(self, n), 1), "an integer of 1 or more") for n in counts}
        rules |= {
            "epochs": (is_whole(self.epochs, 2), "an integer of 2 or more, the first is warm-up"),
            "channels": (
                layers and all(is_whole(c, 1) for c in layers),
                "a tuple of positive integers, one a layer",
            ),
            "lr": (self.lr > 0, "more than 0"),
            "test": (0 < self.test < 1, "between 0 and 1"),
            "val": (0 < self.val < 1, "between 0 and 1"),
        }
        for field, (holds, need) in rules.items():
            if not holds:
                value = getattr(self, field)
                raise ValueError(f"DigitsSetting({field}={value!r}): {field} must be {need}")

    @property
    def recipe(self) -> Recipe:
        """Of every training; without augmentation."""
        return Recipe(epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, warmup_epochs=1.0)

    def data(self) -> Data:
        """The images, split as the benchmark splits them."""
        return load("digits", test=self.test, val=self.val)

    def network(self):
        """The widest network, a fresh ``nn.Module``."""
        return digits_cnn(self.channels)

    def space(self) -> WidthSpace:
        """Its width space: one group a layer, K widths each."""
        return WidthSpace.from_model(self.network(), torch.zeros(1, 1, 8, 8), K=self.K)

    def cost(self, space: WidthSpace | None = None) -> CostTable:
        """MACs and parameters of its networks."""
        space = self.space() if space is None else space
        return CostTable(self.network(), space, torch.zeros(1, 1, 8, 8))

    def widths(self) -> np.ndarray:
        """All width vectors (K^L, L), in lexicographic order."""
        layers = len(self.channels)
        return np.array(list(itertools.product(range(1, self.K + 1), repeat=layers)))


@dataclass(frozen=True, kw_only=True, eq=False)
class DigitsBench:
    """The finished table, as counts of images."""

    setting: DigitsSetting
    right: dict[str, np.ndarray]
    """``last``, ``best``: test images right after the last epoch, and after the epoch that is best
    on the test images; ``val``: scoring images right after the last epoch. (n, runs) int64 each."""
    images: dict[str, int]
    """Images in the ``test`` and the ``val`` split."""
    provenance: dict
    """Versions, device, commit, library hash, time, and the core seconds all trainings took.

    ``calls``: torch version and library hash of every call of ``make`` that trained something.
    """

    @property
    def C(self) -> np.ndarray:
        """Width vectors (n, L), in lexicographic order."""
        return self.setting.widths()

    @property
    def accuracies(self) -> np.ndarray:
        """Test accuracy after the last epoch, (n, runs), percent."""
        return 100 * self.right["last"] / self.images["test"]

    @property
    def best_epoch(self) -> np.ndarray:
        """Test accuracy of the epoch that is best on the test images, (n, runs), percent."""
        return 100 * self.right["best"] / self.images["test"]

    @property
    def validation(self) -> np.ndarray:
        """Accuracy on the scoring images after the last epoch, (n, runs), percent."""
        return 100 * self.right["val"] / self.images["val"]


@lru_cache(maxsize=2)  # a worker process trains many networks on the same images
def _problem(setting: DigitsSetting):
    return setting.data(), setting.network(), setting.space()


def train_one(setting: DigitsSetting, row: int, run: int) -> tuple[int, int, int]:
    """Train one network from scratch.

    Args:
        row: number of the network, its row in ``setting.widths()``. run: its seed, from 0. Initial
            weights and order of images follow from both, so no two trainings share them.
    Returns:
        images right, as in ``KINDS``.
    Raises:
        TrainingError: if a loss is not finite.
    """
    torch.set_num_threads(1)  # the same numbers on every number of cores
    data, model, space = _problem(setting)
    seed = mix(run, row)
    net = space.build(model, setting.widths()[row], seed=seed)
    recipe, test = setting.recipe, []
    optimizer = recipe.make_optimizer(net.parameters())
    for epoch in range(setting.epochs):
        part = range(epoch, epoch + 1)
        options = {"seed": seed, "epochs": part, "optimizer": optimizer, "eval_test": False}
        val = train_from_scratch(net, data, recipe, **options).val_accuracy
        test.append(round(accuracy(net, data.test) * len(data.test)))
    return test[-1], max(test), round(val * len(data.val))


def make(
    setting: DigitsSetting,
    path: str | Path,
    *,
    jobs: int = 1,
    progress: bool = False,
    rows: Sequence[int] | None = None,
) -> Path:
    """Train what the journal beside ``path`` does not hold yet; write the table when all is there.

    Stopped at any moment, it loses the trainings that were under way and no more. Trainings are
    kept across versions of the code and of torch; ``calls`` in the provenance names those at work.

    Args:
        path: of the finished table; the journal is ``path`` with ``.journal`` at its end.
        jobs: processes, -1 for as many as there are cores. progress: show a bar with the time left.
        rows: train these networks only, and write no table (for trials).
    Returns:
        the table's path, or the journal's with ``rows``.
    Raises:
        DataError: if the journal was made with other settings, holds a line that is none of its
            own (a last line cut short is dropped), or another process is at work on it.
        ValueError: for a row that is none, or no processes.
    """
    path = Path(path)
    journal = path.with_name(path.name + ".journal")
    n = len(setting.widths())
    setting.space()  # refuses channels that make no network, before a file is opened
    if not isinstance(jobs, int) or jobs == 0:
        raise ValueError(f"jobs={jobs!r} must be a number of processes, or -1")
    rows = None if rows is None else np.asarray(rows).tolist()
    if wrong := [row for row in rows or () if not is_whole(row, 0) or row >= n]:
        raise ValueError(f"rows: {wrong[0]!r} is no row number in 0..{n - 1}")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder: name the table's file")
    data = setting.data()
    header = {"setting": _plain(setting), "data": data.describe()["train"]["sha256"]}
    images = {"test": len(data.test), "val": len(data.val)}
    highs = (n - 1, setting.runs - 1, images["test"], images["test"], images["val"])
    code = provenance()  # before the first training: the library may be edited meanwhile
    call = {"torch": code["versions"]["torch"], "library": code["library"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(journal, path) as file:
        done, calls = read_journal(journal, header, highs)
        every = itertools.product(range(setting.runs), range(n) if rows is None else rows)
        todo = [(row, run) for run, row in every if (row, run) not in done]
        heads = [{"call": call}] if journal.stat().st_size else [header, {"call": call}]
        with measured() as took:
            work = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
            results = work(delayed(_timed)(setting, row, run) for row, run in todo)
            for entry in progress_bar(results, total=len(todo), desc="networks", show=progress):
                # heads come with the first training, so that a call that fails leaves nothing
                file.write("".join(json.dumps(line) + "\n" for line in [*heads, entry]))
                file.flush()
                done[entry[0], entry[1]], heads = entry[2:], []
        calls += [] if heads else [call]
        if rows is None:
            _write(path, _body(setting, header, images, done, code | {"calls": calls}, took, jobs))
    if rows is None:
        journal.unlink(missing_ok=True)
    return path if rows is None else journal


def _body(setting, header, images, done, code, took, jobs) -> dict:
    """The finished table."""
    n, runs = len(setting.widths()), range(setting.runs)
    right = np.array([[done[row, run][:3] for run in runs] for row in range(n)])  # (n, runs, 3)
    cost = {
        "core_seconds": round(sum(values[3] for values in done.values()), 1),
        "wall_seconds_of_last_call": round(took.wall_seconds, 1),
        "processes": jobs,
    }
    return {
        "headline": f"{n:,} networks x {setting.runs} trainings from scratch, digits, mean test "
        f"accuracy {100 * right[..., 0].mean() / images['test']:.2f} %",
        "format": FORMAT,
        **header,
        "images": images,
        "provenance": code | cost,
        "right": {kind: right[..., k].tolist() for k, kind in enumerate(KINDS)},
    }


def read(path: str | Path = PATH) -> DigitsBench:
    """Read and check a table; without arguments, the one that comes with the library.

    Raises:
        DataError: naming the file, if it is missing, damaged, or of another kind.
    """
    path = Path(path)
    advice = "take it from the project again, or make it anew: make benchmark-digits"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        stored = body.pop("checksum")
    except FileNotFoundError:
        raise DataError(f"Channel-Bench-Digits: '{path}' does not exist; {advice}") from None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise DataError(f"Channel-Bench-Digits: '{path}' {what}; {advice}") from error
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"Channel-Bench-Digits: '{path}' is not a whole table; {advice}") from None
    if body.get("format", FORMAT) != FORMAT:
        what = f"has format {body['format']!r}, this version of the library reads {FORMAT}"
        raise DataError(f"Channel-Bench-Digits: '{path}' {what}; {advice}")
    if stored != _checksum(body):
        raise DataError(f"Channel-Bench-Digits: '{path}' was changed (checksum); {advice}")
    try:
        return _parse(body)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        what = f"is not a whole table ({type(error).__name__}: {error})"
        raise DataError(f"Channel-Bench-Digits: '{path}' {what}; {advice}") from error


def _parse(body: dict) -> DigitsBench:
    setting = DigitsSetting(**body["setting"] | {"channels": tuple(body["setting"]["channels"])})
    images, shape = body["images"], (len(setting.widths()), setting.runs)
    right = {kind: np.array(body["right"][kind]) for kind in KINDS}
    for kind, counts in right.items():
        if counts.shape != shape or counts.dtype.kind != "i":
            raise ValueError(f"'{kind}' must be whole numbers of shape {shape}")
        if counts.min() < 0 or counts.max() > images["val" if kind == "val" else "test"]:
            raise ValueError(f"'{kind}' holds counts outside 0 and the number of images")
    return DigitsBench(
        setting=setting,
        right=right,
        images=images,
        provenance=body["provenance"] | {"headline": body["headline"], "data": body["data"]},
    )


def _timed(setting: DigitsSetting, row: int, run: int) -> list:
    """One line of the journal: row, run, the three counts, CPU seconds."""
    before = os.times()
    right = train_one(setting, row, run)
    after = os.times()
    return [row, run, *right, round(after.user + after.system - before.user - before.system, 3)]


def _plain(setting: DigitsSetting) -> dict:
    return json.loads(json.dumps(asdict(setting)))


def _checksum(body: dict) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _write(path: Path, body: dict) -> None:
    """A network a line, so that the file stays small and its changes readable."""
    kinds = {
        kind: ",\n".join(json.dumps(row, separators=(",", ":")) for row in body["right"][kind])
        for kind in KINDS
    }
    right = ",\n".join(f'"{kind}": [\n{rows}\n]' for kind, rows in kinds.items())
    head = {k: v for k, v in body.items() if k != "right"} | {"checksum": _checksum(body)}
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n"right": {{\n{right}\n}}\n}}\n'
    write_whole(path, text.encode())


def compare(a: DigitsBench, b: DigitsBench) -> str:
    """How two tables of the same setting differ, in a line."""
    if a.setting != b.setting:
        return "the two tables have different settings"
    if all((a.right[kind] == b.right[kind]).all() for kind in KINDS):
        return "equal to the table of the library, image by image"
    means = a.accuracies.mean(axis=1), b.accuracies.mean(axis=1)
    return (
        f"against the table of the library: mean accuracy {np.mean(means[0] - means[1]):+.2f} "
        f"points, Kendall of the networks' means {correlations(*means).kendall:.3f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks of Channel-Bench-Digits: 50 minutes of processor time, resumable."""
    parser = argparse.ArgumentParser(
        prog="python -m bcnet_lib.digits_bench", description=main.__doc__
    )
    default = Path("_build/channel_bench_digits.json")
    parser.add_argument("--out", type=Path, default=default, help=f"the table (default: {default})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    path = make(DigitsSetting(), options.out, jobs=options.jobs, progress=True)
    print(path)
    if PATH.exists():
        print(compare(read(path), read()))


if __name__ == "__main__":
    # worker processes look functions up by module, and theirs is not __main__
    from bcnet_lib import digits_bench

    digits_bench.main()
