"""TensorBoard events of a run that may be killed and resumed."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"
"""The folder of events in a run's folder."""


def open_events(folder: Path, first_step: int) -> "SummaryWriter":
    """Return a SummaryWriter that hides the events of former sessions from `first_step` on, which will come again."""
    from torch.utils.tensorboard import SummaryWriter

    # Readers take files in the order of their names, and a name starts with the second in which it was made: number
    # those of former sessions, so that they come first even if this one starts in the same second or on another clock.
    for number, former in enumerate(sorted(folder.glob("events.out.tfevents.*"))):
        former.rename(folder / f"events.out.tfevents.{number:010d}")
    return SummaryWriter(str(folder), purge_step=first_step)
