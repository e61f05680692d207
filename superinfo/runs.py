"""Runs: their ids and folders, the lock on a folder, and what a run says of its machine."""

import json
import os
import platform
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple, Self

from superinfo.artifacts import CHECKPOINT, RECORD, Provenance
from superinfo.errors import Interrupted, SuperInfoError, UserError, printable
from superinfo.files import exclusive, is_held, write_text

PACKAGES = (
    "torch",
    "torchvision",
    "detectron2",
    "lightly",
    "lightning-fabric",
    "numpy",
    "opencv-python-headless",
)


LOCK = ".lock"
FAILED = "failed"
"""Lies in the folder of a run that ended in an error: one line of JSON, its reason and its time."""


def run_id(row: str, seed: int, recipe_hash: str) -> str:
    """Return `<row>-s<seed>-<hash8>`."""
    return f"{row}-s{seed}-{recipe_hash[:8]}"


class RunName(NamedTuple):
    """What the id of a measurement says."""

    recipe: str
    row: str
    """`Who.name` of what is measured."""
    seed: int


def parse_run_id(name: str) -> RunName | None:
    """Return what the name of a folder says; None if it is not the id of a measurement."""
    parts = re.fullmatch(r"([A-Za-z0-9+._-]+?)--([A-Za-z0-9+._-]+)-s([0-9]{1,10})-[0-9a-f]{8}", name)
    return RunName(parts[1], parts[2], int(parts[3])) if parts else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the only lock on a run folder, made if need be; the kernel frees it when its process dies.

    A run that ends in an error within the context leaves the file FAILED, which the next attempt removes. Raises
    UserError if another process holds the lock.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / LOCK, wait=False))
        except BlockingIOError:
            raise UserError(f"{folder}: another process works on this run; wait for it or stop it") from None
        for left_by_a_killed_run in folder.glob(".*.tmp"):
            if left_by_a_killed_run.is_file():  # a folder is of a conversion, which may be at work
                left_by_a_killed_run.unlink()
        (folder / FAILED).unlink(missing_ok=True)
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if not any((folder / artifact).exists() for artifact in (CHECKPOINT, RECORD)):
                _mark_as_failed(folder, error)
            raise


def _mark_as_failed(folder: Path, error: Exception) -> None:
    said = str(error).strip().splitlines()[-1:] or [""]  # of a process's traceback, its end
    reason = said[0] if isinstance(error, SuperInfoError) else f"{type(error).__name__}: {said[0]}"
    line = {"reason": printable(reason)[:500], "time": datetime.now(UTC).isoformat(timespec="seconds")}
    with suppress(OSError):  # as of a full disk, which the error itself tells
        write_text(folder / FAILED, json.dumps(line) + "\n")


def unfinished_state(folder: Path) -> tuple[Literal["running", "interrupted", "failed"], str]:
    """Return the state of a run folder that has no artifact, and of a failure the reason; it disturbs no run."""
    if is_held(folder / LOCK):
        return "running", ""
    try:
        reason = json.loads((folder / FAILED).read_bytes())["reason"]
    except FileNotFoundError:
        return "interrupted", ""
    except (ValueError, TypeError, KeyError):
        reason = "for a reason that cannot be read"
    return "failed", printable(str(reason))


class StopSignal:
    """Within its context SIGTERM and SIGUSR1, a scheduler's warnings, and Ctrl-C only set `received`.

    A second Ctrl-C interrupts at once.
    """

    received = False
    _numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in getattr(self, "_before", {}).items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def interruptible(what: str) -> Iterator[None]:
    """Within the context SIGTERM and SIGUSR1 raise Interrupted at once, where there is nothing to save."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"{what}: stopped; the same command resumes")

    numbers = (signal.SIGTERM, signal.SIGUSR1) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def provenance() -> Provenance:
    """Describe what this process runs on, this checkout and the packages that matter."""
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        versions={"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        hardware=_hardware(),
    )


def reset_peak_memory() -> None:
    """Start measuring the peak memory of this process anew, where the kernel allows it."""
    import torch

    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

    if _uses_gpu():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mib() -> float:
    """Return the peak memory since `reset_peak_memory`: of the GPU if one is used, else resident memory, in MiB."""
    import torch

    if _uses_gpu() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes where there is no /proc


def _commit() -> str | None:
    def git(*arguments: str) -> str:
        root = Path(__file__).parent
        return subprocess.run(
            ["git", "-C", root, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _hardware() -> dict[str, str | int]:
    import torch

    from superinfo.processes import world_size

    on_gpu = _uses_gpu()
    found: dict[str, str | int] = {
        "device": "cuda" if on_gpu else "cpu",
        "processes": world_size(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    if on_gpu:
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _uses_gpu() -> bool:
    """Whether this process has used a GPU; that there is one says nothing of the run."""
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
