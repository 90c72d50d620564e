"""Released supernet scores: what is read is what was released, and nothing else is read."""

import json

import numpy as np
import pytest

from bcnet_lib import needs, released_scores
from bcnet_lib.data import DataError
from bcnet_lib.released_scores import FILES, _parse, names, read

needs_files = pytest.mark.skipif(
    bool(needs.missing(["bcnet_released"])), reason=needs.NEEDS["bcnet_released"].say()
)


def content(*rows) -> bytes:
    return json.dumps({"Result": [{"subnet": k, "score": s} for k, s in rows]}).encode()


@needs_files
@pytest.mark.parametrize(("space", "name"), FILES)
def test_every_file_is_read_and_names_what_it_lacks(space, name):
    found = read(space, name)
    n = 6_900 if name == "BCNet, partial" else 16_383
    assert len(found.scores) == n and len(found.missing) == 4**7 - n
    assert found.missing[-1] == "4444444" and "4444444" not in found.scores.index
    assert found.scores.index[0] == "1111111" and found.scores.between(20, 100).all()


@needs_files
def test_scores_follow_the_widths_asked_for():
    found = read("mobilenet", "AutoSlim 3")
    C = np.array([[4, 4, 4, 4, 4, 4, 3], [4] * 7, [1] * 7])
    got = found.on(C)
    assert got[0] == found.scores["4444443"] and got[2] == found.scores["1111111"]
    assert np.isnan(got[1])
    with pytest.raises(DataError, match="7 groups"):
        found.on([[1, 2, 3]])


@needs_files
def test_rounding_joins_what_the_last_bit_had_parted():
    found = read("mobilenet", "BCNet 1")
    C = np.array([[int(k) for k in key] for key in found.scores.index])
    steps = found.on(C) * 200  # the mean of two accuracies on 10,000 images
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
    assert len(np.unique(found.on(C))) < found.scores.nunique()


def test_unknown_spaces_and_names_list_what_there_is():
    with pytest.raises(DataError, match="'mobilenet' and 'resnet'"):
        names("vgg")
    with pytest.raises(DataError, match="BCNet 3"):
        read("resnet", "BCNet 4")


def test_a_missing_file_says_where_it_belongs(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="BCNET_DATA"):
        read("mobilenet", "BCNet 1", tmp_path)
    monkeypatch.setenv("BCNET_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="elsewhere"):
        read("mobilenet", "BCNet 1")


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    file, _ = FILES["mobilenet", "BCNet 1"]
    folder = tmp_path / released_scores.FOLDER
    folder.mkdir(parents=True)
    (folder / file).write_bytes(content((1111111, 50.0)))
    with pytest.raises(DataError, match=r"SHA-256.* python -m bcnet_lib\.needs bcnet_released"):
        read("mobilenet", "BCNet 1", tmp_path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "JSONDecodeError"),
        (b"[]", "TypeError"),
        (b"[" * 100_000, "RecursionError"),
        (b'{"Result": [{"subnet": 1111111}]}', "KeyError"),
        (content((1111111, "high")), "ValueError"),
        (content((111111, 50.0)), "'111111' is not 7 widths"),
        (content((1111115, 50.0)), "'1111115' is not 7 widths"),
        (content((1111111, 50.0), (1111111, 51.0)), "more than once"),
        (content((1111111, float("nan"))), "is nan"),
        (content((1111111, 101.0)), "101.0, no percentage"),
    ],
)
def test_rows_that_make_no_sense_are_named(body, words):
    with pytest.raises(DataError, match=words):
        _parse(body, "scores.json")


def test_rows_are_sorted_by_architecture():
    assert _parse(content((2111111, 2.0), (1111111, 1.0)), "x").to_list() == [1.0, 2.0]
