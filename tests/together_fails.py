"""Trains on a folder of images by torchrun; fails where a process meets a damaged image."""

import sys
from pathlib import Path

import torch
from torch import nn

from bcnet_lib import Recipe, data, distributed
from bcnet_lib.scratch import train_from_scratch

if __name__ == "__main__":
    with distributed.joined():
        images = data.load("imagenet-32", Path(sys.argv[1]), val=0.25)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 32), nn.Flatten(), nn.Linear(4, 4))
        train_from_scratch(model, images, Recipe(epochs=1, batch_size=16))
