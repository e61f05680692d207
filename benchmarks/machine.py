"""Where a suite's jobs run, and how much of it each one gets."""

import os
from dataclasses import dataclass
from typing import Literal, cast, get_args

from superinfo.errors import UserError
from superinfo.resources import Resources

Executor = Literal["local", "slurm", "kubernetes"]
DEVICES = ("auto", "cpu", "cuda")
AT_ONCE_ON_A_CLUSTER = 100
CORES_PER_GPU = 8
"""On a cluster, as data loading needs them."""
CORES_WITHOUT_GPU = 4
"""Of a job on a cluster that asks for no GPU."""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, or a cluster."""

    executor: Executor
    device: str
    """auto, cpu or cuda, as the verbs take it."""
    cores: int | None
    """Of this machine, that all jobs share; on a cluster of each job, or None for what its GPUs need."""
    at_once: int
    """Most jobs at once."""
    gpus: tuple[str, ...]
    """Of this machine, as CUDA_VISIBLE_DEVICES names them; a cluster gives each job its own."""

    @property
    def is_local(self) -> bool:
        """Whether jobs run on this machine."""
        return self.executor == "local"

    def gpus_for(self, resources: Resources, most: int | None = None) -> int:
        """Return how many GPUs a job gets: what its recipe asks for, here no more than there are and one at least."""
        if self.device == "cpu":
            return 0
        wanted = min(max(resources.gpus, 1), len(self.gpus)) if self.is_local else resources.gpus
        return min(wanted, most or wanted)

    def threads_for(self, gpus: int) -> int:
        """Return how many threads a job gets: here an equal share of the cores among as many as can run at once, as
        jobs with all of them each are many times slower than one after the other."""
        if self.is_local:
            assert self.cores is not None
            together = min(self.at_once, len(self.gpus) // gpus) if gpus else self.at_once
            return max(1, self.cores // together)
        return self.cores or CORES_PER_GPU * gpus or CORES_WITHOUT_GPU


NOWHERE = Machine("local", "cpu", 1, 1, ())
"""Of a plan whose jobs are only looked at."""


def describe_machine(executor: str, device: str, cores: int | None, at_once: int | None) -> Machine:
    """Return what jobs run on. On this machine one job runs at a time, or as many as there are GPUs.

    Raises UserError for an unknown executor or device, or for a GPU that is asked for and not there.
    """
    if executor not in get_args(Executor):
        raise UserError(f"--executor {executor}: choose {', '.join(get_args(Executor))}")
    if device not in DEVICES:
        raise UserError(f"--device {device}: choose auto, cpu or cuda")
    chosen = cast(Executor, executor)
    if chosen != "local":
        return Machine(chosen, device, cores, at_once or AT_ONCE_ON_A_CLUSTER, ())
    gpus = _gpus(device)
    return Machine(chosen, device, cores or len(os.sched_getaffinity(0)), at_once or max(1, len(gpus)), gpus)


def _gpus(device: str) -> tuple[str, ...]:
    from superinfo.device import pick_device

    if pick_device(device).type != "cuda":
        return ()
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(map(str, range(torch.cuda.device_count())))
