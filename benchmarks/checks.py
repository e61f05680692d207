"""What is wrong with a suite, found before its first job: all of it, without training or reading images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.jobs import load_task
from benchmarks.machine import Machine
from benchmarks.origins import load_row
from benchmarks.suite import Row, Suite, TableSpec, Task, overrides
from pretrain.recipe import PretrainRecipe
from superinfo.datasets.images import find_images
from superinfo.errors import SuperInfoError
from superinfo.spec import identity_hash
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import DetectRecipe
from transfer.roots import find_detection_set

T = TypeVar("T")


@dataclass
class Faults:
    """Each fault once, whatever it is of."""

    wrong: list[str] = field(default_factory=list)
    """What only another suite, or another command, mends."""
    missing: list[str] = field(default_factory=list)
    """Data sets that are not here."""


def find_faults(suite: Suite, machine: Machine) -> Faults:
    """Return all that is wrong with rows and tasks, and all data that is missing here."""
    faults = Faults()
    for table in suite.tables:
        _find_twins(table, faults.wrong)
        for row in table.rows:
            if row.pretrain is not None:
                _check_pretraining(row, machine, faults)
            elif row.checkpoint is not None:
                _try(lambda row=row: _read_checkpoint(row), faults.wrong, f"row {row.label!r}")
        for task in table.tasks:
            _check_task(task, faults)
    return faults


def _check_pretraining(row: Row, machine: Machine, faults: Faults) -> None:
    recipe = _try(lambda: load_row(row), faults.wrong, f"row {row.label!r}")
    if recipe is None:
        return
    _check_machine(recipe, machine, faults.wrong)
    _try(lambda: find_images(recipe.data), faults.missing, recipe.name)
    if (knn := recipe.monitor.knn) is not None:
        _try(lambda: find_images(knn.queries, "monitor.knn.queries"), faults.missing, recipe.name)


def _check_machine(recipe: PretrainRecipe, machine: Machine, wrong: list[str]) -> None:
    processes = machine.gpus_for(recipe.resources) or 1
    share = recipe.batch_size // processes
    if recipe.batch_size % processes or share < 2 or share % min(recipe.chunk_size or share, share):
        chunks = f" in chunks of {recipe.chunk_size}" if recipe.chunk_size else ""
        _note(wrong, f"{recipe.name}: batch_size {recipe.batch_size}{chunks} is not shared out among {processes} GPUs")
    if recipe.precision == "16-mixed" and machine.device == "cpu":
        _note(wrong, f"{recipe.name}: precision 16-mixed needs a GPU, and --device is cpu")


def _check_task(task: Task, faults: Faults) -> None:
    recipe = _try(lambda: load_task(task), faults.wrong, f"task {task.recipe!r}")
    if isinstance(recipe, DetectRecipe):
        _try(lambda: _read_config(recipe), faults.wrong, recipe.name)
        _try(lambda: find_detection_set(recipe.data), faults.missing, recipe.name)
    elif isinstance(recipe, ProbeRecipe):
        _try(lambda: _find_splits(recipe), faults.missing, recipe.name)


def _read_config(recipe: DetectRecipe) -> None:
    from transfer.detection.config import read_needs

    read_needs(recipe)


def _find_splits(recipe: ProbeRecipe) -> None:
    from transfer.probing.splits import find_splits

    find_splits(recipe.data)


def _read_checkpoint(row: Row) -> None:
    """Read a file as its row says. Raises UserError or EvidenceRefused as a conversion does."""
    from transfer.convert.export import load_reading
    from transfer.convert.reading import parse_branch, parse_facts
    from transfer.convert.recognition import read_encoder

    assert row.checkpoint is not None
    facts = parse_facts(overrides(row.set))
    load_reading(row.checkpoint, read_encoder(row.checkpoint, row.source, parse_branch(row.branch), facts))


def _find_twins(table: TableSpec, wrong: list[str]) -> None:
    """Note rows, and tasks, that are the same but for their names: a run would count twice."""
    seen: dict[str, str] = {}
    for row in table.rows:
        try:
            same = identity_hash(load_row(row)) if row.pretrain else row.model_dump_json(exclude={"label", "base"})
        except SuperInfoError:  # told by another check
            continue
        if same in seen:
            _note(wrong, f"rows {seen[same]!r} and {row.label!r} of {table.title!r} are the same encoder")
        seen.setdefault(same, row.label)
    measured: set[str] = set()
    for task in table.tasks:
        try:
            same = identity_hash(load_task(task))
        except SuperInfoError:
            continue
        if same in measured:
            _note(wrong, f"task {task.recipe!r} stands twice in {table.title!r}")
        measured.add(same)


def _try(check: Callable[[], T], told: list[str], who: str) -> T | None:
    """Return what a check returns; note what it raises."""
    try:
        return check()
    except SuperInfoError as error:
        _note(told, f"{who}: {error}")
    except OSError as error:
        _note(told, f"{who}: {error.filename}: {error.strerror}")
    return None


def _note(told: list[str], fault: str) -> None:
    if fault not in told:
        told.append(fault)
