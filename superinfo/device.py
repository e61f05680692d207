"""Which device a stage runs on, what makes it fit for training, and that its memory does not suffice."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from superinfo.errors import UserError

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`, and ready it. Raises UserError if there is no such device."""
    if name not in {"auto", "cpu", "cuda"}:
        raise UserError(f"--device {name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; use --device cpu, or auto")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        _keep_freed_memory()
    return device


@contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """Raise UserError, with a remedy, if the GPU runs out of memory within the context."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(f"{what}: out of GPU memory; {remedy}") from None


def _keep_freed_memory() -> None:
    """Let the process keep what a step frees, which costs a page fault for every 4 KiB to get again.

    On a CPU torch has no allocator of its own. What is larger than 1 GiB is given back as before, and all where the C
    library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
