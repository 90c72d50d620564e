"""The whole way with every network of the paper on a few images, alone or under torchrun."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from bcnet_lib import Recipe, distributed
from bcnet_lib.run import run
from bcnet_lib.task import Run

MODELS = (
    *("resnet18", "vgg19_cifar", "mobilenet_v2_cifar", "resnet50"),
    *("mobilenet_v2", "efficientnet_b0", "proxylessnas_mobile"),
)
# Of six images deep networks have gradients so large (ResNet-50's change by 30 with the rounding)
# that an ordinary step would make another network of it. What training by two processes keeps is
# tested in test_distributed.py, on networks and batches that are not like this.
BRIEF = Recipe(epochs=1, batch_size=6, lr=1e-8)


def asked(model: str) -> Run:
    """A run of two steps a training; dropout draws other numbers in each process, so it is off."""
    settings = Run(
        model=model,
        data="imagenet-32" if model.endswith("cifar") else "imagenet-64",
        val=0.25,
        dropout=0.0,
        K=20,
        base=5,
        supernet=BRIEF,
        population=3,
        generations=2,
        retrain=BRIEF,
        baselines=("uniform",),
    )
    if model == "mobilenet_v2":  # as the paper: a wider supernet, in turn, and a teacher
        settings = replace(settings, macs=1.0, update="alternate", teacher="full")
    return settings


def main(folder: Path) -> None:
    with distributed.joined() as device:
        (folder / f"{distributed.place()[0]}.pid").write_text(str(os.getpid()))
        for model in MODELS:
            run(asked(model), folder / model, device=device, progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
