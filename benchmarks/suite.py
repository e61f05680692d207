"""A suite as its file says it: tables, each a matrix of rows, tasks and seeds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, field_validator, model_validator

from superinfo.spec import Spec, load_recipe

SUITES = Path(__file__).parent / "suites"


def _differ(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must differ: a seed given twice is one run")
    return seeds


Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1), AfterValidator(_differ)]
Changes = dict[str, JsonValue]
"""Fields by dotted name, as the verbs' `--set a.b=value`."""


class Row(Spec):
    """An encoder: pretrained by a recipe, from anyone's checkpoint, or, where neither is given, random."""

    label: str = Field(pattern=r"[A-Za-z0-9]")
    pretrain: str | None = None
    """A pretraining recipe, by name or path."""
    checkpoint: Path | None = None
    """A file, as `superinfo convert` takes it."""
    source: str | None = None
    """Who wrote that file, where it does not tell."""
    branch: str | None = None
    """Of that file: online or target."""
    set: Changes = Field(default_factory=dict)
    """Changes to the pretraining recipe; of a checkpoint, what the file does not tell (`stem`, `mean`, ...)."""
    base: str | None = None
    """Label of the row that its differences are taken to; the table's baseline where it is not given."""

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if self.pretrain is not None and self.checkpoint is not None:
            raise ValueError("has `pretrain` and `checkpoint`; give one of them, or neither for random weights")
        if self.checkpoint is None and (self.source or self.branch):
            raise ValueError("`source` and `branch` are of a `checkpoint`, which is not given")
        if self.pretrain is None and self.checkpoint is None and self.set:
            raise ValueError("`set` changes nothing of random weights; change the tasks' `encoder`")
        return self

    @property
    def slug(self) -> str:
        """Return the label as part of a file's name."""
        return slug(self.label)


class Task(Spec):
    """What is measured of each row: a detection recipe or a probe."""

    detect: str | None = None
    probe: str | None = None
    set: Changes = Field(default_factory=dict)
    """Changes to the recipe."""
    header: str | None = None
    """Above its columns, where a table has several tasks; the recipe's name if it is not given."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.detect is None) == (self.probe is None):
            raise ValueError("must have either `detect` or `probe`")
        return self

    @property
    def recipe(self) -> str:
        """Return the recipe's name or path."""
        return self.detect or self.probe or ""


class TableSpec(Spec):
    """Every row on every task."""

    title: str
    rows: tuple[Row, ...] = Field(min_length=1)
    tasks: tuple[Task, ...] = Field(min_length=1)
    baseline: str | None = None
    """Label of the row that differences are taken to, where a row does not name its own."""
    seeds: Seeds | None = None
    """The suite's, where they are not given; fewer where a task is dear."""

    @field_validator("rows")
    @classmethod
    def _have_labels_of_their_own(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        names = [row.slug for row in rows]
        if len(set(names)) < len(names):
            raise ValueError("must have labels that differ in their letters or digits")
        labels = [row.label for row in rows]
        if wrong := [row.base for row in rows if row.base is not None and row.base not in labels]:
            raise ValueError(f"base {wrong[0]!r} must be the label of a row: {', '.join(labels)}")
        return rows

    @field_validator("baseline")
    @classmethod
    def _is_a_row(cls, baseline: str | None, info: ValidationInfo) -> str | None:
        labels = [row.label for row in info.data.get("rows", ())]
        if labels and baseline is not None and baseline not in labels:
            raise ValueError(f"must be the label of a row: {', '.join(labels)}")
        return baseline


class Suite(Spec):
    """Which rows are compared on which tasks, over which seeds."""

    name: str = Field(pattern=r"^[A-Za-z0-9+_-][A-Za-z0-9+._-]*$")
    """Of its folder below the runs."""
    seeds: Seeds = (0,)
    tables: tuple[TableSpec, ...] = Field(min_length=1)

    @field_validator("tables")
    @classmethod
    def _have_titles_of_their_own(cls, tables: tuple[TableSpec, ...]) -> tuple[TableSpec, ...]:
        if len({slug(table.title) for table in tables}) < len(tables):
            raise ValueError("must have titles that differ in their letters or digits")
        return tables

    def seeds_of(self, table: TableSpec) -> Seeds:
        """Return the seeds of one of its tables."""
        return table.seeds or self.seeds

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all tables; one that stands in two of them comes twice."""
        for table in self.tables:
            yield from table.rows


def load_suite(source: str) -> Suite:
    """Read a suite by path or by the name of one in `suites/`. Raises UserError as `load_recipe` does."""
    return load_recipe(Suite, source, SUITES, kind="suite")


def overrides(changes: Changes) -> list[str]:
    """Return changes as the verbs take them behind `--set`."""
    return [f"{name}={json.dumps(value)}" for name, value in changes.items()]


def slug(label: str) -> str:
    """Return a label's letters and digits, in lower case, with hyphens between its words."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
