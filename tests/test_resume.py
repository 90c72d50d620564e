"""Scores on file: another search's are never taken for this one's."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from landscape import HALF, NET, score
from tiny import supernet

from bcnet_lib import checkpoint
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.search import evolve
from bcnet_lib.search.greedy import greedy

OPTIONS = {
    evolve: {"budget": HALF, "population": 4, "generations": 2, "progress": False},
    greedy: {"budget": HALF, "progress": False},
}


@pytest.mark.parametrize("search", OPTIONS)
def test_two_scores_of_one_name_are_told_apart(search, tmp_path):
    options = OPTIONS[search] | {"checkpoint": tmp_path / "scores"}
    first = search(NET, None, score=lambda c: score(c), **options)
    message = r"scores' holds the score \S+ of widths \[\d+, \d+, \d+\], and score gives \S+ now"
    with pytest.raises(CheckpointError, match=message):
        search(NET, None, score=lambda c: -score(c), **options)
    with pytest.raises(CheckpointError, match=message):
        search(NET, None, score=lambda c: score(c) * (1 + 1e-6), **options)
    again = search(NET, None, score=lambda c: score(c) * (1 + 1e-12), **options)
    assert again.history.equals(first.history)  # rounding is no other score


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_scores_on_other_images_are_refused(kind, tmp_path):
    data, net = load("digits", size=300), supernet()
    val = data.val
    if kind == "uint8":
        one = torch.ones(1, 1, 1)
        val = replace(val, x=torch.zeros(val.x.shape, dtype=torch.uint8), mean=0 * one, std=one)
        others = {"images": [replace(val, x=val.x + 1), replace(val, std=2 * one)]}
    else:
        others = {"images": [replace(val, x=val.x + 1)], "labels": [replace(val, y=9 - val.y)]}
    budget = net.cost.macs(net.space.full) / 2
    options = {"budget": budget, "population": 2, "generations": 1, "progress": False}
    options["checkpoint"] = tmp_path / "scores"
    evolve(net, SimpleNamespace(val=val), **options)
    evolve(net, data, split=val, **options)  # the same images
    for name, splits in others.items():
        for other in splits:
            with pytest.raises(CheckpointError, match=rf"split\.{name} is"):
                evolve(net, data, split=other, **options)


@pytest.mark.parametrize("content", ["3", "[]", "{}", '{"settings": {}, "scores": [3]}', "\0"])
def test_a_file_that_is_none_of_a_search_is_refused(content, tmp_path):
    checkpoint.write(tmp_path / "scores", content.encode())
    with pytest.raises(CheckpointError, match="scores' is not one of a search"):
        evolve(NET, None, score=score, **OPTIONS[evolve] | {"checkpoint": tmp_path / "scores"})


def test_an_unknown_split_is_named_beside_those_there_are():
    net, data = supernet(), load("digits", size=300)
    for more in ({}, {"checkpoint": "never written"}):
        with pytest.raises(ValueError, match="one of 'train', 'val', 'test', .* got 'valid'"):
            evolve(net, data, budget=net.cost.macs(np.full(3, 5)), split="valid", **more)
