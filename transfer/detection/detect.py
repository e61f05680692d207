"""One detection run: recipe and weights in, record.json out."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from superinfo.artifacts import RECORD, Cost, Record, What, Who
from superinfo.runs import locked, peak_memory_mib, provenance, reset_peak_memory, run_id
from superinfo.spec import identity_hash
from transfer.detection.weights import open_weights, who_starts
from transfer.deviations import deviations
from transfer.recipe import RECIPES, DetectRecipe
from transfer.who import inputs_of

if TYPE_CHECKING:
    from detectron2.config import CfgNode

LOGGERS = ("detectron2", "fvcore", "iopath")
PICTURES = "pictures.png"


def detect(
    recipe: DetectRecipe,
    weights: Path | None,
    seed: int,
    runs: Path,
    device: str = "auto",
    devices: int = 1,
    *,
    evaluate_only: bool = False,
) -> Path:
    """Fine-tune and evaluate a detector from a converted folder, or from random weights if None; return record.json.

    Resumes an unfinished run, leaves a finished one alone. Beside the record: the detector (`model_final.pth`),
    curves (`metrics.json`, TensorBoard), predictions and `pictures.png`. With `evaluate_only` nothing is trained: see
    `transfer.detection.again`. Raises UserError on bad input, and Diverged, EvidenceRefused and Interrupted as `train`.
    """
    from superinfo.device import pick_device
    from superinfo.processes import is_main_process, started_by_a_launcher
    from transfer.detection.launch import launch

    who = who_starts(recipe, weights, seed)
    path = record_path(recipe, who, seed, runs)
    if path.exists():
        return path
    kind = pick_device(device).type
    with contextlib.ExitStack() as stack:
        if is_main_process() or not started_by_a_launcher():
            stack.enter_context(locked(path.parent))
        if not path.exists():
            launch(_measure, (recipe, who, weights, seed, path, runs, kind), kind, devices)
    return path


def record_path(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    return runs / run_id(f"{recipe.name}--{who.name}", seed, _run_hash(recipe, who)) / RECORD


def _run_hash(recipe: DetectRecipe, who: Who) -> str:
    return identity_hash(recipe, inputs_of(who))


def _measure(
    recipe: DetectRecipe, who: Who, weights: Path | None, seed: int, path: Path, runs: Path, kind: str
) -> None:
    """Register the data, train, evaluate, draw, and write the record last; in every process of the run."""
    import torch

    from superinfo.processes import is_main_process, world_size
    from transfer.detection.config import build_config, read_needs
    from transfer.detection.data import register
    from transfer.detection.evaluate import count_detector_flops, evaluate
    from transfer.detection.machine import fit_to_machine
    from transfer.detection.pictures import draw_predictions
    from transfer.detection.train import train

    folder = path.parent
    chosen = torch.device(kind)
    start = open_weights(recipe, weights)
    splits = register(recipe.data, runs, read_needs(recipe))
    protocol = build_config(recipe, start.overlay, start.file, splits, seed, chosen, folder)
    cfg, changes = fit_to_machine(protocol, chosen, world_size(), recipe.images_per_device)
    reset_peak_memory()
    with _logged_to(folder / "log.txt", alone=is_main_process()):
        trained = train(
            cfg,
            folder.name,
            _run_hash(recipe, who),
            start,
            save_minutes=recipe.save_minutes,
            evaluation=lambda model: {
                name: metric.value for name, metric in evaluate(cfg, model).items() if metric.value is not None
            },
            evaluate_every=recipe.evaluate_every,
        )
        began = time.monotonic()
        metrics = evaluate(cfg, trained.model)
        if not is_main_process():
            return
        draw_predictions(cfg, folder / PICTURES, recipe.pictures)
        flops, flops_input = count_detector_flops(cfg, trained.model)
        seconds = trained.seconds + time.monotonic() - began
    Record(
        run=folder.name,
        seed=seed,
        who=who,
        what=What(
            task=_task(cfg),
            dataset=recipe.data.title,
            split=splits.test.annotations.title,
            samples=splits.test.images,
            protocol=recipe.protocol,
            protocol_version=recipe.protocol_version,
        ),
        metrics=metrics,
        deviations=[*deviations(recipe, recipe.name, RECIPES), *splits.notes, *changes, *start.notes, *trained.notes],
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=identity_hash(recipe),
        cost=Cost(
            wall_seconds=seconds,
            peak_memory_mib=peak_memory_mib(),
            parameters=sum(p.numel() for p in trained.model.parameters()),
            flops=flops,
            flops_input=flops_input,
        ),
        provenance=provenance(),
    ).write(path)


def _task(cfg: "CfgNode") -> str:
    if cfg.MODEL.KEYPOINT_ON:
        return "keypoint_detection"
    return "instance_segmentation" if cfg.MODEL.MASK_ON else "object_detection"


@contextlib.contextmanager
def _logged_to(path: Path, *, alone: bool) -> Iterator[None]:
    """Send Detectron2's log, and what pycocotools prints, to a file: stdout is for the artifact's path."""
    handler = logging.FileHandler(path if alone else os.devnull)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        with open(path if alone else os.devnull, "a") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
