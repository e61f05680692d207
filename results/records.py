"""The store: all records below a folder, read in parallel; what cannot be read is listed."""

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, TypeVar

from results.figures import Figures, Kinds
from results.folders import look_below
from results.manifests import Manifests
from superinfo.artifacts import RECORD, Cost, Metric, Provenance, Record, What, Who
from superinfo.errors import SuperInfoError, UserError, printable
from superinfo.runs import parse_run_id, unfinished_state

PER_PROCESS = 4000
"""Records at least, for a further process to be worth its start."""
T = TypeVar("T")


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
    """A record that cannot be read, or not in full: then the run is there, with undefined figures where it has none.

    Also a folder that cannot be looked into, and a manifest that is no file.
    """

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
    manifests: Manifests


def read_store(folder: Path) -> Store:
    """Read every `record.json` below a folder, at any depth; hidden folders are left out.

    Nothing that is found stops it: what cannot be read is in `unreadable`. Raises UserError if there is no such folder,
    or neither a record nor a run below it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds runs")
    found = look_below(folder)
    unreadable = [Unreadable(path, printable(reason)) for path, reason in found.faults]
    runs = []
    for path, (run, fault) in zip(found.records, _read_all(found.records), strict=True):
        if run is not None:
            runs.append(run)
        if fault:
            unreadable.append(Unreadable(path, fault))
    unfinished = []
    for path in found.unfinished:
        try:
            unfinished.append(_read_unfinished(path))
        except OSError as error:
            unreadable.append(Unreadable(path, error.strerror or str(error)))
    if not runs and not unfinished and not unreadable:
        raise UserError(f"{folder}: no {RECORD} below it; `superinfo detect` and `superinfo probe` write them")
    unreadable.sort(key=lambda each: each.path)
    return Store(folder, tuple(runs), tuple(unfinished), tuple(unreadable), Manifests(tuple(found.manifests)))


def read_if_any(folder: Path) -> Store:
    """Read a folder of runs as `read_store` does; an empty store where nothing was run yet."""
    try:
        return read_store(folder)
    except UserError:
        return Store(folder, (), (), (), Manifests(()))


Read = tuple[Run | None, str]
"""A run, and what is wrong with its file; empty where nothing is."""


def _read_all(paths: Sequence[Path]) -> list[Read]:
    """Read records in as many processes as pay, this one among them; the others are started anew, not forked."""
    processes = max(1, min(len(os.sched_getaffinity(0)), len(paths) // PER_PROCESS))
    size = -(-len(paths) // processes)
    first, *others = (paths[i * size : (i + 1) * size] for i in range(processes))
    with ExitStack() as stack:
        readers = [stack.enter_context(_start_reader(share)) for share in others]
        read = _Reader().read_all(first)
        for reader in readers:
            answer, _ = reader.communicate()
            if reader.returncode != 0:
                raise SuperInfoError(f"a process that read records ended with {reader.returncode}; try again")
            read += pickle.loads(answer)
    return read


def _start_reader(paths: Sequence[Path]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {root!r}); from results.records import serve; serve()"
    with TemporaryFile() as question:
        pickle.dump(paths, question)
        question.seek(0)
        return subprocess.Popen([sys.executable, "-c", program], stdin=question, stdout=subprocess.PIPE)


def serve() -> None:
    """Read the records whose paths come on stdin, and answer on stdout; what `_read_all` starts."""
    pickle.dump(_Reader().read_all(pickle.load(sys.stdin.buffer)), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


class _Reader:
    """Reads records; what many of them have alike is kept once."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[tuple[str, str, bool], ...], Kinds] = {}
        self._alike: dict[object, Any] = {}

    def read_all(self, paths: Sequence[Path]) -> list[Read]:
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> Read:
        try:
            content, fault = _with_undefined_figures(path.read_bytes())
            return self._run(path.parent, Record.from_json(content, RECORD)), fault
        except OSError as error:
            return None, error.strerror or str(error)
        except UserError as error:
            return None, str(error).removeprefix(f"{RECORD}: ")

    def _run(self, folder: Path, record: Record) -> Run:
        return Run(
            folder=folder,
            id=record.run,
            seed=record.seed,
            who=self._once(record.who),
            what=self._once(record.what),
            metrics=Figures.of(record.metrics, self._kinds),
            deviations=self._once(tuple(record.deviations)),
            recipe=self._once(str(record.recipe.get("name", record.run.partition("--")[0]))),
            recipe_hash=self._once(record.recipe_hash),
            protocol_hash=self._once(record.protocol_hash),
            command=record.command,
            cost=record.cost,
            provenance=record.provenance,
        )

    def _once(self, value: T) -> T:
        kept: T = self._alike.setdefault(value, value)
        return kept


def _with_undefined_figures(content: bytes) -> tuple[bytes, str]:
    """Return a record with null for each figure that is not finite, and their names in a sentence."""
    if b"NaN" not in content and b"Infinity" not in content:
        return content, ""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return content, ""
    metrics = data.get("metrics") if isinstance(data, dict) else None
    wrong = []
    for name, metric in metrics.items() if isinstance(metrics, dict) else ():
        value = metric.get("value") if isinstance(metric, dict) else None
        if isinstance(value, float) and not math.isfinite(value):
            metric["value"] = None
            wrong.append(f"{name} is {value}")
    if not wrong:
        return content, ""
    return json.dumps(data).encode(), printable(f"{', '.join(wrong)}: no figure, and shown as undefined")


def _read_unfinished(folder: Path) -> Unfinished:
    name = parse_run_id(folder.name)
    assert name is not None
    state, reason = unfinished_state(folder)
    return Unfinished(folder, folder.name, name.recipe, name.row, name.seed, state, reason)
