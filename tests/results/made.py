"""Runs and stores made up for tests, with figures chosen by the test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.declaration import Declaration
from results.folders import look_below
from results.manifests import Manifests
from results.records import Run, Store, Unfinished, Unreadable
from superinfo.artifacts import Cost, EncoderSpec, Metric, Provenance, What, Who

FOLDER = Path("/nowhere")
PROTOCOL = "maskrcnn-test"
SIMCLR, TERM = "simclr_r18_scenes_6e", "simclr+superinfo_r18_scenes_6e"
Values = float | None | Mapping[str, float | None]


def run(
    name: str,
    values: Values,
    seed: int = 0,
    *,
    pretraining: int | None = None,
    recipe_hash: str | None = "",
    tensors: str | None = "",
    unit: str = "percent",
    higher: bool = True,
    protocol: str = PROTOCOL,
    protocol_hash: str = "cd" * 32,
    recipe: str = "maskrcnn",
    folder: Path | None = None,
    deviations: Sequence[str] = (),
    who: Mapping[str, Any] | None = None,
    what: Mapping[str, Any] | None = None,
) -> Run:
    """Return a run of a row; a single value is that of `mask/AP`.

    The hash of the recipe follows from the name unless it is given; None makes it one from elsewhere.
    """
    if name == "random":
        recipe_hash = tensors = None
    figures = values if isinstance(values, Mapping) else {"mask/AP": values}
    first = seed if pretraining is None else pretraining
    method = name.partition("_")[0]
    base, _, term = method.partition("+")
    identity = f"{recipe}--{name}-s{seed}-p{first}"
    return Run(
        folder=folder or FOLDER / identity,
        id=identity,
        seed=seed,
        who=Who.model_validate(
            {
                "name": name,
                "method": base,
                "term": term or "none",
                "dataset": None if name == "random" else "scenes objects (5,000)",
                "epochs": 0 if name == "random" else 6,
                "seed": first,
                "encoder": EncoderSpec(arch="resnet18"),
                "recipe_hash": f"{name:*>64}" if recipe_hash == "" else recipe_hash,
                "tensors_sha256": f"{name}{first}" if tensors == "" else tensors,
                **(who or {}),
            }
        ),
        what=What.model_validate(
            {
                "task": "instance_segmentation",
                "dataset": "scenes",
                "split": "test",
                "samples": 200,
                "protocol": protocol,
                "protocol_version": 1,
                **(what or {}),
            }
        ),
        metrics={
            key: Metric.model_construct(value=value, unit=unit, higher_is_better=higher)
            for key, value in figures.items()
        },
        deviations=tuple(deviations),
        recipe=recipe,
        recipe_hash="ef" * 32,
        protocol_hash=protocol_hash,
        command=None,
        cost=Cost(wall_seconds=1.0, peak_memory_mib=1.0, parameters=1),
        provenance=Provenance(created="2026-01-01T00:00:00+00:00", commit=None, versions={}, hardware={}),
    )


def runs(name: str, values: Sequence[Values], **others: Any) -> list[Run]:
    """Return a run for each value, with the seeds 0, 1, ..."""
    return [run(name, value, seed, **others) for seed, value in enumerate(values)]


def pending(name: str, state: str, seed: int = 0, reason: str = "", recipe: str = "maskrcnn") -> Unfinished:
    """Return a run that is not done."""
    identity = f"{recipe}--{name}-s{seed}"
    return Unfinished(FOLDER / identity, identity, recipe, name, seed, state, reason)  # type: ignore[arg-type]


def store(
    *parts: Run | Unfinished | Unreadable | Sequence[Run],
    folder: Path = FOLDER,
) -> Store:
    """Return a store of all that is given, with the manifests below a folder."""
    flat = [one for part in parts for one in (part if isinstance(part, (list, tuple)) else [part])]
    return Store(
        folder,
        tuple(one for one in flat if isinstance(one, Run)),
        tuple(one for one in flat if isinstance(one, Unfinished)),
        tuple(one for one in flat if isinstance(one, Unreadable)),
        Manifests(tuple(look_below(folder).manifests)),
    )


def declaration(**fields: Any) -> Declaration:
    """Return the declaration of a table of one column, `mask/AP`, unless the fields say otherwise."""
    groups = [{"runs": {}, "metrics": [{"metric": "mask/AP", "difference": True}]}]
    return Declaration.parse({"name": "test", "title": "A test", "groups": groups, **fields}, "test")
