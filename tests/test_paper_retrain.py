"""Released widths are trained from scratch, go on where they stopped, and say what came of it."""

import json
from dataclasses import replace

import pytest
from printed import FOLDER

from bcnet_lib import paper_retrain
from bcnet_lib.data import DataError, load
from bcnet_lib.paper_tables import Printed, Widths, read_folder
from bcnet_lib.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=32, lr=0.05)


@pytest.fixture(scope="module")
def data():
    return load("fake", size=96, shape=(3, 32, 32))


@pytest.fixture(scope="module")
def narrow():
    """VGG-19, every layer a tenth."""
    values, about = (2,) * 16, {"name": "tenth", "network": "vgg19_cifar", "place": "here"}
    return Widths(**about, budget=Printed.parse("5M", "M"), K=20, values=values)


def test_a_stopped_training_goes_on_to_the_same_result(narrow, data, tmp_path):
    whole = paper_retrain.retrain(narrow, data, RECIPE, tmp_path / "a", seed=3)
    assert json.loads((tmp_path / "a/result.json").read_text()) == whole
    assert whole["widths"] == "tenth" and 0 <= whole["top1"] <= 100
    assert whole["macs"] < 0.02 * 398e6
    calls = iter([False, True, True])  # stops after the first epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper_retrain.distributed, "first", lambda _: next(calls))
        assert paper_retrain.retrain(narrow, data, RECIPE, tmp_path / "b", seed=3) is None
    assert not (tmp_path / "b/result.json").exists()
    assert paper_retrain.retrain(narrow, data, RECIPE, tmp_path / "b", seed=3) == whole


def test_images_of_another_size_or_number_of_classes_are_refused(narrow):
    with pytest.raises(DataError, match=r"'vgg19_cifar' is for images \(3, 32, 32\) of 10 classes"):
        paper_retrain.retrain(narrow, load("fake", size=96), RECIPE, "nowhere")


def test_the_command_takes_released_widths_by_name(monkeypatch, tmp_path, data, narrow, capsys):
    known = replace(read_folder(FOLDER), widths={"tenth": narrow})
    monkeypatch.setattr(paper_retrain, "read_folder", lambda folder: known)
    assert paper_retrain.main(["hundredth"]) == 2
    assert "no widths 'hundredth': there are tenth" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(paper_retrain, "load", lambda *a, **k: asked.append(a) or data)
    recipes = type("R", (), {"retrain": RECIPE})
    monkeypatch.setattr(paper_retrain, "recipes_for", lambda *a: asked.append(a) or recipes)
    out = tmp_path / "out"
    assert paper_retrain.main(["tenth", "--out", str(out), "--root", "here"]) == 0
    assert asked == [("cifar10", "here"), ("vgg19_cifar", "cifar10")]
    assert "tenth: top-1 " in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["seed"] == 0
    assert paper_retrain.main(["tenth", "--out", str(tmp_path / "x"), "--minutes", "0"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
