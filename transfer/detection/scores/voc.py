"""Pascal VOC's average precision of boxes, as Detectron2's evaluator computes it, in arrays.

VOC 2007 takes the mean precision at 11 recalls, VOC 2012 the area under the curve; `difficult` objects neither have to
be found nor are wrong to be found. Boxes are compared in VOC's own pixels, which count from 1 and include the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer.detection.annotations import Annotations
from transfer.detection.scores.predictions import Flags, Floats, Indices, Predictions, ranks, read_predictions

OVERLAPS = tuple(range(50, 100, 5))
"""In percent; a detection matches above it."""


def voc_scores(annotations: Annotations, predictions: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return AP (mean over overlaps of 0.5 to 0.95), AP50, AP75 and `AP50-<class>`, of boxes, in percent.

    As Detectron2 writes its results to files, scores are rounded to 3 decimals and coordinates to 1. A class without
    objects that are not difficult is None and left out of the means, where Detectron2 has 0 or, in VOC 2012, NaN.
    Raises UserError for results of another set and SuperInfoError for those that are not finite.
    """
    found = read_predictions(annotations, predictions)
    objects = _read_objects(annotations)
    boxes, score = _printed(found)
    by_class = [
        _average_precisions(objects, found, boxes, score, k, annotations.metric == "voc2007")
        for k in range(len(annotations.category_ids))
    ]
    known = np.array([values for values in by_class if values is not None]).reshape(-1, len(OVERLAPS))
    means: dict[int, float | None] = dict.fromkeys(OVERLAPS)
    if len(known):
        means = dict(zip(OVERLAPS, known.mean(0).tolist(), strict=True))
    return {
        "AP": float(known.mean(0).mean()) if len(known) else None,
        "AP50": means[50],
        "AP75": means[75],
        **{
            f"AP50-{name}": None if values is None else values[0]
            for name, values in zip(annotations.classes, by_class, strict=True)
        },
    }


@dataclass(frozen=True)
class _Objects:
    image: Indices
    category: Indices
    difficult: Flags
    box: Floats
    """First and last pixel, x, y, x, y, `(G, 4)`."""


def _read_objects(annotations: Annotations) -> _Objects:
    truth = annotations.coco["annotations"]
    images = ranks(entry["id"] for entry in annotations.coco["images"])
    categories = ranks(annotations.category_ids)
    order = sorted(range(len(truth)), key=lambda i: images[truth[i]["image_id"]])
    truth = [truth[i] for i in order]
    x, y, w, h = np.array([a["bbox"] for a in truth], np.float64).reshape(-1, 4).T
    return _Objects(
        np.array([images[a["image_id"]] for a in truth], np.int64),
        np.array([categories[a["category_id"]] for a in truth], np.int64),
        np.array([a.get("difficult", 0) for a in truth], bool),
        np.stack([x + 1, y + 1, x + w, y + h], 1),
    )


def _printed(found: Predictions) -> tuple[Floats, Floats]:
    """Return boxes, in VOC's pixels, and scores with the digits that Detectron2 writes."""
    x, y, w, h = found.box.astype(np.float32).T
    boxes = np.stack([x + np.float32(1), y + np.float32(1), x + w, y + h], 1).astype(np.float64)
    score = np.array([float(f"{value:.3f}") for value in found.score.tolist()])
    return np.rint(10 * boxes) / 10, score  # ten times a number of single precision is exact


def _average_precisions(
    objects: _Objects, found: Predictions, boxes: Floats, score: Floats, category: int, is_2007: bool
) -> list[float] | None:
    """Return a class's AP at each of the OVERLAPS, in percent."""
    known = np.flatnonzero(objects.category == category)
    count = int((~objects.difficult[known]).sum())
    if not count:
        return None
    mine = np.flatnonzero(found.category == category)
    # Detectron2's order of ties, which is numpy's: not stable, and not the same on every processor.
    mine = mine[np.argsort(-score[mine])]
    overlap, nearest = _nearest(objects, known, found.image[mine], boxes[mine])
    return [
        100 * _average_precision(objects.difficult, overlap > threshold / 100, nearest, count, is_2007)
        for threshold in OVERLAPS
    ]


def _nearest(objects: _Objects, known: Indices, image: Indices, boxes: Floats) -> tuple[Floats, Indices]:
    """Return each detection's highest overlap with an object of its image, -inf without one, and the first such."""
    first, last = (np.searchsorted(objects.image[known], image, side) for side in ("left", "right"))
    counts = last - first
    highest, nearest = np.full(len(image), -np.inf), np.zeros(len(image), np.int64)
    some = np.flatnonzero(counts)
    if not len(some):
        return highest, nearest
    counts = counts[some]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    detection = np.repeat(some, counts)
    truth = known[np.arange(counts.sum()) - np.repeat(starts, counts) + np.repeat(first[some], counts)]
    overlaps = _overlap(boxes[detection], objects.box[truth])
    highest[some] = np.maximum.reduceat(overlaps, starts)
    equal = np.flatnonzero(overlaps == highest[detection])
    rows, places = np.unique(detection[equal], return_index=True)
    nearest[rows] = truth[equal[places]]
    return highest, nearest


def _overlap(a: Floats, b: Floats) -> Floats:
    """Return intersection over union of `(P, 4)` pairs, last pixels included."""
    width = np.maximum(np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + 1, 0)
    height = np.maximum(np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + 1, 0)
    shared = width * height
    areas = [(c[:, 2] - c[:, 0] + 1) * (c[:, 3] - c[:, 1] + 1) for c in (a, b)]
    overlaps: Floats = shared / (areas[0] + areas[1] - shared)
    return overlaps


def _average_precision(difficult: Flags, matched: Flags, nearest: Indices, count: int, is_2007: bool) -> float:
    """Return AP in [0, 1]; detections are in the order of their scores, and an object is found by the first alone."""
    right = np.zeros(len(matched))
    candidates = np.flatnonzero(matched & ~difficult[nearest])
    right[candidates[np.unique(nearest[candidates], return_index=True)[1]]] = 1
    counted = ~matched
    counted[candidates] = True
    recall = np.cumsum(right) / count
    precision = np.cumsum(right) / np.maximum(np.cumsum(counted), np.finfo(np.float64).eps)
    if is_2007:
        tops = [precision[recall >= level].max(initial=0) for level in np.arange(0, 1.1, 0.1)]
        return float(np.mean(tops))
    recall = np.concatenate([[0], recall, [1]])
    precision = np.concatenate([[0], precision, [0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
