"""Sizes of the experiments, one table: what "smoke", "digits", "cifar10" and "paper" mean.

``smoke`` takes seconds and shows that the code runs; ``digits`` is the book's own scale, minutes of
two CPU cores; ``cifar10`` is meant for one GPU; ``paper`` has the paper's settings. ``PROFILES``
holds one ``Profile`` for each experiment and size.
"""

from dataclasses import asdict, dataclass, replace

import pandas as pd

__all__ = ["PROFILES", "RANKING", "Profile", "to_frame"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How supernets are trained, searched and judged in one experiment at one size."""

    network: str
    """``digits``, ``mobilenet`` or ``resnet``: that ``ChannelBench``, which knows the accuracy of
    every width; or a network of ``networks.NETWORKS``, whose found widths are trained."""
    data: str = "digits"
    """Images, as ``data.load`` knows them; the digits benchmark has its own split."""
    K: int = 4
    """Units of the full width."""
    base: int = 1
    """Smallest width l_s, in units."""
    values: tuple[int, ...] = ()
    """What the experiment varies: K, l_s, images a batch."""
    steps: int = 720
    """Optimiser steps of a supernet, where methods are compared at equal steps."""
    passes: int = 2880
    """Forward-backward passes of a supernet, where methods are compared at equal passes."""
    batch_size: int = 32
    """Images a pass."""
    lr: float = 0.1
    """Largest learning rate of the cosine schedule, for every method."""
    weight_decay: float = 5e-4
    """L2 penalty."""
    seeds: int = 12
    """Repetitions, with seeds 0, 1, …"""
    val: float = 0.4
    """Share of the training images held out for scoring; the digits benchmark has its own."""
    widths: int | None = None
    """Score so many widths of a benchmark, drawn once for all; None: every one."""
    score_batch: int = 2048
    """Images a batch in scoring, at most, whose statistics BatchNorm uses."""
    augment: bool = False
    """Shift and mirror the training images."""
    fast: bool = False
    """bfloat16 and channels-last: for a GPU."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    budget: float = 0.5
    """Share of the full network's MACs that a search may use."""
    population: int = 10
    """Widths a generation of the evolutionary search."""
    generations: int = 10
    """Generations of the evolutionary search."""
    retrain_epochs: float = 10
    """Epochs of training a found width from scratch; a benchmark has done it."""
    retrain_seeds: int = 3
    """Trainings of every found width; those of a benchmark are as many as it has."""


_BENCH = Profile(network="digits")
_SMALL = {"steps": 9, "passes": 36, "batch_size": 64, "seeds": 2, "widths": 64}
_BRIEF = {**_SMALL, "population": 4, "generations": 2, "retrain_epochs": 2, "retrain_seeds": 1}
# five layers of 30 channels; a quarter of the MACs, so that widths matter
_DIGITS = replace(
    _BENCH,
    **{"network": "digits_cnn", "K": 10, "passes": 960, "steps": 240, "seeds": 8, "budget": 0.25},
)
_GPU = {"batch_size": 256, "weight_decay": 5e-4, "val": 0.1, "augment": True, "fast": True}
# 45,000 training images: an epoch has 175 steps of 256
_CIFAR = Profile(
    network="vgg19_cifar",
    data="cifar10",
    **{**_GPU, "K": 20, "steps": 5250, "passes": 10500, "seeds": 3, "checkpoint_every": 500},
    **{"population": 40, "generations": 25, "retrain_epochs": 30, "retrain_seeds": 1},
)
# section 7: K = 20, 2,000 evaluations; 1.28 million images: an epoch has 1,251 steps of 1,024
_PAPER = Profile(
    network="mobilenet_v2",
    data="imagenet",
    **{**_GPU, "K": 20, "batch_size": 1024, "weight_decay": 4e-5, "val": 0.04, "seeds": 3},
    **{"steps": 125_100, "passes": 250_200, "checkpoint_every": 1000, "lr": 0.4},
    **{"population": 40, "generations": 50, "retrain_epochs": 300, "retrain_seeds": 1},
)

_MACRO = {**_GPU, "data": "cifar10", "weight_decay": 0.0, "steps": 5250, "passes": 21000}
RANKING = {
    "smoke": replace(_BENCH, **_SMALL),
    "digits": _BENCH,
    "cifar10": Profile(network="mobilenet", **_MACRO, seeds=2, checkpoint_every=500),
    "cifar10-resnet": Profile(network="resnet", **_MACRO, seeds=2, checkpoint_every=500),
    "paper": Profile(  # 300 epochs; Eq. 11 takes four passes a step
        network="mobilenet",
        **{**_MACRO, "steps": 52500, "passes": 210000},
        **{"seeds": 3, "checkpoint_every": 2000},
    ),
}
_ON_BENCH = {"smoke": replace(_BENCH, **_BRIEF), "digits": replace(_BENCH, seeds=10)}
_ON_DIGITS = {"smoke": replace(_DIGITS, **_BRIEF), "digits": _DIGITS}
# the paper's networks for ImageNet; weight decay and epochs of ResNet-50 are the usual ones
_RESNET = replace(_PAPER, network="resnet50", weight_decay=1e-4, retrain_epochs=100)
_LARGE = {"cifar10": _CIFAR, "paper": _PAPER, "paper-resnet50": _RESNET}
_RANKED = {"smoke": RANKING["smoke"], "digits": replace(_BENCH, seeds=8)}  # supernets are shared
# MobileNetV2 for CIFAR-10 on grey images of 8 x 8: half of every width is 26.4 % of the MACs
_FOUND = Profile(
    network="mobilenet_v2_cifar",
    **{"K": 20, "base": 5, "passes": 960, "steps": 240, "lr": 0.05, "budget": 0.265, "seeds": 6},
    **{"population": 20, "generations": 10, "retrain_epochs": 12, "retrain_seeds": 2},
)
_SIZES = (64, 128, 256, 512, 1024, 2048)


def _with(profiles, smoke: tuple, values: tuple, **changes) -> dict[str, Profile]:
    """The same profiles, with what an experiment varies."""
    values_of = {name: smoke if name == "smoke" else values for name in profiles}
    return {name: replace(p, values=values_of[name], **changes) for name, p in profiles.items()}


PROFILES = {
    "ranking": RANKING,
    "components": _ON_BENCH | _LARGE,
    "iterative_updates": _ON_BENCH | _LARGE,
    "prior_sampling": _ON_BENCH | _LARGE,
    # 30 channels: K = 4 and 20 do not divide them
    "group_number": _with(_ON_DIGITS, (4, 10, 30), (4, 6, 10, 20, 30))
    | _with(_LARGE, (), (4, 6, 10, 15, 20, 30)),
    # half of K everywhere takes more than a quarter of the MACs
    "base_width": _with(_ON_DIGITS, (1, 2, 5), (1, 2, 3, 5), budget=0.35)
    | _with(_LARGE, (), (1, 2, 4, 6, 8, 10)),
    "fairness_in_time": {  # looks at supernets in training, which needs no long one
        "smoke": _ON_BENCH["smoke"],
        "digits": replace(_BENCH, passes=720, steps=180, seeds=8),
        "cifar10": replace(_CIFAR, passes=2100, steps=525),
        "paper": _PAPER,
    },
    "found_widths": {  # 44 M of 296.5 M MACs and 77 M of 398 M, half of each network for ImageNet
        "smoke": replace(_DIGITS, **_BRIEF, base=2),
        "digits": _FOUND,
        "cifar10": replace(
            _CIFAR, network="mobilenet_v2_cifar", base=5, budget=0.1484, retrain_seeds=3
        ),
        "cifar10-vgg19": replace(_CIFAR, base=5, budget=0.1934, retrain_seeds=3),
        "paper": replace(_PAPER, base=5),
        "paper-resnet50": replace(_RESNET, base=5),
    },
    # of 395 images to score on, 384 make whole batches of every size
    "bn_statistics": _with(_RANKED, (16, 384), (16, 32, 64, 128, 384, 1024, 2048))
    | _with({"cifar10": RANKING["cifar10"], "paper": _PAPER}, (), _SIZES),
}


def to_frame(profiles) -> pd.DataFrame:
    """A table with one column a profile and one row a setting."""
    return pd.DataFrame({name: asdict(p) for name, p in profiles.items()}, dtype=object)
