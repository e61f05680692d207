"""What a suite leaves for people: its tables in every format, and a picture of each detector's test images."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.jobs import Cell, Job, Plan, plan_suite
from benchmarks.machine import NOWHERE
from benchmarks.origins import Pretrained
from benchmarks.outcome import Outcome, log_path, outcome_path
from benchmarks.suite import Suite, TableSpec, slug
from results.declaration import Declaration, Group, Measured, MetricColumn, Row
from results.declaration import Pretrained as PretrainedBy
from results.records import Unfinished, read_if_any
from results.render import FORMATS
from results.table import Table
from results.tables import build
from superinfo.artifacts import PICTURES, RECORD, Record
from superinfo.errors import UserError
from superinfo.files import write_bytes, write_text
from superinfo.spec import identity_hash
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import DetectRecipe

SUFFIXES = {"terminal": "txt", "latex": "tex"}
"""Of files, where it is not the format's name."""
KINDS = {"mask": "mask", "keypoint": "keypoints"}
"""What detectors find beside boxes: the word in their config's name, and that of its metrics."""
OF_KIND = {
    "factors": ("image/shape/accuracy", "nuisance/R2", "view/R2"),
    "information": ("retained", "superfluous", "predictive"),
}
"""The figures of a probe that has more than one."""


def suite_tables(suite: Suite, runs: Path) -> list[Table]:
    """Return a suite's tables of the runs that are done; a job that failed or runs is seen in its cell."""
    return _tables(suite, plan_suite(suite, runs, NOWHERE), runs)


def write_outputs(suite: Suite, plan: Plan, runs: Path) -> list[Table]:
    """Write tables and pictures below `runs/<suite>`; return the tables."""
    folder, tables = runs / suite.name, _tables(suite, plan, runs)
    for name, render in FORMATS.items():
        write_text(folder / f"table.{SUFFIXES.get(name, name)}", render(tables))
    for cell in plan.cells:
        record = plan.jobs[cell.job].artifact
        if cell.seed == suite.seeds_of(cell.table)[0] and record is not None and (record.parent / PICTURES).exists():
            picture = folder / "pictures" / f"{cell.recipe.name}--{cell.row.slug}.png"
            write_bytes(picture, (record.parent / PICTURES).read_bytes())
    return tables


def failures(plan: Plan, folder: Path) -> dict[str, Outcome]:
    """Return the outcomes of the jobs that ended otherwise than well, by name."""
    found = {name: _outcome(job, folder) for name, job in plan.jobs.items()}
    return {name: outcome for name, outcome in found.items() if outcome is not None and outcome.state != "done"}


def _outcome(job: Job, folder: Path) -> Outcome | None:
    """Return how a job ended, None if it has not: it is done if its artifact is there, and is no broken record."""
    if job.artifact is None:
        told = Outcome.read(outcome_path(folder, job.name))
        return None if told is not None and told.state == "done" else told  # done, and taken away since
    if job.artifact.name == RECORD:
        try:
            Record.read(job.artifact)
        except UserError as error:
            return Outcome("failed", reason=f"{error}; move it away, and the same command measures again")
    return Outcome("done", artifact=str(job.artifact))


def _tables(suite: Suite, plan: Plan, runs: Path) -> list[Table]:
    records = {path.parent.resolve() for cell in plan.cells if (path := plan.jobs[cell.job].artifact)}
    every = read_if_any(runs)
    done = tuple(run for run in every.runs if run.folder.resolve() in records)
    tables = []
    for table in suite.tables:
        cells = [cell for cell in plan.cells if cell.table is table]
        unfinished = tuple(_unfinished(cells, plan, runs / suite.name))
        store = replace(every, runs=done, unfinished=unfinished, unreadable=())
        tables.append(build(_declare(suite, table, cells), store))
    return tables


def _declare(suite: Suite, table: TableSpec, cells: list[Cell]) -> Declaration:
    several = len(table.tasks) > 1
    recipes = {cell.task.model_dump_json(): (cell.task, cell.recipe) for cell in cells}
    origins = {cell.row.label: cell.origin for cell in cells}
    rows = []
    for row in table.rows:
        origin = origins[row.label]
        recipe_hash = identity_hash(origin.recipe) if isinstance(origin, Pretrained) else None
        base = row.base or table.baseline
        match = PretrainedBy(name=origin.name, recipe_hash=recipe_hash)
        rows.append(Row(label=row.label, match=match, base=None if base == row.label else base))
    groups = tuple(
        Group(
            header=(task.header or recipe.name) if several else "",
            runs=Measured(recipe=recipe.name, recipe_hash=identity_hash(recipe)),
            metrics=tuple(_columns(recipe, differs=any(row.base for row in rows))),
        )
        for task, recipe in recipes.values()
    )
    name = suite.name if len(suite.tables) == 1 else f"{suite.name}-{slug(table.title)}"
    return Declaration(name=name, title=table.title, groups=groups, rows=tuple(rows), seeds=suite.seeds_of(table))


def _columns(recipe: DetectRecipe | ProbeRecipe, *, differs: bool) -> Iterator[MetricColumn]:
    if isinstance(recipe, DetectRecipe):
        for kind in ("box", *(KINDS[sign] for sign in KINDS if sign in recipe.config)):
            for metric in ("AP", "AP50", "AP75"):
                yield MetricColumn(metric=f"{kind}/{metric}", difference=differs and metric == "AP")
    else:
        for metric in OF_KIND.get(recipe.task.kind, (recipe.metric,)):
            yield MetricColumn(metric=metric, difference=differs)


def _unfinished(cells: list[Cell], plan: Plan, folder: Path) -> Iterator[Unfinished]:
    """Yield the runs that were started, or could not be, and have no record."""
    for cell in cells:
        outcome = _outcome(plan.jobs[cell.job], folder)
        if outcome is None and not log_path(folder, cell.job).exists():
            continue
        if outcome is not None and outcome.state == "done":
            continue
        of_whom = (folder, cell.job.partition("/")[2], cell.recipe.name, cell.origin.name, cell.seed)
        if outcome is None:
            yield Unfinished(*of_whom, state="interrupted", reason="")
        else:
            yield Unfinished(*of_whom, state="failed", reason=outcome.reason)
