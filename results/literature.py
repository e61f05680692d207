"""Numbers that others published: the schema of a row, reading with every check, and rows by a filter.

Rows are read from `published/*.csv`, one file for each source; `published/sources.yaml` says what the sources are.
`docs/published.md` tells users of both.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from results.citations import PUBLISHED, SOURCES, read_sources
from results.vocabulary import EXCLUSIVE, KINDS, NEEDS, MetricName, Tag, Task
from superinfo.artifacts import Line as Text
from superinfo.errors import UserError
from superinfo.recipes import suggest
from superinfo.spec import Spec

Named = Annotated[Text, Field(min_length=1)]
Figure = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?)?$")]
"""A number exactly as its source spells it; empty where nothing is at hand."""
Unit = Literal["percent", "fraction"]
WHOLE: dict[Unit, int] = {"percent": 100, "fraction": 1}
"""What a perfect score is in a unit."""


class Published(Spec):
    """One published figure: a line of `published/*.csv`, whose columns are these fields in this order.

    What its source does not say is empty, and None here.
    """

    method: Named
    """As its source spells it."""
    variant: Text = ""
    """What its pretraining has beside epochs and batch size, such as crops."""
    pretrain_dataset: Named
    """`none` for random weights."""
    backbone: Named
    """As its source spells it."""
    encoder: Annotated[str, Field(pattern=r"^[a-z0-9_]+( x[0-9]+(\.[0-9]+)?)?$")]
    """As this project names it: a ResNet's architecture and width, such as `resnet50 x1`."""
    epochs: int | None = Field(default=None, ge=1)
    """Of pretraining."""
    batch_size: int | None = Field(default=None, ge=1)
    """Of pretraining: images a step, those of accumulated gradients included."""
    task: Task
    """As records name it."""
    dataset: Named
    """Of the task."""
    split: Text = ""
    """Evaluated on."""
    label_percent: int | None = Field(default=None, ge=1, le=99)
    """Share of the training labels that were used; empty for all."""
    tags: tuple[Tag, ...] = ()
    """What is known of the protocol and of the figure; separated by spaces."""
    metric: MetricName
    """As records name it."""
    value: Figure = ""
    """Exactly as its source spells it; empty where nothing is at hand."""
    unit: Unit
    """Of value and std."""
    trials: int | None = Field(default=None, ge=2)
    """That the value is the mean of."""
    std: Figure = ""
    """Standard deviation over trials."""
    source: Named
    """Key of `sources.yaml`."""
    source_path: Text = ""
    """File, section or table of the source."""
    setting: Text = ""
    """How it was measured, as transcribed from the source: what variant, batch size, trials and tags were read from."""
    note: Text = ""
    """A footnote of this row alone."""


COLUMNS = tuple(Published.model_fields)
NUMBERS = ("epochs", "batch_size", "label_percent", "trials")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A published row, and where it stands."""

    row: Published
    path: Path
    line: int

    @property
    def where(self) -> str:
        """Return file and line."""
        return f"{self.path}:{self.line}"


class PublishedFilter(Spec):
    """Which published rows a table quotes: those that satisfy every field; an empty field asks for nothing."""

    tasks: tuple[Task, ...] = ()
    datasets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    metrics: tuple[MetricName, ...] = ()
    methods: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()
    pretrain_datasets: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    label_percents: tuple[int, ...] = ()
    """100 asks for rows on all labels."""
    sources: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    """All of these."""
    without: tuple[Tag, ...] = ()
    """None of these."""

    def admits(self, row: Published) -> bool:
        """Return whether a row satisfies every field; one that is not a result never does."""
        asked: list[tuple[Sequence[object], object]] = [
            (self.tasks, row.task),
            (self.metrics, row.metric),
            (self.epochs, row.epochs),
            (self.label_percents, row.label_percent or 100),
            *((getattr(self, field), getattr(row, column)) for field, column in NAMES.items()),
        ]
        fits = all(not allowed or value in allowed for allowed, value in asked)
        return fits and set(self.tags) <= set(row.tags) and not {*self.without, "not_a_result"} & set(row.tags)


NAMES = {
    "datasets": "dataset",
    "splits": "split",
    "methods": "method",
    "encoders": "encoder",
    "pretrain_datasets": "pretrain_dataset",
    "sources": "source",
}
"""Fields of a filter that are free text, and the columns they speak of."""


def select(wanted: PublishedFilter, rows: Sequence[Quoted] | None = None) -> list[Quoted]:
    """Return the rows that a filter admits, in their order; of the shipped ones unless others are given.

    Raises UserError if the filter asks for a name that no row at all has, and as `read_published` does.
    """
    everything = read_published() if rows is None else rows
    for field, column in NAMES.items():
        there = {getattr(quoted.row, column) for quoted in everything}
        for name in getattr(wanted, field):
            if name not in there:
                raise UserError(f"published rows: no {column} is `{name}`{suggest(name, sorted(there))}")
    return [quoted for quoted in everything if wanted.admits(quoted.row)]


def read_published(folder: Path = PUBLISHED) -> tuple[Quoted, ...]:
    """Read every row of a folder, file by file. Raises UserError, naming file and line, if one is wrong."""
    rows, faults = examine(folder)
    if faults:
        raise UserError(faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))
    return rows


def examine(folder: Path = PUBLISHED) -> tuple[tuple[Quoted, ...], list[str]]:
    """Return the well-formed rows of a folder, and every fault of it, each with file and line.

    Raises UserError if its `sources.yaml` is missing or wrong.
    """
    sources = read_sources(folder)
    rows: list[Quoted] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        try:
            rows += _read(path, faults)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            faults.append(f"{path}: cannot be read as CSV: {error}")
    return tuple(rows), faults + validate(rows, sources)


def validate(rows: Sequence[Quoted], sources: Mapping[str, object]) -> list[str]:
    """Return what is wrong with well-formed rows, alone or side by side, each with file and line."""
    faults = [f"{quoted.where}: {fault}" for quoted in rows for fault in _faults(quoted.row, sources)]
    seen: dict[Published, str] = {}
    for quoted in rows:
        same = quoted.row.model_copy(update={"value": "", "std": "", "note": ""})
        first = seen.setdefault(same, quoted.where)
        if first != quoted.where:
            faults.append(f"{quoted.where}: repeats {first}, whatever its value; say in `setting` what differs")
    return faults


def _read(path: Path, faults: list[str]) -> Iterator[Quoted]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        if header != list(COLUMNS):
            faults.append(f"{path}:1: columns are not {','.join(COLUMNS)}")
            return
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(COLUMNS):
                faults.append(f"{where}: {len(cells)} cells, not {len(COLUMNS)}")
                continue
            try:
                row = Published.parse(_typed(dict(zip(COLUMNS, cells, strict=True))), where)
            except UserError as error:
                faults.append(str(error))
            else:
                yield Quoted(row, path, reader.line_num)


def _typed(cells: dict[str, str]) -> dict[str, object]:
    """Return the cells of a line as the schema types them; what is no number stays text, for the schema to refuse."""
    typed: dict[str, object] = {column: cell for column, cell in cells.items() if column not in NUMBERS}
    numbers = {column: cells[column] for column in NUMBERS if cells[column]}
    return typed | {k: int(v) if v.isdecimal() else v for k, v in numbers.items()} | {"tags": cells["tags"].split()}


def _faults(row: Published, sources: Mapping[str, object]) -> Iterator[str]:
    if row.source not in sources:
        yield f"`source` {row.source} is not in {SOURCES}{suggest(row.source, sorted(sources))}"
    if row.value and not row.source_path:
        yield f"a value of {row.source} without `source_path`; name the file or table that has it"
    if row.value and row.unit == "percent" and 0 < Decimal(row.value) < 1:
        yield f"`value` {row.value} percent looks like a fraction; see `unit`"
    if row.value and Decimal(row.value) > WHOLE[row.unit]:
        yield f"`value` {row.value} is more than {WHOLE[row.unit]}, all there is of a {row.unit}; see `unit`"
    if row.std and row.trials is None:
        yield "`std` without `trials`"
    if row.metric.partition("/")[0] not in KINDS[row.task]:
        yield f"`metric` {row.metric} of {row.task}, which is measured by {' and '.join(sorted(KINDS[row.task]))}"
    for group in EXCLUSIVE:
        if len(both := [tag for tag in row.tags if tag in group]) > 1:
            yield f"`tags` {' and '.join(both)} exclude each other"
    for tag, other in NEEDS.items():
        if tag in row.tags and other not in row.tags:
            yield f"`tags` {tag} without {other}"
