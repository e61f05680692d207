"""One probe: recipe and encoder in, record.json out."""

import time
from contextlib import ExitStack
from pathlib import Path

from superinfo.artifacts import RECORD, Cost, Record, What, Who
from superinfo.device import enough_memory, pick_device
from superinfo.encoders import count_flops
from superinfo.runs import interruptible, locked, peak_memory_mib, provenance, reset_peak_memory, run_id
from superinfo.spec import identity, identity_hash, protocol_hash
from superinfo.state import remove_states
from transfer.deviations import deviations
from transfer.probing.classify import classify_by_neighbours, classify_linearly
from transfer.probing.encoder import Subject, open_encoder
from transfer.probing.factors import read_factors
from transfer.probing.features import FeatureStore
from transfer.probing.finetune import finetune
from transfer.probing.information import measure_information
from transfer.probing.recipe import (
    RECIPES,
    FactorsSpec,
    FinetuneSpec,
    InformationSpec,
    KNNSpec,
    LinearSpec,
    ProbeRecipe,
)
from transfer.probing.splits import open_splits, split_title
from transfer.probing.trial import Outcome, Trial
from transfer.who import inputs_of


def probe(
    recipe: ProbeRecipe,
    checkpoint: Path | None,
    seed: int,
    runs: Path,
    device: str = "auto",
    *,
    command: str | None = None,
) -> Path:
    """Probe the encoder of a checkpoint, or a randomly initialised one if None; return record.json.

    Frozen features are kept below `runs/features`, for every probe that needs the same ones. Leaves a finished run
    alone; fine-tuning resumes an unfinished one, other probes begin anew from the features that are there. `command`
    is the line that repeats the measurement, for the record. Raises UserError on bad input and on a GPU with too little
    memory, Diverged on a loss that is not finite, Interrupted on SIGTERM and SIGUSR1.
    """
    subject = open_encoder(checkpoint, recipe.encoder, seed)
    path = record_path(recipe, subject.who, seed, runs)
    if path.exists():
        return path
    with ExitStack() as stack:
        stack.enter_context(locked(path.parent))
        stack.enter_context(interruptible(recipe.name))
        if not path.exists():
            _measure(recipe, subject, seed, path, runs, device, command)
    return path


def record_path(recipe: ProbeRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    return runs / run_id(f"{recipe.name}--{who.name}", seed, _run_hash(recipe, who)) / RECORD


def _run_hash(recipe: ProbeRecipe, who: Who) -> str:
    return identity_hash(recipe, inputs_of(who))


def _measure(
    recipe: ProbeRecipe, subject: Subject, seed: int, path: Path, runs: Path, device: str, command: str | None
) -> None:
    chosen = pick_device(device)
    reset_peak_memory()
    start = time.monotonic()
    parameters = sum(p.numel() for p in subject.encoder.parameters())
    flops = count_flops(subject.encoder, recipe.input_size)
    labelled = not isinstance(recipe.task, (FactorsSpec, InformationSpec))
    splits = open_splits(recipe.data, runs, labelled=labelled)
    store = FeatureStore(subject, recipe, runs / "features", chosen)
    trial = Trial(recipe, seed, subject, splits, store, runs, path.parent, _run_hash(recipe, subject.who), chosen)
    with enough_memory(recipe.name, "use --device cpu, or a GPU with more"):
        outcome = _carry_out(trial)
    Record(
        run=path.parent.name,
        command=command,
        seed=seed,
        who=subject.who,
        what=What(
            task=recipe.task.kind,
            dataset=recipe.data.name,
            split=split_title(recipe.data.test),
            samples=outcome.samples,
            protocol=recipe.protocol,
            protocol_version=recipe.protocol_version,
        ),
        metrics=outcome.metrics,
        deviations=[*deviations(recipe, recipe.name, RECIPES), *splits.notes, *store.notes, *outcome.notes],
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=identity_hash(recipe),
        protocol_hash=protocol_hash(identity(recipe)),
        cost=Cost(
            wall_seconds=outcome.seconds_before + time.monotonic() - start,
            peak_memory_mib=peak_memory_mib(),
            parameters=parameters,
            flops=flops,
            flops_input=f"1x3x{recipe.input_size}x{recipe.input_size}",
        ),
        provenance=provenance(),
    ).write(path)
    remove_states(path.parent)


def _carry_out(trial: Trial) -> Outcome:
    match trial.recipe.task:
        case LinearSpec() as task:
            return classify_linearly(trial, task)
        case KNNSpec() as task:
            return classify_by_neighbours(trial, task)
        case FactorsSpec() as task:
            return read_factors(trial, task)
        case InformationSpec() as task:
            return measure_information(trial, task)
        case FinetuneSpec() as task:
            return finetune(trial, task)
