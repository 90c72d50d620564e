"""Training on several devices: every process does its share of each batch.

Start a program that works inside ``joined`` with ``torchrun``, one process a device. What then
happens, and what does not:

* All processes draw the same widths and the same order of images, from the same seeds. Each takes
  every n-th image of a batch, and an optimiser step has the gradient of the whole batch's mean:
  ``SupernetTrainer`` and ``train_from_scratch`` do this by themselves.
* BatchNorm normalises by the mean and variance of the whole batch (``synced_bn.py``), so that n
  processes train what one does, up to rounding, and end with the same running statistics. (Where
  rounding decides on which side of its kink a ReLU is, one gradient jumps, and weights may differ
  in the fourth digit.) With ``joined(sync_batchnorm=False)`` each process uses those of its own
  images, as plain data-parallel training does: that is faster where the network between the
  machines is slow, but its numbers depend on n. Running statistics are averaged in the end.
* Dropout and stochastic depth draw their own numbers in each process, from (seed, step, process).
  So where a network has them, n processes draw others than one does.
* Evaluation deals whole batches to the processes and adds up what each has right: the accuracy is
  that of one process, exactly. Nothing is synchronised while a batch is scored.
* The first process alone writes files and shows progress; where a time is given, its clock decides
  for all. A process that fails ends all others, and processes end with the torchrun that started
  them.

Without a process group every function here leaves things as they are.

Lightning Fabric finds the devices, makes the process group and wraps networks for data-parallel
training (torch's DDP). It rather than Accelerate because everything is said in the call (no file of
settings that a machine may have, and that would change a run), its strategy takes what DDP does
(timeout, backend, which gradients), and it brings little with it. Precision is not left to it:
``Recipe(amp=True)`` uses ``torch.autocast``, since precision belongs to what a recipe is, on one
device as on many. Fabric is imported when processes join, so one process never pays for it.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from .synced_bn import synced

__all__ = [
    "Passes",
    "average_statistics",
    "call_first",
    "first",
    "gather",
    "is_first",
    "joined",
    "mean",
    "place",
    "processes",
    "settings",
    "total",
    "wait",
]


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """What the processes agreed on when they joined."""

    fabric: object
    sync_batchnorm: bool


_joined: _Joined | None = None


@contextmanager
def joined(device: str = "cpu", minutes: float = 30, sync_batchnorm: bool = True) -> Iterator[str]:
    """Join the processes that ``torchrun`` started; alone without it.

    Args:
        device: ``"cpu"``, or ``"cuda"`` for one GPU a process.
        minutes: how long to wait for the others before giving up.
        sync_batchnorm: BatchNorm with the statistics of the whole batch in training; False: each
            process has those of its images.
    Returns:
        the device of this process, such as ``"cuda:3"``.
    Raises:
        RuntimeError: if the machine has fewer GPUs than processes, or the machines do not run
            equally many.
    """
    global _joined
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    fabric = _fabric(device.startswith("cuda"), timedelta(minutes=minutes))
    done = _end_with_parent()
    fabric.launch()
    _joined = _Joined(fabric=fabric, sync_batchnorm=sync_batchnorm)
    yield str(fabric.device)  # after an error nobody waits for anybody: torchrun ends the others
    # Under torch 2.6 the end of a group waits for its threads, and these for us if one of them has
    # to free the tensor of a last message: so they get the time to, and that tensor is kept.
    last = total(torch.zeros(1))  # waits for all
    time.sleep(0.1)
    dist.destroy_process_group()
    del last
    _joined = None
    done.set()


def _fabric(cuda: bool, timeout: timedelta):
    """Lightning Fabric for the processes that torchrun started, not launched yet."""
    world, local = (int(os.environ[k]) for k in ("WORLD_SIZE", "LOCAL_RANK"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))  # processes of this machine
    if cuda and local >= (there := torch.cuda.device_count()):
        raise RuntimeError(
            f"process {local} of this machine has no GPU ({there} are there): start at most "
            f"{there} with torchrun --nproc_per_node"
        )
    if world % here:
        raise RuntimeError(
            f"{world} processes on machines of which this one has {here}: start equally many on "
            "each, with the same torchrun --nproc_per_node"
        )
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy = DDPStrategy(
        # the CPU's for what is no tensor of the device: decisions, and sums of counts
        process_group_backend="cpu:gloo,cuda:nccl" if cuda else "gloo",
        timeout=timeout,
        **{_forward_buffers(): False},  # running statistics are equal, or averaged in the end
    )
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=here,
        num_nodes=world // here,
        strategy=strategy,
        plugins=[TorchElasticEnvironment()],
    )


def _forward_buffers() -> str:
    """What DDP calls its option to send the first process's buffers to all before each pass."""
    new = "forward_sync_buffers"
    return new if new in signature(DistributedDataParallel).parameters else "broadcast_buffers"


def _end_with_parent(every: float = 1.0, grace: float = 10.0) -> threading.Event:
    """End this process when the one that started it is gone, as torchrun killed by SIGKILL.

    Args:
        every: seconds between looks. grace: seconds from SIGTERM to SIGKILL.
    Returns:
        event to set when nobody needs to look any longer.
    """
    parent, done = os.getppid(), threading.Event()

    def look() -> None:
        while not done.wait(every):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(grace)
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=look, name="parent", daemon=True).start()
    return done


def processes() -> int:
    """Processes of the group; 1 without one."""
    return dist.get_world_size() if _grouped() else 1


def place() -> tuple[int, int]:
    """(number of this process from 0, processes); (0, 1) without a group."""
    return (dist.get_rank(), dist.get_world_size()) if _grouped() else (0, 1)


def settings() -> dict:
    """What of the processes decides the numbers of a training; nothing without a group."""
    if processes() == 1:
        return {}
    return {"processes": processes(), "sync_batchnorm": _joined.sync_batchnorm}


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


def gather(value) -> list:
    """The values of all processes, in their order, in all; every process must call it."""
    box = [None] * processes()
    if len(box) == 1:
        return [value]
    dist.all_gather_object(box, value)  # over the CPU, where the group has both
    return box


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


class Passes:
    """Forward and backward passes of a network, with the gradients of the whole batch.

    Under ``joined`` all processes begin with the first one's weights, and DDP adds up gradients in
    here, while the network keeps its parameters and their names. Parameters that the first pass
    does not use are left out of it.

    Args:
        net: the network that is trained.
    """

    def __init__(self, net: nn.Module):
        self.net = net
        self._unused: dict[str, nn.Parameter] | None = None  # known after the first pass
        if processes() > 1:
            self._shared = _joined.fabric.setup_module(_Given(net), move_to_device=False)

    def backward(
        self, forward: Callable[[], tuple[Tensor, ...]], share: float = 1.0, last: bool = True
    ) -> tuple[Tensor, ...]:
        """Run ``forward`` and back-propagate the first of what it returns.

        Args:
            forward: returns a scalar, a mean over this process's images, and any other tensors.
            share: of the batch that this process has; those of all processes add up to 1.
            last: of this optimiser step. After the last pass ``grad`` holds the sum of the step's
                gradients over the whole batch; before it, processes need not wait for each other.
        Returns:
            what ``forward`` returned, detached.
        Raises:
            RuntimeError: with several processes, if passes use different parameters.
        """
        if processes() == 1:
            out = forward()
            out[0].backward()
            return tuple(t.detach() for t in out)
        with synced() if _joined.sync_batchnorm else nullcontext():
            out = forward()
        if self._unused is None:
            self._unused = _not_reached(self.net, out[0])
        with _joined.fabric.no_backward_sync(self._shared, enabled=not last):
            loss = self._shared(lambda: out[0])  # tells DDP that a backward pass follows
            for parameter in self._unused.values():  # DDP waits for the gradients of all
                loss = loss + (0 * parameter).sum()
            (loss * (share * processes())).backward()  # DDP divides by the processes
        if last:
            self._forget_unused()
        return tuple(t.detach() for t in out)

    def _forget_unused(self) -> None:
        """Take the gradients, all 0, from parameters that are not used: they are not to decay."""
        for name, parameter in self._unused.items():
            if bool(parameter.grad.any()):
                raise RuntimeError(
                    f"'{name}' of {type(self.net).__name__} has a gradient now, and had none in "
                    "the first pass: several processes can only train a network whose passes all "
                    "use the same parameters. Train it in one process"
                )
            parameter.grad = None


class _Given(nn.Module):
    """A network in DDP's hands, and passes made elsewhere."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, loss: Callable[[], Tensor]) -> Tensor:
        return loss()


def _not_reached(net: nn.Module, loss: Tensor) -> dict[str, nn.Parameter]:
    """Parameters to learn, by name, that a loss does not depend on."""
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions]
    reached = {id(node.variable) for node in seen if hasattr(node, "variable")}
    parameters = net.named_parameters()
    return {n: p for n, p in parameters if p.requires_grad and id(p) not in reached}


@torch.no_grad()
def average_statistics(model: nn.Module) -> None:
    """Average BatchNorm's running statistics over the processes, in place.

    Since they are moving averages, this may be done once at the end, or at any time between. They
    are equal already, and stay as they are, where BatchNorm is synchronised.
    """
    if processes() == 1 or _joined.sync_batchnorm:
        return
    for m in model.modules():
        if isinstance(m, _BatchNorm) and m.running_mean is not None:
            for statistic in (m.running_mean, m.running_var):
                statistic.copy_(total(statistic) / processes())


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
