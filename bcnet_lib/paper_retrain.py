"""Train widths that somebody released: ``python -m bcnet_lib.paper_retrain NAME``.

Closes a row of the results pages whose network was released without an accuracy. The network is
trained from scratch by the recipe of its kind (``recipes.RECIPES``), which is not always the one
its authors used. A training that was stopped or killed goes on with the same command; under
``torchrun`` all processes do it together.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from . import distributed
from .checkpoint import CheckpointError
from .data import DataError, load
from .files import write_whole
from .networks import NETWORKS
from .paper_checks import counted, network
from .paper_tables import TableError, Widths, read_folder
from .recipe import Recipe, TrainingError
from .recipes import recipes_for
from .scratch import train_in_parts

__all__ = ["main", "retrain"]

FOLDER = "book/data/paper"


def retrain(
    widths: Widths,
    data,
    recipe: Recipe,
    folder: str | Path,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    minutes: float | None = None,
    progress: bool = False,
) -> dict | None:
    """Train released widths from scratch; ``folder/result.json`` holds what came of it.

    Args:
        data: ``Data`` with images and classes of the network. folder: made if it is not there.
        minutes: stop after so many; None: no limit.
    Returns:
        ``widths``, ``seed``, ``macs``, ``params``, ``top1`` (test accuracy in percent); None if
        it was stopped.
    Raises:
        DataError: if the images or classes are not the network's.
    """
    folder, known = Path(folder), NETWORKS[widths.network]
    if (tuple(data.shape), data.classes) != (known.image, known.classes):
        raise DataError(
            f"'{widths.network}' is for images {known.image} of {known.classes} classes, the data "
            f"has images {tuple(data.shape)} of {data.classes}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    until = None if minutes is None else time.time() + 60 * minutes
    torch.manual_seed(seed)
    model, checkpoint = network(widths).to(device), folder / "training.checkpoint"
    trained = train_in_parts(
        model,
        data,
        recipe,
        seed=seed,
        checkpoint=checkpoint,
        over=lambda: distributed.first(until is not None and time.time() >= until),
        progress=progress,
        keep=True,
    )
    if trained is None:
        return None
    cost = counted(widths.network, widths)
    result = {"widths": widths.name, "seed": seed, "macs": cost.macs, "params": cost.params}
    result |= {"top1": 100 * trained.test_accuracy, "place": widths.place}
    if distributed.is_first():
        write_whole(folder / "result.json", json.dumps(result, indent=2).encode())
        checkpoint.unlink(missing_ok=True)  # not before the result is safe
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one of the released widths."""
    p = argparse.ArgumentParser(prog="python -m bcnet_lib.paper_retrain", description=__doc__)
    p.add_argument("widths", help="a name of widths.csv")
    p.add_argument("--folder", default=FOLDER, help=f"of widths.csv (default: {FOLDER})")
    p.add_argument("--root", help="folder of the data; else $BCNET_DATA")
    p.add_argument("--out", help="folder of the result; else runs/<widths>-<seed>")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cpu")
    p.add_argument("--minutes", type=float, help="stop cleanly after so many")
    options = p.parse_args(arguments)
    try:
        known = read_folder(options.folder).widths
        if options.widths not in known:
            raise TableError(f"no widths {options.widths!r}: there are {', '.join(known)}")
        widths = known[options.widths]
        name = "imagenet" if NETWORKS[widths.network].classes == 1000 else "cifar10"
        with distributed.joined(options.device, sync_batchnorm=True) as device:
            result = retrain(
                widths,
                load(name, options.root, val=0.01),  # nothing is searched
                recipes_for(widths.network, name).retrain,
                options.out or f"runs/{widths.name}-{options.seed}",
                seed=options.seed,
                device=device,
                minutes=options.minutes,
                progress=True,
            )
    except (TableError, DataError, TrainingError, CheckpointError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if result is None:
        print("stopped; the same command goes on")
    else:
        print(f"{widths.name}: top-1 {result['top1']:.2f} % ({widths.network})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
