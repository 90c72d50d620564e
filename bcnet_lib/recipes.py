"""How the paper's networks are trained, as data, with where every value comes from.

Source: Su et al., arXiv 2203.13714, section 7.1, for what is marked so. The paper names kinds: SGD
with Nesterov momentum or RMSprop; cosine, step or exponential schedules, the exponential falling by
0.963 in three epochs; warm-up, weight decay, label smoothing where used, an average of the weights
as an option, distillation for MobileNetV2, supernets of 1.5 times the MACs. The numbers that go
with them are not at hand here. They are those of the authors' released configurations where these
have the network (github.com/xiusu/BCNetV2, ``BCNet/config/retrain``, on 8 GPUs as its README has
it), else those usual for it. ``NetworkRecipe.to_frame`` says which is which.
"""

from dataclasses import asdict, dataclass, field, replace

import pandas as pd

from .networks import NETWORKS
from .recipe import Recipe

__all__ = ["KINDS", "RECIPES", "NetworkRecipe", "recipes_for"]

PAPER = "paper"
RELEASED = "released code"
USUAL = "usual"
OURS = "ours"

KINDS = {
    "optimizer": "SGD or RMSprop",
    "nesterov": "yes, of SGD",
    "weight_decay": "used",
    "schedule": "cosine, step or exponential",
    "decay": "exponential: 0.963 in 3 epochs",
    "decay_epochs": "exponential: 0.963 in 3 epochs",
    "warmup_epochs": "used",
    "label_smoothing": "for some networks",
    "ema": "an option",
    "teacher": "the unpruned network, for MobileNetV2",
    "times": "1.5, for budgets as large as the network",
}
"""What the paper's section 7.1 says of a setting."""


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """How a network's supernet is trained, and from scratch what is found in it."""

    about: str
    """What it is for, and where it was read, in a line."""
    supernet: Recipe
    """Of the supernet."""
    retrain: Recipe
    """Of found and other widths, from scratch."""
    teacher: bool = False
    """Whether the unpruned network, trained first, teaches the narrower ones."""
    distill_weight: float = 0.5
    """Weight of the teacher against the labels."""
    temperature: float = 4.0
    """T of the distillation."""
    times: float = 1.5
    """MACs of the widest network of the search as a multiple of the network's, for budgets as large
    as the network (``widen.widened``)."""
    source: str = USUAL
    """Where values come from ("paper", "released code", "usual", "ours"), but for ``sources``."""
    sources: dict[str, str] = field(default_factory=dict)
    """Name of a setting -> where its values come from."""

    def to_frame(self) -> pd.DataFrame:
        """A table of the settings that have an effect: their values for the supernet and for
        retraining, where these come from, and what the paper says of the setting (``KINDS``).
        """
        values = {"supernet": asdict(self.supernet), "retrain": asdict(self.retrain)}
        idle = self.supernet.idle & self.retrain.idle
        rows = {k: [v[k] for v in values.values()] for k in values["retrain"] if k not in idle}
        rows["teacher"] = ["", "the unpruned network" if self.teacher else "none"]
        if self.teacher:
            rows |= {k: ["", getattr(self, k)] for k in ("distill_weight", "temperature")}
        rows["times"] = [self.times, ""]
        table = pd.DataFrame(rows.values(), index=rows, columns=list(values), dtype=object)
        table["values from"] = [self.sources.get(name, self.source) for name in rows]
        table["paper"] = [KINDS.get(name, "") for name in rows]
        return table.rename_axis("setting")


_DIGITS = Recipe(epochs=20, batch_size=64, lr=0.1, warmup_epochs=1)
_FAST = Recipe(
    epochs=40,
    batch_size=512,
    lr=0.2,
    weight_decay=5e-4,
    decay_all=False,
    warmup_epochs=2,
    label_smoothing=0.1,
    augment=True,
    amp=True,
)
# 390.6 steps of 128 images an epoch; the code doubles weight decay on convolutions, and has none on
# biases and normalisation
_VGG = Recipe(
    epochs=500,
    batch_size=128,
    lr=0.1,
    nesterov=False,
    weight_decay=2e-4,
    decay_all=False,
    schedule="step",
    decay=0.1,
    decay_epochs=(160, 240, 300, 400),
    augment=True,
)
_MOBILE_CIFAR = replace(_VGG, weight_decay=1e-4, decay_epochs=(160, 240, 300), warmup_epochs=5)
_MACRO = Recipe(
    epochs=300, batch_size=256, lr=0.1, weight_decay=5e-4, warmup_epochs=1, augment=True
)
# 2,503 steps of 512 images an epoch
_MOBILE = Recipe(
    epochs=300,
    batch_size=512,
    lr=0.1,
    weight_decay=1e-4,
    decay_all=False,
    warmup_epochs=5,
    label_smoothing=0.1,
    augment=True,
)
_RESNET = replace(_MOBILE, epochs=150, weight_decay=2e-4, warmup_epochs=0)
# Tan & Le, arXiv 1905.11946: 0.256 for 4,096 images, 0.97 every 2.4 epochs: 0.963 every 3
_EFFICIENT = Recipe(
    epochs=350,
    batch_size=1024,
    optimizer="rmsprop",
    lr=0.064,
    weight_decay=1e-5,
    decay_all=False,
    schedule="exponential",
    decay=0.963,
    decay_epochs=3,
    warmup_epochs=5,
    label_smoothing=0.1,
    ema=0.9999,
    augment=True,
)

_OWN = {"teacher": PAPER, "times": PAPER, "amp": OURS}
_CODE = _OWN | {"weight_decay": f"{RELEASED}, doubled on convolutions"}
_SOFT = {"distill_weight": USUAL, "temperature": USUAL}

RECIPES = {
    "digits": NetworkRecipe(
        about="small grey images on a CPU, in minutes",
        supernet=_DIGITS,
        retrain=_DIGITS,
        source=OURS,
        sources={"times": PAPER},
    ),
    "cifar10_fast": NetworkRecipe(
        about="any network for 32x32 images on one GPU, in minutes a training",
        supernet=_FAST,
        retrain=_FAST,
        source=OURS,
        sources={"times": PAPER},
    ),
    "vgg_cifar": NetworkRecipe(
        about="VGG-16 and VGG-19 on CIFAR-10: config_VGG19_fairnet_20list_0.5.yaml",
        supernet=_VGG,
        retrain=replace(_VGG, epochs=600, decay_epochs=(160, 240, 400, 500)),
        source=RELEASED,
        sources=_CODE,
    ),
    "mobilenet_v2_cifar": NetworkRecipe(
        about="MobileNetV2 on CIFAR-10: config_mbv2_cifar10_fairnet_20list_0.5.yaml",
        supernet=_MOBILE_CIFAR,
        retrain=_MOBILE_CIFAR,
        teacher=True,
        source=RELEASED,
        sources=_CODE | _SOFT,
    ),
    "macro": NetworkRecipe(
        about="the networks of Channel-Bench-Macro on CIFAR-10",
        supernet=replace(_MACRO, weight_decay=0.0),
        retrain=_MACRO,
        sources=_OWN,
    ),
    "resnet": NetworkRecipe(
        about="ResNets on ImageNet: config_resnet50_imgnet_fairnet_10list_0.5.yaml, "
        "config_resnet50_50p_6_2.yaml",
        supernet=replace(_RESNET, batch_size=256, warmup_epochs=2.5),
        retrain=_RESNET,
        source=RELEASED,
        sources=_CODE,
    ),
    "mobilenet_v2": NetworkRecipe(
        about="MobileNetV2 on ImageNet: config_mbv2_imgnet_fairnet_20list_0.5.yaml",
        supernet=_MOBILE,
        retrain=_MOBILE,
        teacher=True,
        source=RELEASED,
        sources=_CODE | _SOFT | {"ema": f"{RELEASED}, beside 0.9999"},
    ),
    "mobilenet_v2_rmsprop": NetworkRecipe(
        about="MobileNetV2 on ImageNet: bcnet_supernet.yaml, mbv2_se.yaml of BCNetV2",
        supernet=replace(_MOBILE, weight_decay=4e-5, decay_all=True, label_smoothing=0.0),
        retrain=replace(_EFFICIENT, epochs=450, batch_size=512, schedule="step", ema=0.9998),
        teacher=True,
        source=RELEASED,
        sources=_OWN | _SOFT | dict.fromkeys(("alpha", "decay_all", "label_smoothing"), USUAL),
    ),
    "efficientnet_b0": NetworkRecipe(
        about="EfficientNet-B0 on ImageNet, without its AutoAugment",
        supernet=replace(_EFFICIENT, ema=0.0),
        retrain=_EFFICIENT,
        sources=_OWN | {"decay": PAPER, "decay_epochs": PAPER},
    ),
    "proxylessnas_mobile": NetworkRecipe(
        about="ProxylessNAS-Mobile on ImageNet, as MobileNetV2",
        supernet=replace(_MOBILE, weight_decay=4e-5),
        retrain=replace(_MOBILE, weight_decay=4e-5),
        sources=_OWN,
    ),
}
"""By name; ``networks.NETWORKS`` says which one a network has."""


def recipes_for(model: str, data: str, name: str | None = None) -> NetworkRecipe:
    """The recipes of a run.

    Args:
        model: a key of ``networks.NETWORKS``, or a function of one's own.
        data: as ``data.load`` knows it, or a function of one's own.
        name: a key of ``RECIPES``. None: that of the network on the images that it is for;
            elsewhere "digits", "cifar10_fast" or (ImageNet) "resnet", by the images; "cifar10_fast"
            for images of one's own.
    Raises:
        ValueError: if there is no recipe of that name.
    """
    if name is not None:
        if name not in RECIPES:
            raise ValueError(f"recipe={name!r}: known are {', '.join(RECIPES)}")
        return RECIPES[name]
    sides = {"digits": (8, "digits"), "fake": (8, "digits"), "cifar10": (32, "cifar10_fast")}
    side, other = sides.get(data.partition("-")[0], (224, "resnet"))
    if ":" in data:
        side, other = None, "cifar10_fast"
    known = NETWORKS.get(model)
    fits = known is not None and side in (None, known.image[-1])
    return RECIPES[known.recipe if fits else other]
