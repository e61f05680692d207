"""The processes of one detection run, in Detectron2's groups, on GPUs and on a CPU."""

import logging
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from detectron2.utils import comm
from torch import distributed as dist
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from superinfo import processes
from superinfo.errors import Interrupted, SuperInfoError, UserError
from superinfo.orphans import die_with_parent
from superinfo.processes import PATIENCE
from superinfo.runs import StopSignal

WARNINGS = "ignore::FutureWarning:torch.jit._script,ignore::UserWarning:detectron2.utils.comm"
"""Detectron2 0.6 uses what newer torch deprecates; users can do nothing about it."""

Work = Callable[..., None]


def launch(work: Work, arguments: tuple[Any, ...], kind: str, devices: int) -> None:
    """Do `work(*arguments)` in each process of a run: in torchrun's, in this one, or in `devices` new ones.

    `kind` is cpu or cuda; every process has a GPU of its own. Signals to this process reach those it started. Raises
    what the first process to fail raised, and UserError if there are fewer GPUs than processes.
    """
    launched = processes.started_by_a_launcher()
    if launched and processes.started_by_srun():
        raise UserError("detection under srun: start one task a machine, which runs `torchrun -m superinfo.cli detect`")
    here = launched[0] if launched else devices
    if kind == "cuda" and here > torch.cuda.device_count():
        raise UserError(f"{here} processes see {torch.cuda.device_count()} GPUs: use one for each GPU at most")
    if launched:
        rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        _together(work, arguments, "env://", rank, local, here, launched[0] * launched[1], kind)
    elif devices == 1:
        work(*arguments)
    else:
        with TemporaryDirectory() as folder:
            _start(work, arguments, Path(folder), kind, devices)


def _start(work: Work, arguments: tuple[Any, ...], folder: Path, kind: str, devices: int) -> None:
    os.environ.setdefault("PYTHONWARNINGS", WARNINGS)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it warns of each process that it ends
    work_of_each = (work, arguments, folder, kind, devices)
    context = start_processes(_started, work_of_each, devices, join=False)  # type: ignore[no-untyped-call]
    assert isinstance(context, ProcessContext)
    with StopSignal() as stop:
        try:
            while not context.join(timeout=0.5):
                if stop.received:
                    stop.received = False
                    _pass_on(context)
        except ProcessException as failure:
            raise _first_failure(folder) or _unexplained(failure) from None


def _started(rank: int, work: Work, arguments: tuple[Any, ...], folder: Path, kind: str, devices: int) -> None:
    die_with_parent()
    os.environ["LOCAL_RANK"] = str(rank)
    if kind == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // devices))
    try:
        _together(work, arguments, f"file://{folder / 'meeting'}", rank, rank, devices, devices, kind)
    except (SuperInfoError, OSError) as error:  # what is told in one line
        with suppress(FileExistsError), (folder / "failure").open("xb") as file:
            pickle.dump(error, file)
        raise SystemExit(1) from None


def _together(
    work: Work, arguments: tuple[Any, ...], place: str, rank: int, local: int, here: int, every: int, kind: str
) -> None:
    """Join the others, as Detectron2's own launcher does where it has GPUs, work, and leave."""
    if kind == "cuda":
        torch.cuda.set_device(local)
    backend = "nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=place, world_size=every, rank=rank, timeout=PATIENCE)
    try:
        for first in range(0, every, here):
            group = dist.new_group(list(range(first, first + here)))
            if first <= rank < first + here:
                comm._LOCAL_PROCESS_GROUP = group
        work(*arguments)
        comm.synchronize()
    finally:
        comm._LOCAL_PROCESS_GROUP = None
        dist.destroy_process_group()


def _pass_on(context: ProcessContext) -> None:
    for process in context.processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)


def _first_failure(folder: Path) -> BaseException | None:
    if not (folder / "failure").exists():
        return None
    found: BaseException = pickle.loads((folder / "failure").read_bytes())
    return found


def _unexplained(failure: ProcessException) -> BaseException:
    """Return the error of a process that died without a word: by a signal, it was asked to stop, or killed."""
    killed_by = getattr(failure, "signal_name", None)
    if killed_by == "SIGTERM":
        return Interrupted("stopped; the same command resumes")
    if killed_by is not None:
        what = f"process {failure.error_index} of the run was killed ({killed_by})"
        return SuperInfoError(f"{what}, as the system does where memory is short; the same command resumes")
    return failure
