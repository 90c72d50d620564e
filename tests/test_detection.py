"""Narrow backbones in torchvision's detectors, on images in COCO's format."""

import copy
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models as tv
import torchvision.models.detection as tvd
from safetensors.torch import load_file
from test_distributed import finish, torchrun
from torch import nn
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from bcnet_lib import DataError, WidthSpace, load, save
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.coco import METRICS, CocoImages, average_precision, rows_of
from bcnet_lib.detection import evaluate_detector, main, parser, recipe_of
from bcnet_lib.detector_training import RECIPES, DetectionRecipe, _Mirrored, train_detector
from bcnet_lib.detectors import DETECTORS, costs_of, detector, freeze_batchnorm, stage_channels
from bcnet_lib.results import Ledger, Record
from bcnet_lib.supernet import recalibrate
from bcnet_lib.tiny_coco import CATEGORIES, draw

SMALL = {"min_size": 64, "max_size": 64}
FEW = {  # boxes of the second stage
    "rpn_post_nms_top_n_train": 20,
    "rpn_post_nms_top_n_test": 20,
    "box_batch_size_per_image": 8,
}
SHORT = DetectionRecipe(epochs=2, batch_size=3, lr=0.01, warmup_steps=2)


def resnet(blocks=1) -> nn.Module:
    """ResNet-50 with one block a stage."""
    return tv.ResNet(Bottleneck, [blocks] * 4, num_classes=10)


def trained(model=None):
    """(backbone, its space, widths): random widths, statistics of random images."""
    model = resnet() if model is None else model
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 64, 64), K=16, base=1)
    c = np.random.default_rng(0).integers(1, 5, space.L)  # narrow: at most a quarter
    network = space.build(model, c, seed=0)
    generator = torch.Generator().manual_seed(0)
    recalibrate(network, [torch.randn(8, 3, 64, 64, generator=generator)])
    return network.eval(), space, c


@pytest.fixture(scope="module")
def backbone():
    return trained()[0]


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    draw(root, "train2017", 8)
    return draw(root, "val2017", 4, seed=1)


@pytest.fixture(scope="module")
def images(coco):
    return CocoImages(coco, "train2017")


def make(kind, backbone, **options):
    torch.manual_seed(0)
    few = FEW if kind == "faster_rcnn" else {}
    return detector(kind, backbone, 3, **SMALL, **few, **options)


# ---------------------------------------------------------------------------- detectors


@pytest.mark.parametrize(
    ("kind", "theirs", "weights"),
    [
        ("retinanet", tvd.retinanet_resnet50_fpn, "RetinaNet_ResNet50_FPN_Weights"),
        ("faster_rcnn", tvd.fasterrcnn_resnet50_fpn, "FasterRCNN_ResNet50_FPN_Weights"),
    ],
)
def test_around_a_full_resnet50_it_is_torchvisions_detector(kind, theirs, weights):
    with torch.device("meta"):
        other = theirs(weights=None, weights_backbone=None)
    network = tv.resnet50()
    nn.init.ones_(network.bn1.running_mean)  # trained, as far as one can see
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.num_batches_tracked += 1
    ours = detector(kind, network, 90, trainable=5, frozen_batchnorm=False)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (ours, other)]
    assert shapes[0] == shapes[1]
    # what torchvision states of its trained ones, at 800 x 800 pixels
    known = getattr(tvd, weights).COCO_V1
    costs = costs_of(detector(kind, network, 90), (800, 800))
    assert costs["all"]["params"] == known.meta["num_params"]
    assert round(costs["all"]["macs"] / 1e9, 2) == known.meta["_ops"]
    parts = [costs[k] for k in ("backbone", "pyramid", "heads")]
    for what in ("params", "macs"):
        assert sum(part[what] for part in parts) == costs["all"][what]


def test_the_pyramid_reads_the_real_widths_of_the_stages(backbone):
    channels = stage_channels(backbone)
    assert channels == [getattr(backbone, f"layer{i}")[-1].bn3.num_features for i in range(1, 5)]
    assert channels != [256, 512, 1024, 2048]
    for kind, used in (("retinanet", channels[1:]), ("faster_rcnn", channels)):
        pyramid = make(kind, backbone).backbone.fpn
        assert [b[0].in_channels for b in pyramid.inner_blocks] == used


def test_frozen_batchnorm_is_the_same_map(backbone):
    x = torch.randn(2, 3, 64, 64)
    want = backbone(x)
    frozen = freeze_batchnorm(copy.deepcopy(backbone)).train()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in frozen.modules())
    torch.testing.assert_close(frozen(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainable", range(6))
def test_what_is_trained_and_what_is_not(backbone, trainable):
    body = make("retinanet", backbone, trainable=trainable).backbone.body
    learns = {n.split(".")[0] for n, p in body.named_parameters() if p.requires_grad}
    assert learns == set(["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable])
    assert sum(isinstance(m, FrozenBatchNorm2d) for m in body.modules()) == 17
    assert all(p.requires_grad for p in backbone.parameters())  # the copy alone


def test_backbones_that_cannot_be_one_are_refused(backbone):
    with pytest.raises(ValueError, match="Sequential has no 'layer1'"):
        detector("retinanet", nn.Sequential(nn.Conv2d(3, 8, 3)), 3)
    with pytest.raises(ValueError, match="was not trained: BatchNorm 'bn1' has no running"):
        detector("retinanet", resnet(), 3)
    with pytest.raises(ValueError, match="'yolo' is none of retinanet, faster_rcnn"):
        detector("yolo", backbone, 3)
    with pytest.raises(ValueError, match=r"trainable=6 must be in 0\.\.5"):
        detector("retinanet", backbone, 3, trainable=6)


# ---------------------------------------------------------------------------- images


def test_images_boxes_and_labels_of_the_drawn_set(coco, images):
    data = json.loads((coco / "annotations/instances_train2017.json").read_text())
    assert len(images) == 8 and images.with_boxes == list(range(7))
    assert images.classes == ("red", "green", "blue")
    assert images.labels == {3: 1, 7: 2, 90: 3}  # ids with gaps become 1 … n
    assert images.left_out == {"crowd": 1, "no area": 0}
    assert images.boxes == len(data["annotations"]) - 1
    image, target = images[1]
    assert image.shape == (3, 64, 64) and image.min() >= 0 and image.max() <= 1
    assert target["boxes"][-1].tolist() == [0, 0, 8, 16]  # clipped to the image
    for box, label in zip(target["boxes"], target["labels"], strict=True):
        x, y = ((box[:2] + box[2:]) / 2).long().tolist()
        colour = list(CATEGORIES.values())[int(label) - 1][1]
        inside = (image[:, y, x] * 255).round().tolist()
        assert inside in [list(c) for _, c in CATEGORIES.values()]  # perhaps of a later box
        assert colour
    _, empty = images[7]
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)


def test_mirrored_boxes_lie_on_mirrored_rectangles(images):
    plain, target = images[0]
    image, mirrored = _Mirrored(images, 1.0, 0, 0)[0]
    assert torch.equal(image, plain.flip(-1))
    for box, other in zip(target["boxes"].long(), mirrored["boxes"].long(), strict=True):
        there = plain[:, box[1] : box[3], box[0] : box[2]]
        assert torch.equal(image[:, other[1] : other[3], other[0] : other[2]], there.flip(-1))
    assert torch.equal(_Mirrored(images, 0.0, 0, 0)[0][0], plain)
    epochs = [[torch.equal(_Mirrored(images, 0.5, 0, e)[i][0], images[i][0]) for i in range(8)]
              for e in (0, 0, 1)]  # fmt: skip
    assert epochs[0] == epochs[1] != epochs[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("images"), "has no list 'images'"),
        (lambda d: d["images"].clear(), "has no images, or no categories"),
        (lambda d: d["images"][0].pop("width"), "image number 1 lacks width"),
        (lambda d: d["images"][1].update(id=5), "two images have the id 5"),
        (lambda d: d["images"][2].update(file_name="no.png"), "lacks 'no.png', image 25 of"),
        (lambda d: d["categories"][1].update(id=3), "every category needs an id of its own"),
        (lambda d: d["annotations"][2].pop("bbox"), "annotation 3: it lacks bbox"),
        (lambda d: d["annotations"][1].update(id=1), "annotation 1: an earlier one has the same"),
        (lambda d: d["annotations"][0].update(image_id=6), "annotation 1: no image has the id 6"),
        (lambda d: d["annotations"][0].update(category_id=4), "no category has the id 4"),
        (lambda d: d["annotations"][0].update(iscrowd=2), "iscrowd is 2, not 0 or 1"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), r"bbox \[1, 2, 3\] is not four"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 3]), "is not four finite"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 3]), "a negative width or height"),
        (lambda d: d["annotations"].insert(0, 7), "annotation number 1: a mapping was expected"),
    ],
)
def test_wrong_annotations_are_named(tmp_path, change, says):
    draw(tmp_path, "val2017", 4)
    file = tmp_path / "annotations/instances_val2017.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=says) as error:
        CocoImages(tmp_path, "val2017")
    assert str(file) in str(error.value)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(DataError, match="instances_val2017.json' does not exist"):
        CocoImages(tmp_path, "val2017")
    draw(tmp_path, "val2017", 4)
    images, first = CocoImages(tmp_path, "val2017"), tmp_path / "val2017/000005.png"
    content = first.read_bytes()
    first.write_bytes(content[:200])
    with pytest.raises(DataError, match=r"000005.png' \(id 5\) cannot be read"):
        images[0]
    (tmp_path / "val2017/000015.png").write_bytes(draw_other(tmp_path))
    with pytest.raises(DataError, match="is 32 x 32 pixels, .* says 64 x 64"):
        images[1]
    (tmp_path / "annotations/instances_val2017.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        CocoImages(tmp_path, "val2017")


def draw_other(tmp_path) -> bytes:
    return (draw(tmp_path / "other", "val2017", 2, size=32) / "val2017/000005.png").read_bytes()


# ---------------------------------------------------------------------------- average precision


class Known(nn.Module):
    """Finds the boxes of the annotations, moved by some pixels."""

    def __init__(self, images, moved=0.0, keep=slice(None)):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.known = {images[i][0].sum().item(): images[i][1] for i in range(len(images))}
        self.moved, self.keep = moved, keep

    def forward(self, batch):
        targets = [self.known[image.sum().item()] for image in batch]
        return [
            {
                "boxes": t["boxes"][self.keep] + self.moved,
                "labels": t["labels"][self.keep],
                "scores": torch.ones(len(t["labels"][self.keep])),
            }
            for t in targets
        ]


def test_a_perfect_detector_has_average_precision_1(tmp_path):
    data = rewritten(tmp_path, 8)
    # one box sticks out of its image: what can be found of it is its half, an overlap of 0.5
    data["annotations"] = [a for a in data["annotations"] if a["bbox"][0] >= 0]
    images = rewritten(tmp_path, 8, data)
    found = evaluate_detector(Known(images), images)
    assert set(found) == set(METRICS) and found["APlarge"] is None  # no box above 96 x 96
    assert found["AP"] == found["AP50"] == found["AP75"] == pytest.approx(1)


def rewritten(root, n, data=None):
    """The annotations of a drawn split; or the split with these instead."""
    file = draw(root, "val2017", n) / "annotations/instances_val2017.json"
    if data is None:
        return json.loads(file.read_text())
    file.write_text(json.dumps(data))
    return CocoImages(root, "val2017")


def test_boxes_that_are_off_count_at_the_overlaps_they_reach(tmp_path):
    one = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [10, 10, 20, 20]}
    images = rewritten(tmp_path, 2, {**rewritten(tmp_path, 2), "annotations": [one]})
    row = {"image_id": 5, "category_id": 3, "score": 0.9}
    # 20 x 20 moved by 4 columns: overlap 16 / 24 = 2/3, enough for thresholds 0.50 … 0.65 of ten
    found = average_precision(images, [{**row, "bbox": [14.0, 10.0, 20.0, 20.0]}])
    assert [found[k] for k in ("AP", "AP50", "AP75")] == pytest.approx([0.4, 1, 0])
    wrong = average_precision(images, [{**row, "category_id": 7, "bbox": [10.0, 10.0, 20.0, 20.0]}])
    assert wrong["AP"] == 0
    assert average_precision(images, [])["AP"] == 0


def test_rows_have_category_ids_and_sides_again(images):
    boxes = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    found = {"boxes": boxes, "labels": torch.tensor([3]), "scores": torch.tensor([0.5])}
    (row,) = rows_of(images, 5, found)
    assert row == {"image_id": 5, "category_id": 90, "bbox": [1, 2, 3, 6], "score": 0.5}
    assert boxes.tolist() == [[1, 2, 4, 8]]  # the caller's own


# ---------------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_narrow_backbone_trains_and_is_evaluated(backbone, images, kind):
    model = make(kind, backbone)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recipe = DetectionRecipe(epochs=1, batch_size=3, lr=0.01, warmup_steps=0)
    (row,) = train_detector(model, images, recipe)
    assert row["epoch"] == 1 and all(np.isfinite(list(row.values())))
    assert {k for k in row if "loss" in k or "class" in k or "regression" in k} == set(
        list(row)[2:]
    )
    for name, value in model.state_dict().items():
        frozen = re.match(r"backbone\.body\.(conv1|bn1|layer1)|.*(\.bn|downsample\.1)", name)
        assert torch.equal(value, before[name]) == bool(frozen), name
    found = evaluate_detector(model, images)
    assert 0 <= found["AP"] <= 1 and not model.training


def test_a_stopped_training_ends_with_the_same_weights(tmp_path, backbone, images):
    whole = make("retinanet", backbone)
    history = train_detector(whole, images, SHORT)
    file = tmp_path / "checkpoint"
    for stop in (1, 2, None):  # after a step of the first epoch, after two of the next, never
        model, looks = make("retinanet", backbone), iter(range(9))
        over = None if stop is None else (lambda looks=looks, stop=stop: next(looks) == stop)
        again = train_detector(model, images, SHORT, checkpoint=file, over=over)
        assert (again is None) == (stop is not None) and file.exists()
    assert again == history and len(history) == 2
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, backbone, images):
    file = tmp_path / "checkpoint"
    stop = {"checkpoint": file, "over": lambda: True}
    assert train_detector(make("retinanet", backbone), images, SHORT, **stop) is None
    with pytest.raises(CheckpointError, match="seed is 1, was 0"):
        train_detector(make("retinanet", backbone), images, SHORT, seed=1, **stop)
    shifted = copy.deepcopy(backbone)
    with torch.no_grad():
        shifted.conv1.weight += 1
    with pytest.raises(CheckpointError, match="backbone is '"):
        train_detector(make("retinanet", shifted), images, SHORT, **stop)


def test_batches_that_cannot_be_made_are_refused(backbone, images):
    with pytest.raises(DataError, match="batches of 16 images .* of the 7 images of .* boxes"):
        train_detector(make("retinanet", backbone), images, RECIPES["retinanet"])


def test_the_learning_rate_warms_up_and_falls_twice():
    recipe = DetectionRecipe(lr=1.0, warmup_steps=10)
    rates = [recipe.lr_at(step, 1200) for step in (0, 9, 10, 799, 800, 1099, 1100, 1199)]
    assert rates == pytest.approx([0.1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"lr": 0}, {"momentum": 1}, {"weight_decay": -1},
     {"warmup_steps": -1}, {"milestones": (2,)}, {"flip": 2}],
)  # fmt: skip
def test_impossible_recipes_are_refused(wrong):
    (field,) = wrong
    with pytest.raises(ValueError, match=rf"DetectionRecipe\({field}="):
        DetectionRecipe(**wrong)


def test_two_processes_share_images_and_end_with_the_same_weights(coco, images, tmp_path):
    status, said = finish(torchrun("together_detect.py", coco, tmp_path))
    assert status == 0, said
    first, second = (json.loads((tmp_path / f"{i}-of-2.json").read_text()) for i in range(2))
    assert first == second and len(first["history"]) == 1
    assert all(np.isfinite(list(first["history"][0].values())))
    # every image was seen by one of them: the result is that of one process
    assert first["found"] == evaluate_detector(Known(images, moved=1.5), images)
    assert 0 < first["found"]["AP"] < 1


# ---------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A narrow ResNet-50, saved."""
    network, space, c = trained(tv.resnet50(num_classes=10))
    return save(
        tmp_path_factory.mktemp("net"), network, space, c, factory=tv.resnet50, num_classes=10
    )


def words(folder, coco, *more):
    small = ["--min-size", "64", "--max-size", "64", "--batch-size", "3", "--epochs", "1"]
    return [f"--backbone={folder}", f"--coco={coco}", "--detector", "retinanet", *small, *more]


def test_the_command_trains_stops_goes_on_and_leaves_a_record(folder, coco, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(words(folder, coco, *out, "--minutes", "0")) == 1
    assert "the same command goes on" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"checkpoint"}
    assert main(words(folder, coco, *out)) == 0
    record = Record.load(tmp_path / "out/result.json")
    assert set(METRICS) < set(record.rows[0]) and record.parameters["detector"] == "retinanet"
    assert capsys.readouterr().out.startswith("AP ")
    weights = load_file(tmp_path / "out/detector.safetensors")
    network = detector("retinanet", load(folder).eval(), 3, **SMALL)
    network.load_state_dict(weights)
    again = evaluate_detector(network, CocoImages(coco, "val2017"))
    assert again == {k: record.rows[0][k] for k in METRICS}


def test_a_dry_run_checks_everything_and_writes_nothing(folder, coco, capsys):
    before = sorted(folder.iterdir())
    assert main(words(folder, coco, "--dry-run")) == 0
    said = capsys.readouterr().out
    costs = costs_of(detector("retinanet", load(folder).eval(), 3, **SMALL))
    for part, c in costs.items():
        line = f"{part}: {c['params'] / 1e6:,.2f} M params, {c['macs'] / 1e6:,.2f} M MACs"
        assert line in said
    assert "8 images, 7 with boxes" in said and "not used: 1 crowd, 0 no area" in said
    assert "1 epochs of 2 steps with 3 images = 2 steps, learning rate 0.001875" in said
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--coco=nowhere"], "instances_train2017.json' does not exist"),
        (["--backbone=nowhere"], "network.json does not exist"),
        (["--val=test"], "instances_test.json' does not exist"),
        (["--trainable=6"], "trainable=6 must be in 0..5"),
        (["--epochs=0"], "epochs must be at least 1"),
        (["--batch-size=8"], "batches of 8 images for 1 processes cannot be made of the 7"),
        (["--device=cuda"], "PyTorch sees no GPU"),
    ],
)
def test_the_command_says_what_is_wrong(folder, coco, tmp_path, capsys, monkeypatch, more, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(words(folder, coco, f"--out={tmp_path}/out", *more)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_lists_every_option_and_the_usual_settings_follow_the_detector():
    text = parser().format_help()
    for option in ("--detector {retinanet,faster_rcnn}", "--epochs", "--minutes", "--dry-run"):
        assert option in text
    with pytest.raises(SystemExit):
        parser().parse_args(["--backbone=a", "--coco=b", "--detector=yolo"])
    for kind, lr in (("retinanet", 0.01), ("faster_rcnn", 0.02)):
        options = parser().parse_args(["--backbone=a", "--coco=b", f"--detector={kind}"])
        assert recipe_of(options) == DetectionRecipe(lr=lr)
        options.batch_size = 32
        assert recipe_of(options).lr == 2 * lr


def test_the_commands_of_the_claim_are_accepted():
    ledger = Ledger.read(Path(__file__).parent.parent / "book/data/claims.yaml")
    search, *lines = ledger["detection"].command.splitlines()
    assert search.startswith("python -m bcnet_lib run --model resnet50")
    for line in lines:
        program, *arguments = shlex.split(line)[2:]
        assert program == "bcnet_lib.detection" and recipe_of(parser().parse_args(arguments))
    assert {d for d in DETECTORS for line in lines if f"--detector {d}" in line} == set(DETECTORS)
