"""``python -m bcnet_lib run``: from a network to a narrower one, in one command."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from . import distributed
from .checkpoint import CheckpointError
from .data import DataError
from .networks import NETWORKS
from .plan import plan
from .recipe import Recipe, TrainingError
from .recipes import recipes_for
from .run import run
from .task import BASELINES, PRINCIPLES, Run, Task

__all__ = ["main", "parser"]

REFUSED = (ValueError, DataError, CheckpointError, TrainingError, FileNotFoundError)
"""What is wrong with what was asked for: said in a line, without a traceback."""
EXAMPLE = """\
examples:
  python -m bcnet_lib run --model digits_cnn --data digits
  python -m bcnet_lib run --model mobilenet_v2 --data imagenet --macs 150e6 --base 5 --dry-run
  torchrun --nproc_per_node 8 -m bcnet_lib run --model resnet50 --data imagenet --macs 2e9 \\
      --base 5 --device cuda --precision bf16

A run that was stopped or killed goes on with the same command."""


def parser() -> argparse.ArgumentParser:
    """The options of ``python -m bcnet_lib run``."""
    top = argparse.ArgumentParser(prog="python -m bcnet_lib", description="Search network widths.")
    commands = top.add_subparsers(dest="command", required=True)
    p = commands.add_parser(
        "run",
        usage="%(prog)s [options]; all of them: %(prog)s --help",
        description="Supernet, prior, evolution, training from scratch, report.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = {f.name: f.default for f in dataclasses.fields(Run)}

    def add(group, name: str, type_, text: str, **more):
        field = name.replace("-", "_")
        shown = default.get(field, more.get("default"))
        text += f" (default: {shown})" if shown not in (None, dataclasses.MISSING) else ""
        metavar = {} if "choices" in more else {"metavar": type_.__name__}
        group.add_argument(f"--{name}", type=type_, help=text, default=None, **metavar, **more)

    g = p.add_argument_group("network and images")
    add(g, "model", str, f"{', '.join(NETWORKS)}; or package.module:function of yours")
    add(g, "data", str, "digits, cifar10, imagenet, imagenet-64, fake; or package.module:function")
    add(g, "root", Path, "folder of the data; else $BCNET_DATA, else ~/.cache/bcnet")
    add(
        g,
        "val",
        float,
        "share of the training images held out for the search (default: 0.04 of "
        "ImageNet, 0.1 of CIFAR-10, else 0.2)",
    )
    add(g, "size", int, "keep only so many images")
    add(g, "dropout", float, "of all dropout layers; else the network's own")

    g = p.add_argument_group("widths")
    add(g, "macs", float, "budget in MACs; at most 1: a share of the model's")
    add(
        g,
        "times",
        float,
        "MACs of the widest network searched, in multiples of the model's "
        "(default: 1.5 for a budget of the model's or more, else 1)",
    )
    add(g, "principle", str, "how widths share weights", choices=list(PRINCIPLES))
    add(g, "K", int, "units of the full width")
    add(g, "base", int, "smallest width l_s, in units")

    g = p.add_argument_group("supernet")
    add(g, "recipe", str, "of recipes.RECIPES, for supernet and retraining; else the network's")
    add(g, "update", str, "Eqs. 10-11, Eq. 22, US-Nets", choices=["both", "alternate", "sandwich"])
    _switch(g, "complement", "train the complement as well, Eq. 11 (default: under bc and bcv2)")
    _switch(g, "distill", "with sandwich: narrow widths learn from the widest")
    add(g, "epochs", float, "passes over the images; warm-up and steps stretch with them")
    add(g, "batch-size", int, "images a step, of all processes together")
    add(g, "lr", float, "largest learning rate")
    add(g, "precision", str, "of all training and scoring", choices=["32", "bf16"])

    g = p.add_argument_group("search")
    _switch(g, "prior", "start from the prior of Eqs. 13-15 (default: yes)")
    add(g, "prior-passes", int, "m of Eq. 13")
    add(g, "population", int, "widths a generation")
    add(g, "generations", int, "generations")
    add(g, "score-batch", int, "images a batch in scoring")

    g = p.add_argument_group("training from scratch")
    add(g, "retrain-epochs", float, "passes over the images")
    add(g, "retrain-batch-size", int, "images a step, of all processes together")
    add(g, "retrain-lr", float, "largest learning rate")
    add(g, "retrain-seeds", int, "trainings of every width")
    g.add_argument("--baselines", nargs="*", choices=BASELINES, help="trained beside the found")
    add(g, "teacher", str, "full: the model as it is; or a folder of bcnet_lib.save; or none")
    add(g, "distill-weight", float, "weight of the teacher against the labels")
    add(g, "temperature", float, "of the distillation")

    g = p.add_argument_group("where and how long")
    add(g, "seed", int, "decides all that is drawn at random")
    add(g, "out", Path, "folder of this run; else runs/<model>-<data>")
    add(g, "device", str, "cpu (default) or cuda; under torchrun one GPU a process")
    add(g, "minutes", float, "stop cleanly after so many")
    g.add_argument("--no-sync-batchnorm", action="store_true",
                   help="of several processes each normalises its own images")  # fmt: skip
    g.add_argument("--dry-run", action="store_true", help="print what it will take, and stop")
    add(g, "rate", float, "of --dry-run: MACs a second and process; else measured here")
    add(g, "processes", int, "of --dry-run: processes that share the work")
    return top


def _switch(group, name: str, text: str) -> None:
    group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text)


def settings_of(options: argparse.Namespace) -> Run:
    """The run that options ask for.

    Raises:
        ValueError: for values that do not exist or do not go together.
    """
    name = options.model or "digits_cnn"
    recipes = recipes_for(name, options.data or Run.data, options.recipe)
    given = {k: v for k, v in vars(options).items() if v is not None}
    amp = {} if options.precision is None else {"amp": options.precision == "bf16"}
    both = {"epochs": "epochs", "batch_size": "batch_size", "lr": "lr"}
    supernet = {f: given[o] for f, o in both.items() if o in given} | amp
    retrain = {f: given[f"retrain_{o}"] for f, o in both.items() if f"retrain_{o}" in given} | amp
    own = {f.name: given[f.name] for f in dataclasses.fields(Run) if f.name in given}
    if own.get("teacher") == "none":
        own["teacher"] = None
    elif "teacher" not in own and recipes.teacher:
        own["teacher"] = "full"
    soft = {k: getattr(recipes, k) for k in ("distill_weight", "temperature")}
    own = (
        soft
        | own
        | {
            "model": name,
            "supernet": _changed(recipes.supernet, supernet),
            "retrain": _changed(recipes.retrain, retrain),
        }
    )
    return Run(**own)


def _changed(recipe: Recipe, changes: dict) -> Recipe:
    """A recipe with other values; other epochs stretch its warm-up and its steps with them."""
    ratio = changes.get("epochs", recipe.epochs) / recipe.epochs
    every = recipe.decay_epochs
    stretched = tuple(ratio * e for e in every) if isinstance(every, tuple) else ratio * every
    times = {"warmup_epochs": ratio * recipe.warmup_epochs, "decay_epochs": stretched}
    return dataclasses.replace(recipe, **(times if ratio > 0 else {}) | changes)


def _check_place(options: argparse.Namespace, device: str) -> None:
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"--device {device}: known are cpu and cuda")
    for name in ("minutes", "rate", "processes"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value} must be more than 0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or say what a run would take."""
    top = parser()
    options = top.parse_args(arguments)
    name = (options.model or "digits_cnn").replace(":", ".")
    folder = options.out or Path("runs") / f"{name}-{(options.data or 'digits').replace(':', '.')}"
    device = options.device or "cpu"
    try:
        settings = settings_of(options)
        _check_place(options, device)
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {device}: PyTorch sees no GPU here")
        if options.dry_run:
            processes = options.processes or int(os.environ.get("WORLD_SIZE", 1))
            task = Task(settings, options.root, plan=True)
            print(plan(task, processes=processes, rate=options.rate, device=device).text())
            return 0
        sync = not options.no_sync_batchnorm
        with distributed.joined(device, sync_batchnorm=sync) as device:
            done = run(settings, folder, device=device, root=options.root, minutes=options.minutes)
    except REFUSED as error:
        if distributed.is_first():
            print(f"bcnet_lib run: {error}", file=sys.stderr)
        return 2
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
