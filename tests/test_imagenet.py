"""Images in folders: splits, batches that repeat, and what is said of damaged folders."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from folders import fake_imagenet
from PIL import Image
from torch import nn
from torchvision import transforms

from bcnet_lib import Recipe, data, imagenet
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.checkpoint import same_settings, settings_of
from bcnet_lib.data import DataError, Split
from bcnet_lib.evaluate import accuracy, evaluate_many
from bcnet_lib.imagenet import MEAN, STD
from bcnet_lib.principles import BC
from bcnet_lib.profiles import PROFILES
from bcnet_lib.search.resume import score_settings
from bcnet_lib.space import WidthSpace
from bcnet_lib.supernet import Supernet
from bcnet_lib.train import SupernetTrainer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fake_imagenet(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def images(root):
    return data.load("imagenet-32", root, val=0.25)


def cnn():
    layers = [nn.Conv2d(3, 8, 3, stride=4, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def supernet():
    model = cnn()
    space = WidthSpace.from_model(model, torch.zeros(1, 3, 32, 32), K=4)
    return Supernet(model, space, BC(), seed=0)


def held(split) -> Split:
    """The same images as tensors."""
    x, y = split.take(slice(None))
    return Split(x, y, name=split.name)


def same(a, b):
    pairs = zip(a, b, strict=True)
    assert all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def test_every_class_is_held_out_in_the_same_share_and_no_image_twice(images):
    assert [len(s) for s in (images.train, images.val, images.test)] == [48, 16, 24]
    for split, each in ((images.train, 12), (images.val, 4), (images.test, 6)):
        assert torch.bincount(split.y).tolist() == [each] * 4
    names = [n for s in (images.train, images.val, images.test) for n in s.files.tolist()]
    assert len(set(names)) == 88
    assert all(n.startswith(b"val/") for n in images.test.files.tolist())


def test_labels_are_those_of_the_folders(images):
    for name, label in zip(images.train.files.tolist(), images.train.y.tolist(), strict=True):
        assert name.split(b"/")[1] == f"n{label:04}".encode()


def test_an_image_is_resized_cropped_and_normalised_as_by_torchvision(images):
    split = images.test
    image = Image.open(split.folder / split.files[3].decode()).convert("RGB")
    steps = [transforms.Resize(37), transforms.CenterCrop(32), transforms.ToTensor()]
    wanted = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])(image)
    x, y = split.take(slice(3, 4))
    assert torch.allclose(x[0], wanted, atol=1e-5) and int(y) == int(split.y[3])
    assert images.shape == (3, 32, 32)


def test_batches_repeat_and_a_later_start_gives_the_rest(images):
    options = {"seed": 3, "epoch": 1, "augment": True, "drop_last": True}
    whole = list(images.train.batches(16, **options))
    same(whole[1:], list(images.train.batches(16, start=1, **options)))
    other = list(images.train.batches(16, **{**options, "epoch": 2}))
    assert not torch.equal(whole[0][0], other[0][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_that_decode_change_nothing(images, workers, monkeypatch):

    monkeypatch.setattr(imagenet, "CHUNK", 5)
    options = {"seed": 3, "augment": True}
    before = torch.random.get_rng_state()
    split = replace(images.train, workers=workers)
    same(images.train.batches(16, **options), split.batches(16, **options))
    assert torch.equal(before, torch.random.get_rng_state())


def _sums_of_batches(split, queue):
    queue.put([float(x.sum()) for x, _ in split.batches(16, augment=True)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_may_start_no_other_decodes_by_itself(images, monkeypatch):
    monkeypatch.setattr(imagenet, "CHUNK", 5)
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=_sums_of_batches, args=(images.train, queue), daemon=True)
    process.start()
    found = queue.get(timeout=60)
    process.join()
    assert found == [float(x.sum()) for x, _ in images.train.batches(16, augment=True)]


def test_processes_share_each_batch(images):
    whole = list(images.train.batches(15, augment=True))
    parts = [list(images.train.batches(15, augment=True, share=(i, 2))) for i in (0, 1)]
    for (x, y), (x0, y0), (x1, y1) in zip(whole, *parts, strict=True):
        assert torch.equal(x[0::2], x0) and torch.equal(x[1::2], x1)
        assert torch.equal(y[0::2], y0) and torch.equal(y[1::2], y1)
    with pytest.raises(DataError, match="batches of 1 cannot be shared by 2"):
        images.train.batches(1, share=(0, 2))


def test_tensors_are_shared_in_the_same_way():
    split = data.load("fake", size=64).train
    whole = list(split.batches(7, augment=True))
    for i in (0, 1, 2):
        part = split.batches(7, augment=True, share=(i, 3))
        same([(x[i::3], y[i::3]) for x, y in whole], part)


def test_scores_are_those_of_the_same_images_in_memory(images):
    net = supernet()
    C = net.space.sample(np.random.default_rng(0), 3)
    for split in (images.val, images.test):
        for size in (5, 2048):
            mine = evaluate_many(net, C, split, batch_size=size)
            assert (mine == evaluate_many(net, C, held(split), batch_size=size)).all()
    assert accuracy(cnn(), images.val) in np.arange(17) / 16


def test_images_of_the_search_are_read_once(root):
    fresh = data.load("imagenet-32", root, val=0.25)
    first = list(fresh.val.pieces([slice(0, 8), slice(4, 12), slice(0, 8)]))
    moved = fresh.val.to("cpu")
    moved.kept.x.zero_()  # seen again only if they are looked up
    x, _ = moved.take(slice(0, 8))
    assert torch.equal(first[0][0], first[2][0]) and not torch.equal(x, first[0][0])
    x, _ = moved.take(slice(12, 16))  # not read before
    assert len(x.unique()) > 100


def test_training_stops_and_goes_on_to_the_same_weights(images, tmp_path):
    recipe = Recipe(epochs=2, batch_size=16, augment=True)
    options = {"seed": 1, "progress": False}
    whole = SupernetTrainer(supernet(), images, recipe, **options).fit()
    file = tmp_path / "state"
    SupernetTrainer(supernet(), images, recipe, checkpoint=file, **options).fit(max_steps=4)
    after = SupernetTrainer(supernet(), images, recipe, checkpoint=file, **options).fit()
    assert after.step == whole.step == 6
    for a, b in zip(whole.net.parameters(), after.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_other_images_crops_or_splits_are_other_settings(root, images):
    here = settings_of(data=images)
    same_settings("file", here, settings_of(data=data.load("imagenet-32", root, val=0.25)))
    for name, options in (("imagenet-24", {}), ("imagenet-32", {"seed": 1})):
        other = data.load(name, root, val=0.25, **options)
        assert settings_of(data=other) != here
        ours, theirs = (score_settings(supernet(), d, "val", None) for d in (images, other))
        assert ours["split.images"] != theirs["split.images"]


NETWORKS = [("paper", 25, 299.5e6), ("paper-resnet50", 37, 4.087e9)]  # with 4 classes


@pytest.mark.parametrize("name, groups, macs", NETWORKS)
def test_networks_of_profile_paper_have_their_groups_at_224_pixels(root, name, groups, macs):
    profile = replace(PROFILES["components"][name], val=0.25)
    problem = problem_of(profile, root)
    assert problem.data.shape == (3, 224, 224) and problem.bench is None
    full = problem.cost.macs(problem.space.full)
    assert groups == problem.space.L
    assert full == pytest.approx(macs, rel=1e-3)
    assert problem.budget == full / 2


def test_there_is_no_tensor_of_all_images(images):
    with pytest.raises(DataError, match="'train' reads its images from .* and has no x"):
        images.train.x  # noqa: B018


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="imagenet/train' does not hold images in one folder a cla"):
        data.load("imagenet", tmp_path)


def test_validation_images_without_classes_are_explained(tmp_path):
    root = fake_imagenet(tmp_path, classes=2, train=2, val=1)
    for file in (root / "imagenet" / "val").glob("*/*"):
        file.rename(root / "imagenet" / "val" / file.name)
    with pytest.raises(DataError, match="imagenet/val' does not hold images"):
        data.load("imagenet", root)


def test_classes_that_differ_are_named(tmp_path):
    root = fake_imagenet(tmp_path, classes=3, train=2, val=1)
    (root / "imagenet" / "val" / "n0002").rename(root / "imagenet" / "val" / "dog")
    with pytest.raises(DataError, match="2 classes in one of 'train' and 'val' only, such as 'dog"):
        data.load("imagenet", root)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named(tmp_path, workers, monkeypatch):

    monkeypatch.setattr(imagenet, "CHUNK", 2)
    monkeypatch.setattr(imagenet, "_cores", lambda: workers)
    images = data.load("imagenet-32", fake_imagenet(tmp_path, classes=2, val=1), val=0.25)
    file = images.train.folder / images.train.files[-1].decode()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=f"image '{file}' cannot be read .*: copy it again"):
        list(images.train.batches(4))


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("imagenet-7", {}, "unknown data set 'imagenet-7'"),
        ("imagenet-x", {}, "unknown data set 'imagenet-x'"),
        ("imagenet-32", {"val": 0.0}, "val=0.0 must be a share"),
        ("imagenet-32", {"val": 0.001}, "split 'val' of 'imagenet-32' is empty"),
        ("imagenet-32", {"test": 0.1}, "'imagenet-32' has its own test set"),
    ],
)
def test_wrong_options_are_named(root, name, options, says):
    with pytest.raises(DataError, match=says):
        data.load(name, root, **options)
