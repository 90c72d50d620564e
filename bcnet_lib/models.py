"""Networks of the paper and of this book that torchvision does not have.

Each is an ordinary ``nn.Module`` with nothing in it about searching: a reader's own CNN looks the
same. Source of the CIFAR networks: Su et al., arXiv 2203.13714, section 7.2.
"""

from torch import nn
from torchvision.models import MobileNetV2

__all__ = ["digits_cnn", "mobilenet_v2_cifar", "vgg19_cifar"]


def _conv(inner: int, out: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inner, out, 3, stride=stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


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


def vgg19_cifar(classes: int = 10) -> nn.Sequential:
    """VGG-19 for 32x32 images: sixteen 3x3 convolutions in five stages and one linear layer.

    398 M MACs, 20.0 M parameters with ten classes.
    """
    layers, inner = [], 3
    for out, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
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
