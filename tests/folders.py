"""A folder of small JPEGs in the layout of ImageNet."""

import numpy as np
from PIL import Image


def fake_imagenet(root, classes=4, train=16, val=6, pixels=40):
    """Images of one colour a class, with noise, below ``root/imagenet``; returns root."""
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("val", val)):
        for k in range(classes):
            folder = root / "imagenet" / part / f"n{k:04}"
            folder.mkdir(parents=True)
            for i in range(n):
                x = rng.integers(0, 80, (pixels, pixels, 3)) + np.array([40 * k, 160 - 40 * k, 80])
                Image.fromarray(x.astype(np.uint8)).save(folder / f"{part}_{i}.JPEG")
    return root
