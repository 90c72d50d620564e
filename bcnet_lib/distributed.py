"""Training on several devices: every process does its share of each batch.

Start a program that works inside ``joined`` with ``torchrun``, one process a device. What then
happens, and what does not:

* All processes draw the same widths and the same order of images, from the same seeds. Each takes
  every n-th image of a batch, and before each optimiser step gradients are averaged over the whole
  batch: ``SupernetTrainer`` and ``train_from_scratch`` do this by themselves.
* BatchNorm normalises the images of one process by their own mean and variance, as data-parallel
  training without synchronised BatchNorm does. So a run on n devices is that of one device but for
  BatchNorm (and rounding), and its numbers depend on n. Running statistics are averaged in the end.
* Evaluation deals whole batches to the processes and adds up what each has right: the accuracy is
  that of one process, exactly.
* The first process alone writes files and shows progress; where a time is given, its clock decides
  for all. A process that fails ends all others.

Without a process group every function here leaves things as they are.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "average_gradients",
    "average_statistics",
    "call_first",
    "first",
    "is_first",
    "joined",
    "mean",
    "place",
    "processes",
    "total",
    "wait",
]


@contextmanager
def joined(device: str = "cpu", minutes: float = 30) -> Iterator[str]:
    """Join the processes that ``torchrun`` started; alone without it.

    Args:
        device: ``"cpu"``, or ``"cuda"`` for one GPU a process.
        minutes: how long to wait for the others before giving up.
    Returns:
        the device of this process, such as ``"cuda:3"``.
    Raises:
        RuntimeError: if the machine has fewer GPUs than processes.
    """
    cuda = device.startswith("cuda")
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if cuda:
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise RuntimeError(
                f"process {local} of this machine has no GPU ({there} are there): start at most "
                f"{there} with torchrun --nproc_per_node"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    # the CPU's for what is no tensor of the device: decisions, and sums of counts
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=minutes))
    yield device  # after an error nobody waits for anybody: torchrun ends the others
    wait()
    dist.destroy_process_group()


def processes() -> int:
    """Processes of the group; 1 without one."""
    return dist.get_world_size() if _grouped() else 1


def place() -> tuple[int, int]:
    """(number of this process from 0, processes); (0, 1) without a group."""
    return (dist.get_rank(), dist.get_world_size()) if _grouped() else (0, 1)


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return place()[0] == 0


def wait() -> None:
    """Wait until all processes are here."""
    total(torch.zeros(1))


def first(value):
    """The first process's value, in all; every process must call it."""
    if processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def call_first(function: Callable):
    """What a function returns in the first process, called there alone."""
    return first(function() if is_first() else None)


def total(tensor: Tensor) -> Tensor:
    """Sum of the tensors of all processes."""
    if processes() == 1:
        return tensor
    tensor = tensor.clone()
    dist.all_reduce(tensor)
    return tensor


def mean(tensor: Tensor, share: float) -> Tensor:
    """Mean over a batch, from each process's mean over its images.

    Args:
        share: of the batch that this process has; those of all processes add up to 1.
    """
    return tensor if processes() == 1 else total(tensor * share)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], share: float) -> None:
    """Put the gradients of the whole batch in place of those of each process's images.

    Args:
        parameters: those without a gradient must be the same in all processes.
        share: of the batch that this process has; those of all processes add up to 1.
    """
    if processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = mean(torch.cat([g.reshape(-1) for g in gradients]), share)  # one message, not hundreds
    for g, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        g.copy_(part.view(g.shape))


@torch.no_grad()
def average_statistics(model: nn.Module) -> None:
    """Average BatchNorm's running statistics over the processes, in place.

    Since they are moving averages, this may be done once at the end, or at any time between.
    """
    if processes() == 1:
        return
    for m in model.modules():
        if isinstance(m, _BatchNorm) and m.running_mean is not None:
            for statistic in (m.running_mean, m.running_var):
                statistic.copy_(total(statistic) / processes())


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
