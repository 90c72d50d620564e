"""Networks of a few channels for 8x8 images with one channel, one difficulty each."""

import torch
from torch import nn
from zoo import Net, conv, head

from bcnet_lib.space import WidthSpace


def unit(inner, out, kernel=3, act=True, **kw):
    layers = [conv(inner, out, kernel, bias=False, **kw), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, nn.ReLU()) if act else nn.Sequential(*layers)


def residual():
    """Two layers that are added, so that they share a group."""

    def run(self, x):
        x = self.stem(x)
        return self.head(self.act(x + self.b(self.a(x))))

    layers = {"a": unit(8, 6), "b": unit(6, 8, act=False), "act": nn.ReLU()}
    return Net(run, stem=unit(1, 8, stride=2), **layers, head=head(8, 10))


def mobile():
    """An inverted residual: expand, depthwise, squeeze and excite, project, add."""

    def run(self, x):
        x = self.stem(x)
        y = self.depthwise(self.expand(x))
        y = y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return self.head(x + self.project(y))

    gate = {"squeeze": nn.Conv2d(16, 4, 1), "excite": nn.Conv2d(4, 16, 1)}
    body = {"depthwise": unit(16, 16, groups=16), "project": unit(16, 8, 1, act=False)}
    stem = {"stem": unit(1, 8, stride=2), "expand": unit(8, 16, 1)}
    return Net(run, **stem, **body, **gate, head=head(8, 10))


def concat():
    """Two branches side by side, then a flattening and two linear layers with biases."""

    def run(self, x):
        x = torch.cat([self.a(x), self.b(x)], dim=1)
        return self.last(torch.relu(self.hidden(self.c(x).flatten(1))))

    branches = {"a": unit(1, 6, stride=2), "b": nn.Conv2d(1, 4, 3, padding=1, stride=2)}
    linear = {"hidden": nn.Linear(8 * 4, 12), "last": nn.Linear(12, 10)}
    return Net(run, **branches, c=unit(10, 8, stride=2), **linear)


def transposed():
    """Down and up again by a transposed convolution."""
    up = nn.ConvTranspose2d(8, 6, 2, stride=2)
    return nn.Sequential(unit(1, 8, stride=2), up, nn.BatchNorm2d(6), nn.ReLU(), head(6, 10))


NETWORKS = {f.__name__: f for f in (residual, mobile, concat, transposed)}


def space(model, K=4, base=1):
    return WidthSpace.from_model(model, torch.zeros(1, 1, 8, 8), K=K, base=base)
