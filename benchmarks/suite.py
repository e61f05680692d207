"""A suite: rows of pretraining and one transfer task, run one after the other, and their table."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from pretrain.recipe import RECIPES as PRETRAIN_RECIPES
from pretrain.recipe import PretrainRecipe, checkpoint_path
from results.declaration import Declaration, Group, Measured, MetricColumn, Pretrained, Row
from results.records import read_if_any
from results.render import FORMATS
from results.table import Table
from results.tables import build
from superinfo.artifacts import CONVERSION
from superinfo.errors import Interrupted, SuperInfoError
from superinfo.files import write_bytes, write_text
from superinfo.progress import say
from superinfo.repeat import command_line
from superinfo.spec import Spec, identity_hash, load_recipe
from transfer.detection.detect import PICTURES, detect, record_path
from transfer.detection.weights import who_starts
from transfer.recipe import RECIPES as TRANSFER_RECIPES
from transfer.recipe import DetectRecipe

SUITES = Path(__file__).parent / "suites"
CONVERTED = "detectron2"
METRICS = ("box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75")
ENDINGS = {"terminal": "txt", "latex": "tex"}
"""Of files, where they are not called as their format."""


class RowSpec(Spec):
    """A row: its label, and the recipe of its pretraining, or none for random initialisation."""

    label: str
    pretrain: str | None = None


class Suite(Spec):
    """Which rows are compared on which task, over which seeds."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    title: str
    rows: tuple[RowSpec, ...] = Field(min_length=1)
    baseline: str
    """Label of the row that differences are taken to."""
    detect: str
    """Recipe of the detection task."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(default=(0,), min_length=1)

    @field_validator("rows")
    @classmethod
    def _have_labels_of_their_own(cls, rows: tuple[RowSpec, ...]) -> tuple[RowSpec, ...]:
        names = [_slug(row.label) for row in rows]
        if len(set(names)) < len(names):
            raise ValueError("must have labels that differ in their letters or digits")
        return rows

    @field_validator("baseline")
    @classmethod
    def _is_a_row(cls, baseline: str, info: ValidationInfo) -> str:
        labels = [row.label for row in info.data.get("rows", ())]
        if labels and baseline not in labels:
            raise ValueError(f"must be the label of a row: {', '.join(labels)}")
        return baseline


def load_suite(source: str) -> Suite:
    """Read a suite by path or by the name of one in `suites/`. Raises UserError as `load_recipe` does."""
    return load_recipe(Suite, source, SUITES)


def run_suite(suite: Suite, runs: Path, device: str) -> tuple[Path, list[SuperInfoError]]:
    """Run what is left, then write table and pictures below `runs/<suite>`; return that folder and the failures.

    A row that fails is reported and does not stop the others. Raises Interrupted if a run was asked to stop.
    """
    failures: list[SuperInfoError] = []
    for row in suite.rows:
        for seed in suite.seeds:
            try:
                _run_row(suite, row, seed, runs, device)
            except Interrupted:
                raise
            except SuperInfoError as error:
                say(f"{row.label}, seed {seed}: failed: {error}")
                failures.append(error)
    return write_outputs(suite, runs), failures


def suite_tables(suite: Suite, runs: Path) -> list[Table]:
    """Return the suite's table of the runs that are done, at work or failed; a row with none is empty."""
    return [build(declare(suite), read_if_any(runs))]


def declare(suite: Suite) -> Declaration:
    """Return the suite's table: runs count only if every field of their recipes is as it is now."""
    task = _detect_recipe(suite)
    columns = tuple(MetricColumn(metric=metric, difference=metric.endswith("/AP")) for metric in METRICS)
    rows = tuple(
        Row(label=row.label, match=_match(row), base=suite.baseline if row.label != suite.baseline else None)
        for row in suite.rows
    )
    return Declaration(
        name=suite.name,
        title=suite.title,
        groups=(Group(runs=Measured(recipe=task.name, recipe_hash=identity_hash(task)), metrics=columns),),
        rows=rows,
        seeds=suite.seeds,
    )


def find_record(suite: Suite, row: RowSpec, seed: int, runs: Path) -> Path | None:
    """Return the record of a row's run, or None if it is not done."""
    weights = _converted(row, seed, runs)
    if weights is not None and not (weights / CONVERSION).exists():
        return None
    recipe = _detect_recipe(suite)
    path = record_path(recipe, who_starts(recipe, weights, seed), seed, runs)
    return path if path.exists() else None


def finished_runs(suite: Suite, runs: Path) -> list[Path]:
    """Return the folders of the suite's runs that are done."""
    found = (find_record(suite, row, seed, runs) for row in suite.rows for seed in suite.seeds)
    return [record.parent for record in found if record is not None]


def write_outputs(suite: Suite, runs: Path) -> Path:
    """Write the table in every format, and a picture for each row, below `runs/<suite>`; return that folder."""
    folder = runs / suite.name
    tables = suite_tables(suite, runs)
    for name, render in FORMATS.items():
        write_text(folder / f"table.{ENDINGS.get(name, name)}", render(tables))
    for row in suite.rows:
        if record := find_record(suite, row, suite.seeds[0], runs):
            picture = record.parent / PICTURES
            if picture.exists():
                write_bytes(folder / f"{_slug(row.label)}.png", picture.read_bytes())
    return folder


def _run_row(suite: Suite, row: RowSpec, seed: int, runs: Path, device: str) -> None:
    if find_record(suite, row, seed, runs):
        say(f"{row.label}, seed {seed}: done before")
        return
    weights = _converted(row, seed, runs)
    if row.pretrain is not None and weights is not None:
        from pretrain.engine import pretrain
        from transfer.convert import convert

        command = command_line("pretrain", row.pretrain, (), seed, runs)
        checkpoint = pretrain(_pretrain_recipe(row.pretrain), seed, runs, device, command=command)
        convert(checkpoint, weights)
    command = command_line("detect", suite.detect, ["--weights", str(weights or "random")], seed, runs)
    detect(_detect_recipe(suite), weights, seed, runs, device, command=command)


def _converted(row: RowSpec, seed: int, runs: Path) -> Path | None:
    """Return where a row's converted weights lie, or will lie; None for random initialisation."""
    if row.pretrain is None:
        return None
    return checkpoint_path(_pretrain_recipe(row.pretrain), seed, runs).parent / CONVERTED


def _match(row: RowSpec) -> Pretrained:
    if row.pretrain is None:
        return Pretrained(name="random")
    recipe = _pretrain_recipe(row.pretrain)
    return Pretrained(name=recipe.name, recipe_hash=identity_hash(recipe))


def _pretrain_recipe(name: str) -> PretrainRecipe:
    return load_recipe(PretrainRecipe, name, PRETRAIN_RECIPES)


def _detect_recipe(suite: Suite) -> DetectRecipe:
    return load_recipe(DetectRecipe, suite.detect, TRANSFER_RECIPES)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
