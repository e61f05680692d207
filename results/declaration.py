"""What a table shows: its columns, its rows, and the test of its differences. One YAML in `tables/` declares each."""

import re
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from results.literature import PublishedFilter
from results.records import Run, Unfinished
from superinfo.spec import Spec, load_recipe

DECLARATIONS = Path(__file__).parent / "tables"
"""With the tables that the committed records give, `<name>.md` and `<name>.tex`."""
Pattern = str | tuple[str, ...]
"""A text, or several of which one must fit; `*` stands for any letters."""

Test = Literal["paired", "welch", "none"]


class Measured(Spec):
    """Which runs count, by what they measured and how; an empty field asks for nothing."""

    task: Pattern | None = None
    dataset: Pattern | None = None
    split: Pattern | None = None
    protocol: Pattern | None = None
    recipe: Pattern | None = None
    """Of the recipe that measured; it tells of unfinished runs too, which have no protocol yet."""
    recipe_hash: str | None = None
    """Of that recipe with all its fields."""
    protocol_hash: str | None = None
    encoder: Pattern | None = None
    """As `resnet50 x1 imagenet`."""

    def holds(self, run: Run) -> bool:
        """Return whether a run counts."""
        what = run.what
        return (
            _fits(self.task, what.task)
            and _fits(self.dataset, what.dataset)
            and _fits(self.split, what.split)
            and _fits(self.protocol, what.protocol)
            and _fits(self.recipe, run.recipe)
            and _fits(self.encoder, run.who.encoder.title)
            and self.recipe_hash in {None, run.recipe_hash}
            and self.protocol_hash in {None, run.protocol_hash}
        )

    def awaits(self, unfinished: Unfinished, recipes: frozenset[str]) -> bool:
        """Return whether an unfinished run is to be one of these; `recipes` are those of the runs that count."""
        asked = self.recipe is not None and _fits(self.recipe, unfinished.recipe)
        return asked or unfinished.recipe in recipes


class Pretrained(Spec):
    """Which runs are a row's, by whose features they measured; an empty field asks for nothing."""

    name: Pattern | None = None
    """Row name of the pretraining recipe; `random` for random initialisation."""
    method: Pattern | None = None
    term: Pattern | None = None
    pretraining_set: Pattern | None = None
    """Empty for random initialisation, and where a file from elsewhere does not say."""
    encoder: Pattern | None = None
    epochs: int | None = None
    recipe_hash: str | None = None
    """Of the pretraining recipe with all its fields."""

    def holds(self, run: Run) -> bool:
        """Return whether a run is the row's."""
        who = run.who
        return (
            _fits(self.name, who.name)
            and _fits(self.method, who.method)
            and _fits(self.term, who.term)
            and _fits(self.pretraining_set, who.dataset or "")
            and _fits(self.encoder, who.encoder.title)
            and self.epochs in {None, who.epochs}
            and self.recipe_hash in {None, who.recipe_hash}
        )

    def awaits(self, unfinished: Unfinished) -> bool:
        """Return whether an unfinished run may be one of these: it tells the name alone."""
        return _fits(self.name, unfinished.name)


class Row(Spec):
    """A row that is asked for, whether or not it has runs."""

    label: str = Field(min_length=1)
    match: Pretrained
    base: str | None = None
    """Label of the row that its differences are taken to."""


class MetricColumn(Spec):
    """A metric that is not written as it is by default."""

    metric: str
    header: str | None = None
    digits: int | None = Field(default=None, ge=0, le=6)
    difference: bool = False
    """Whether differences to the rows' bases are shown."""


class Group(Spec):
    """Columns of one measurement."""

    header: str = ""
    runs: Measured
    pretrained: Pretrained = Pretrained()
    """Whose runs count."""
    metrics: tuple[str | MetricColumn, ...]
    published: PublishedFilter | None = None
    """Which of others' figures are quoted in these columns."""

    @property
    def columns(self) -> tuple[MetricColumn, ...]:
        """Return its metrics in one form."""
        return tuple(MetricColumn(metric=one) if isinstance(one, str) else one for one in self.metrics)


class Declaration(Spec):
    """One table."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    title: str
    groups: tuple[Group, ...] = Field(min_length=1)
    rows: Literal["auto"] | tuple[Row, ...] = "auto"
    """auto: a row for each pretraining there is; its base is its like without the term, see `rows.every`."""
    seeds: tuple[int, ...] = ()
    """Seeds that each row is to have a run of; those that there are if none is given."""
    test: Test = "paired"
    """paired: by pairs of seeds where both rows have the same ones, Welch's elsewhere; none: no differences are tested,
    none shown, and no figure is bold."""

    @model_validator(mode="after")
    def _rows_are_told_apart(self) -> Self:
        labels = [row.label for row in self.rows if isinstance(row, Row)]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"rows must have labels of their own: {twice[0]!r} stands twice")
        for row in self.rows:
            if isinstance(row, Row) and row.base is not None and (row.base not in labels or row.base == row.label):
                raise ValueError(f"rows: base {row.base!r} must be the label of another row: {', '.join(labels)}")
        return self

    @model_validator(mode="after")
    def _columns_are_told_apart(self) -> Self:
        headers = [group.header for group in self.groups]
        metrics = [[column.metric for column in group.columns] for group in self.groups]
        if len(set(headers)) < len(headers) or any(len(set(some)) < len(some) for some in metrics):
            raise ValueError("groups must have headers of their own, and a group each metric once")
        return self


def load_declaration(source: str | Path) -> Declaration:
    """Read a declaration by path, or by the name of one in `tables/`. Raises UserError as `load_recipe` does."""
    return load_recipe(Declaration, source, DECLARATIONS, kind="table")


def _fits(pattern: Pattern | None, text: str) -> bool:
    if pattern is None:
        return True
    return any(
        _compiled(one).fullmatch(text) is not None for one in ([pattern] if isinstance(pattern, str) else pattern)
    )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
