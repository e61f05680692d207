"""LVIS v1's average precision: COCO's, where only some images are annotated for a class.

A class is judged on the images that are known to hold it or known not to; elsewhere its detections do not count. Where
an image is said not to be annotated exhaustively for it, detections that match nothing do not count either. 300
detections an image count, of all classes together. As in `lvis` 0.5.3, which is not needed: Gupta et al., LVIS: A
Dataset for Large Vocabulary Instance Segmentation, section 3 (arXiv 1908.03195).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.coco import (
    ALL,
    LARGE,
    MEDIUM,
    SMALL,
    areas_of,
    class_figures,
    mean,
    overlap_of,
    read_objects,
)
from transfer.detection.scores.curves import OVERLAPS, Curves, Detections, draw_curves
from transfer.detection.scores.predictions import Indices, Predictions, ranks, read_predictions

MOST = 300
"""Detections counted, of an image."""
FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}
"""Of classes in the training images: rare (1 to 10), common (11 to 100), frequent."""


def lvis_scores(
    annotations: Annotations, predictions: Sequence[dict[str, Any]], kind: Literal["box", "mask"]
) -> dict[str, float | None]:
    """Return AP AP50 AP75 APs APm APl APr APc APf AR300 ARs ARm ARl and `AP-<class>`, in percent.

    None where there is no object to find. Raises UserError if a category has no `frequency`, and as `coco_scores` does.
    """
    frequencies = _frequencies(annotations)
    found = read_predictions(annotations, predictions)
    found = found[_surest(found)]
    classes = len(annotations.category_ids)
    objects = read_objects(annotations, [False] * len(annotations.coco["annotations"]))
    judged = np.concatenate([objects.image * classes + objects.category, _cells(annotations, "neg_category_ids")])
    found = found[np.flatnonzero(np.isin(found.image * classes + found.category, judged))]
    forgiven = np.isin(found.image * classes + found.category, _cells(annotations, "not_exhaustive_category_ids"))
    detections = Detections(found.image, found.category, areas_of(found, kind), found.score, forgiven)
    overlap = overlap_of(annotations, found, kind)
    curves = draw_curves(objects, detections, classes, (ALL, SMALL, MEDIUM, LARGE), (MOST,), overlap)
    return _figures(curves, frequencies) | class_figures(annotations, curves)


def _frequencies(annotations: Annotations) -> list[str]:
    """Return the classes' frequencies, in the order of their ids."""
    categories = sorted(annotations.coco["categories"], key=lambda c: c["id"])
    wrong = [c["name"] for c in categories if c.get("frequency") not in FREQUENCIES.values()]
    if wrong:
        raise UserError(
            f"{annotations.source}: {len(wrong):,} categories without a `frequency` of r, c or f, first {wrong[0]}; "
            "LVIS v1's files have it"
        )
    return [c["frequency"] for c in categories]


def _surest(found: Predictions) -> Indices:
    """Return which detections are among the MOST surest of their image; ties go to the first in the list."""
    order = np.lexsort((-found.score, found.image))
    place = np.arange(len(order)) - np.searchsorted(found.image[order], found.image[order])
    return np.sort(order[place < MOST])


def _cells(annotations: Annotations, field: str) -> Indices:
    """Return the images' classes that a field lists, as image rank times number of classes plus class rank."""
    entries = sorted(annotations.coco["images"], key=lambda entry: entry["id"])
    categories = ranks(annotations.category_ids)
    cells = [rank * len(categories) + categories[key] for rank, entry in enumerate(entries) for key in entry[field]]
    return np.array(cells, np.int64)


def _figures(curves: Curves, frequencies: list[str]) -> dict[str, float | None]:
    precision, recall = curves.precision[..., -1], curves.recall[..., -1]
    return {
        "AP": mean(precision[:, :, :, 0]),
        "AP50": mean(precision[OVERLAPS == 0.5, :, :, 0]),
        "AP75": mean(precision[OVERLAPS == 0.75, :, :, 0]),
        "APs": mean(precision[:, :, :, 1]),
        "APm": mean(precision[:, :, :, 2]),
        "APl": mean(precision[:, :, :, 3]),
        **{
            name: mean(precision[:, :, np.array(frequencies) == frequency, 0])
            for name, frequency in FREQUENCIES.items()
        },
        "AR300": mean(recall[:, :, 0]),
        "ARs": mean(recall[:, :, 1]),
        "ARm": mean(recall[:, :, 2]),
        "ARl": mean(recall[:, :, 3]),
    }
