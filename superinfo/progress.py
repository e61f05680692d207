"""Progress on stderr: a bar with rate and ETA on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_SECONDS = 10.0


class Advance(Protocol):
    """Advances a progress display."""

    def __call__(self, units: int, note: str) -> None:
        """Count `units` as done and show a short note beside the bar."""


def say(line: str) -> None:
    """Print one line to stderr."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show progress from `done` to `total` units; yields the function that advances it."""
    if sys.stderr.isatty():
        with _bar(title, total, unit, done) as advance:
            yield advance
    else:
        yield _Lines(title, total, unit, done)


@contextmanager
def _bar(title: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    rate = _Rate(unit)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, rate="", note="")

        def advance(units: int, note: str) -> None:
            bar.update(task, advance=units, rate=rate.after(units), note=note)

        yield advance


class _Lines:
    """A line at the start, at most every PLAIN_SECONDS, and at the end."""

    def __init__(self, title: str, total: int, unit: str, done: int) -> None:
        self.title, self.total, self.done = title, total, done
        self.rate = _Rate(unit)
        self.last = time.monotonic()
        say(f"{title}: {done:,} of {total:,} {unit}")

    def __call__(self, units: int, note: str) -> None:
        self.done += units
        rate = self.rate.after(units)
        if time.monotonic() - self.last >= PLAIN_SECONDS or self.done >= self.total:
            self.last = time.monotonic()
            left = (self.total - self.done) / self.rate.value if self.rate.value else 0
            say(f"{self.title}: {self.done / self.total:4.0%}  {rate}  {left:4.0f} s left  {note}")


class _Rate:
    """Units per second since the start."""

    def __init__(self, unit: str) -> None:
        self.unit, self.units, self.start, self.value = unit, 0, time.monotonic(), 0.0

    def after(self, units: int) -> str:
        self.units += units
        self.value = self.units / max(time.monotonic() - self.start, 1e-9)
        return f"{self.value:,.{0 if self.value >= 20 else 1}f} {self.unit}/s"
