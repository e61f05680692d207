"""Records from disk, as objects and as one frame."""

from pathlib import Path

import pandas as pd

from superinfo.artifacts import RECORD, Record
from superinfo.errors import UserError


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
