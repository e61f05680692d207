"""Processes that load data for another: how they start, and that they end with it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


@contextmanager
def loaded(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """Within the context, an iterator over a loader's batches; its workers end with the context."""
    iterator = iter(loader)
    try:
        yield iterator
    finally:
        end_workers(iterator)


def start_worker(worker: int) -> None:
    """Use one thread, and leave it to the main process to answer the signals that a scheduler sends to all."""
    cv2.setNumThreads(0)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def end_workers(iterator: Iterator[Any]) -> None:
    """End the workers of a DataLoader's iterator, if it has any.

    They ignore the signal by which an exiting Python ends those that an error left over, and waits for them.
    """
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()
