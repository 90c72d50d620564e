"""BCNet: search the widths of convolutional networks with one-shot supernets."""

import warnings

# Without ipywidgets tqdm draws its bars as text, which is all we want; no need to warn of it.
warnings.filterwarnings("ignore", message="IProgress not found")

from .checkpoint import CheckpointError  # noqa: E402
from .cost import CostTable  # noqa: E402
from .data import DataError  # noqa: E402
from .evaluate import evaluate, evaluate_many  # noqa: E402
from .graph import GraphError  # noqa: E402
from .io import load, save  # noqa: E402
from .principles import BC, UA, BCv2, Cyclic, WidthError  # noqa: E402
from .space import WidthSpace  # noqa: E402
from .supernet import Supernet  # noqa: E402
from .train import Recipe, SupernetTrainer, TrainingError, train_from_scratch  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "BC",
    "BCv2",
    "CheckpointError",
    "CostTable",
    "Cyclic",
    "DataError",
    "GraphError",
    "Recipe",
    "Supernet",
    "SupernetTrainer",
    "TrainingError",
    "UA",
    "WidthError",
    "WidthSpace",
    "evaluate",
    "evaluate_many",
    "load",
    "save",
    "train_from_scratch",
]
