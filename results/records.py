"""Records from disk, as objects and as one frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from superinfo.artifacts import RECORD, Cost, Metric, Provenance, Record, What, Who
from superinfo.errors import UserError


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run as tables need it: its record without the resolved recipe, which stays on disk."""

    folder: Path
    """Holds record.json, and the curves and pictures beside it."""
    id: str
    seed: int
    who: Who
    what: What
    metrics: Mapping[str, Metric]
    deviations: tuple[str, ...]
    recipe: str
    """Name of the recipe that measured."""
    recipe_hash: str
    protocol_hash: str
    """Of what makes figures comparable: the recipe that measured without what the encoder brings along."""
    command: str | None
    """That repeats it; None in records of version 1."""
    cost: Cost
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run folder without a record."""

    folder: Path
    id: str
    recipe: str
    name: str
    """Row name, as `Who.name`."""
    seed: int
    state: Literal["running", "interrupted", "failed"]
    reason: str
    """Of a failure, in one line; empty elsewhere."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is called record.json and cannot be read as one."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Store:
    """All that lies below a folder."""

    folder: Path
    runs: tuple[Run, ...]
    """By path."""
    unfinished: tuple[Unfinished, ...]
    unreadable: tuple[Unreadable, ...]


def find_records(folder: Path) -> list[Record]:
    """Read every `record.json` below a folder, in path order. Raises UserError if there is none, or one is broken."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds runs")
    paths = sorted(folder.rglob(RECORD))
    if not paths:
        raise UserError(f"{folder}: no {RECORD} below it; `superinfo detect` writes them")
    return [Record.read(path) for path in paths]


def load_records(folder: Path) -> pd.DataFrame:
    """Return the records below a folder, a row each.

    Columns: `run`, `seed`; of whom: `name`, `method`, `term`, `pretraining_set`, `epochs`, `pretraining_seed`,
    `encoder`, `tensors_sha256`; of what: `task`, `dataset`, `split`, `samples`, `protocol`, `protocol_version`;
    `deviations`; `wall_seconds`, `peak_memory_mib`, `parameters`, `flops`; `commit`, `created`; and one column for
    each metric, by its name (`mask/AP50`, in the unit its record states). Raises UserError as `find_records` does.
    """
    return pd.DataFrame([_row(record) for record in find_records(folder)])


def _row(record: Record) -> dict[str, object]:
    who, what, cost = record.who, record.what, record.cost
    return {
        "run": record.run,
        "seed": record.seed,
        "name": who.name,
        "method": who.method,
        "term": who.term,
        "pretraining_set": who.dataset,
        "epochs": who.epochs,
        "pretraining_seed": who.seed,
        "encoder": who.encoder.title,
        "tensors_sha256": who.tensors_sha256,
        **what.model_dump(),
        "deviations": "; ".join(record.deviations),
        "wall_seconds": cost.wall_seconds,
        "peak_memory_mib": cost.peak_memory_mib,
        "parameters": cost.parameters,
        "flops": cost.flops,
        "commit": record.provenance.commit,
        "created": record.provenance.created,
        **{name: metric.value for name, metric in record.metrics.items()},
    }
