"""Convolutional networks that nobody designed: random graphs of what the tracer has rules for."""

import numpy as np
import torch
from torch import Tensor, nn


class RandomNet(nn.Module):
    """A chain of random steps on a list of feature maps; the same seed makes the same network."""

    def __init__(self, seed: int, steps: int = 7, size: int = 8):
        super().__init__()
        self.rng = rng = np.random.default_rng(seed)
        self.layers = nn.ModuleDict()
        self.plan: list[tuple[str, int, int]] = []  # (kind, a, b): a and b are feature maps
        widths = [3]
        for k in range(steps):
            kind = "conv" if k == 0 else str(rng.choice(list(self.KINDS)))
            a, b = (int(rng.integers(len(widths))) for _ in "ab")
            if kind != "conv" and k:  # prefer what is new
                a = len(widths) - 1
            out = getattr(self, f"_make_{kind}")(k, widths, a, b)
            if out is None:  # does not fit here
                kind, out = "conv", self._make_conv(k, widths, a, b)
            self.plan.append((kind, a, b))
            widths.append(out)
        self.flat = bool(rng.integers(2))
        self.fc = nn.Linear(widths[-1] * (size * size if self.flat else 1), 4)
        del self.rng

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for k, (kind, a, b) in enumerate(self.plan):
            maps.append(getattr(self, f"_run_{kind}")(str(k), maps[a], maps[b]))
        y = maps[-1]
        return self.fc(y.flatten(1) if self.flat else y.mean((2, 3)))

    KINDS = (
        *("conv", "add", "cat", "depthwise", "blockwise", "norm", "layernorm"),
        *("groupnorm", "squeeze", "gate", "again", "transposed", "table"),
    )

    # -- one maker and one runner a kind ------------------------------------------------------
    def _make_conv(self, k, widths, a, b):
        out = int(self.rng.integers(2, 6)) * 2
        kernel = int(self.rng.choice([1, 3]))
        conv = nn.Conv2d(widths[a], out, kernel, padding=kernel // 2, bias=bool(k % 2))
        self.layers[str(k)] = nn.Sequential(conv, nn.BatchNorm2d(out), nn.Hardswish())
        return out

    def _run_conv(self, k, a, b):
        return self.layers[k](a)

    def _make_add(self, k, widths, a, b):
        out = widths[a]
        conv = nn.Conv2d(widths[b], out, 1)
        self.layers[str(k)] = conv
        return out

    def _run_add(self, k, a, b):
        return a + self.layers[k](b)

    def _make_cat(self, k, widths, a, b):
        return widths[a] + widths[b] if widths[a] + widths[b] <= 32 else None

    def _run_cat(self, k, a, b):
        return torch.cat([a, b], 1)

    def _make_depthwise(self, k, widths, a, b):
        n, times = widths[a], int(self.rng.integers(1, 3))
        if n * times > 32:
            return None
        conv = nn.Conv2d(n, n * times, 3, padding=1, groups=n)
        self.layers[str(k)] = nn.Sequential(conv, nn.ReLU6())
        return n * times

    _run_depthwise = _run_conv

    def _make_blockwise(self, k, widths, a, b):
        n = widths[a]
        if n % 2 or n < 4:
            return None
        self.layers[str(k)] = nn.Conv2d(n, n, 3, padding=1, groups=n // 2)
        return n

    _run_blockwise = _run_conv

    def _make_norm(self, k, widths, a, b):
        norm = nn.InstanceNorm2d(widths[a], affine=True) if k % 2 else nn.BatchNorm2d(widths[a])
        self.layers[str(k)] = nn.Sequential(norm, nn.PReLU(widths[a]), nn.Dropout(0.0))
        return widths[a]

    _run_norm = _run_conv

    def _make_layernorm(self, k, widths, a, b):
        n = widths[a]
        self.layers[str(k)] = nn.Sequential(nn.LayerNorm(n), nn.Linear(n, n + 2), nn.GELU())
        return n + 2

    def _run_layernorm(self, k, a, b):
        return self.layers[k](a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _make_groupnorm(self, k, widths, a, b):
        if widths[a] % 2 or widths[a] < 4:
            return None
        self.layers[str(k)] = nn.GroupNorm(2, widths[a])
        return widths[a]

    _run_groupnorm = _run_conv

    def _make_squeeze(self, k, widths, a, b):
        n = widths[a]
        squeeze = nn.Conv2d(n, max(2, n // 2), 1)
        expand = nn.Conv2d(max(2, n // 2), n, 1)
        self.layers[str(k)] = nn.Sequential(squeeze, nn.ReLU(), expand, nn.Sigmoid())
        return n

    def _run_squeeze(self, k, a, b):
        return a * self.layers[k](a.mean((2, 3), keepdim=True))

    def _make_gate(self, k, widths, a, b):
        out = int(self.rng.integers(2, 6))
        self.layers[str(k)] = nn.Conv2d(widths[a], 2 * out, 1)
        return out

    def _run_gate(self, k, a, b):
        value, gate = self.layers[k](a).chunk(2, dim=1)
        return value * torch.sigmoid(gate)

    def _make_again(self, k, widths, a, b):
        n = widths[a]
        self.layers[str(k)] = nn.Sequential(nn.Conv2d(n, n, 3, padding=1), nn.ReLU())
        return n

    def _run_again(self, k, a, b):  # one module used twice
        return self.layers[k](self.layers[k](a))

    def _make_transposed(self, k, widths, a, b):
        out = int(self.rng.integers(2, 6))
        self.layers[str(k)] = nn.ConvTranspose2d(widths[a], out, 3, padding=1)
        return out

    _run_transposed = _run_conv

    def _make_table(self, k, widths, a, b):
        scale = torch.linspace(0.5, 1.5, widths[a]).view(-1, 1, 1)
        self.register_buffer(f"table{k}", scale)
        return widths[a]

    def _run_table(self, k, a, b):
        return a * getattr(self, f"table{k}")
