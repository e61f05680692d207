"""Cityscapes' own average precision of instance masks, computed by the set's own evaluation, `cityscapesscripts`.

https://github.com/mcordts/cityscapesScripts, evaluation/evalInstanceLevelSemanticLabeling.py. What it asks for is an
image file of every predicted mask and a folder to find them in, and its counting of pixels calls a function that numpy
2.4 has not. The counting is therefore done here, from run lengths; matching, ignoring and averaging are its code.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as run_lengths

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.predictions import read_predictions

Counts = NDArray[np.int64]


def cityscapes_scores(annotations: Annotations, predictions: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return AP (mean over overlaps of 0.5 to 0.95), AP50 and, of each class, AP and AP50, in percent.

    Reads each image's `instance_ids`: the absolute path of its `*_gtFine_instanceIds.png`, which holds a pixel's label
    id, or 1000 times that plus a number where instances are told apart. Classes are Cityscapes' by name; None where the
    images hold no object of 100 pixels or more. Raises UserError without `cityscapesscripts`, for a class that it does
    not evaluate, or a file that is not such a picture.
    """
    official = _import_official()
    options = SimpleNamespace(**vars(official.args))
    official.setInstanceLabels(options)
    strange = sorted(set(annotations.classes) - set(options.instLabels))
    if strange:
        raise UserError(
            f"{annotations.source}: {strange[0]} is no class whose instances Cityscapes evaluates; those are "
            f"{', '.join(options.instLabels)}"
        )
    found = read_predictions(annotations, predictions)
    by_image = defaultdict(list)
    for image, category, entry in zip(found.image.tolist(), found.category.tolist(), predictions, strict=True):
        by_image[image].append((annotations.classes[category], entry))
    entries = sorted(annotations.coco["images"], key=lambda entry: entry["id"])
    matches = {
        entry["instance_ids"]: _match(annotations, official, options.instLabels, entry, by_image[rank])
        for rank, entry in enumerate(entries)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        averages = official.computeAverages(official.evaluateMatches(matches, options), options)
    figures = {"AP": averages["allAp"], "AP50": averages["allAp50%"]}
    for name in annotations.classes:
        figures |= {f"AP-{name}": averages["classes"][name]["ap"], f"AP50-{name}": averages["classes"][name]["ap50%"]}
    return {name: None if math.isnan(value) else 100 * float(value) for name, value in figures.items()}


def _import_official() -> ModuleType:
    try:
        from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling
    except ImportError as error:
        raise UserError(f"Cityscapes' evaluation is not installed ({error}); pip install cityscapesscripts") from None
    official: ModuleType = evalInstanceLevelSemanticLabeling
    return official


def _match(
    annotations: Annotations,
    official: ModuleType,
    names: list[str],
    image: dict[str, Any],
    predictions: list[tuple[str, dict[str, Any]]],
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return which objects and predictions of a class share pixels, as its `matchGtWithPreds` does of an image."""
    pixels = _read(annotations, image)
    sizes = np.bincount(pixels.ravel())
    truth: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in np.flatnonzero(sizes).tolist():
        label = number // 1000 if number >= 1000 else number
        name = official.id2label[label].name if label in official.id2label else None
        if name in truth:
            size = int(sizes[number])
            truth[name].append(
                {"instID": number, "labelID": label, "pixelCount": size, "medDist": -1, "distConf": 0.0}
                | {"matchedPred": []}
            )
    void = [label.id for label in official.labels if label.ignoreInEval and 0 <= label.id < len(sizes)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number, (name, entry) in enumerate(predictions):
        shared = _shared(annotations, pixels, entry, len(sizes))
        size = int(shared.sum())
        if not size:
            continue
        prediction = {"predID": number, "pixelCount": size, "confidence": entry["score"], "matchedGt": []}
        prediction["voidIntersection"] = int(shared[void].sum())
        for thing in truth[name]:
            intersection = int(shared[thing["instID"]])
            if intersection:
                prediction["matchedGt"].append(thing | {"intersection": intersection})
                thing["matchedPred"].append(prediction | {"intersection": intersection})
        found[name].append(prediction)
    return {"groundTruth": truth, "prediction": found}


def _read(annotations: Annotations, image: dict[str, Any]) -> Counts:
    """Return an image's instance ids, `(H, W)`."""
    path = Path(image["instance_ids"])
    try:
        with Image.open(path) as opened:
            pixels = np.array(opened)
    except (OSError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable picture of instance ids ({reason}); restore gtFine") from None
    if pixels.ndim != 2 or pixels.shape != (image["height"], image["width"]):
        expected = f"{image['height']}x{image['width']}"
        raise UserError(
            f"{path}: of shape {'x'.join(map(str, pixels.shape))} where {annotations.source} says {expected}; "
            "it must be one channel of instance ids"
        )
    return pixels.astype(np.int64)


def _shared(annotations: Annotations, pixels: Counts, entry: dict[str, Any], ids: int) -> Counts:
    """Return how many pixels a predicted mask has of each instance id."""
    size = entry["segmentation"]["size"]
    if tuple(size) != pixels.shape:
        raise UserError(
            f"{annotations.source}: a mask of {size[0]}x{size[1]} in image {entry['image_id']}, which has "
            f"{pixels.shape[0]}x{pixels.shape[1]} pixels; score predictions on the set that they are of"
        )
    counts: Counts = np.bincount(pixels[run_lengths.decode(entry["segmentation"]) > 0], minlength=ids)
    return counts
