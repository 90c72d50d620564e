"""A small space, a score with a known optimum, and what tests of searches share."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from tiny import cnn

from bcnet_lib.cost import CostTable
from bcnet_lib.space import WidthSpace


def problem(widths=(32, 48, 64), K=16, base=1):
    """What a search needs of a supernet when a score is given: a space and its costs."""
    model, x = cnn(widths), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=K, base=base)
    return SimpleNamespace(space=space, cost=CostTable(model, space, x))


NET = problem()
SPACE, COST = NET.space, NET.cost
FULL, LEAST = COST.macs(SPACE.full), COST.macs(SPACE.narrowest)
HALF = FULL / 2


def gain(c):
    """A score with a known optimum: layers matter differently, and neighbours should agree."""
    c = np.asarray(c) / 16
    layers = 3 * c[..., 0] ** 0.5 + 1 * c[..., 1] ** 0.3 + 2 * c[..., 2] ** 0.8
    return layers - 0.5 * (np.diff(c, axis=-1) ** 2).sum(-1)


def score(c):
    return float(gain(c))


def everything(space):
    return np.array(list(itertools.product(*space.candidates)))


def quiet(function, *args, **options):
    return function(*args, score=score, progress=False, **options)


def same(a, b):
    assert a.best.tolist() == b.best.tolist() and (a.score, a.macs) == (b.score, b.macs)
    assert a.evaluations == b.evaluations
    pd.testing.assert_frame_equal(a.front, b.front)
    pd.testing.assert_frame_equal(a.history, b.history)
