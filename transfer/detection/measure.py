"""From a detector to its record: data and config before, scores, pictures and costs after."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import nn

from superinfo.artifacts import PICTURES, Cost, Metric, Record, What, Who
from superinfo.files import write_bytes
from superinfo.processes import Agreement, is_main_process, world_size
from superinfo.progress import say
from superinfo.runs import peak_memory_mib, provenance
from superinfo.spec import identity, identity_hash, protocol_hash
from superinfo.state import newest_state, put_states_aside, read_state
from transfer.detection.config import build_config, protocol_config, read_needs
from transfer.detection.data import Splits, register
from transfer.detection.evaluate import count_detector_flops, evaluate, rehearse
from transfer.detection.machine import differences, fit_to_machine, schedule
from transfer.detection.pictures import draw_predictions
from transfer.detection.weights import Start
from transfer.deviations import deviations
from transfer.recipe import RECIPES, DetectRecipe

LOGGERS = ("detectron2", "fvcore", "iopath")
PREDICTIONS = "coco_instances_results.json"


@dataclass(frozen=True)
class Setting:
    """Data that Detectron2 knows, the config that runs on this machine, and what a run resumes from."""

    splits: Splits
    cfg: CfgNode
    notes: list[str]
    """What the record has to say of weights and machine."""
    state: Path | None
    """Of a training that was killed."""


def prepare(
    recipe: DetectRecipe, start: Start, seed: int, folder: Path, run_hash: str, runs: Path, kind: str
) -> Setting:
    """Find what the run resumes from, build the config, and check and register the data.

    Raises UserError as `protocol_config`, `fit_to_machine`, `register`, `build_config` and `score` do.
    """
    device, agreement = torch.device(kind), Agreement()
    protocol = protocol_config(recipe, start.overlay)
    state = agreement.first(lambda: newest_state(folder, run_hash))
    fitted, changes = fit_to_machine(protocol, device, world_size(), recipe.images_per_device)
    begun = read_state(state)["schedule"] if state else schedule(fitted)
    if told := differences(begun, fitted):
        if recipe.images_per_device is None:
            fitted, changes = fit_to_machine(protocol, device, world_size(), None, begun)
        else:
            agreement.first(lambda: _start_anew(folder, told))
            state = None
    splits = register(recipe.data, runs, read_needs(recipe))
    cfg = build_config(fitted, recipe, start.file, splits, seed, device, folder)
    agreement.first(lambda: rehearse(cfg, splits.test.annotations))
    return Setting(splits, cfg, [*start.notes, *changes], state)


def _start_anew(folder: Path, told: str) -> None:
    put_states_aside(folder)
    say(f"{folder.name}: begun with {told}: as images_per_device asks, it starts anew; its state is put aside there")


def publish(
    recipe: DetectRecipe,
    who: Who,
    seed: int,
    path: Path,
    splits: Splits,
    cfg: CfgNode,
    model: nn.Module,
    seconds: float,
    notes: Sequence[str],
    command: str | None,
) -> None:
    """Score a detector with all processes; write pictures and, last, the record with the first one.

    `seconds` are those that it took so far; `notes` are what the record has to say besides the recipe's deviations;
    `command` is the line that repeats it.
    """
    began, test = time.monotonic(), splits.test
    metrics, predictions = evaluate(cfg, model, test.annotations)
    if not is_main_process():
        return
    write_bytes(path.parent / PREDICTIONS, json.dumps(predictions).encode())
    draw_predictions(test.annotations, predictions, path.parent / PICTURES, recipe.pictures)
    flops, flops_input = count_detector_flops(cfg, model)
    changed = deviations(recipe, recipe.name, RECIPES)
    Record(
        run=path.parent.name,
        command=command,
        seed=seed,
        who=who,
        what=What(
            task=_task(cfg),
            dataset=recipe.data.title,
            split=test.annotations.title,
            samples=test.images,
            protocol=recipe.protocol,
            protocol_version=recipe.protocol_version,
        ),
        metrics=metrics,
        deviations=[*changed, *splits.notes, *notes],
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=identity_hash(recipe),
        protocol_hash=protocol_hash(identity(recipe)),
        cost=Cost(
            wall_seconds=seconds + time.monotonic() - began,
            peak_memory_mib=peak_memory_mib(),
            parameters=sum(p.numel() for p in model.parameters()),
            flops=flops,
            flops_input=flops_input,
        ),
        provenance=provenance(),
    ).write(path)


def figures(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return those that are defined, for curves."""
    return {name: metric.value for name, metric in metrics.items() if metric.value is not None}


@contextlib.contextmanager
def logged_to(folder: Path) -> Iterator[None]:
    """Send Detectron2's log, and what libraries print, to `log.txt`: stdout is for the artifact's path.

    Only the first process's is kept.
    """
    path = folder / "log.txt" if is_main_process() else Path(os.devnull)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        with path.open("a") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def _task(cfg: CfgNode) -> str:
    if cfg.MODEL.KEYPOINT_ON:
        return "keypoint_detection"
    return "instance_segmentation" if cfg.MODEL.MASK_ON else "object_detection"
