"""Detectron2's scalars, images and histograms for TensorBoard, right after kills too."""

from pathlib import Path

from detectron2.utils.events import TensorboardXWriter

from superinfo.tensorboard import open_events


class EventsWriter(TensorboardXWriter):  # type: ignore[misc]  # Detectron2 has no types
    """Detectron2's writer, scalars smoothed by their median over `window` iterations, into a folder that is resumed.

    What former sessions wrote from iteration `first` on is hidden, and each write reaches the file: a kill takes none.
    """

    def __init__(self, folder: Path, first: int, window: int) -> None:
        self._writer, self._window_size, self._last_write = open_events(folder, first), window, -1

    def write(self) -> None:
        """Write what is new since the last time."""
        super().write()
        self._writer.flush()
