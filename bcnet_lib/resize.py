"""The same network at other widths, and the one rule for its initial weights.

Constructors are bypassed: parameters are exchanged in a copy of the model, so nothing rounds the
widths, nothing is trained twice, and the result is a plain module of the same class.
"""

import copy
from math import sqrt

import torch
from torch import Tensor, nn

__all__ = ["initialise", "resize"]


def resize(model: nn.Module, graph, channels, device=None) -> nn.Module:
    """The same network at other widths: a plain module of the same class, not initialised.

    Constructors are bypassed, so nothing rounds the widths. Running statistics are reset, other
    buffers keep their entries, and parameters are left to ``initialise`` or to the caller.

    Args:
        graph: ``ChannelGraph`` of the model.
        channels: channel count of every group of the graph, followers included.
        device: where to put it; the model's own device by default.
    """
    size = graph.size
    shapes = {name: tuple(size(a, channels) for a in axes) for name, axes in graph.axes.items()}
    memo = {}
    for name, p in model.named_parameters():
        where = device or p.device
        empty = torch.empty(shapes.get(name, p.shape), dtype=p.dtype, device=where)
        memo[id(p)] = nn.Parameter(empty, p.requires_grad)
    for name, b in model.named_buffers():
        shape = shapes.get(name, tuple(b.shape))
        if name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            new = torch.full(shape, name.endswith("running_var"), dtype=b.dtype, device=b.device)
        else:
            new = _refit(b.detach(), shape)
        memo[id(b)] = new.to(device or b.device)
    out = copy.deepcopy(model, memo)
    for module in out.modules():
        _set_sizes(module)
    return out


def _refit(table: Tensor, shape) -> Tensor:
    """A copy of a constant table at another size: its own entries, from the start where it grew."""
    for d, n in enumerate(shape):
        if n != table.shape[d]:
            table = table.index_select(d, torch.arange(n, device=table.device) % table.shape[d])
    return table.clone()


def _set_sizes(module: nn.Module) -> None:
    """Make a layer's attributes agree with its parameters; forward() and repr() read them."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, nn.modules.conv._ConvNd):
        o, i = (1, 0) if module.transposed else (0, 1)
        if module.groups > 1:  # blocks keep their width, so their number follows the channels
            module.groups = weight.shape[0] // (module.out_channels // module.groups)
            module.out_channels = weight.shape[0]
            module.in_channels = weight.shape[1] * module.groups
        else:
            module.out_channels, module.in_channels = weight.shape[o], weight.shape[i]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = weight.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = weight.shape[0]


def initialise(net: nn.Module, like: nn.Module, generator=None) -> nn.Module:
    """Fresh weights, by one rule for supernets and for networks trained from scratch.

    Convolutions: He normal over the true fan-out (torchvision's choice; a depthwise filter counts
    its own output only). Linear: normal, variance 1 / fan-in. Normalisation: 1 and 0. Biases: 0.
    Any other parameter keeps the model's own values where its shape did not change, otherwise it is
    filled from their mean and standard deviation.

    Args:
        net: network to fill, in place. like: the user's model, same parameter names.
        generator: ``torch.Generator`` on the CPU; the global one if None.
    Returns:
        net.
    """
    done: set[int] = set()

    def normal(p, std):
        cpu = torch.empty(p.shape, dtype=torch.float32).normal_(0.0, std, generator=generator)
        p.copy_(cpu)  # drawn on the CPU, so that a seed means the same on every device

    with torch.no_grad():
        for module in net.modules():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, nn.Parameter) or id(weight) in done:
                continue
            if isinstance(module, nn.modules.conv._ConvNd):
                positions = weight[0, 0].numel()
                fan = module.out_channels * positions / module.groups
                normal(weight, sqrt(2.0 / max(fan, 1)))
            elif isinstance(module, nn.Linear):
                normal(weight, sqrt(1.0 / max(weight.shape[1], 1)))
            elif isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)):
                weight.fill_(1.0)
            else:
                continue
            done.add(id(weight))
            if isinstance(getattr(module, "bias", None), nn.Parameter):
                module.bias.zero_()
                done.add(id(module.bias))
        source = dict(like.named_parameters())
        for name, p in net.named_parameters():
            if id(p) in done:
                continue
            old = source[name].detach()
            if old.shape == p.shape:
                p.copy_(old)
            elif float(old.std()) == 0.0:
                p.fill_(float(old.flatten()[0]))
            else:
                normal(p, float(old.std()))
                p.add_(float(old.mean()))
    return net
