"""A suite at work: which jobs run and what each says, on a live display or, without a terminal, in plain lines."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.jobs import Job
from benchmarks.outcome import Outcome, last_line, log_path, outcome_path
from superinfo.progress import PLAIN_SECONDS, say

NOTE_WIDTH = 200


@contextmanager
def watched(title: str, jobs: Sequence[Job], folder: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that looks at the jobs' files and shows what is new; call it often."""
    if sys.stderr.isatty():
        with _display(title, jobs, folder) as look:
            yield look
    else:
        yield _Lines(jobs, folder)


class _Jobs:
    """What the jobs' files say; a job has a log from its start, and an outcome at its end."""

    def __init__(self, jobs: Sequence[Job], folder: Path) -> None:
        self.folder, self.total = folder, len(jobs)
        self.waiting = [job.name for job in jobs]
        self.started: dict[str, float] = {}
        self.ended = 0

    def news(self) -> Iterator[tuple[str, Outcome | None]]:
        """Yield each job that has started, and each that has ended with its outcome, since the last call."""
        yield from self._ends()
        for name in list(self.waiting):
            if log_path(self.folder, name).exists() or outcome_path(self.folder, name).exists():
                self.waiting.remove(name)
                self.started[name] = time.monotonic()
                yield name, None
        yield from self._ends()

    def _ends(self) -> Iterator[tuple[str, Outcome]]:
        for name in list(self.started):
            if outcome := Outcome.read(outcome_path(self.folder, name)):
                self.ended += 1
                yield name, outcome
                del self.started[name]

    def says(self, name: str) -> str:
        """Return the last line of a job's log."""
        return last_line(log_path(self.folder, name))[:NOTE_WIDTH]

    def describe(self, name: str, outcome: Outcome) -> str:
        """Return how a job ended, in one line."""
        took = f"{time.monotonic() - self.started[name]:,.0f} s"
        said = outcome.reason if outcome.state != "done" else self.says(name)
        return f"[{self.ended} of {self.total}] {name}: {outcome.state} after {took}" + (f": {said}" if said else "")


class _Lines:
    """A line for each start and end, and now and then one for each job at work."""

    def __init__(self, jobs: Sequence[Job], folder: Path) -> None:
        self.jobs = _Jobs(jobs, folder)
        self.last = time.monotonic()

    def __call__(self) -> None:
        for name, outcome in self.jobs.news():
            say(f"{name}: started" if outcome is None else self.jobs.describe(name, outcome))
        if time.monotonic() - self.last >= PLAIN_SECONDS:
            self.last = time.monotonic()
            for name in self.jobs.started:
                if said := self.jobs.says(name):
                    say(f"{name}: {said}")


@contextmanager
def _display(title: str, jobs: Sequence[Job], folder: Path) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    found = _Jobs(jobs, folder)
    with Progress(*columns, console=Console(stderr=True)) as display:
        suite = display.add_task(escape(title), total=len(jobs), count="", note="")
        shown: dict[str, TaskID] = {}

        def look() -> None:
            for name, outcome in found.news():
                if outcome is None:
                    shown[name] = display.add_task(escape(name), total=None, count="", note="")
                else:
                    display.console.print(escape(found.describe(name, outcome)), highlight=False)
                    display.remove_task(shown.pop(name))
            display.update(suite, completed=found.ended, count=f"{found.ended} of {found.total}")
            for name, task in shown.items():
                display.update(task, note=escape(found.says(name)))

        yield look
