"""An exported file gives the outputs of the network and costs what it costs, or is refused."""

import copy
import json
import re

import numpy as np
import onnx
import pytest
import torch
import torchvision.models as tv
from torch import nn
from torchvision.models.resnet import Bottleneck

from bcnet_lib import CostTable, WidthSpace, load, save
from bcnet_lib.deploy import (
    TOLERANCE,
    DeployError,
    check,
    costs,
    export,
    main,
    runner,
    to_onnx,
    to_pt2,
)
from bcnet_lib.exported import count
from bcnet_lib.models import digits_cnn
from bcnet_lib.supernet import recalibrate
from tests.zoo import Net, conv, head

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def found(make=digits_cnn, size=8, channels=1, seed=0, **options):
    """A network of random widths with statistics of random images, its space, and an image."""
    model, x = make(**options), torch.zeros(1, channels, size, size)
    space = WidthSpace.from_model(model, x, K=10, base=2)
    c = space.sample(np.random.default_rng(seed), 1)[0]  # (L,)
    network = space.build(model, c, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # no two parameters alike, none of them 0
        for p in network.parameters():
            p.add_(0.01 * torch.randn(p.shape, generator=generator))
    recalibrate(network, [torch.randn(32, channels, size, size, generator=generator)])
    return network.eval(), model, space, c, x


@pytest.fixture(scope="module")
def digits():
    return found()


# ---------------------------------------------------------------------------- every network

RGB = {"size": 64, "channels": 3, "num_classes": 10}
SHORT = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]  # of MobileNetV2's seven stages
ZOO = {  # every kind of block; the export of a whole ResNet-50 takes many seconds
    "digits_cnn": {},
    "mobilenet_v2": {"make": tv.MobileNetV2, "inverted_residual_setting": SHORT, **RGB},
    "resnet": {"make": tv.ResNet, "block": Bottleneck, "layers": [2, 1, 1, 1], **RGB},
    "efficientnet_b0": {"make": tv.efficientnet_b0, **RGB},
}


@pytest.mark.parametrize("name", ZOO)
def test_both_files_of_every_network_are_the_network(tmp_path, name):
    network, model, space, c, x = found(**ZOO[name])
    table = CostTable(model, space, x)
    files = [tmp_path / "net.onnx", tmp_path / "net.pt2"]
    for file, made in zip(files, export(network, x, onnx=files[0], pt2=files[1]), strict=True):
        assert made.path == file
        assert made.macs == table.macs(c) and made.params == table.params(c)
        assert made.difference <= TOLERANCE and made.scale > 0
        # five images, a number that neither the export nor its own check has used
        batch = torch.randn(5, *x.shape[1:], generator=torch.Generator().manual_seed(9))
        with torch.no_grad():
            ours = network(batch)
        atol = 1e-4 * ours.abs().max().item()
        torch.testing.assert_close(runner(file)(batch), ours, rtol=0, atol=atol)


def test_the_file_is_one_whole_onnx_model_with_a_free_batch_size(tmp_path, digits):
    network, *_, x = digits
    made = to_onnx(network, x, tmp_path / "net.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert made.bytes == (tmp_path / "net.onnx").stat().st_size
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    (image,) = model.graph.input
    batch, *rest = image.type.tensor_type.shape.dim
    assert batch.dim_param and [d.dim_value for d in rest] == [1, 8, 8]
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}  # folded


def test_macs_and_weights_of_a_file_by_hand(tmp_path):
    net = nn.Sequential(conv(1, 6), nn.ReLU(), conv(6, 6, groups=3), head(6, classes=5)).eval()
    for write, file in ((to_onnx, "net.onnx"), (to_pt2, "net.pt2")):
        write(net, torch.zeros(1, 1, 8, 8), tmp_path / file)
        got = count((tmp_path / file).read_bytes(), file)
        weights = 9 * 6 + 9 * 2 * 6, 6 * 5
        assert got["weights"] == sum(weights)
        assert got["macs"] == 64 * weights[0] + weights[1]
    assert got["params"] == sum(weights) + 6 + 6 + 5


def test_costs_are_those_of_the_space_it_was_found_in(digits):
    network, model, space, c, x = digits
    table = CostTable(model, space, x)
    assert costs(network, x) == (table.macs(c), table.params(c))


def test_the_network_itself_is_left_alone(tmp_path, digits):
    network, *_, x = digits
    before = {k: v.clone() for k, v in network.state_dict().items()}
    to_onnx(network, x, tmp_path / "net.onnx")
    assert not network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


# ---------------------------------------------------------------------------- check


def test_real_images_are_compared_too(tmp_path, digits):
    network, *_, x = digits
    alone = to_onnx(network, x, tmp_path / "net.onnx")
    more = check(network, x, tmp_path / "net.onnx", images=IMAGES)
    assert more.images == alone.images + len(IMAGES)
    with pytest.raises(DeployError, match=re.escape("(6, 1, 7, 8), the network takes (n, 1, 8, 8")):
        check(network, x, tmp_path / "net.onnx", images=IMAGES[:, :, 1:])


@pytest.mark.parametrize("file", ["net.onnx", "net.pt2"])
def test_another_networks_file_is_found_out(tmp_path, digits, file):
    network, model, space, c, x = digits
    write = to_onnx if file.endswith("onnx") else to_pt2
    write(network, x, tmp_path / file)
    assert check(network, x, tmp_path / file).difference <= TOLERANCE
    other = space.build(model, c, seed=5)  # the same widths, other weights
    recalibrate(other, [IMAGES])
    with pytest.raises(DeployError, match=f"{file} is not this network: an output differs by"):
        check(other.eval(), x, tmp_path / file)
    wider = space.build(model, space.full, seed=0)
    recalibrate(wider, [IMAGES])
    with pytest.raises(DeployError, match=r"has [\d,]+ macs, the network [\d,]+"):
        check(wider.eval(), x, tmp_path / file)


def test_a_difference_just_above_the_tolerance_is_refused(tmp_path, digits):
    network, model, space, c, x = digits
    to_onnx(network, x, tmp_path / "net.onnx")
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted[-1].bias[0] += 1  # one output of ten, by a known amount
    with pytest.raises(DeployError, match="is not this network"):
        check(shifted, x, tmp_path / "net.onnx")
    scale = check(shifted, x, tmp_path / "net.onnx", tolerance=10).scale
    made = check(shifted, x, tmp_path / "net.onnx", tolerance=1.01 / scale)
    assert made.difference == pytest.approx(1 / scale, rel=1e-4)
    with pytest.raises(DeployError, match="allowed are"):
        check(shifted, x, tmp_path / "net.onnx", tolerance=0.99 / scale)
    with pytest.raises(ValueError, match="tolerance=0 must be above 0"):
        check(network, x, tmp_path / "net.onnx", tolerance=0)


def test_damaged_and_missing_files_are_named(tmp_path, digits):
    network, *_, x = digits
    with pytest.raises(DeployError, match="none.onnx does not exist"):
        check(network, x, tmp_path / "none.onnx")
    (tmp_path / "net.onnx").write_bytes(b"no model")
    with pytest.raises(DeployError, match="net.onnx is no ONNX file"):
        check(network, x, tmp_path / "net.onnx")
    (tmp_path / "net.pt2").write_bytes(b"PK no program")
    with pytest.raises(DeployError, match="net.pt2 is no exported program"):
        check(network, x, tmp_path / "net.pt2")


# ---------------------------------------------------------------------------- refusals


def bad(kind):
    network, *_ = found()
    if kind == "training":
        network[4].train()
    elif kind == "statistics":
        network[1].reset_running_stats()
    elif kind == "none":
        network[1] = nn.BatchNorm2d(network[1].num_features, track_running_stats=False).eval()
    elif kind == "nan":
        network[3].weight.data[0, 0, 0, 0] = float("nan")
    elif kind == "half":
        network.half()
    elif kind == "meta":
        network.to("meta")
    return network


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("training", "'4' of Sequential is in training mode: call network.eval()"),
        ("statistics", "BatchNorm '1' has no running statistics"),
        ("none", "BatchNorm '1' has no running statistics"),
        ("nan", "'3.weight' holds numbers that are not finite"),
        ("half", "'0.weight' is torch.float16: call network.float()"),
        ("meta", "'0.weight' is on the meta device"),
    ],
)
@pytest.mark.parametrize("write", [to_onnx, to_pt2])
def test_what_would_be_exported_wrongly_is_refused(tmp_path, kind, says, write):
    with pytest.raises(DeployError, match=re.escape(says)):
        write(bad(kind), torch.zeros(1, 1, 8, 8), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_images_it_cannot_take_and_outputs_it_must_not_have(tmp_path, digits):
    network, *_ = digits
    with pytest.raises(DeployError, match=r"cannot run on images of shape \(3, 8, 8\)"):
        to_onnx(network, torch.zeros(1, 3, 8, 8), tmp_path / "net.onnx")
    two = Net(lambda self, x: (self.a(x), x), a=conv(1, 2)).eval()
    with pytest.raises(DeployError, match="Net returns tuple, not one tensor"):
        to_onnx(two, torch.zeros(1, 1, 8, 8), tmp_path / "net.onnx")


def test_a_forward_that_fixes_the_batch_size_is_refused(tmp_path):
    fixed = Net(lambda self, x: self.fc(self.a(x).view(2, -1)), a=conv(1, 2), fc=nn.Linear(128, 3))
    with pytest.raises(DeployError, match="cannot take Net for any batch size"):
        to_pt2(fixed.eval(), torch.zeros(1, 1, 8, 8), tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_where_the_new_one_fails(tmp_path, digits):
    network, *_, x = digits
    (tmp_path / "net.onnx").write_text("old")
    with pytest.raises(DeployError, match="is not this network"):  # rounding alone is above 1e-12
        to_onnx(network, x, tmp_path / "net.onnx", tolerance=1e-12)
    assert (tmp_path / "net.onnx").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


# ---------------------------------------------------------------------------- command


def test_the_command_exports_a_saved_folder(tmp_path, digits, capsys):
    network, _, space, c, x = digits
    folder = save(tmp_path / "net", network, space, c, factory=digits_cnn)
    np.save(tmp_path / "images.npy", IMAGES.numpy())
    files = ["--onnx", f"{tmp_path}/a/net.onnx", "--pt2", f"{tmp_path}/a/net.pt2"]
    assert main([str(folder), *files, "--images", f"{tmp_path}/images.npy"]) == 0
    said = capsys.readouterr().out
    macs, params = costs(network, x)
    assert said.count(f"{macs / 1e6:.2f} M MACs, {params / 1e6:.3f} M parameters; 10 images") == 2
    for file in files[1::2]:
        assert check(load(folder), x, file).difference <= TOLERANCE


def test_the_command_says_what_is_wrong(tmp_path, digits, capsys):
    assert main([str(tmp_path), "--onnx", "net.onnx"]) == 1
    assert "network.json does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "nothing to write" in capsys.readouterr().err
    (tmp_path / "network.json").write_text(json.dumps({"format": "other"}))
    assert main([str(tmp_path), "--pt2", "net.pt2"]) == 1
    assert "has format 'other'" in capsys.readouterr().err
