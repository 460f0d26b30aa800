"""One run on several processes: the same global batches, each process taking its share of every one.

Started by torchrun, which sets the environment that is read here:

    torchrun --nproc-per-node 2 -m cpl train --data digits --out DIR

Every process draws the same order and the same augmentation and takes a contiguous part of each batch; gradients are
averaged over the batch, whatever the shares. The power iterates are a function of the weights and are broadcast from process
0 besides. Process 0 writes. A process that is lost ends the run: its peers fail at the next exchange, at the latest after
`TIMEOUT`, and torchrun ends the job; the checkpoint is that of the last whole epoch.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cpl.errors import TrainingError, reason

TIMEOUT = datetime.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run.

    Attributes:
        rank: of this one, from 0.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, size: int) -> slice:
        """The part of a batch of this size that falls to this process; parts differ by at most one."""
        return slice(self.rank * size // self.count, (self.rank + 1) * size // self.count)

    def wrapped(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model as it is called in training: itself, or with its gradients averaged over the processes."""
        if self.count == 1:
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def total(self, part: Tensor) -> Tensor:
        """The sum over all processes of a number that each has a part of."""
        if self.count == 1:
            return part
        part = part.clone()
        dist.all_reduce(part)
        return part

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone.

    Args:
        device: 'cuda' takes nccl, everything else gloo.

    Raises:
        TrainingError: they cannot be joined, or one is lost while the body runs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise _lost(error, "the processes cannot be joined") from error
    try:
        yield Processes(dist.get_rank(), count)
    except (dist.DistError, RuntimeError) as error:
        raise _lost(error, "a process was lost, or failed") from error
    finally:
        with contextlib.suppress(RuntimeError):  # a group with a dead member cannot be left in order
            dist.destroy_process_group()


def local_device(name: str) -> torch.device:
    """The device of this process: 'cuda' becomes the one of its local rank.

    Raises:
        TrainingError: torch does not know the device, or has none of the kind.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"the device {name!r} cannot be used",
            where="--device",
            why=reason(error),
            next_step="choose cpu, cuda or another device that this torch was built for",
        ) from error
    return device


def _lost(error: BaseException, what: str) -> TrainingError:
    return TrainingError(
        what,
        where=f"process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')}",
        why=reason(error),
        next_step="see the output of the others; go on with --resume, on any number of processes",
    )
