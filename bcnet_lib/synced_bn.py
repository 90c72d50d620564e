r"""BatchNorm over the images of all processes, on any device.

With :math:`n_i` values a channel in process i, their mean :math:`\mu_i` and their variance
:math:`v_i`, the whole batch has

.. math:: \mu = \frac{\sum_i n_i \mu_i}{\sum_i n_i}, \qquad
          v = \frac{\sum_i n_i \big( v_i + (\mu_i - \mu)^2 \big)}{\sum_i n_i}

(a sum of squares minus a squared sum would cancel where a mean is large). One message a layer in
the forward pass, one in the backward pass. torch's own ``SyncBatchNorm`` works on GPUs only, and
stays in a network after training.

``synced`` is not part of the network: while it is on, every ``F.batch_norm`` that takes the
statistics of its batch takes them over all processes, those of subclasses and functions too.
Networks in ``eval()`` with running statistics are left alone, and so is all that runs outside.
All processes must meet the same layers in the same order: a network that skips layers at random,
each process by its own draw, would have them wait for each other until the time of ``joined`` is
over. Activations that ``torch.utils.checkpoint`` computes anew in the backward pass are outside.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["batch_norm", "synced"]


class synced(TorchFunctionMode):  # noqa: N801 (used as a function)
    """Context in which BatchNorm in training uses the statistics of the whole batch."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.batch_norm:
            return batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,  # noqa: A002 (names as in torch)
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` over the images of all processes.

    Every process must call it, with the same channels. Differentiable once, in input (B, C, …),
    weight (C,) and bias (C,): gradients of a loss summed over all processes.
    """
    if not training or dist.get_world_size() == 1:
        options = {"training": training, "momentum": momentum, "eps": eps}
        return F.batch_norm(input, running_mean, running_var, weight, bias, **options)
    mean, var, count = _statistics(input)
    if running_mean is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        unbiased = var * (count / (count - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return _Normalise.apply(input, weight, bias, mean, var, count, eps)


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,) and variance (C,) over all processes' images, and their values a channel (1,)."""
    x, others = _wide(x), _others(x)
    mean = x.mean(others)  # (C,)
    var = (x - _spread(mean, x)).square_().mean(others)  # faster than torch.var_mean on a CPU
    own = torch.cat([mean, var, x.new_full((1,), x.numel() / x.shape[1])])  # (2 C + 1,)
    table = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(table, own)
    means, variances, counts = torch.stack(table).split([len(mean), len(mean), 1], dim=1)  # (n, …)
    count = counts.sum(0)  # (1,)
    mean = (counts * means).sum(0) / count
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / count
    return mean, var, count


class _Normalise(torch.autograd.Function):
    """Normalise by given statistics, which the backward pass knows to be those of all images."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, var, count, eps):
        scale = torch.rsqrt(var + eps)  # (C,)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.bias = None if bias is None else bias.dtype
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, weight, mean, scale, count = ctx.saved_tensors
        wide, others = _wide(grad), _others(x)
        hat = (_wide(x) - _spread(mean, x)).mul_(_spread(scale, x))  # (B, C, …)
        sums = torch.stack([wide.sum(others), (wide * hat).sum(others)])  # (2, C)
        whole = sums.clone()  # of this process for weight and bias, of all for the input
        dist.all_reduce(whole)
        down, along = whole / count  # (C,) each
        factor = scale if weight is None else scale * weight
        into = hat.mul_(_spread(-along, x)).add_(wide).sub_(_spread(down, x))  # (B, C, …)
        into = into.mul_(_spread(factor, x)).to(x.dtype)
        for_weight = None if weight is None else sums[1].to(weight.dtype)
        for_bias = None if ctx.bias is None else sums[0].to(ctx.bias)
        return into, for_weight, for_bias, None, None, None, None


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel (C,), to be used with x (B, C, …)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _others(x: Tensor) -> list[int]:
    """Dimensions without that of the channels."""
    return [d for d in range(x.dim()) if d != 1]
