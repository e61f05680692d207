"""Precision over recall of detections matched to objects, as COCO defines it, by faster-coco-eval's compiled matching.

Its Python layer is left out: that builds a cell for every image with every class, decodes every mask and copies every
result, which is most of its time. Here a class has cells for the images where it is annotated or detected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from faster_coco_eval import faster_eval_api_cpp as compiled
from numpy.typing import NDArray

from transfer.detection.scores.predictions import Flags, Floats, Indices

# As pycocotools has them: np.arange's are slightly larger than what they stand for.
OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
Overlap = Callable[[Indices, Indices], Floats]
"""Of detections `(D,)` with objects `(G,)`, given by their indices, `(D, G)` in [0, 1]."""


@dataclass(frozen=True)
class Objects:
    """G annotated objects."""

    image: Indices
    category: Indices
    area: Floats
    """In square pixels."""
    ignored: Flags
    """Neither has to be found nor is wrong to be found."""
    crowd: Flags
    """Ignored, and may be found many times."""


@dataclass(frozen=True)
class Detections:
    """D detections."""

    image: Indices
    category: Indices
    area: Floats
    score: Floats
    forgiven: Flags
    """Does not count where it matches nothing."""


@dataclass(frozen=True)
class Curves:
    """T = 10 overlaps, R = 101 recalls, K classes, A area ranges, M counts of detections; -1 where no object is."""

    precision: Floats
    """`(T, R, K, A, M)`, in [0, 1]."""
    recall: Floats
    """The highest one reached, `(T, K, A, M)`, in [0, 1]."""


def draw_curves(
    objects: Objects,
    detections: Detections,
    classes: int,
    areas: Sequence[tuple[float, float]],
    most: Sequence[int],
    overlap: Overlap,
) -> Curves:
    """Match detections to objects of their image and class, the surest first, and return the curves.

    `areas` are ranges in square pixels, `most` counts of detections an image and class, in ascending order.
    """
    shape = (classes, len(areas), len(most))
    precision = np.full((len(OVERLAPS), len(RECALLS), *shape), -1.0)
    recall = np.full((len(OVERLAPS), *shape), -1.0)
    # Ties keep the order of the list, within an image and, over images, that of their ids.
    surest = np.lexsort((-detections.score, detections.image, detections.category))
    ordered = np.lexsort((objects.image, objects.category))
    edges = np.arange(classes + 1)
    of_class = np.searchsorted(detections.category[surest], edges)
    objects_of_class = np.searchsorted(objects.category[ordered], edges)
    for k in range(classes):
        known = ordered[objects_of_class[k] : objects_of_class[k + 1]]
        if not objects.ignored[known].all():
            found = surest[of_class[k] : of_class[k + 1]]
            result = _match(objects, detections, known, found, areas, most, overlap)
            precision[:, :, k], recall[:, k] = result["precision"][:, :, 0], result["recall"][:, 0]
    return Curves(precision, recall)


def _match(
    objects: Objects,
    detections: Detections,
    known: Indices,
    found: Indices,
    areas: Sequence[tuple[float, float]],
    most: Sequence[int],
    overlap: Overlap,
) -> dict[str, Floats]:
    """Return the curves of one class, whose objects and detections are given in the order of their images."""
    images = np.union1d(objects.image[known], detections.image[found])
    # Numbered from 1, as 0 stands for no match.
    columns: tuple[NDArray[Any], ...] = (objects.area[known], objects.ignored[known], objects.crowd[known])
    known_entries = [
        {"id": number, "area": area, "ignore": ignored, "iscrowd": crowd}
        for number, (area, ignored, crowd) in enumerate(zip(*(c.tolist() for c in columns), strict=True), 1)
    ]
    columns = (detections.area[found], detections.score[found], detections.forgiven[found])
    found_entries = [
        {"id": number, "area": area, "score": score, "lvis_mark": forgiven}
        for number, (area, score, forgiven) in enumerate(zip(*(c.tolist() for c in columns), strict=True), 1)
    ]
    truth, results = compiled.Dataset(), compiled.Dataset()
    overlaps: list[list[list[list[float]]]] = []
    places = zip(_places(objects.image[known], images), _places(detections.image[found], images), strict=True)
    for image, (here, all_there) in enumerate(places):
        there = slice(all_there.start, min(all_there.stop, all_there.start + most[-1]))
        for entry in known_entries[here]:
            truth.append_ref(image, 0, entry)
        for entry in found_entries[there]:
            results.append_ref(image, 0, entry)
        both = here.start < here.stop and there.start < there.stop
        overlaps.append([overlap(found[there], known[here]).tolist() if both else []])
    numbers = list(range(len(images)))
    parameters = SimpleNamespace(
        iouThrs=OVERLAPS.tolist(),
        recThrs=RECALLS.tolist(),
        maxDets=list(most),
        areaRng=[list(area) for area in areas],
        imgIds=numbers,
        catIds=[0],
        useCats=1,
    )
    curves: dict[str, Floats] = compiled.COCOevalEvaluateAccumulate(
        parameters, overlaps, truth, results, numbers, [0], True
    )
    return curves


def _places(ordered: Indices, images: Indices) -> list[slice]:
    """Return where each image lies in an ascending array of images."""
    first, last = (np.searchsorted(ordered, images, side).tolist() for side in ("left", "right"))
    return [slice(*edges) for edges in zip(first, last, strict=True)]
