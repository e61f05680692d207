"""Records as one tidy frame, a row for each run and metric, and as Parquet; pandas is imported when it is asked for."""

import warnings
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from results.records import Run, Store, read_store
from superinfo.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Column: TypeAlias = "pd.api.extensions.ExtensionArray | NDArray[np.generic]"

Dtype = Literal["category", "int64", "Int64", "float64", "bool"]


@dataclass(frozen=True)
class Field:
    """A column of the frame."""

    name: str
    dtype: Dtype
    """As pandas calls it. Texts are categories, for memory's sake; `Int64` and categories may lack a value."""
    meaning: str
    of: Callable[[Run], object] | None = None
    """What a run has in it; None where every metric has its own."""


SCHEMA: tuple[Field, ...] = (
    Field("run", "category", "id of the run", lambda run: run.id),
    Field("seed", "int64", "seed of the measurement", lambda run: run.seed),
    Field("name", "category", "row name of the pretraining, or `random`", lambda run: run.who.name),
    Field("method", "category", "contrastive base", lambda run: run.who.method),
    Field("term", "category", "information term added to it, or `none`", lambda run: run.who.term),
    Field("pretraining_set", "category", "what was pretrained on", lambda run: run.who.dataset),
    Field("epochs", "Int64", "of pretraining", lambda run: run.who.epochs),
    Field("pretraining_seed", "int64", "seed of the pretraining", lambda run: run.who.seed),
    Field("encoder", "category", "architecture, width and stem", lambda run: run.who.encoder.title),
    Field("pretraining_hash", "category", "of the pretraining's recipe", lambda run: run.who.recipe_hash),
    Field("tensors_sha256", "category", "of the encoder; none if random", lambda run: run.who.tensors_sha256),
    Field("task", "category", "what was measured", lambda run: run.what.task),
    Field("dataset", "category", "on which data", lambda run: run.what.dataset),
    Field("split", "category", "on which part of them", lambda run: run.what.split),
    Field("samples", "int64", "images evaluated", lambda run: run.what.samples),
    Field("protocol", "category", "how it was measured", lambda run: run.what.protocol),
    Field("protocol_version", "int64", "of that protocol", lambda run: run.what.protocol_version),
    Field("protocol_hash", "category", "equal where all of how it was measured is", lambda run: run.protocol_hash),
    Field("deviations", "category", "from the protocol, joined by `; `", lambda run: "; ".join(run.deviations)),
    Field("recipe", "category", "name of the recipe that measured", lambda run: run.recipe),
    Field("recipe_hash", "category", "of that recipe", lambda run: run.recipe_hash),
    Field("metric", "category", "name of the figure, such as `mask/AP50`"),
    Field("value", "float64", "the figure, in its unit; missing where it is undefined"),
    Field("unit", "category", "of the figure: `percent`, `nats`, ..."),
    Field("higher_is_better", "bool", "direction of better figures"),
    Field("wall_seconds", "float64", "that the measurement took", lambda run: run.cost.wall_seconds),
    Field("peak_memory_mib", "float64", "peak memory, in MiB", lambda run: run.cost.peak_memory_mib),
    Field("parameters", "int64", "of the model measured", lambda run: run.cost.parameters),
    Field("flops", "float64", "multiply-adds of a forward pass", lambda run: run.cost.flops),
    Field("commit", "category", "of this project; `+` with changes", lambda run: run.provenance.commit),
    Field("created", "category", "time, UTC, ISO 8601", lambda run: run.provenance.created),
    Field("command", "category", "that repeats the measurement", lambda run: run.command),
    Field("folder", "category", "that holds the record", lambda run: _text(run.folder)),
)
"""The columns of the frame, in their order."""


def load_records(folder: Path) -> "pd.DataFrame":
    """Return the records below a folder, at any depth: a row for each run and metric, with the columns of SCHEMA.

    Texts are categories: `frame.groupby(..., observed=True)`. Warns of records that cannot be read. Raises UserError as
    `read_store` does.
    """
    store = read_store(folder)
    for unreadable in store.unreadable:
        warnings.warn(f"{unreadable.path}: {unreadable.reason}", stacklevel=2)
    return to_frame(store)


def to_frame(store: Store) -> "pd.DataFrame":
    """Return the figures of all runs of a store, with the columns of SCHEMA."""
    import numpy as np
    import pandas as pd

    rows = np.repeat(np.arange(len(store.runs)), [len(run.metrics) for run in store.runs])
    columns = _metrics(store.runs)
    for field in SCHEMA:
        if field.of is not None:
            column = _column([field.of(run) for run in store.runs], field.dtype)
            columns[field.name] = column.take(rows)
    return pd.DataFrame({field.name: columns[field.name] for field in SCHEMA}, copy=False)


def write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write a frame as Parquet, atomically; pandas reads it back with the same types."""
    write_atomically(path, lambda file: frame.to_parquet(file, engine="pyarrow", index=False))


def _metrics(runs: Sequence[Run]) -> "dict[str, Column]":
    """Return the columns that every metric has its own value in."""
    import numpy as np

    places: dict[str, dict[str, int]] = {"metric": {}, "unit": {}}
    codes: dict[str, array[int]] = {"metric": array("i"), "unit": array("i")}
    values, directions = array("d"), array("b")
    for run in runs:
        for name, metric in run.metrics.items():
            codes["metric"].append(places["metric"].setdefault(name, len(places["metric"])))
            codes["unit"].append(places["unit"].setdefault(metric.unit, len(places["unit"])))
            values.append(np.nan if metric.value is None else metric.value)
            directions.append(metric.higher_is_better)
    columns = {name: _column(list(places[name]), "category").take(np.asarray(codes[name])) for name in places}
    return columns | {"value": np.asarray(values), "higher_is_better": np.asarray(directions).astype(bool)}


def _column(values: Sequence[Any], dtype: Dtype) -> "Column":
    import numpy as np
    import pandas as pd

    if dtype != "category":
        return np.array(values, dtype=dtype) if dtype != "Int64" else pd.Series(values, dtype=dtype).array
    categories = sorted({value for value in values if isinstance(value, str)})
    places: dict[object, int] = {text: place for place, text in enumerate(categories)}
    codes = np.array([places.get(value, -1) for value in values], dtype=np.int64)
    return pd.Categorical.from_codes(codes, pd.Index(categories, dtype="str"))


def _text(path: Path) -> str:
    """Return a path as text that any program takes: bytes of a name that are no UTF-8 are replaced."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
