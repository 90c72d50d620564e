"""Networks of the paper and of this book that torchvision does not have.

Each is an ordinary ``nn.Module`` with nothing in it about searching: a reader's own CNN looks the
same. Source of the CIFAR networks: Su et al., arXiv 2203.13714, section 7.2; of the
benchmark's networks: section 6, Tables 2-3; of ProxylessNAS-Mobile: Cai, Zhu & Han, arXiv
1812.00332.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models import MobileNetV2

__all__ = [
    "digits_cnn",
    "macro_mobilenet",
    "macro_resnet",
    "mobilenet_v2_cifar",
    "proxylessnas_mobile",
    "vgg16_cifar",
    "vgg19_cifar",
]


def _conv(inner: int, out: int, stride: int = 1, kernel: int = 3, groups: int = 1, act=nn.ReLU):
    """Convolution without bias, batch normalisation and, unless None, activation: a list."""
    where = {"stride": stride, "padding": kernel // 2, "groups": groups, "bias": False}
    layers = [nn.Conv2d(inner, out, kernel, **where), nn.BatchNorm2d(out)]
    return [*layers, act(inplace=True)] if act else layers


def digits_cnn(widths=(16, 16, 32, 32, 64), classes: int = 10) -> nn.Sequential:
    """Five 3x3 convolutions for 8x8 digits; the third halves the image. Five groups to search.

    Args:
        widths: channels of the five convolutions.
        classes: outputs.
    """
    layers, inner = [], 1
    for i, out in enumerate(widths):
        layers += _conv(inner, out, stride=2 if i == 2 else 1)  # 8x8, then 4x4
        inner = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, classes))


def vgg16_cifar(classes: int = 10) -> nn.Sequential:
    """VGG-16 for 32x32 images: thirteen 3x3 convolutions in five stages and one linear layer.

    313.2 M MACs, 14.7 M parameters with ten classes.
    """
    return _vgg((2, 2, 3, 3, 3), classes)


def vgg19_cifar(classes: int = 10) -> nn.Sequential:
    """VGG-19 for 32x32 images: sixteen 3x3 convolutions in five stages and one linear layer.

    398 M MACs, 20.0 M parameters with ten classes.
    """
    return _vgg((2, 2, 4, 4, 4), classes)


def _vgg(convolutions, classes: int) -> nn.Sequential:
    """So many convolutions in the stages of 64, 128, 256, 512 and 512 channels."""
    layers, inner = [], 3
    for out, repeats in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(repeats):
            layers += _conv(inner, out)
            inner = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inner, classes))


def mobilenet_v2_cifar(classes: int = 10) -> MobileNetV2:
    """MobileNetV2 for 32x32 images: strides 1 in the stem and in the stages of 24 and 32 channels.

    296.5 M MACs, 2.24 M parameters with ten classes.
    """
    setting = [  # expansion, channels, blocks, stride of the first
        *([1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 1], [6, 64, 4, 2]),
        *([6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]),
    ]
    model = MobileNetV2(num_classes=classes, inverted_residual_setting=setting)
    model.features[0][0].stride = (1, 1)
    return model


class _Residual(nn.Module):
    """``act(x + body(x))``; where sizes change there is no shortcut: ``act(body(x))``."""

    def __init__(self, body: list[nn.Module], shortcut: bool, act: bool):
        super().__init__()
        self.body = nn.Sequential(*body)
        self.shortcut = shortcut
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(x + y if self.shortcut else y)


def _inverted(
    inner: int, hidden: int, out: int, stride: int = 1, kernel: int = 3, act=nn.ReLU
) -> _Residual:
    """1x1 up (none to as many channels), depthwise, 1x1 down without activation; shortcut where
    sizes agree.
    """
    up = _conv(inner, hidden, kernel=1, act=act) if hidden != inner else []
    deep = _conv(hidden, hidden, stride, kernel, groups=hidden, act=act)
    down = _conv(hidden, out, kernel=1, act=None)
    return _Residual([*up, *deep, *down], stride == 1 and inner == out, act=False)


def _basic(inner: int, hidden: int, out: int, stride: int = 1) -> _Residual:
    """Two 3x3 convolutions; shortcut where sizes agree, and none (not even a 1x1) elsewhere."""
    body = [*_conv(inner, hidden, stride), *_conv(hidden, out, act=None)]
    return _Residual(body, stride == 1 and inner == out, act=True)


def _classifier(layers: dict, features: int, classes: int) -> nn.Sequential:
    pool = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(layers | pool | {"classifier": nn.Linear(features, classes)}))


def _seven(name: str, widths) -> list[int]:
    if len(widths) != 7:
        raise ValueError(f"{name} has 7 widths (c1 … c7), got {len(widths)}: {tuple(widths)}")
    return [int(w) for w in widths]


def macro_mobilenet(
    widths=(128, 768, 768, 768, 256, 1536, 1024), classes: int = 10
) -> nn.Sequential:
    """The MobileNet space of Channel-Bench-Macro, for 32x32 images.

    211.3 M MACs, 1.80 M parameters at the default widths. A 3x3 stem with stride 2, four inverted
    residuals (the third has stride 2) and a last 1x1 convolution, which Table 2 omits. MACs and
    parameters of all 16,384 networks equal the released ones.

    Args:
        widths: channels c1 … c7, in forward order: stem and outputs of the first two blocks (c1,
            one group through their shortcuts), inside of blocks 1, 2 and 3 (c2, c3, c4), outputs
            of blocks 3 and 4 (c5), inside of block 4 (c6), last convolution (c7).
        classes: outputs.
    Raises:
        ValueError: if there are not 7 widths.
    """
    c1, c2, c3, c4, c5, c6, c7 = _seven("macro_mobilenet", widths)
    layers = {
        "stem": nn.Sequential(*_conv(3, c1, stride=2)),  # (B, c1, 16, 16)
        "block1": _inverted(c1, c2, c1),
        "block2": _inverted(c1, c3, c1),
        "block3": _inverted(c1, c4, c5, stride=2),  # (B, c5, 8, 8)
        "block4": _inverted(c5, c6, c5),
        "last": nn.Sequential(*_conv(c5, c7, kernel=1)),
    }
    return _classifier(layers, c7, classes)


def macro_resnet(widths=(256, 256, 256, 512, 512, 512, 512), classes: int = 10) -> nn.Sequential:
    """The ResNet space of Channel-Bench-Macro, for 32x32 images.

    1.436 G MACs, 15.4 M parameters at the default widths. A 3x3 stem with stride 2 and five blocks
    of two 3x3 convolutions; the third has stride 2 and no shortcut. MACs and parameters of all
    16,384 networks equal the released ones.

    Args:
        widths: channels c1 … c7, in forward order: stem and outputs of the first two blocks (c1,
            one group through their shortcuts), inside of blocks 1, 2 and 3 (c2, c3, c4), outputs
            of blocks 3 to 5 (c5), inside of blocks 4 and 5 (c6, c7).
        classes: outputs.
    Raises:
        ValueError: if there are not 7 widths.
    """
    c1, c2, c3, c4, c5, c6, c7 = _seven("macro_resnet", widths)
    layers = {
        "stem": nn.Sequential(*_conv(3, c1, stride=2)),  # (B, c1, 16, 16)
        "block1": _basic(c1, c2, c1),
        "block2": _basic(c1, c3, c1),
        "block3": _basic(c1, c4, c5, stride=2),  # (B, c5, 8, 8)
        "block4": _basic(c5, c6, c5),
        "block5": _basic(c5, c7, c5),
    }
    return _classifier(layers, c5, classes)


def proxylessnas_mobile(classes: int = 1000) -> nn.Sequential:
    """ProxylessNAS-Mobile, for 224x224 images: inverted residuals with kernels of 3, 5 and 7.

    320 M MACs, 4.08 M parameters, 28 groups with 1,000 classes. Source of the cells: Cai, Zhu &
    Han, arXiv 1812.00332, the network found for a phone; activations are ReLU6.

    Args:
        classes: outputs.
    """
    stages = [  # channels, stride of the first block, (kernel, expansion) of each block
        (16, 1, [(3, 1)]),
        (32, 2, [(5, 3), (3, 3)]),
        (40, 2, [(7, 3), (3, 3), (5, 3), (5, 3)]),
        (80, 2, [(7, 6), (5, 3), (5, 3), (5, 3)]),
        (96, 1, [(5, 6), (5, 3), (5, 3), (5, 3)]),
        (192, 2, [(7, 6), (7, 6), (7, 3), (7, 3)]),
        (320, 1, [(7, 6)]),
    ]
    layers = {"stem": nn.Sequential(*_conv(3, 32, stride=2, act=nn.ReLU6))}  # (B, 32, 112, 112)
    inner = 32
    for i, (out, stride, blocks) in enumerate(stages, 1):
        for j, (kernel, times) in enumerate(blocks, 1):
            step = stride if j == 1 else 1
            layers[f"stage{i}_block{j}"] = _inverted(
                inner, times * inner, out, step, kernel, nn.ReLU6
            )
            inner = out
    layers["last"] = nn.Sequential(*_conv(inner, 1280, kernel=1, act=nn.ReLU6))  # (B, 1280, 7, 7)
    return _classifier(layers, 1280, classes)
