"""Profile ``paper`` of an experiment in a size for tests; run alone and by torchrun."""

import sys
from dataclasses import replace

from bcnet_lib.ablations import EXPERIMENTS, together

NAME = "group_number"
SMALL = {
    **{"data": "imagenet-32", "val": 0.25, "batch_size": 16, "score_batch": 8, "lr": 0.02},
    **{"values": (4,), "passes": 8, "population": 3, "generations": 2, "checkpoint_every": 1},
    **{"retrain_epochs": 2, "seeds": 1, "fast": False},
}


def main(arguments) -> int:
    """The command ``together`` with the small profile."""
    e = EXPERIMENTS[NAME]
    EXPERIMENTS[NAME] = replace(e, profiles={"paper": replace(e.profiles["paper"], **SMALL)})
    try:
        return together.main(["--only", NAME, *arguments])
    finally:
        EXPERIMENTS[NAME] = e


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
