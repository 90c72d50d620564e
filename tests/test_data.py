"""Data: splits that are seeded and disjoint, batches that any step can be asked for."""

import hashlib
import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from bcnet_lib import cifar10
from bcnet_lib.augment import shift_and_flip
from bcnet_lib.data import DataError, Split, load, mix


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def all_batches(split, *args, **options):
    return [(x.clone(), y.clone()) for x, y in split.batches(*args, **options)]


def assert_same(a, b):
    assert len(a) == len(b) > 0
    for (x, y), (x2, y2) in zip(a, b, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


# splits


def test_digits_are_split_into_disjoint_parts_that_together_are_the_source(digits):
    index = np.concatenate([s.index for s in (digits.train, digits.val, digits.test)])
    assert sorted(index) == list(range(1797))
    assert (len(digits.train), len(digits.val), len(digits.test)) == (1078, 270, 449)
    assert digits.shape == (1, 8, 8) and digits.classes == 10
    assert digits.train.x.dtype == torch.float32 and digits.train.y.dtype == torch.int64


def test_a_split_holds_the_images_its_index_names(digits):
    source = load_digits()
    mean, std = digits.mean[0], digits.std[0]
    for split in (digits.train, digits.val, digits.test):
        raw = source.images[split.index] / 16
        np.testing.assert_allclose(split.x[:, 0].numpy(), (raw - mean) / std, atol=1e-5)
        assert split.y.tolist() == source.target[split.index].tolist()


def test_every_class_has_its_share_of_every_split(digits):
    shares = []
    for split in (digits.train, digits.val, digits.test):
        shares.append(np.bincount(split.y, minlength=10) / len(split))
    assert np.ptp(shares, axis=0).max() < 0.01


def test_a_split_mixes_its_classes_so_that_any_slice_can_serve_batch_statistics(digits):
    for split in (digits.train, digits.val, digits.test):
        assert len(torch.unique(split.y[:64])) == 10


def test_normalisation_uses_the_training_split_alone(digits):
    assert abs(digits.train.x.mean()) < 1e-5 and abs(digits.train.x.std() - 1) < 1e-3
    assert abs(digits.test.x.mean()) > 1e-5


def test_the_seed_decides_the_splits_and_describe_records_them():
    a, b, other = load("digits"), load("digits"), load("digits", seed=1)
    assert a.describe() == b.describe() == json.loads(json.dumps(a.describe()))
    for part in ("train", "val", "test"):
        assert a.describe()[part]["sha256"] != other.describe()[part]["sha256"]
        assert a.describe()[part]["size"] == len(getattr(a, part))


def test_size_keeps_so_many_images_in_all():
    data = load("digits", size=200)
    assert len(data.train) + len(data.val) + len(data.test) == 200
    assert min(np.bincount(data.train.y)) >= 10


def test_fake_images_have_the_asked_shape_and_repeat_with_the_seed():
    a = load("fake", shape=(3, 12, 10), classes=4, size=100)
    b = load("fake", shape=(3, 12, 10), classes=4, size=100)
    other = load("fake", shape=(3, 12, 10), classes=4, size=100, seed=1)
    assert a.shape == (3, 12, 10) and a.classes == 4
    assert torch.equal(a.train.x, b.train.x) and not torch.equal(a.train.x, other.train.x)


def test_fake_images_can_be_learnt():
    data = load("fake", size=1000)
    means = torch.stack([data.train.x[data.train.y == k].mean(0) for k in range(10)])
    nearest = torch.cdist(data.test.x.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == data.test.y).float().mean() > 0.8


# batches


def test_an_epoch_gives_every_image_once(digits):
    rows = torch.cat([y for _, y in digits.train.batches(100, seed=3)])
    assert torch.equal(rows.bincount(), digits.train.y.bincount())
    assert [len(y) for _, y in digits.train.batches(100)] == [100] * 10 + [78]
    assert [len(y) for _, y in digits.train.batches(100, drop_last=True)] == [100] * 10
    assert digits.train.steps(100) == 11 and digits.train.steps(100, drop_last=True) == 10


def test_order_depends_on_seed_and_epoch_and_on_nothing_else(digits):
    first = all_batches(digits.train, 128, seed=1, epoch=2)
    torch.rand(7)  # the global generator has no say
    assert_same(first, all_batches(digits.train, 128, seed=1, epoch=2))
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}):
        assert not torch.equal(first[0][0], all_batches(digits.train, 128, **other)[0][0])


@pytest.mark.parametrize("augment", [False, True])
def test_an_epoch_can_start_in_the_middle(digits, augment):
    options = {"seed": 5, "epoch": 1, "augment": augment}
    whole = all_batches(digits.train, 128, **options)
    assert_same(whole[4:], all_batches(digits.train, 128, start=4, **options))


def test_augmentation_differs_from_epoch_to_epoch_and_keeps_the_labels(digits):
    plain = all_batches(digits.train, 128, seed=1)
    moved = all_batches(digits.train, 128, seed=1, augment=True)
    assert all(torch.equal(p[1], m[1]) for p, m in zip(plain, moved, strict=True))
    assert not torch.equal(plain[0][0], moved[0][0])
    options = {"seed": 1, "augment": True, "shuffle": False}
    a, b = (all_batches(digits.train, 128, epoch=e, **options) for e in (0, 1))
    assert torch.equal(a[0][1], b[0][1]) and not torch.equal(a[0][0], b[0][0])


def by_hand(x, pad, flip, generator):
    """The standard augmentation one image after another: pad, crop, mirror."""
    height, width = x.shape[2:]
    shift = torch.randint(0, 2 * pad + 1, (2, len(x)), generator=generator)
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    out = []
    for i, image in enumerate(torch.nn.functional.pad(x, (pad,) * 4)):
        top, left = shift[:, i].tolist()
        crop = image[:, top : top + height, left : left + width]
        out.append(crop.flip(2) if flip and mirrored[i] else crop)
    return torch.stack(out)


@pytest.mark.parametrize("flip", [False, True])
def test_shift_and_flip_is_pad_crop_mirror_image_by_image(flip):
    x = torch.randint(1, 255, (20, 3, 9, 7), dtype=torch.uint8)
    seeded = torch.Generator().manual_seed
    got = shift_and_flip(x, 3, flip, None, seeded(1))
    assert torch.equal(got, by_hand(x, 3, flip, seeded(1)))
    assert got.dtype == torch.uint8


def test_a_shifted_digit_is_filled_up_with_background(digits):
    background = digits.train.x.min()
    (x, _), *_ = digits.train.batches(500, augment=True)
    edge = torch.cat([x[:, :, 0].flatten(), x[:, :, -1].flatten()])
    assert torch.isclose(x.min(), background) and (edge == 0).sum() == 0
    assert torch.isclose(edge, background).float().mean() > 0.3


def test_uint8_images_are_normalised_batch_by_batch():
    pixels = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8)
    mean, std = torch.rand(3, 1, 1) * 255, torch.rand(3, 1, 1) * 50 + 10
    split = Split(pixels, torch.zeros(12, dtype=torch.int64), mean=mean, std=std)
    ((x, _),) = split.batches(12, shuffle=False)
    assert x.dtype == torch.float32 and torch.allclose(x, (pixels.float() - mean) / std)
    assert torch.equal(split.take(slice(2, 5))[0], x[2:5])


def test_to_moves_every_tensor():
    data = load("fake", size=60).to("meta")
    for split in (data.train, data.val, data.test):
        assert {t.device.type for t in (split.x, split.y, split.fill)} == {"meta"}


def test_mix_separates_its_arguments():
    seeds = [mix(*n) for n in ((0,), (1,), (0, 1), (1, 0), (0, 0, 1), (0, 1, 0))]
    assert len(set(seeds)) == len(seeds) and all(0 <= s < 2**63 for s in seeds)


# bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: load("cifar"), "'cifar'.*'digits', 'fake', 'cifar10'"),
        (lambda d: load("digits", val=0), "val=0 must be a share"),
        (lambda d: load("digits", test=1.5), "test=1.5 must be a share"),
        (lambda d: load("digits", size=2000), "size=2000 is outside 1..1797"),
        (lambda d: load("digits", size=3), "split 'val' of 'digits' is empty.*size=3"),
        (lambda d: load("fake", classes=1), "classes=1"),
        (lambda d: load("cifar10", test=0.5), "own test set"),
        (lambda d: d.val.batches(0), "batch size .* got 0"),
        (lambda d: d.val.batches(2.5), "batch size .* got 2.5"),
        (lambda d: d.val.batches(512, drop_last=True), "batch size 512 .*'val' of 270"),
        (lambda d: d.val.batches(100, start=4), r"start=4 is outside 0\.\.3"),
        (lambda d: Split(d.val.x[:0], d.val.y[:0], name="mine"), "'mine' is empty"),
        (lambda d: Split(d.val.x, d.val.y[1:]), r"\(270, 1, 8, 8\) and \(269,\)"),
        (lambda d: Split(d.val.x.double(), d.val.y), "float64"),
        (lambda d: Split(d.val.x.to(torch.uint8), d.val.y), "needs mean and std"),
    ],
)
def test_bad_input_is_refused_by_name(digits, call, message):
    with pytest.raises(DataError, match=message):
        call(digits)


# CIFAR-10


def write_sheets(folder, batches, sheets=10):
    """Sheets and index as they are laid out on disk, with random pixels; {batch: (x, labels)}."""
    folder.mkdir(parents=True)
    rng, made = np.random.default_rng(0), {}
    for batch in batches:
        x = rng.integers(0, 256, (1000 * sheets, 3, 32, 32), dtype=np.uint8)
        labels = "".join(map(str, rng.integers(0, 10, 1000 * sheets)))
        for i in range(sheets):
            tiles = x[1000 * i : 1000 * i + 1000].reshape(25, 40, 3, 32, 32)
            sheet = tiles.transpose(0, 3, 1, 4, 2).reshape(800, 1280, 3)
            Image.fromarray(sheet).save(folder / f"{batch}-{i}.webp", lossless=True, method=0)
        made[batch] = (x, labels)
    index = {batch: {"labels": labels} for batch, (_, labels) in made.items()}
    (folder / "index.json.xz").write_bytes(lzma.compress(json.dumps(index).encode()))
    return made


def test_a_sheet_decodes_to_its_tiles_in_order(tmp_path):
    x, _ = write_sheets(tmp_path / "cifar10", ["test_batch"], sheets=1)["test_batch"]
    assert np.array_equal(cifar10.read_sheet(tmp_path / "cifar10" / "test_batch-0.webp"), x)


def test_a_missing_folder_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("BCNET_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere.*BCNET_DATA.*download=True"):
        load("cifar10")


def test_damaged_sheets_are_named(tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    broken, small = folder / "test_batch-0.webp", folder / "test_batch-1.webp"
    broken.write_bytes(b"RIFF no image")
    Image.new("RGB", (64, 32)).save(small)
    for path, problem in ((broken, "decoded"), (small, "64x32"), (folder / "x.webp", "missing")):
        with pytest.raises(DataError, match=rf"{path.name}' .*{problem}"):
            cifar10.read_sheet(path)
    (folder / "index.json.xz").write_bytes(b"no index")
    with pytest.raises(DataError, match=r"index\.json\.xz' cannot be read"):
        load("cifar10", root=tmp_path)


def test_an_incomplete_official_folder_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"cifar-10-batches-py' is incomplete.*remove that folder"):
        load("cifar10", root=tmp_path)


def test_cifar10_keeps_the_official_test_set_and_uint8_pixels(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60_000, 3, 4, 4), dtype=np.uint8)
    y = np.arange(60_000) % 10
    monkeypatch.setattr(cifar10, "read", lambda root, download: (x, y))
    data = load("cifar10")
    assert sorted(data.test.index) == list(range(50_000, 60_000))
    assert (len(data.train), len(data.val)) == (40_000, 10_000)
    assert data.train.x.dtype == torch.uint8 and data.train.flip
    train = x[data.train.index] / 255
    np.testing.assert_allclose(data.mean, train.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(data.std, train.std((0, 2, 3)), rtol=1e-9)
    images, _ = data.train.take(slice(None))
    assert abs(images.mean()) < 1e-3 and abs(images.std() - 1) < 1e-3
    small = load("cifar10", size=600)
    assert (len(small.train), len(small.val), len(small.test)) == (400, 100, 100)


def test_one_batch_of_the_real_sheets_is_the_official_one():
    folder = Path(os.environ.get("BCNET_DATA", "")) / "cifar10"
    if not (folder / "index.json.xz").is_file():
        pytest.skip("BCNET_DATA holds no CIFAR-10 sheets")
    labels = json.loads(lzma.decompress((folder / "index.json.xz").read_bytes()))["test_batch"]
    x, y = cifar10.read_batch(folder, "test_batch", labels["labels"])  # checks the digest
    assert x.shape == (10_000, 3, 32, 32) and x.dtype == np.uint8
    assert y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]  # cat, ship, ship, airplane, …
    assert set(np.bincount(y)) == {1000}
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    assert digest == cifar10.SHA256["test_batch"]
    with pytest.raises(DataError, match="'data_batch_1'.*not the official one"):
        cifar10._check("data_batch_1", x, y, folder)
