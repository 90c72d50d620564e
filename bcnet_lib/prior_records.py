"""The training losses that the chapter on prior sampling fits its priors to.

A MobileNetV2 supernet (25 groups, K = 20, l_s = 5, BCNetV2) trained on digits; every pass of its
training is a row. ``python -m bcnet_lib.prior_records`` makes the record anew.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from .data import load
from .models import mobilenet_v2_cifar
from .principles import BCv2
from .recipe import Recipe
from .results import Record, measured
from .space import WidthSpace
from .supernet import Supernet
from .train import SupernetTrainer

__all__ = ["Setting", "make_record", "mobilenet_on_digits"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the supernet is trained."""

    seed: int = 0
    """Of weights, widths and order of images."""
    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 32
    """Images a pass."""
    lr: float = 0.05
    """Largest learning rate."""
    warmup_epochs: int = 1
    """Epochs over which the learning rate rises."""


def mobilenet_on_digits() -> tuple[nn.Module, WidthSpace]:
    """MobileNetV2 for grey images of 8 x 8 pixels, and its space with K = 20 and l_s = 5."""
    model = mobilenet_v2_cifar()
    model.features[0][0] = nn.Conv2d(1, 32, 3, padding=1, bias=False)  # digits are grey
    return model, WidthSpace.from_model(model, torch.zeros(1, 1, 8, 8), K=20, base=5)


def make_record(setting: Setting = Setting()) -> Record:  # noqa: B008 (it is frozen)
    """Train the supernet, one row a pass: seed, path, loss (nats), widths."""
    model, space = mobilenet_on_digits()
    settings = asdict(setting)
    with measured() as run:
        rest = {k: v for k, v in settings.items() if k != "seed"}
        net = Supernet(model, space, BCv2(), seed=setting.seed)
        options = {"update": "alternate", "seed": setting.seed, "progress": False}
        trainer = SupernetTrainer(net, load("digits"), Recipe(**rest), **options)
        r = trainer.fit().records
    rows = [
        {
            "seed": setting.seed,
            "path": int(path),
            "loss": round(float(loss), 6),
            "widths": " ".join(map(str, c)),
        }
        for path, loss, c in zip(r.paths, r.losses, r.widths, strict=True)
    ]
    return Record.new(
        f"{len(rows):,} training losses of a MobileNetV2 supernet on digits, "
        f"{space.L} groups, K = {space.K} (1 seed)",
        rows,
        experiment="prior_records",
        profile="digits",
        parameters=settings,
        measured=run,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the supernet and write its losses (about ten minutes)."""
    parser = argparse.ArgumentParser(
        prog="python -m bcnet_lib.prior_records", description=main.__doc__
    )
    default = Path("figures/prior_records/digits/results.json")
    parser.add_argument("--epochs", type=int, default=Setting.epochs)
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = make_record(Setting(epochs=options.epochs))
    print(record.save(options.out))
    print(record.headline)


if __name__ == "__main__":
    main()
