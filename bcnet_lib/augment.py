"""Standard augmentation of image batches, on their own device: shift and mirror."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["shift_and_flip"]


def shift_and_flip(
    x: Tensor, pad: int, flip: bool, fill: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Random crop after padding, and random mirroring, of a whole batch at once.

    Args:
        x: (B, C, H, W), any type. pad: pixels added on each side before the crop.
        flip: mirror half of the images. fill: (C, 1, 1) value of the padding, None: 0.
        generator: on the CPU, so that every device draws the same.
    Returns:
        (B, C, H, W), a new tensor.
    """
    batch, channels, height, width = x.shape
    shift = torch.randint(0, 2 * pad + 1, (2, batch), generator=generator)  # (2, B)
    mirrored = torch.rand(batch, generator=generator) < (0.5 if flip else 0.0)  # (B,)
    column = torch.arange(width)  # (W,)
    columns = torch.where(mirrored[:, None], width - 1 - column, column) + shift[1, :, None]
    rows = torch.arange(height) + shift[0, :, None]  # (B, H)
    rows, columns = rows.to(x.device), columns.to(x.device)  # (B, H), (B, W)

    padded = F.pad(x, (pad, pad, pad, pad))  # (B, C, H + 2 pad, W + 2 pad)
    if fill is not None and pad:
        inside = F.pad(torch.ones_like(x[:1, :1], dtype=torch.bool), (pad, pad, pad, pad))
        padded = torch.where(inside, padded, fill.to(x.dtype))
    image = torch.arange(batch, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
