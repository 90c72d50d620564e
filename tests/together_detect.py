"""What test_detection.py starts in two processes: train a detector, and measure a known one."""

import json
import sys
from pathlib import Path

from test_detection import SMALL, Known, trained

from bcnet_lib import distributed
from bcnet_lib.checkpoint import weights_digest
from bcnet_lib.coco import CocoImages
from bcnet_lib.detection import evaluate_detector
from bcnet_lib.detector_training import DetectionRecipe, train_detector
from bcnet_lib.detectors import detector


def main(coco, out) -> None:
    images = CocoImages(coco, "train2017")
    with distributed.joined("cpu", minutes=2):
        rank, n = distributed.place()
        found = evaluate_detector(Known(images, moved=1.5), images)
        model = detector("retinanet", trained()[0], 3, **SMALL)  # other heads in each process
        recipe = DetectionRecipe(epochs=1, batch_size=3, lr=0.01, warmup_steps=0)
        history = train_detector(model, images, recipe, checkpoint=Path(out) / "checkpoint")
        about = {"found": found, "weights": weights_digest(model), "history": history}
        (Path(out) / f"{rank}-of-{n}.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main(*sys.argv[1:])
