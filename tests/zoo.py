"""torchvision's networks, and small ones with one difficulty each, as tests and the bench use them.

The paper's number of groups stands beside each name: searched groups, then squeeze layers that
follow a searched group.
"""

import torch
import torchvision
from torch import Tensor, nn

GROUPS = {
    "mobilenet_v2": (25, 0),
    "mnasnet1_0": (25, 0),
    "resnet18": (12, 0),
    "resnet34": (20, 0),
    "resnet50": (37, 0),
    "efficientnet_b0": (24, 16),
    "mobilenet_v3_large": (22, 8),
    "vgg16_bn": (15, 0),
    "vgg19_bn": (18, 0),
    "resnext50_32x4d": (21, 0),
    "regnet_y_400mf": (21, 16),
    "densenet121": (120, 0),
    "convnext_tiny": (22, 0),
    "squeezenet1_0": (25, 0),
    "googlenet": (57, 0),
}


def make(name: str, classes: int = 10, device="cpu") -> nn.Module:
    """A torchvision classifier without weights, dropout and stochastic depth; in training mode."""
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vgg"):  # its own initialisation takes seconds and is thrown away
        more = {"init_weights": False}
    if name.startswith("regnet"):  # its constructor computes widths with tensors
        device = "cpu"
    with torch.device(device):
        model = getattr(torchvision.models, name)(weights=None, num_classes=classes, **more)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return model


def logits(out) -> Tensor:
    """GoogLeNet returns a tuple in training mode."""
    return out if isinstance(out, Tensor) else out.logits


class Net(nn.Module):
    """Layers by name and a forward written beside them: ``Net(lambda self, x: ..., conv=...)``."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def head(channels: int, classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def conv(inner: int, out: int, kernel: int = 3, **kw) -> nn.Conv2d:
    return nn.Conv2d(inner, out, kernel, padding=kernel // 2, **kw)
