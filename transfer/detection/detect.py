"""One detection run: recipe and weights in, record.json out."""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from superinfo.artifacts import OVERLAY, RECORD, WEIGHTS, Cost, Pixels, Record, What, Who
from superinfo.errors import UserError
from superinfo.runs import locked, peak_memory_mib, provenance, reset_peak_memory, run_id
from superinfo.spec import identity_hash
from transfer.convert.verify import read_evidence, verify
from transfer.detection.annotations import Annotations
from transfer.deviations import deviations
from transfer.overlay import encoder_overlay
from transfer.recipe import RECIPES, DetectRecipe
from transfer.who import inputs_of, random_who, who_from

if TYPE_CHECKING:
    from transfer.detection.data import RegisteredSplit

LOGGERS = ("detectron2", "fvcore", "iopath")
PICTURES = "pictures.png"


def detect(recipe: DetectRecipe, weights: Path | None, seed: int, runs: Path, device: str = "auto") -> Path:
    """Fine-tune and evaluate a detector from a converted folder, or from random weights if None; return record.json.

    Resumes an unfinished run, leaves a finished one alone. Beside the record: the detector (`model_final.pth`),
    curves (`metrics.json`, TensorBoard), predictions and `pictures.png`. Raises UserError on bad input, Diverged,
    EvidenceRefused and Interrupted as `train` does.
    """
    who = who_starts(recipe, weights, seed)
    path = record_path(recipe, who, seed, runs)
    if path.exists():
        return path
    with locked(path.parent):
        if not path.exists():
            _measure(recipe, who, weights, seed, path, runs, device)
    return path


def who_starts(recipe: DetectRecipe, weights: Path | None, seed: int) -> Who:
    """Say whose features a converted folder holds; None is random weights. Raises UserError if it is no such folder."""
    return random_who(recipe.encoder, seed) if weights is None else who_from(read_evidence(weights).source)


def record_path(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    run_hash = identity_hash(recipe, inputs_of(who))
    return runs / run_id(f"{recipe.name}--{who.name}", seed, run_hash) / RECORD


def _measure(
    recipe: DetectRecipe, who: Who, weights: Path | None, seed: int, path: Path, runs: Path, device: str
) -> None:
    """Register the data, train, evaluate, draw, and write the record last."""
    from superinfo.device import pick_device
    from transfer.detection.config import build_config
    from transfer.detection.data import register
    from transfer.detection.evaluate import count_detector_flops, evaluate
    from transfer.detection.pictures import draw_predictions
    from transfer.detection.train import train

    folder = path.parent
    chosen = pick_device(device)
    random_pixels = Pixels(mean=recipe.mean, std=recipe.std)
    overlay = _read_overlay(weights) if weights else encoder_overlay(recipe.encoder, random_pixels)
    splits = register(recipe.data, runs)
    cfg = build_config(recipe, overlay, weights / WEIGHTS if weights else None, splits, seed, chosen, folder)
    reset_peak_memory()
    with _logged_to(folder / "log.txt"):
        model, seconds = train(cfg, folder.name, recipe.save_minutes)
        start = time.monotonic()
        metrics = evaluate(cfg, model, _read_annotations(splits[1]))
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
        deviations=deviations(recipe, recipe.name, RECIPES),
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


def _read_annotations(split: "RegisteredSplit") -> Annotations:
    from detectron2.data import MetadataCatalog

    images = Path(MetadataCatalog.get(split.name).image_root)
    return Annotations(split.json_file.stem, split.json_file, images, json.loads(split.json_file.read_bytes()), "coco")


def _read_overlay(weights: Path) -> dict[str, Any]:
    """Read the overlay of a converted folder whose files are those that its evidence speaks of."""
    evidence = verify(weights)
    if WEIGHTS not in evidence.files:
        raise UserError(f"{weights}: converted to {evidence.target}, not to Detectron2's {WEIGHTS}; convert it anew")
    overlay: dict[str, Any] = yaml.safe_load((weights / OVERLAY).read_text())
    return overlay


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
