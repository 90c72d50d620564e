"""A network, space and recipe small enough that a training step takes a few milliseconds."""

import torch
from torch import nn

from bcnet_lib.principles import BCv2
from bcnet_lib.recipe import Recipe
from bcnet_lib.space import WidthSpace
from bcnet_lib.supernet import Supernet

RECIPE = Recipe(epochs=3, batch_size=128, lr=0.05, warmup_epochs=0.5)


def cnn(widths=(8, 8, 16), dropout=0.0):
    """Three convolutions on one-channel images; its groups are '0', '3' and '6'."""
    layers, before = [], 1
    for n, stride in zip(widths, (1, 2, 1), strict=True):
        conv = nn.Conv2d(before, n, 3, stride=stride, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(n), nn.ReLU()]
        before = n
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, 10)]
    return nn.Sequential(*layers, *head)


def space(model=None, K=8, base=2):
    return WidthSpace.from_model(model or cnn(), torch.zeros(1, 1, 8, 8), K=K, base=base)


def supernet(principle=None, dropout=0.0, K=8, base=2, seed=0):
    model = cnn(dropout=dropout)
    return Supernet(model, space(model, K, base), principle or BCv2(), seed=seed)
