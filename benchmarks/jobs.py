"""From a suite to its jobs: each one command, what it needs, and whether its artifact is there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.origins import Found, Origin, Pretrained, Random, origin_of
from benchmarks.suite import Changes, Row, Suite, TableSpec, Task, overrides
from superinfo.artifacts import CONVERSION, Who
from superinfo.resources import Resources
from superinfo.spec import identity_hash, load_recipe
from transfer.probing.recipe import RECIPES as PROBING
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import RECIPES as DETECTION
from transfer.recipe import DetectRecipe

CONVERSION_RESOURCES = Resources(memory_gb=8.0, hours=0.02, disk_gb=0.1)
"""Half a minute, and the weights of a ResNet-50."""
MARGIN = 3
"""A cluster may stop a job that takes so many times its estimate; it resumes."""
LEAST_MINUTES = 60


@dataclass(frozen=True)
class Job:
    """One command of a suite."""

    name: str
    """`<kind>/<what it makes>`, the same for jobs that make the same."""
    command: tuple[str, ...]
    """As it would be typed."""
    needs: tuple[str, ...]
    """Names of jobs."""
    artifact: Path | None
    """Where it is, if it is done."""
    resources: Resources
    gpus: int
    threads: int

    @property
    def kind(self) -> str:
        """Return pretrain, convert, detect or probe."""
        return self.name.partition("/")[0]

    @property
    def memory_mb(self) -> int:
        """Return the memory that a scheduler is asked for."""
        return math.ceil(1000 * self.resources.memory_gb)

    @property
    def minutes(self) -> int:
        """Return the time that a scheduler is asked for."""
        return max(LEAST_MINUTES, math.ceil(60 * MARGIN * self.resources.hours))


@dataclass(frozen=True)
class Cell:
    """One run that a table wants."""

    table: TableSpec
    row: Row
    task: Task
    seed: int
    recipe: DetectRecipe | ProbeRecipe
    origin: Origin
    job: str
    """Name of the job that measures."""


@dataclass
class Plan:
    """All jobs of a suite, in an order in which each stands behind what it needs."""

    jobs: dict[str, Job] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)

    def left(self) -> list[Job]:
        """Return the jobs whose artifacts are not there and are needed: a record needs no pretraining again."""
        wanted = {cell.job for cell in self.cells}
        for job in reversed(self.jobs.values()):
            if job.name in wanted and job.artifact is None:
                wanted.update(job.needs)
        return [job for job in self.jobs.values() if job.name in wanted and job.artifact is None]


def plan_suite(suite: Suite, runs: Path, machine: Machine) -> Plan:
    """Return the jobs of a suite. Raises UserError if a recipe or checkpoint cannot be read."""
    plan = Plan()
    for table in suite.tables:
        for row in table.rows:
            for seed in suite.seeds_of(table):
                origin = origin_of(row, seed, runs)
                for task in table.tasks:
                    planned = _Planned(origin, task, seed, runs, machine)
                    plan.jobs |= {job.name: job for job in planned.jobs()}
                    plan.cells.append(Cell(table, row, task, seed, planned.recipe, origin, planned.name))
    plan.jobs = dict(sorted(plan.jobs.items(), key=lambda item: _ORDER[item[1].kind]))
    return plan


_ORDER = {"pretrain": 0, "convert": 1, "detect": 2, "probe": 2}


def load_task(task: Task) -> DetectRecipe | ProbeRecipe:
    """Return the recipe of a task. Raises UserError as `load_recipe` does."""
    return _load(task.detect, task.probe, tuple(overrides(task.set)))


@cache
def _load(detect: str | None, probe: str | None, changes: tuple[str, ...]) -> DetectRecipe | ProbeRecipe:
    if detect is not None:
        return load_recipe(DetectRecipe, detect, DETECTION, changes)
    assert probe is not None
    return load_recipe(ProbeRecipe, probe, PROBING, changes)


class _Planned:
    """One cell's jobs."""

    def __init__(self, origin: Origin, task: Task, seed: int, runs: Path, machine: Machine) -> None:
        self.origin, self.task, self.seed, self.runs, self.machine = origin, task, seed, runs, machine
        self.recipe = load_task(task)
        self.kind = "detect" if isinstance(self.recipe, DetectRecipe) else "probe"
        measured = f"{self.recipe.name}-{identity_hash(self.recipe)[:8]}"
        self.name = f"{self.kind}/{measured}--{origin.id}-s{seed}"

    def jobs(self) -> Iterator[Job]:
        """Yield what makes the encoder, and then what measures it."""
        needs: tuple[str, ...] = ()
        for job in self._makers():
            yield job
            needs = (job.name,)
        yield self._measuring(needs)

    def _makers(self) -> Iterator[Job]:
        origin = self.origin
        if isinstance(origin, Pretrained):
            yield (pretraining := self._pretraining(origin))
            if self.kind == "detect":
                yield self._conversion(origin.id, origin.checkpoint, origin.weights, (pretraining.name,))
        elif isinstance(origin, Found):
            row, target = origin.row, "detectron2" if self.kind == "detect" else "safetensors"
            out = origin.weights if self.kind == "detect" else origin.checkpoint.parent
            said = [f"--source={row.source}"] * bool(row.source) + [f"--branch={row.branch}"] * bool(row.branch)
            yield self._conversion(f"{origin.id}-{target}", origin.file, out, (), "--to", target, *said, *_set(row.set))

    def _pretraining(self, origin: Pretrained) -> Job:
        resources, row = origin.recipe.resources, origin.row
        gpus = self.machine.gpus_for(resources)
        assert row.pretrain is not None
        command = ("superinfo", "pretrain", row.pretrain, *self._where(origin.seed), *_devices(gpus), *_set(row.set))
        return self._job(f"pretrain/{origin.id}", command, (), _there(origin.checkpoint), resources, gpus)

    def _conversion(self, name: str, file: Path, out: Path, needs: tuple[str, ...], *how: str) -> Job:
        artifact = out if (out / CONVERSION).exists() else None
        command = ("superinfo", "convert", str(file), "--out", str(out), *how)
        return self._job(f"convert/{name}", command, needs, artifact, CONVERSION_RESOURCES, 0)

    def _measuring(self, needs: tuple[str, ...]) -> Job:
        resources, recipe, origin = self.recipe.resources, self.recipe, self.origin
        detects = isinstance(recipe, DetectRecipe)
        gpus = self.machine.gpus_for(resources, None if detects else 1)
        start = "random" if isinstance(origin, Random) else str(origin.weights if detects else origin.checkpoint)
        what = ("superinfo", self.kind, self.task.recipe, "--weights" if detects else "--checkpoint", start)
        how = (*self._where(self.seed), *(_devices(gpus) if detects else ()), *_set(self.task.set))
        return self._job(self.name, what + how, needs, self._record(), resources, gpus)

    def _record(self) -> Path | None:
        origin = self.origin
        who = origin.who_with(self.recipe.encoder) if isinstance(origin, Random) else origin.who()
        return None if who is None else _there(record_path(self.recipe, who, self.seed, self.runs))

    def _where(self, seed: int) -> tuple[str, ...]:
        return ("--seed", str(seed), "--runs", str(self.runs), "--device", self.machine.device)

    def _job(
        self,
        name: str,
        command: tuple[str, ...],
        needs: tuple[str, ...],
        artifact: Path | None,
        resources: Resources,
        gpus: int,
    ) -> Job:
        return Job(name, command, needs, artifact, resources, gpus, self.machine.threads_for(gpus))


def record_path(recipe: DetectRecipe | ProbeRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    if isinstance(recipe, DetectRecipe):
        from transfer.detection.detect import record_path as detector_record_path

        return detector_record_path(recipe, who, seed, runs)
    from transfer.probing.probe import record_path as probe_record_path

    return probe_record_path(recipe, who, seed, runs)


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


def _devices(gpus: int) -> tuple[str, ...]:
    return ("--devices", str(gpus)) if gpus > 1 else ()


def _set(changes: Changes) -> tuple[str, ...]:
    return tuple(part for change in overrides(changes) for part in ("--set", change))
