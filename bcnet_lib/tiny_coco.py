"""A small set of images in COCO's format, drawn here: coloured rectangles on noise.

It has what makes real files hard: category ids with gaps, an image without boxes, a crowd region,
a box that sticks out of its image.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CATEGORIES", "draw"]

CATEGORIES = {3: ("red", (220, 40, 40)), 7: ("green", (40, 200, 60)), 90: ("blue", (50, 70, 230))}
"""Category id -> name, colour."""


def draw(root: str | Path, split: str, n: int = 8, *, size: int = 64, seed: int = 0) -> Path:
    """Write ``split`` and ``annotations/instances_<split>.json`` below a folder.

    Every image has one to three rectangles of 1/4 to 1/2 of its side, but the last, which has none.
    The second image also has a crowd region, and a box that begins outside of it.

    Args:
        n: images, at least 2. size: of their sides, pixels. seed: of everything drawn.
    Returns:
        root.
    """
    if n < 2:
        raise ValueError(f"n={n} images: at least 2 are needed, the last has no box")
    root, rng = Path(root), np.random.default_rng(seed)
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []

    def annotate(image: int, category: int, box, crowd: int = 0) -> None:
        about = {"id": len(annotations) + 1, "image_id": image, "category_id": category}
        about |= {"bbox": [float(v) for v in box], "area": float(box[2] * box[3]), "iscrowd": crowd}
        annotations.append(about)

    for i in range(n):
        pixels = rng.integers(90, 150, (size, size, 3)).astype(np.uint8)
        number = 10 * i + 5  # ids need not be consecutive
        for _ in range(int(rng.integers(1, 4)) if i < n - 1 else 0):
            category = int(rng.choice(list(CATEGORIES)))
            w, h = rng.integers(size // 4, size // 2 + 1, 2).tolist()
            x, y = (int(rng.integers(0, size - side + 1)) for side in (w, h))
            pixels[y : y + h, x : x + w] = CATEGORIES[category][1]
            annotate(number, category, (x, y, w, h))
        if i == 1:
            annotate(number, 3, (0, 0, size, size // 2), crowd=1)
            pixels[: size // 4, : size // 8] = CATEGORIES[7][1]
            annotate(number, 7, (-size // 8, 0, size // 4, size // 4))
        name = f"{number:06d}.png"
        Image.fromarray(pixels).save(root / split / name)
        images.append({"id": number, "file_name": name, "height": size, "width": size})
    categories = [{"id": id, "name": name} for id, (name, _) in CATEGORIES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content))
    return root
