"""A table as data: what is measured, the lines, what each cell stands on. Built by `tables.py`, drawn by `render/`."""

from dataclasses import dataclass
from enum import Enum

from results.records import Run


class State(Enum):
    """What a cell has to show."""

    MEASURED = "measured"
    PUBLISHED = "published"
    """Somebody else's number, with its source."""
    MISSING = "missing"
    """No run was started, or nothing was published."""
    RUNNING = "running"
    """A run is at work, or was interrupted and can be resumed."""
    FAILED = "failed"
    """At least one run ended in an error, and is no record."""
    UNDEFINED = "undefined"
    """Records are there, but no figure to show: AP of large objects where there are none, a NaN, two recipes."""


class Verdict(Enum):
    """What a difference amounts to."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "not told from noise"
    TOO_FEW = "too few runs to tell"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a row to its own base, in the column's unit."""

    value: float
    p: float | None
    """Of the stated test, adjusted for the tests of one column; None where runs are too few, or do not vary."""
    interval: tuple[float, float] | None
    """95 % confidence interval; None as `p`, and of samples that are equal."""
    verdict: Verdict
    runs: int
    """Pairs of pretrainings for a paired test, else the smaller of both rows' numbers of pretrainings."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one row, in its column's unit."""

    state: State
    mean: float | None = None
    """None unless the state is MEASURED or PUBLISHED. Of all runs of the row, or there is no mean: leaving out the
    run that failed would flatter the row."""
    spread: float | None = None
    """Standard deviation of `values` (n - 1); None for fewer than two."""
    runs: int = 0
    """Runs that have a value; of a published one the number of trials it is the mean of, where its source says so."""
    expected: int = 0
    """Runs that the row should have: finished, failed and unfinished ones."""
    values: tuple[float, ...] = ()
    """Of each pretraining, the mean of its fine-tunings, in the order of seeds; of each fine-tuning where one
    pretraining has all of them, as a mark then says."""
    difference: Difference | None = None
    """None in a base row, and where one of the two has no mean."""
    best: bool = False
    """Whether this is the best measured cell of its column, and is shown to be so."""
    marks: tuple[str, ...] = ()
    """Of `Table.notes`, that hold for this cell."""
    records: tuple[Run, ...] = ()
    """What it is computed from."""
    source: str | None = None
    """Of a published figure: key of `literature.py`."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval over test images of a single run's figure, where its record has one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one measurement."""

    key: str
    """Unique in its table: the metric as records name it, behind its group and a colon if there is one."""
    group: str
    """Header above: what is measured, such as a data set; may be empty."""
    header: str
    """Such as `box AP`, without unit and arrow."""
    unit: str
    higher_is_better: bool
    digits: int
    """After the point."""
    difference: bool
    """Whether differences to the rows' bases are shown."""

    @property
    def metric(self) -> str:
        """Return the name that records give it."""
        return self.key.removeprefix(f"{self.group}: ")

    @property
    def arrow(self) -> str:
        """Return the direction of better values."""
        return "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True, slots=True)
class Line:
    """A row: measured by runs of ours, or published by others."""

    label: str
    cells: tuple[Cell, ...]
    """One for each column."""
    base: str | None = None
    """Label of the row that its differences are taken to."""
    marks: tuple[str, ...] = ()
    """Of `Table.notes`, that hold for the whole row."""

    @property
    def runs(self) -> str:
        """Return the number of runs as tables show it: `3`, or `2-3` where cells differ; empty where there are none."""
        counts = sorted({cell.runs for cell in self.cells if cell.runs})
        return "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else ""


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote."""

    mark: str
    """`a`, `b`, ... in order of appearance."""
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Everything a rendering needs."""

    name: str
    title: str
    caption: str
    """What was measured and how: data set, split, samples, protocol and its version; sentences of plain text."""
    method: str
    """How spread, differences and bold figures were come by: one or two sentences; empty where there are none."""
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    """Measured rows."""
    published: tuple[Line, ...]
    """Others' numbers: always apart from measured ones."""
    notes: tuple[Note, ...]
    sources: tuple[str, ...] = ()
    """Citations of the published rows, in full."""
