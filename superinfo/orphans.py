"""No process outlives the one that started it."""

import ctypes
import os
import signal


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel end this process when the one that started it dies.

    `parent` is that process's id, where this one knows it from before it started: then it also ends if the parent died
    on the way.
    """
    parent, set_parent_death_signal = parent or os.getppid(), 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
