"""What two processes of a run do: in a file of its own, as each of them imports it."""

import errno
from pathlib import Path

from superinfo.processes import Agreement, rank, world_size


def meet_and_fail_in_the_second(folder: Path) -> None:
    """Agree on the least of two numbers, then fail as where a disk is full."""
    agreement = Agreement()
    least = agreement.least(7 + rank())
    (folder / str(rank())).write_text(f"{world_size()} processes, {least}")
    agreement.any(True)
    if rank() == 1:
        raise OSError(errno.ENOSPC, "the disk is full, says the second")
    agreement.any(True)
