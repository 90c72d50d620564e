"""Images of one's own: arrays to a Data, and functions that are given by name."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from bcnet_lib.data import DataError, load
from bcnet_lib.own_data import from_arrays

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (120, 3, 8, 8), dtype=np.uint8)
Y = np.arange(120) % 4


def test_every_class_is_split_by_the_same_share_and_no_image_is_in_two_parts():
    data = from_arrays(X, Y, val=0.2, test=0.25)
    parts = (data.train, data.val, data.test)
    assert [len(p) for p in parts] == [72, 18, 30]
    assert sorted(np.concatenate([p.index for p in parts])) == list(range(120))
    for p in parts:
        assert np.array_equal(p.y, Y[p.index]) and np.array_equal(p.x, X[p.index])
    counts = [np.bincount(p.y, minlength=4) for p in parts]
    assert all(np.ptp(c) <= 1 for c in counts)
    assert data.classes == 4 and data.shape == (3, 8, 8) and data.name == "own"
    assert not data.train.flip and from_arrays(X, Y, flip=True).train.flip


@pytest.mark.parametrize("kind", ["uint8", "float64", "tensor"])
def test_images_are_normalised_by_the_training_images(kind):
    x = X if kind == "uint8" else X.astype(np.float64) if kind == "float64" else torch.tensor(X)
    data = from_arrays(x, torch.tensor(Y) if kind == "tensor" else Y)
    given, _ = data.train.take(slice(None))
    assert given.dtype == torch.float32
    assert given.mean((0, 2, 3)).abs().max() < 1e-5
    assert (given.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    train = X[data.train.index].astype(float)
    want = (X[data.test.index] - train.mean((0, 2, 3))[:, None, None]) / train.std((0, 2, 3))[
        :, None, None
    ]
    assert np.allclose(data.test.take(slice(None))[0], want, atol=1e-5)


def test_a_test_set_of_its_own_is_kept_whole():
    data = from_arrays(X[:100], Y[:100], x_test=X[100:], y_test=Y[100:], val=0.1)
    assert [len(p) for p in (data.train, data.val, data.test)] == [90, 10, 20]
    assert sorted(data.test.index) == list(range(100, 120))
    assert from_arrays(X, Y, seed=1).train.digest() != from_arrays(X, Y).train.digest()


@pytest.mark.parametrize("change, says", [
    ({"x": X[:, 0]}, r"x\[:, None\]"),
    ({"x": X.transpose(0, 2, 3, 1)}, "channels at the end"),
    ({"x": X.astype(int)}, "x is int64, and images need uint8 or floats"),
    ({"x": np.where(np.arange(120)[:, None, None, None] == 7, np.nan, X)}, "1 images, such as 7"),
    ({"x": X[:-1]}, "x has 119 images, and y 120 labels"),
    ({"y": Y + 1}, "number them anew"),
    ({"y": Y * 0}, "at least two"),
    ({"y": Y.astype(float)}, "labels need integers"),
    ({"y": np.eye(4, dtype=int)[Y]}, r"labels need integers of shape \(N,\)"),
    ({"x_test": X}, "give both or none"),
    ({"x_test": X, "y_test": Y, "test": 0.1}, "leave out test=0.1"),
    ({"x_test": X / 255, "y_test": Y}, "both must agree"),
    ({"x_test": X, "y_test": Y + 1}, r"y has not: \[4\]"),
    ({"val": 0.001}, "split 'val' of 'own' is empty"),
    ({"val": 1}, "val=1 must be a share"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_the_cure(change, says):
    with pytest.raises(DataError, match=says):
        from_arrays(**{"x": X, "y": Y} | change)


@pytest.fixture
def mine(monkeypatch):
    module = ModuleType("mine_of_test")
    monkeypatch.setitem(sys.modules, "mine_of_test", module)
    return module


def test_a_function_by_name_gets_what_it_takes(mine):
    mine.images = lambda val=0.2, seed=0: from_arrays(X, Y, val=val, seed=seed)
    assert len(load("mine_of_test:images", val=0.4).val) == 36
    mine.fixed = lambda: from_arrays(X, Y)
    assert len(load("mine_of_test:fixed").val) == 18
    with pytest.raises(DataError, match=r"takes no 'val', so val=0\.4 has no effect"):
        load("mine_of_test:fixed", val=0.4)
    with pytest.raises(DataError, match="takes no 'size'"):
        load("mine_of_test:images", size=10)


def test_a_function_that_fails_is_named(mine):
    mine.broken = lambda: 1 / 0
    mine.other = lambda: X
    mine.nothing = 3
    with pytest.raises(DataError, match="broken' fails with ZeroDivisionError: division by zero"):
        load("mine_of_test:broken")
    with pytest.raises(DataError, match="returns a ndarray, not a bcnet_lib.data.Data: make one"):
        load("mine_of_test:other")
    with pytest.raises(DataError, match="is a int, not a function"):
        load("mine_of_test:nothing")
    with pytest.raises(DataError, match="cannot be imported"):
        load("mine_of_test:absent")
