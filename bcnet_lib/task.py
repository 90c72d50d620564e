"""What a run is asked for, as data, and what comes of it: network, images, widths, budget.

Everything that can be refused is refused here, before anything is trained.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from . import networks, principles
from .cost import CostTable
from .data import Data, DataError, load
from .graph import GraphError, to_meta
from .io import load as load_network
from .recipe import Recipe
from .search.budget import check_budget
from .space import WidthSpace
from .supernet import Supernet
from .train import check_update
from .widen import widened

__all__ = ["BASELINES", "IMAGES", "PRINCIPLES", "Run", "Task"]

PRINCIPLES = {name.lower(): getattr(principles, name) for name in ("UA", "BC", "BCv2", "Cyclic")}
"""By the name a run is given."""
BASELINES = ("full", "uniform", "random")
"""Widths that are trained beside the found one, in this order, the network as it is, the same share
everywhere, and widths drawn uniformly among those within the budget."""
IMAGES = {  # shape, classes, images that are no test images
    "digits": ((1, 8, 8), 10, 1348),
    "fake": ((1, 8, 8), 10, 768),
    "cifar10": ((3, 32, 32), 10, 50_000),
    "imagenet": ((3, 224, 224), 1000, 1_281_167),
}
"""What is known of data sets that are not here, for a plan."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way from a network to a narrower one, start to end.

    Raises:
        ValueError: naming the field, if a value is outside its range or two do not go together.
    """

    model: str
    """A key of ``networks.NETWORKS``, or ``package.module:function`` of your own."""
    data: str = "digits"
    """As ``data.load`` knows it, or ``package.module:function`` returning a ``Data``."""
    val: float | None = None
    """Share of the training images held out for the search; networks are trained from scratch
    without them, too. None: 0.04 of ImageNet (51,000 images), 0.1 of CIFAR-10, 0.2 of others."""
    size: int | None = None
    """Keep only so many images."""
    dropout: float | None = None
    """Of all dropout layers; None: the network's own."""
    macs: float = 0.5
    """Budget in multiply-accumulates; at most 1: a share of the model's own."""
    times: float | None = None
    """MACs of the widest network of the search, as a multiple of the model's; None: as in the
    paper, 1.5 for a budget of the model's own MACs or more, and 1 for smaller ones."""
    principle: str = "bcv2"
    """``ua``, ``bc``, ``bcv2`` or ``cyclic``."""
    K: int = 20
    """Units of the full width."""
    base: int = 1
    """Smallest width l_s, in units."""
    update: str = "both"
    """``both`` (Eqs. 10, 11), ``alternate`` (Eq. 22) or ``sandwich`` (US-Nets)."""
    complement: bool | None = None
    """Also train the complement of every width (Eq. 11); None: under BC and BCv2, as the paper
    does, unless the update is ``sandwich``."""
    distill: bool = False
    """With ``sandwich``: narrow widths learn from the widest."""
    supernet: Recipe
    """How the supernet is trained."""
    prior: bool = True
    """Start the search from the prior (Eqs. 13-15); else at random."""
    prior_passes: int = 100
    """m of Eq. 13: passes averaged for the error of a width."""
    population: int = 40
    """Widths a generation."""
    generations: int = 50
    """Generations of the search."""
    score_batch: int = 2048
    """Images a batch when widths are scored."""
    retrain: Recipe
    """How networks are trained from scratch."""
    retrain_seeds: int = 1
    """Trainings from scratch of every width."""
    baselines: tuple[str, ...] = ("uniform", "random")
    """Some of ``BASELINES``, trained as the found width is."""
    teacher: str | None = None
    """Distillation while retraining: ``full``, the network as it is, trained first; or a folder
    that ``bcnet_lib.save`` wrote. None: labels alone."""
    distill_weight: float = 0.5
    """Weight of the teacher against the labels."""
    temperature: float = 4.0
    """Of the distillation."""
    seed: int = 0
    """Decides everything drawn at random."""

    def __post_init__(self):
        object.__setattr__(self, "baselines", tuple(self.baselines))
        whole = {"K": 1, "base": 1, "prior_passes": 1, "population": 2, "generations": 1,
                 "score_batch": 1, "retrain_seeds": 1, "seed": 0}  # fmt: skip
        for field, least in whole.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{field}={value!r} must be an integer of at least {least}")
        if self.principle not in PRINCIPLES:
            known = ", ".join(PRINCIPLES)
            raise ValueError(f"principle={self.principle!r}: known are {known}")
        if self.val is None:
            held = {"imagenet": 0.04, "cifar10": 0.1}.get(self.data.partition("-")[0], 0.2)
            object.__setattr__(self, "val", held)
        if self.complement is None:
            bilateral = self.principle in ("bc", "bcv2")
            object.__setattr__(self, "complement", bilateral and self.update != "sandwich")
        if self.base > self.K:
            raise ValueError(f"base={self.base} units are more than the full width, K={self.K}")
        if not 0 < self.macs < math.inf:
            raise ValueError(f"macs={self.macs!r} must be a number of MACs, or a share up to 1")
        if self.times is not None and not 1 <= self.times <= 4:
            raise ValueError(f"times={self.times!r} must be from 1 to 4")
        if odd := [b for b in self.baselines if b not in BASELINES]:
            raise ValueError(f"baselines={odd}: known are {', '.join(BASELINES)}")
        if len(set(self.baselines)) < len(self.baselines):
            raise ValueError(f"baselines={list(self.baselines)} name one twice")
        if not 0 <= self.distill_weight <= 1 or not self.temperature > 0:
            raise ValueError(
                "distillation needs 0 <= distill_weight <= 1 and temperature > 0, got "
                f"{self.distill_weight} and {self.temperature}"
            )

    def to_dict(self) -> dict:
        """The settings as JSON values."""
        return json.loads(json.dumps(asdict(self)))


class Task:
    """The objects of a run.

    Attributes:
        settings: ``Run``.
        data: ``Data``, or None if it is not here and ``plan`` was given.
        shape: (C, H, W) of the images.
        classes: how many there are.
        images: training images, without those held out for the search.
        space: ``WidthSpace`` of the (widened) network.
        cost: its ``CostTable``.
        own_macs: MACs of the model as it is.
        budget: MACs.
        times: MACs of the search's widest network, in multiples of the model's.
        factor: its widths, in multiples of the model's.

    Args:
        root: folder of the data (``BCNET_DATA``). plan: go on where the data is not here.
    Raises:
        ValueError, NetworkError, DataError, GraphError, WidthError, BudgetError: what was asked
            for does not exist, is not here, or does not go together.
    """

    def __init__(self, settings: Run, root: str | Path | None = None, *, plan: bool = False):
        self.settings = settings
        self.data = self._data(root, plan)
        model = self.original()
        x = torch.zeros(1, *self.shape)
        try:
            self._own = WidthSpace.from_model(model, x, K=1)  # the model as it is
        except GraphError as error:
            raise GraphError(
                f"model '{settings.model}', data '{settings.data}': {error}"
            ) from error
        self._own_cost = CostTable(model, self._own, x)
        self.own_macs = self._own_cost.macs(self._own.full)
        self._check_outputs(model, x)
        self.budget = settings.macs * (self.own_macs if settings.macs <= 1 else 1)
        own = 1.5 if self.budget >= self.own_macs else 1.0
        self.times, self.factor = settings.times or own, 1.0
        if self.times > 1:
            model, self.factor = widened(model, x, times=self.times)
        self._model = model
        self.space = WidthSpace.from_model(model, x, K=settings.K, base=settings.base)
        self.cost = CostTable(model, self.space, x)
        check_budget(self.space, self.cost, self.budget)
        principle = self.principle
        paths = len(principle.paths(self.space.K, self.space.K, settings.base))
        check_update(principle, paths, settings.update, settings.complement, 2, settings.distill)
        if settings.teacher not in (None, "full"):
            self.teacher(settings.teacher)  # known before the long work, not after it
        for what in ("supernet", "retrain"):
            size = getattr(settings, what).batch_size
            if size > self.images:
                raise DataError(
                    f"{what} batch_size={size} is more than the {self.images:,} training images"
                )

    def _data(self, root, plan: bool) -> Data | None:
        asked, data = self.settings, None
        options = {"size": asked.size} if asked.size is not None else {}
        try:
            data = load(asked.data, root, val=asked.val, **options)
        except DataError:
            if not plan or asked.data.partition("-")[0] not in IMAGES:
                raise
        if data is not None:
            self.shape, self.classes, self.images = data.shape, data.classes, len(data.train)
            return data
        name, _, pixels = asked.data.partition("-")  # imagenet-64
        self.shape, self.classes, images = IMAGES[name]
        if pixels:
            self.shape = (self.shape[0], int(pixels), int(pixels))
        self.images = round((asked.size or images) * (1 - asked.val))
        return None

    def _check_outputs(self, model: nn.Module, x: torch.Tensor) -> None:
        """Refuse a network whose outputs are not one number a class."""
        with torch.no_grad():
            out = to_meta(model).eval()(x.to("meta"))
        if not isinstance(out, torch.Tensor) or tuple(out.shape) != (1, self.classes):
            found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise networks.NetworkError(
                f"network '{self.settings.model}' gives {found} for one image, and data "
                f"'{self.settings.data}' has {self.classes} classes: it must give "
                f"(1, {self.classes}). Let its function take 'classes'"
            )

    @cached_property
    def factory(self) -> dict:
        """Keyword arguments of ``networks.make`` for the model as it is."""
        return {
            "name": self.settings.model,
            "classes": self.classes,
            "channels": self.shape[0],
            "dropout": self.settings.dropout,
        }

    @property
    def principle(self):
        """The sharing principle."""
        return PRINCIPLES[self.settings.principle]()

    def original(self) -> nn.Module:
        """The model as it is, newly initialised."""
        return networks.make(**self.factory)

    def supernet(self, device="cpu") -> Supernet:
        """A fresh supernet on a device, in the layout that is fast there."""
        net = Supernet(self._model, self.space, self.principle, seed=self.settings.seed)
        return _placed(net, device)

    def build(self, c: Sequence[int] | None, seed: int, device="cpu"):
        """A fresh plain network of widths c on a device; None: the model as it is.

        Returns:
            (network, the space it is of, its widths in that space).
        """
        model, space = self._model, self.space
        if c is None:
            model, space, c = self.original(), self._own, self._own.full
        return _placed(space.build(model, c, seed=seed), device), space, c

    def count(self, c: Sequence[int] | None) -> dict:
        """MACs, parameters and channels of widths c; None: of the model as it is."""
        space, cost = self.space, self.cost
        if c is None:
            space, cost, c = self._own, self._own_cost, self._own.full
        channels = space.channels(c).tolist()
        return {"macs": cost.macs(c), "params": cost.params(c), "channels": channels}

    def teacher(self, folder: str | Path, device="cpu") -> nn.Module:
        """The trained network in a folder that ``bcnet_lib.save`` wrote.

        Raises:
            ValueError: if its outputs are not those of the data.
        """
        model = _placed(load_network(folder, device=device), device).eval()
        with torch.no_grad():
            out = model(torch.zeros(1, *self.shape, device=device))
        if tuple(out.shape) != (1, self.classes):
            raise ValueError(
                f"teacher '{folder}' gives outputs {tuple(out.shape)}, and the data has "
                f"{self.classes} classes"
            )
        return model


def _placed(module: nn.Module, device) -> nn.Module:
    module = module.to(device)
    cuda = torch.device(device).type == "cuda"  # there channels-last convolutions are faster
    return module.to(memory_format=torch.channels_last) if cuda else module
