"""Images with boxes in COCO's format, and COCO's average precision of what a detector finds.

A folder in COCO's layout::

    coco/annotations/instances_train2017.json
    coco/train2017/000000000009.jpg …

Boxes are (x0, y0, x1, y1) in pixels here, and (x, y, width, height) in the files. Labels are
1 … n in the order of category ids, which need not be consecutive there (COCO's 80 end at 90); 0 is
the background. Needs the extra ``bcnet_lib[detection]``.
"""

import contextlib
import io
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from .cifar10 import DataError

__all__ = ["METRICS", "CocoImages", "average_precision", "rows_of"]

METRICS = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)
"""Of COCOeval, in its order; in [0, 1]."""
_EXTRA = "COCO's files need pycocotools: pip install 'bcnet_lib[detection]'"


class CocoImages(torch.utils.data.Dataset):
    """One split of a COCO folder; item i is an image and its boxes.

    Crowd regions are no targets of training, and are left to COCOeval in the evaluation. Boxes are
    clipped to their image; what has no area then is left out.

    Args:
        root: the folder. split: name of the images' folder below it, ``train2017``; annotations are
            in ``annotations/instances_<split>.json``.
    Raises:
        DataError: for a file that is missing or not in the format; names the file, and the
            annotation or image.
    """

    def __init__(self, root: str | Path, split: str):
        self.folder = Path(root) / split
        self.file = Path(root) / "annotations" / f"instances_{split}.json"
        data = _read(self.file)
        self.images = {image["id"]: image for image in data["images"]}
        self.ids = sorted(self.images)
        self.labels = {id: i + 1 for i, id in enumerate(sorted(_ids(self.file, data)))}
        """Category id -> label."""
        names = {c["id"]: c.get("name", str(c["id"])) for c in data["categories"]}
        self.classes = tuple(names[id] for id in self.labels)
        self._there()
        boxes = {id: [] for id in self.ids}
        left_out = Counter({"crowd": 0, "no area": 0})
        for annotation in data["annotations"]:
            box = self._box(annotation)
            if annotation["iscrowd"]:
                left_out["crowd"] += 1
            elif box is None:
                left_out["no area"] += 1
            else:
                label = self.labels[annotation["category_id"]]
                boxes[annotation["image_id"]].append((box, label))
        self.left_out = dict(left_out)
        """Annotations that are no targets: crowd, and boxes without area."""
        self._boxes = boxes
        self._data = data

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def with_boxes(self) -> list[int]:
        """Items that have a box, those a detector is trained on."""
        return [i for i, id in enumerate(self.ids) if self._boxes[id]]

    @property
    def boxes(self) -> int:
        """Boxes of all images."""
        return sum(map(len, self._boxes.values()))

    def __getitem__(self, i: int) -> tuple[Tensor, dict]:
        """Image (3, H, W) in [0, 1]; ``boxes`` (n, 4), ``labels`` (n,) and ``image_id``.

        Raises:
            DataError: if the file cannot be decoded, or has another size than the annotations say.
        """
        about = self.images[self.ids[i]]
        path = self.folder / about["file_name"]
        try:
            with Image.open(path) as file:
                image = pil_to_tensor(file.convert("RGB")).float() / 255  # (3, H, W)
        except (OSError, SyntaxError) as error:  # PIL raises SyntaxError for some broken PNGs
            raise DataError(f"image '{path}' (id {about['id']}) cannot be read: {error}") from error
        if tuple(image.shape[1:]) != (about["height"], about["width"]):
            raise DataError(
                f"image '{path}' (id {about['id']}) is {image.shape[2]} x {image.shape[1]} pixels, "
                f"'{self.file}' says {about['width']} x {about['height']}"
            )
        targets = self._boxes[about["id"]]
        boxes = torch.tensor([b for b, _ in targets], dtype=torch.float32).view(-1, 4)
        labels = torch.tensor([label for _, label in targets], dtype=torch.int64)
        return image, {"boxes": boxes, "labels": labels, "image_id": about["id"]}

    def ground_truth(self):
        """The annotations as a ``pycocotools.coco.COCO``."""
        return _coco(self._data)

    def _there(self) -> None:
        """Every image file is there; one look at a folder, not at each of its files."""
        if not self.folder.is_dir():
            raise DataError(f"'{self.folder}' is no folder: the images of '{self.file}' go there")
        names = {image["file_name"]: id for id, image in self.images.items()}
        flat = set(os.listdir(self.folder))
        lost = [n for n in names if n not in flat and not (self.folder / n).is_file()]
        if lost:
            more = f", and {len(lost) - 1} more of them" if len(lost) > 1 else ""
            raise DataError(
                f"'{self.folder}' lacks '{lost[0]}', image {names[lost[0]]} of '{self.file}'{more}"
            )

    def _box(self, annotation: dict) -> tuple[float, ...] | None:
        """Corners, clipped to the image; None where nothing is left of it."""
        image = self.images[annotation["image_id"]]
        x, y, w, h = annotation["bbox"]
        x0, x1 = max(x, 0), min(x + w, image["width"])
        y0, y1 = max(y, 0), min(y + h, image["height"])
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def rows_of(images: CocoImages, image_id: int, found: dict[str, Tensor]) -> list[dict]:
    """What a detector found in one image, as COCO's result rows.

    Args:
        images: for its category ids. image_id: as in the annotations.
        found: ``boxes`` (n, 4), ``labels`` (n,) and ``scores`` (n,), of a torchvision detector.
    """
    categories = {label: id for id, label in images.labels.items()}
    boxes = found["boxes"].detach().cpu().double()
    boxes[:, 2:] -= boxes[:, :2]  # corners -> width, height
    triples = zip(boxes.tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": categories[label], "bbox": box, "score": score}
        for box, label, score in triples
    ]


def average_precision(images: CocoImages, rows: Iterable[dict]) -> dict[str, float | None]:
    """COCOeval of boxes, over all images of the split.

    Args:
        rows: as ``rows_of`` gives them, of all images together.
    Returns:
        ``METRICS`` -> value in [0, 1]; None where the split has no box of that size.
    """
    from pycocotools.cocoeval import COCOeval

    truth, rows = images.ground_truth(), list(rows)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        found = truth.loadRes(rows) if rows else _coco({**truth.dataset, "annotations": []})
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = map(float, evaluation.stats)
    return {name: v if v >= 0 else None for name, v in zip(METRICS, values, strict=True)}


# ---------------------------------------------------------------------------- the file


def _coco(data: dict):
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise DataError(_EXTRA) from error
    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _read(file: Path) -> dict:
    """The annotations, checked; ``iscrowd`` and ``area`` are filled in where they lack."""
    if not file.is_file():
        raise DataError(
            f"'{file}' does not exist: give the folder that holds 'annotations' and the images"
        )
    try:
        data = json.loads(file.read_bytes())
    except ValueError as error:
        raise DataError(f"'{file}' is not JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"'{file}' is not in COCO's format: it has no list '{key}'")
    if not data["images"] or not data["categories"]:
        raise DataError(f"'{file}' has no images, or no categories")
    categories, images = set(_ids(file, data)), _image_ids(file, data)
    seen = set()
    for n, annotation in enumerate(data["annotations"]):
        wrong = _wrong(annotation, images, categories, seen)
        if wrong:
            id = annotation.get("id") if isinstance(annotation, dict) else None
            which = f"annotation {id}" if id is not None else f"annotation number {n + 1}"
            raise DataError(f"'{file}', {which}: {wrong}")
        seen.add(annotation["id"])
        annotation.setdefault("iscrowd", 0)
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    return data


def _ids(file: Path, data: dict) -> list[int]:
    ids = [c.get("id") if isinstance(c, dict) else None for c in data["categories"]]
    if None in ids or len(set(ids)) < len(ids):
        raise DataError(f"'{file}': every category needs an id of its own, got {ids}")
    return ids


def _image_ids(file: Path, data: dict) -> set[int]:
    ids = set()
    for n, image in enumerate(data["images"]):
        lacks = [k for k in ("id", "file_name", "height", "width") if k not in image]
        if lacks:
            raise DataError(f"'{file}', image number {n + 1} lacks {', '.join(lacks)}")
        if image["id"] in ids:
            raise DataError(f"'{file}': two images have the id {image['id']}")
        ids.add(image["id"])
    return ids


def _wrong(annotation, images: set, categories: set, seen: set) -> str:
    """What is wrong with an annotation, in words; empty if nothing is."""
    if not isinstance(annotation, dict):
        return f"a mapping was expected, got {annotation!r}"
    if lacks := [k for k in ("id", "image_id", "category_id", "bbox") if k not in annotation]:
        return f"it lacks {', '.join(lacks)}"
    if annotation["id"] in seen:
        return "an earlier one has the same id"
    if annotation["image_id"] not in images:
        return f"no image has the id {annotation['image_id']}"
    if annotation["category_id"] not in categories:
        return f"no category has the id {annotation['category_id']}"
    if annotation.get("iscrowd", 0) not in (0, 1):
        return f"iscrowd is {annotation['iscrowd']!r}, not 0 or 1"
    box = annotation["bbox"]
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        return f"bbox {box!r} is not four finite numbers x, y, width, height"
    return f"bbox {box} has a negative width or height" if box[2] < 0 or box[3] < 0 else ""


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
