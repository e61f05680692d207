"""What is wrong with a suite, found before its first job: all of it, without training or reading images."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from benchmarks.jobs import load_task
from benchmarks.machine import Machine
from benchmarks.origins import load_row
from benchmarks.suite import Row, Suite, TableSpec, Task, overrides
from pretrain.recipe import PretrainRecipe
from superinfo.artifacts import Pixels
from superinfo.datasets.images import find_images
from superinfo.errors import SuperInfoError, UserError
from superinfo.spec import identity_hash
from transfer.convert.reading import row_name
from transfer.overlay import encoder_overlay
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import DetectRecipe
from transfer.roots import find_detection_set

T = TypeVar("T")


class Faults:
    """Faults, each once with all that have it."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def note(self, who: str, fault: str) -> None:
        """Note a fault of a row, a task or a recipe."""
        found = self._found.setdefault(fault, [])
        if who not in found:
            found.append(who)

    def told(self) -> list[str]:
        """Return a line for each fault, with whose it is."""
        more = {fault: f" and {len(who) - 1} more" if len(who) > 1 else "" for fault, who in self._found.items()}
        return [f"{who[0]}{more[fault]}: {fault}" for fault, who in self._found.items()]


@dataclass(frozen=True)
class Findings:
    """What is found of a suite."""

    wrong: Faults = field(default_factory=Faults)
    """What only another suite, or another command, mends."""
    missing: Faults = field(default_factory=Faults)
    """Data sets that are not here."""


def find_faults(suite: Suite, machine: Machine) -> Findings:
    """Return all that is wrong with rows and tasks, and all data that is missing here."""
    found = Findings()
    for table in suite.tables:
        _find_twins(table, found.wrong)
        for row in table.rows:
            if row.pretrain is not None:
                _check_pretraining(row, machine, found)
            elif row.checkpoint is not None:
                _try(partial(_read_checkpoint, row), found.wrong, f"row {row.label!r}")
        for task in table.tasks:
            _check_task(task, machine, found)
    return found


def _check_pretraining(row: Row, machine: Machine, found: Findings) -> None:
    recipe = _try(lambda: load_row(row), found.wrong, f"row {row.label!r}")
    if recipe is None:
        return
    _check_machine(recipe, machine, found.wrong)
    _try(lambda: find_images(recipe.data), found.missing, recipe.name)
    if (knn := recipe.monitor.knn) is not None:
        _try(lambda: find_images(knn.queries, "monitor.knn.queries"), found.missing, recipe.name)


def _check_machine(recipe: PretrainRecipe, machine: Machine, wrong: Faults) -> None:
    processes = machine.gpus_for(recipe.resources) or 1
    share = recipe.batch_size // processes
    if recipe.batch_size % processes or share < 2 or share % min(recipe.chunk_size or share, share):
        chunks = f" in chunks of {recipe.chunk_size}" if recipe.chunk_size else ""
        wrong.note(recipe.name, f"batch_size {recipe.batch_size}{chunks} is not shared out among {processes} GPUs")
    if recipe.precision == "16-mixed" and machine.gpus_for(recipe.resources) == 0:
        wrong.note(recipe.name, "precision 16-mixed needs a GPU, and its job gets none")


def _check_task(task: Task, machine: Machine, found: Findings) -> None:
    recipe = _try(lambda: load_task(task), found.wrong, f"task {task.recipe!r}")
    if isinstance(recipe, DetectRecipe):
        _try(lambda: _check_detector(recipe, machine), found.wrong, recipe.name)
        _try(lambda: find_detection_set(recipe.data), found.missing, recipe.name)
    elif isinstance(recipe, ProbeRecipe):
        _try(lambda: _find_splits(recipe), found.missing, recipe.name)


def _check_detector(recipe: DetectRecipe, machine: Machine) -> None:
    """Raise UserError if a recipe makes no detector, here with its own encoder, or none that its job can train."""
    from transfer.detection.config import protocol_config

    pixels = Pixels(mean=recipe.mean, std=recipe.std)
    solver = protocol_config(recipe, encoder_overlay(recipe.encoder, pixels)).SOLVER
    gpus, batch = machine.gpus_for(recipe.resources), solver.IMS_PER_BATCH
    is_scaled = solver.REFERENCE_WORLD_SIZE or recipe.images_per_device
    if gpus and batch % gpus and (gpus > batch or not is_scaled):
        raise UserError(f"options: SOLVER.IMS_PER_BATCH {batch} is not shared out among {gpus} GPUs")
    if solver.AMP.ENABLED and gpus == 0:
        raise UserError("options: SOLVER.AMP.ENABLED is true, which needs a GPU, and its job gets none")


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


def _find_twins(table: TableSpec, wrong: Faults) -> None:
    """Note rows, and tasks, that are the same but for their labels: a run would count twice."""
    rows: dict[str, str] = {}
    for row in table.rows:
        if (same := _identity(row)) in rows:
            wrong.note(table.title, f"rows {rows[same]!r} and {row.label!r} are one encoder, or files of one name")
        elif same is not None:
            rows[same] = row.label
    tasks: set[str] = set()
    for task in table.tasks:
        with suppress(SuperInfoError):  # which another check tells
            same = identity_hash(load_task(task))
            if same in tasks:
                wrong.note(table.title, f"task {task.recipe!r} stands twice")
            tasks.add(same)


def _identity(row: Row) -> str | None:
    """Return what sets a row's encoder apart in records, of a file its name; None if its recipe cannot be read."""
    if row.pretrain is None:
        return f"file {row_name(row.checkpoint)}" if row.checkpoint else "random"
    try:
        return identity_hash(load_row(row))
    except SuperInfoError:  # which another check tells
        return None


def _try(check: Callable[[], T], told: Faults, who: str) -> T | None:
    """Return what a check returns; note what it raises."""
    try:
        return check()
    except SuperInfoError as error:
        told.note(who, str(error))
    except OSError as error:
        told.note(who, f"{error.filename}: {error.strerror}")
    return None
