"""The processes of one run: who started them, which is the first, and what they agree upon.

In a single process every question is answered by that process alone.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from superinfo.errors import UserError

PATIENCE = timedelta(hours=2)
"""How long others wait for the process that reads, scores or writes alone."""

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Whether this process is the first of its run, also before they have met."""
    number = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_PROCID" if started_by_srun() else "LOCAL_RANK"
    return int(os.environ.get(number, "0")) == 0


def started_by_a_launcher() -> tuple[int, int] | None:
    """Return the processes per machine and the machines that torchrun or srun has started; None without them.

    A Slurm job whose script starts this program without srun has one process here, or as many as it is told to start.
    Raises UserError if they are not as many on every machine.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        every, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        machines = every // here
    elif started_by_srun():
        every, machines = int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
        here = every // machines
    else:
        return None
    if here * machines != every:
        raise UserError(f"{every} processes on {machines} machines: start as many on every one")
    return here, machines


def started_by_srun() -> bool:
    """Whether srun started this process as one of several; SLURM_NTASKS alone says what a job may start."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in os.environ


class Agreement:
    """What the processes agree upon, by way of the CPU."""

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        if world_size() > 1:
            group = dist.new_group(backend="gloo", timeout=PATIENCE)
            assert isinstance(group, dist.ProcessGroup)
            self._group = group

    def any(self, *mine: bool) -> list[bool]:
        """Return, for each question, whether any process answers yes."""
        if self._group is None:
            return list(mine)
        votes = torch.tensor(mine, dtype=torch.int32)
        dist.all_reduce(votes, dist.ReduceOp.MAX, self._group)
        return [bool(vote) for vote in votes]

    def least(self, mine: int) -> int:
        """Return the smallest of all processes' numbers."""
        return min(self._gathered(mine))

    def first(self, work: Callable[[], T]) -> T:
        """Have the first process do something alone, and return its result in all.

        If it raises, it alone does; the others exit, successfully, as a launcher would kill the first one if they
        failed.
        """
        if self._group is None:
            return work()
        answer: list[Any] = [False, None]
        try:
            if rank() == 0:
                answer = [True, work()]
        finally:
            dist.broadcast_object_list(answer, src=0, group=self._group)
        if not answer[0]:
            raise SystemExit(0)
        result: T = answer[1]
        return result

    def merged(self, mine: dict[K, V]) -> dict[K, V]:
        """Return what all processes have."""
        return {key: value for theirs in self._gathered(mine) for key, value in theirs.items()}

    def _gathered(self, mine: T) -> list[T]:
        every: list[Any] = [mine] * world_size()
        if self._group is not None:
            dist.all_gather_object(every, mine, self._group)
        return every


def buffers_left_alone() -> dict[str, Any]:
    """Return what tells DistributedDataParallel to send no buffers, in the words of the torch that is there."""
    newer = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
    return {"forward_sync_buffers" if newer else "broadcast_buffers": False}
