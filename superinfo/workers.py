"""Processes that load data for another: how many they are, how they start, and that they end with it."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from superinfo.processes import Agreement, rank


def workers_for(asked: int, agreement: Agreement) -> int:
    """Return how many workers this process has: what is asked for, but no more than its share of the cores, or one.

    Processes of a run share the cores that each of them may use, as on one machine where nobody binds them.
    """
    machine, mine = socket.gethostname(), os.sched_getaffinity(0)
    everyone = agreement.merged({rank(): (machine, mine)}).values()
    share = sum(1 / sum(where == machine and core in theirs for where, theirs in everyone) for core in mine)
    return min(asked, max(1, round(share)))


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
