"""A network and images such as a user may name to ``python -m bcnet_lib run``."""

from torch import nn

from bcnet_lib import data


def network(classes=3):
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 18, 3, stride=2), nn.BatchNorm2d(18), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(18, classes)),
    )


def images():
    return data.load("fake", size=400, shape=(3, 12, 12), classes=3)


def seven():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 7)
    )


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = seven()

    def forward(self, x):
        return self.body(x), x


def two():
    return Two()
