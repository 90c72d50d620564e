"""A saved network comes back in a new process as it was; everything else is refused by name."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import torchvision
import zoo
from safetensors.torch import load_file, save_file
from torch import nn

import bcnet_lib
from bcnet_lib import BCv2, GraphError, Supernet, WidthError, WidthSpace, load, save

X = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
FACTORY = torchvision.models.mobilenet_v3_small


@pytest.fixture(scope="module")
def found():
    """A right path of a supernet, with its space and widths."""
    model = zoo.make("mobilenet_v3_small")
    space = WidthSpace.from_model(model, X, K=8, base=2)
    c = space.sample(np.random.default_rng(0), 1)[0]
    net = Supernet(model, space, BCv2(), seed=0)
    return net.export(c, 1, batches=[X]).eval(), space, c


@pytest.fixture
def folder(found, tmp_path):
    network, space, c = found
    return save(tmp_path / "net", network, space, c, factory=FACTORY, num_classes=10)


def test_a_saved_network_gives_the_same_outputs_in_a_new_process(found, folder):
    with torch.no_grad():
        expected = found[0](X)
    torch.save(X, folder / "x.pt")
    code = """
        import sys, torch, bcnet_lib
        folder = sys.argv[1]
        network = bcnet_lib.load(folder)
        assert not network.training  # saved in evaluation mode
        with torch.no_grad():
            torch.save(network(torch.load(folder + "/x.pt")), folder + "/y.pt")
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(folder)]
    home = str(Path(bcnet_lib.__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=300)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(folder / "y.pt"), expected)


def test_the_description_is_small_json_and_the_weights_are_no_pickle(found, folder):
    network, space, c = found
    about = json.loads((folder / "network.json").read_text())
    assert about["factory"] == "torchvision.models.mobilenetv3:mobilenet_v3_small"
    assert about["kwargs"] == {"num_classes": 10}
    assert about["widths"] == c.tolist() and about["K"] == 8
    assert [about["channels"][g.name] for g in space.groups] == space.channels(c).tolist()
    assert sorted(p.name for p in folder.iterdir()) == ["network.json", "weights.safetensors"]
    state = load_file(folder / "weights.safetensors")
    assert state.keys() == network.state_dict().keys()


def test_saving_again_replaces(found, folder):
    network, space, _ = found
    full = space.build(zoo.make("mobilenet_v3_small"), space.full, seed=1)
    save(folder, full, space, space.full, factory=FACTORY, num_classes=10)
    back = load(folder)
    assert back.training
    pairs = zip(full.state_dict().values(), back.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_groups_that_were_fixed_and_squeeze_layers_without_a_leader_come_back(tmp_path):
    model = zoo.make("mobilenet_v3_small")
    fixed = [g.name for g in WidthSpace.from_model(model, X).groups[::2]]
    space = WidthSpace.from_model(model, X, K=8, fixed=fixed)
    network = space.build(model, np.full(space.L, 3), seed=0)
    save(tmp_path, network, space, np.full(space.L, 3), factory=FACTORY, num_classes=10)
    with torch.no_grad():
        assert torch.equal(load(tmp_path).eval()(X), network.eval()(X))


class Tied(nn.Sequential):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__(zoo.conv(3, 8), zoo.conv(8, 8), zoo.conv(8, 8), zoo.head(8))
        self[2].weight = self[1].weight


def test_tied_weights_come_back_tied(tmp_path):
    model = Tied()
    space = WidthSpace.from_model(model, X, K=8)
    network = space.build(model, [5], seed=0)
    save(tmp_path, network, space, [5], factory=Tied)
    back = load(tmp_path)
    assert back[1].weight is back[2].weight
    assert torch.equal(back(X), network(X))


# ---------------------------------------------------------------------------- refusals


def in_main():
    return tiny.cnn()


in_main.__module__ = "__main__"


@pytest.mark.parametrize("factory", [lambda: tiny.cnn(), in_main])
def test_factories_that_cannot_be_imported_are_refused(factory, tmp_path):
    space = tiny.space()
    network = space.build(tiny.cnn(), space.full)
    with pytest.raises(GraphError, match="cannot be imported from a new process: move it to a .py"):
        save(tmp_path / "net", network, space, space.full, factory=factory)
    assert not (tmp_path / "net").exists()


def test_a_factory_of_another_network_is_refused(found, tmp_path):
    network, space, c = found
    with pytest.raises(GraphError, match="num_classes=7.* is not this network: 'classifier.3"):
        save(tmp_path / "net", network, space, c, factory=FACTORY, num_classes=7)
    with pytest.raises(GraphError, match="is not this network"):
        save(tmp_path / "net", network, space, space.full, factory=FACTORY, num_classes=10)
    assert not (tmp_path / "net").exists()


def test_arguments_that_are_not_json_are_refused(found, tmp_path):
    network, space, c = found
    with pytest.raises(GraphError, match="norm_layer=.*must be JSON"):
        save(tmp_path, network, space, c, factory=FACTORY, norm_layer=nn.BatchNorm2d)


def test_wrong_widths_are_refused(found, tmp_path):
    network, space, _ = found
    with pytest.raises(WidthError, match="width vector of this space has 18 entries"):
        save(tmp_path, network, space, [1, 2], factory=FACTORY)


def test_corrupt_weights_are_refused(folder):
    weights = folder / "weights.safetensors"
    body = bytearray(weights.read_bytes())
    body[-100] ^= 1
    weights.write_bytes(body)
    with pytest.raises(ValueError, match="weights.safetensors is corrupt: sha256"):
        load(folder)


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*give load the folder that save wrote"):
        load(tmp_path / "nowhere")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="weights.safetensors does not exist, though"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"format": "other-9"}, ValueError, "has format 'other-9', this version reads"),
        ({"factory": "no.such.module:net"}, GraphError, "cannot import no.such.module:net"),
        ({"factory": "torchvision.models:no_such"}, GraphError, "cannot import .*no_such"),
        (
            {"factory": "torchvision.models:mobilenet_v3_large"},
            GraphError,
            "torchvision.models:mobilenet_v3_large now makes another network: '",
        ),
        ({"kwargs": {"num_classes": 7}}, GraphError, "now makes another network: 'classifier.3"),
        ({"kwargs": {"num_classes": "x"}}, GraphError, r"small\(num_classes='x'\) fails: "),
    ],
)
def test_a_description_that_no_longer_holds_is_refused(folder, change, error, text):
    file = folder / "network.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(error, match=text):
        load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "bcnet-network-1"}'])
def test_damaged_descriptions_are_refused(folder, text):
    (folder / "network.json").write_text(text)
    with pytest.raises(ValueError, match="network.json"):
        load(folder)


def test_an_interrupted_save_leaves_no_network_that_loads(folder):
    """The weights are replaced before their description, whose checksum then differs."""
    save_file(load_file(folder / "weights.safetensors") | {"more": torch.zeros(1)}, folder / "new")
    (folder / "new").replace(folder / "weights.safetensors")
    with pytest.raises(ValueError, match="is corrupt"):
        load(folder)
