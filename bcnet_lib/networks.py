"""The networks a search can be asked for by name, and one function that makes any of them.

``make`` is importable and takes plain values, so that it can stand as the factory in a saved
network (``io.save``): another process makes the same network from the same words.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import Parameter, signature

from torch import nn
from torchvision.ops import StochasticDepth

from .words import function_of, meant

__all__ = ["NETWORKS", "Network", "NetworkError", "make"]


class NetworkError(ValueError):
    """A network that is not known, or cannot be made as asked."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is known by name."""

    factory: str
    """The function that makes it, ``package.module:function``."""
    image: tuple[int, int, int]
    """Shape (C, H, W) of its images."""
    classes: int
    """Outputs, unless others are asked for."""
    recipe: str
    """Its training, a key of ``recipes.RECIPES``."""
    about: str
    """What it is, in a line."""
    options: dict = field(default_factory=dict)
    """Keyword arguments of the factory."""


_LARGE = {"image": (3, 224, 224), "classes": 1000}
_SMALL = {"image": (3, 32, 32), "classes": 10}
_OURS, _VISION = "bcnet_lib.models", "torchvision.models"

NETWORKS = {
    "digits_cnn": Network(
        factory=f"{_OURS}:digits_cnn",
        image=(1, 8, 8),
        classes=10,
        recipe="digits",
        about="five 3x3 convolutions of 30 channels, for 8x8 digits",
        options={"widths": [30] * 5},
    ),
    "vgg16_cifar": Network(
        factory=f"{_OURS}:vgg16_cifar",
        **_SMALL,
        recipe="vgg_cifar",
        about="VGG-16 for 32x32 images",
    ),
    "vgg19_cifar": Network(
        factory=f"{_OURS}:vgg19_cifar",
        **_SMALL,
        recipe="vgg_cifar",
        about="VGG-19 for 32x32 images",
    ),
    "mobilenet_v2_cifar": Network(
        factory=f"{_OURS}:mobilenet_v2_cifar",
        **_SMALL,
        recipe="mobilenet_v2_cifar",
        about="MobileNetV2 for 32x32 images",
    ),
    "macro_mobilenet": Network(
        factory=f"{_OURS}:macro_mobilenet",
        **_SMALL,
        recipe="macro",
        about="the MobileNet space of Channel-Bench-Macro",
    ),
    "macro_resnet": Network(
        factory=f"{_OURS}:macro_resnet",
        **_SMALL,
        recipe="macro",
        about="the ResNet space of Channel-Bench-Macro",
    ),
    **{
        f"resnet{n}": Network(
            factory=f"{_VISION}:resnet{n}",
            **_LARGE,
            recipe="resnet",
            about=f"torchvision's ResNet-{n}",
        )
        for n in (18, 34, 50)
    },
    "mobilenet_v2": Network(
        factory=f"{_VISION}:mobilenet_v2",
        **_LARGE,
        recipe="mobilenet_v2",
        about="torchvision's MobileNetV2",
    ),
    "efficientnet_b0": Network(
        factory=f"{_VISION}:efficientnet_b0",
        **_LARGE,
        recipe="efficientnet_b0",
        about="torchvision's EfficientNet-B0",
    ),
    "proxylessnas_mobile": Network(
        factory=f"{_OURS}:proxylessnas_mobile",
        **_LARGE,
        recipe="proxylessnas_mobile",
        about="ProxylessNAS-Mobile",
    ),
}
"""The networks of the paper and of this book."""


def make(
    name: str,
    classes: int | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    **options,
) -> nn.Module:
    """A newly initialised network, by name.

    Args:
        name: a key of ``NETWORKS``, or ``"package.module:function"``, a function of yours that
            returns an ``nn.Module``.
        classes: outputs; None: the network's own. Given to the function as ``classes`` or
            ``num_classes``, whichever it takes; one that takes neither must make that many by
            itself.
        channels: of the images. Where the network's first convolution has others, a new one takes
            its place. None: the network's own.
        dropout: probability of every dropout layer; the largest probability of stochastic depth
            becomes the same, the others in proportion. 0 turns both off; None: the network's own.
        options: more keyword arguments of the function.
    Raises:
        NetworkError: if the name is unknown, or the network cannot be made as asked.
    """
    if name not in NETWORKS and ":" not in name:
        known = ", ".join(f"'{n}'" for n in NETWORKS)
        raise NetworkError(
            f"unknown network {name!r}: known are {known}; or name a function of your own as "
            f"'package.module:function'{meant(name, NETWORKS)}"
        )
    known = NETWORKS.get(name)
    function = function_of(name if known is None else known.factory, "network", NetworkError)
    options = {**(known.options if known else {}), **options}
    classes = known.classes if known and classes is None else classes
    if classes is not None and (parameter := _takes(function, "classes", "num_classes")):
        options[parameter] = classes
    try:
        model = function(**options)
    except Exception as error:
        given = ", ".join(f"{k}={v!r}" for k, v in options.items())
        raise NetworkError(
            f"network '{name}': {function.__name__}({given}) fails: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise NetworkError(f"network '{name}' is a {type(model).__name__}, not an nn.Module")
    if channels is not None:
        _take_images(model, name, channels)
    if dropout is not None:
        _set_dropout(model, name, dropout)
    return model


def _takes(function: Callable, *names: str) -> str | None:
    """The first of the names that a function has as a parameter; the last if it takes any."""
    parameters = signature(function).parameters
    if found := [n for n in names if n in parameters]:
        return found[0]
    rest = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    return names[-1] if rest else None  # torchvision's and timm's functions hide theirs


def _take_images(model: nn.Module, name: str, channels: int) -> None:
    """Put a first convolution for so many channels in the place of the network's own."""
    if isinstance(channels, bool) or channels != int(channels) or channels < 1:
        raise NetworkError(f"channels must be a positive integer, got {channels!r}")
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not layers:
        raise NetworkError(f"network '{name}' has no nn.Conv2d to take {channels} channels")
    where, old = layers[0]
    if old.in_channels == channels:
        return
    if old.groups != 1:
        raise NetworkError(
            f"the first convolution of network '{name}', '{where}', has groups={old.groups}: it "
            f"cannot take {channels} channels instead of {old.in_channels}"
        )
    new = nn.Conv2d(
        int(channels),
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    parent, _, attribute = where.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def _set_dropout(model: nn.Module, name: str, dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise NetworkError(f"dropout must be at least 0 and below 1, got {dropout!r}")
    drops = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    depths = [m for m in model.modules() if isinstance(m, StochasticDepth)]
    if dropout and not drops and not depths:
        raise NetworkError(f"network '{name}' has no dropout layer to set dropout={dropout} in")
    largest = max((m.p for m in depths), default=0)
    for m in drops:
        m.p = float(dropout)
    for m in depths:
        m.p = m.p * dropout / largest if largest else float(dropout)
