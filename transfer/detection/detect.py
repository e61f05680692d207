"""One detection run: recipe and weights in, record.json out."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from superinfo.artifacts import CONVERSION, OVERLAY, RECORD, WEIGHTS, Conversion, Cost, Record, What, Who
from superinfo.errors import UserError
from superinfo.files import file_sha256
from superinfo.runs import locked, peak_memory_mib, provenance, reset_peak_memory, run_id
from superinfo.spec import identity_hash
from transfer.overlay import encoder_overlay
from transfer.recipe import DetectRecipe

LOGGERS = ("detectron2", "fvcore", "iopath")
PICTURES = "pictures.png"


@dataclass(frozen=True)
class Initialisation:
    """What a detector starts from."""

    who: Who
    overlay: dict[str, Any]
    weights: Path | None


def detect(recipe: DetectRecipe, weights: Path | None, seed: int, runs: Path, device: str = "auto") -> Path:
    """Fine-tune and evaluate a detector from a converted folder, or from random weights if None; return record.json.

    Resumes an unfinished run, leaves a finished one alone. Beside the record: the detector (`model_final.pth`),
    curves (`metrics.json`, TensorBoard), predictions and `pictures.png`. Raises UserError on bad input, Diverged,
    EvidenceRefused and Interrupted as `train` does.
    """
    start_from = initialisation(recipe, weights, seed)
    path = record_path(recipe, start_from.who, seed, runs)
    if path.exists():
        return path
    with locked(path.parent):
        if not path.exists():
            _measure(recipe, start_from, seed, path, runs, device)
    return path


def initialisation(recipe: DetectRecipe, weights: Path | None, seed: int) -> Initialisation:
    """Read a converted folder, or describe random weights. Raises UserError if the folder's files do not match."""
    if weights is None:
        who = Who(
            name="random",
            method="random",
            term="none",
            dataset=None,
            epochs=0,
            seed=seed,
            encoder=recipe.encoder,
            tensors_sha256=None,
        )
        return Initialisation(who, encoder_overlay(recipe.encoder, recipe.mean, recipe.std), None)
    if not (weights / CONVERSION).is_file():
        raise UserError(
            f"{weights}: no converted weights; `superinfo convert CHECKPOINT --to detectron2 --out DIR` makes them"
        )
    conversion = Conversion.read(weights / CONVERSION)
    if file_sha256(weights / WEIGHTS) != conversion.weights_sha256:
        raise UserError(f"{weights / WEIGHTS}: not the file that {CONVERSION} speaks of; convert the checkpoint anew")
    source = conversion.source
    who = Who(
        name=source.name,
        method=source.method,
        term=source.term,
        dataset=source.dataset,
        epochs=source.epochs,
        seed=source.seed,
        encoder=source.encoder,
        tensors_sha256=conversion.source_tensors_sha256,
    )
    return Initialisation(who, yaml.safe_load((weights / OVERLAY).read_text()), weights / WEIGHTS)


def record_path(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    recipe_hash = identity_hash(recipe, [who.tensors_sha256 or "random"])
    return runs / run_id(f"{recipe.name}--{who.name}", seed, recipe_hash) / RECORD


def _measure(recipe: DetectRecipe, start_from: Initialisation, seed: int, path: Path, runs: Path, device: str) -> None:
    """Register the data, train, evaluate, draw, and write the record last."""
    from superinfo.device import pick_device
    from transfer.detection.config import build_config
    from transfer.detection.data import register
    from transfer.detection.evaluate import count_detector_flops, evaluate
    from transfer.detection.pictures import draw_predictions
    from transfer.detection.train import train

    folder, who = path.parent, start_from.who
    chosen = pick_device(device)
    splits = register(recipe.data, runs)
    cfg = build_config(recipe, start_from.overlay, start_from.weights, splits, seed, chosen, folder)
    reset_peak_memory()
    with _logged_to(folder / "log.txt"):
        model, seconds = train(cfg, folder.name, recipe.save_minutes)
        start = time.monotonic()
        metrics = evaluate(cfg, model)
        draw_predictions(cfg, folder / PICTURES, recipe.pictures)
        seconds += time.monotonic() - start
        flops, flops_input = count_detector_flops(cfg, model)
    test = splits[1]
    Record(
        run=folder.name,
        seed=seed,
        who=who,
        what=What(
            task="instance_segmentation",
            dataset=recipe.data.title,
            split=test.json_file.stem.removeprefix("instances_"),
            samples=test.images,
            protocol=recipe.protocol,
            protocol_version=recipe.protocol_version,
        ),
        metrics=metrics,
        deviations=[],
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=identity_hash(recipe),
        cost=Cost(
            wall_seconds=seconds,
            peak_memory_mib=peak_memory_mib(),
            parameters=sum(p.numel() for p in model.parameters()),
            flops=flops,
            flops_input=flops_input,
        ),
        provenance=provenance(),
    ).write(path)


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Send Detectron2's log, and what pycocotools prints, to a file: stdout is for the artifact's path."""
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
