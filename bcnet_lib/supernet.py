"""The one-shot supernet: one set of shared weights, one path = (widths, side).

A path puts slices of the shared weights, ``weight[out0:out1, in0:in1]``, into the model's own
modules for the duration of the call. The user's ``forward`` runs unchanged, and a path computes bit
for bit what its exported stand-alone network computes, outputs and gradients.

BatchNorm normalises with the statistics of the batch, in training and in search alike: running
statistics of one path would be wrong for every other.

Source: Su et al., arXiv 2203.13714, sections 3, 4.1 and 5.1.
"""

import warnings
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from .cost import CostTable
from .graph import GraphError
from .principles import WidthError
from .resize import initialise, resize
from .slices import Placement, Slot, cut, has_size, ranges_of
from .space import WidthSpace

__all__ = ["Supernet"]

_BatchNorm = nn.modules.batchnorm._NormBase


class Supernet(nn.Module):
    """Shared weights for every width of a space, under one sharing principle.

    The layers are widened by themselves where the principle needs more than the model has (BCv2:
    ``K + base`` units). Weights start from ``resize.initialise``, whatever the model held.

    ``net.to(memory_format=torch.channels_last)``, the faster layout for convolutions on most GPUs,
    holds for every slice too, and for the networks that ``export`` gives.

    Args:
        model: the network to search, as the user wrote it; it is not changed.
        space: its ``WidthSpace``.
        principle: ``UA()``, ``BC()``, ``BCv2()`` or ``Cyclic()``.
        seed: for the initial weights; the global generator if None.
    Raises:
        ValueError: unknown principle.
        GraphError: the principle needs wider layers than the model's forward allows.
    """

    def __init__(self, model: nn.Module, space: WidthSpace, principle, seed: int | None = None):
        super().__init__()
        if not hasattr(principle, "paths") or isinstance(principle, type):
            raise ValueError(f"principle must be UA(), BC(), BCv2() or Cyclic(), got {principle!r}")
        self.space, self.principle = space, principle
        self.units = tuple(principle.total(space.K, int(b)) for b in space.base)  # T of every group
        self.total = space.all_channels(space.total_channels(principle))  # (G,) channels
        wide = [g.name for g, t in zip(space.groups, self.units, strict=True) if t > space.K]
        if wide and space.graph.grow_error:
            raise GraphError(
                f"{principle.name} widens the supernet's layers, and {type(model).__name__} cannot "
                f"grow: {space.graph.grow_error}. Use BC(), or base=1 with fixed={wide[:1]} …"
            )
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        net = resize(model, space.graph, self.total)
        self.net = initialise(net, model, generator).train()
        self._tracked = [name for name, m in net.named_modules() if _drop_statistics(m)]

    # -- paths ------------------------------------------------------------------------------
    @property
    def n_paths(self) -> int:
        """Paths of every width: 1 for UA, 2 for BC and BCv2, K for Cyclic."""
        space = self.space
        return len(self.principle.paths(space.K, space.K, int(space.base[0])))

    @cached_property
    def cost(self) -> CostTable:
        """Exact MACs and parameters of every width, at the image size of the space."""
        shape = (1, *self.space.graph.example_shape)
        return CostTable(self.net, self.space, torch.empty(shape, device="meta"))

    def windows(self, c, path: int = 0) -> list[tuple[int, int]]:
        """Channels [start, stop) that a path uses, one pair a group of the graph.

        ``stop`` is beyond the layer's total where a Cyclic window wraps around.

        Raises:
            WidthError: c is not in the space, or there is no such path.
        """
        space = self.space
        c = space.check(c)
        if c.ndim != 1:
            raise WidthError(f"a path needs one width vector (L,), got shape {c.shape}")
        if not isinstance(path, (int, np.integer)) or not 0 <= path < self.n_paths:
            name, n = self.principle.name, self.n_paths
            raise WidthError(f"path {path!r}: {name} has paths 0..{n - 1} (0 is the left one)")
        place = {g.name: i for i, g in enumerate(space.groups)}
        counts = space.all_channels(space.channels(c))
        out = []
        rows = zip(space.graph.groups, counts.tolist(), self.total.tolist(), strict=True)
        for g, n, total in rows:
            i = place[g.follows or g.name]
            units = self.units[i]
            start, stop = self.principle.paths(int(c[i]), space.K, int(space.base[i]))[path]
            if stop == units:  # right-aligned, also where units are no whole number of channels
                first = total - n
            else:
                first = start * (total // g.multiple) // units * g.multiple
            out.append((first, first + n))
        return out

    @cached_property
    def _axes(self) -> dict[tuple, int]:
        """Every different axis that changes with the path, numbered; many parameters share one."""
        axes = self.space.graph.axes.values()
        changing = (a for dims in axes for a in dims if any(r.group is not None for r in a))
        return {axis: k for k, axis in enumerate(dict.fromkeys(changing))}

    @cached_property
    def _slots(self) -> list[Slot]:
        """Where sliced tensors live, looked up once."""
        slots = []
        for name, axes in self.space.graph.axes.items():
            dims = tuple((d, self._axes[a]) for d, a in enumerate(axes) if a in self._axes)
            path, _, key = name.rpartition(".")
            module = self.net.get_submodule(path)
            store = "_parameters" if module._parameters.get(key) is not None else "_buffers"
            if dims and getattr(module, store).get(key) is not None:
                groups = tuple({r.group for a in axes for r in a if r.group is not None})
                slots.append(Slot(module, key, dims, store, groups))
        return slots

    def forward(self, x: Tensor, c, path: int = 0) -> Tensor:
        """Run one path.

        Args:
            x: images (B, C, H, W). c: width vector (L,), in units. path: 0 left, 1 right.
        Returns:
            what the model returns, for a classifier logits (B, classes).
        Raises:
            WidthError: c or path is not in the space.
            ValueError: x is not an image batch this model can take.
        """
        shape = self.space.graph.example_shape
        if x.dim() != len(shape) + 1 or x.shape[1] != shape[0]:
            want = ", ".join(map(str, shape))
            raise ValueError(f"images must be (B, {want}), got {tuple(x.shape)}")
        windows = self.windows(c, path)
        with Placement(self) as place:
            place.move(windows)
            return self.run_placed(x)

    def run_placed(self, x: Tensor) -> Tensor:
        """The network as it stands, for callers that keep a ``slices.Placement`` of their own."""
        shape = self.space.graph.example_shape
        try:
            return self.net(x)
        except (RuntimeError, ValueError) as error:
            if tuple(x.shape[1:]) != shape:
                raise ValueError(
                    f"the space was made at image size {shape}, and the model cannot take "
                    f"{tuple(x.shape[1:])}: {error}"
                ) from error
            raise

    @cached_property
    def _sized(self) -> list[nn.Module]:
        """Modules whose forward reads a size that changes with the path."""
        sliced = {id(s.module) for s in self._slots}
        return [m for m in self.net.modules() if id(m) in sliced and has_size(m)]

    # -- export -----------------------------------------------------------------------------
    def export(self, c, path: int = 0, batches=None) -> nn.Module:
        """The path as a plain network of the model's own class, with inherited weights.

        Args:
            c, path: as in ``forward``.
            batches: iterable of image batches (B, C, H, W), or of (images, labels), to set the
                running statistics of BatchNorm from, by cumulative average.
        Returns:
            ``nn.Module`` in training mode; call ``.eval()`` to predict. Without ``batches`` a
            warning says that its running statistics are not set.
        """
        windows = self.windows(c, path)
        counts = [stop - start for start, stop in windows]
        plain = resize(self.net, self.space.graph, counts)
        shared = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}
        with torch.no_grad():
            for name, t in [*plain.named_parameters(), *plain.named_buffers()]:
                axes = enumerate(self.space.graph.axes.get(name, ()))
                spans = [(d, ranges_of(a, windows, self.total)) for d, a in axes]
                t.copy_(cut(shared[name], spans))
        if any(map(_is_channels_last, shared.values())):  # another layout would round differently
            plain = plain.to(memory_format=torch.channels_last)
        for name in self._tracked:
            _restore_statistics(plain.get_submodule(name))
        if batches is not None:
            recalibrate(plain, batches)
        elif self._tracked:
            warnings.warn(
                f"the {len(self._tracked)} BatchNorm layers of this network have no running "
                "statistics yet: pass export(c, batches=...) or train it before calling .eval()",
                stacklevel=2,
            )
        return plain.train()

    def extra_repr(self) -> str:
        return f"{self.principle!r}, {self.space!r}"


def recalibrate(model: nn.Module, batches) -> None:
    """Set BatchNorm's running statistics to the cumulative average over batches, in place.

    Raises:
        ValueError: no batch was given.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in norms]
    training, count = model.training, 0
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # cumulative average
    try:
        with torch.no_grad():
            model.train()
            for batch in batches:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
                count += 1
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        model.train(training)
    if not count:
        raise ValueError("recalibrating BatchNorm needs at least one batch, got none")


def _is_channels_last(tensor: Tensor) -> bool:
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def _drop_statistics(module: nn.Module) -> bool:
    """Make a norm layer use batch statistics always; whether it had running ones."""
    if not isinstance(module, _BatchNorm) or not module.track_running_stats:
        return False
    module.track_running_stats = False
    module.running_mean = module.running_var = module.num_batches_tracked = None
    return True


def _restore_statistics(module: nn.Module) -> None:
    device = next(module.parameters()).device if list(module.parameters()) else None
    module.track_running_stats = True
    module.running_mean = torch.zeros(module.num_features, device=device)
    module.running_var = torch.ones(module.num_features, device=device)
    module.num_batches_tracked = torch.tensor(0, dtype=torch.long, device=device)
