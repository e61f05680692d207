"""COCO's average precision and recall of boxes, masks and keypoints: pycocotools' figures, faster."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask as run_lengths

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.masks import is_polygon
from transfer.detection.scores.curves import OVERLAPS, Curves, Detections, Objects, Overlap, draw_curves
from transfer.detection.scores.predictions import Floats, Indices, Predictions, ranks, read_predictions

Kind = Literal["box", "mask", "keypoints"]
SMALL, MEDIUM, LARGE = (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e5**2)
ALL = (0.0, 1e5**2)
"""Ranges of areas in square pixels; an object on a border is in both."""
MOST, MOST_POSES = (1, 10, 100), (20,)
"""Detections counted, of an image and class."""
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""How far annotators differ in each of COCO's 17 keypoints, in units of the object's scale."""


def coco_scores(
    annotations: Annotations, predictions: Sequence[dict[str, Any]], kind: Kind, oks_sigmas: Sequence[float] = ()
) -> dict[str, float | None]:
    """Return pycocotools' figures and each class's AP, in percent; None where there is no object to find.

    Boxes and masks have AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl, keypoints AP AP50 AP75 APm APl AR AR50
    AR75 ARm ARl; `AP-<class>` is over all areas. Called as Detectron2 calls pycocotools: a detection's area is that of
    its mask for masks, else that of its box. `oks_sigmas` are (K,) for K keypoints, COCO's 17 if empty. Unlike
    pycocotools, which takes an object's id 0 for no match, ids have no meaning here beyond the order of images.

    Raises UserError if objects lack what is compared or results are of another set, and SuperInfoError if results are
    not finite.
    """
    found = read_predictions(annotations, predictions)
    truth = annotations.coco["annotations"]
    overlap = overlap_of(annotations, found, kind, oks_sigmas)
    areas, most = ((ALL, MEDIUM, LARGE), MOST_POSES) if kind == "keypoints" else ((ALL, SMALL, MEDIUM, LARGE), MOST)
    objects = read_objects(annotations, [_is_ignored(a, kind) for a in truth])
    detections = Detections(
        found.image, found.category, areas_of(found, kind), found.score, np.zeros(len(found.score), bool)
    )
    curves = draw_curves(objects, detections, len(annotations.category_ids), areas, most, overlap)
    figures = _pose_figures(curves) if kind == "keypoints" else _figures(curves)
    return figures | class_figures(annotations, curves)


def read_objects(annotations: Annotations, ignored: Sequence[bool]) -> Objects:
    """Return a set's objects as arrays. Raises UserError if one has no area."""
    truth = annotations.coco["annotations"]
    refuse_without(annotations, "area", "an area", "add `area`, in square pixels")
    images = ranks(entry["id"] for entry in annotations.coco["images"])
    categories = ranks(annotations.category_ids)
    return Objects(
        np.array([images[a["image_id"]] for a in truth], np.int64),
        np.array([categories[a["category_id"]] for a in truth], np.int64),
        np.array([a["area"] for a in truth], np.float64),
        np.array(ignored, bool),
        np.array([a.get("iscrowd", 0) for a in truth], bool),
    )


def areas_of(found: Predictions, kind: Kind) -> Floats:
    """Return the areas of detections in square pixels, `(N,)`: of masks, or else of boxes."""
    if kind != "mask":
        return found.box[:, 2] * found.box[:, 3]
    # pycocotools 2.0.11 computes its result's length in 8 bits.
    masks = [entry["segmentation"] for entry in found.entries]
    areas = [run_lengths.area(masks[first : first + 255]) for first in range(0, len(masks), 255)]
    return np.concatenate([np.empty(0), *areas])


def overlap_of(annotations: Annotations, found: Predictions, kind: Kind, oks_sigmas: Sequence[float] = ()) -> Overlap:
    """Return how detections and objects overlap, given by their indices.

    Raises UserError if objects or predictions lack a mask or keypoints.
    """
    if kind == "box":
        return _box_overlap(annotations, found)
    field = "segmentation" if kind == "mask" else "keypoints"
    bare = sum(not entry.get(field) for entry in found.entries)
    if bare:
        raise UserError(f"{annotations.source}: {bare:,} of {len(found.entries):,} predictions do not have `{field}`")
    if kind == "mask":
        return _mask_overlap(annotations, found)
    return _pose_overlap(annotations, found, oks_sigmas)


def mean(values: Floats) -> float | None:
    """Return the mean in percent over what is defined, None if nothing is."""
    defined = values[values > -1]
    return 100 * float(defined.mean()) if defined.size else None


def class_figures(annotations: Annotations, curves: Curves) -> dict[str, float | None]:
    """Return `AP-<class>` of each class, over all areas, in percent."""
    return {f"AP-{name}": mean(curves.precision[:, :, k, 0, -1]) for k, name in enumerate(annotations.classes)}


def refuse_without(annotations: Annotations, field: str, what: str, remedy: str) -> None:
    """Raise UserError if objects lack a field."""
    lacking = [a["id"] for a in annotations.coco["annotations"] if a.get(field) in (None, [])]
    if lacking:
        raise UserError(
            f"{annotations.source}: {len(lacking):,} objects do not have {what}, first annotation {lacking[0]}; "
            f"{remedy}"
        )


def _figures(curves: Curves) -> dict[str, float | None]:
    precision, recall = curves.precision, curves.recall
    return {
        "AP": mean(precision[:, :, :, 0, -1]),
        "AP50": mean(precision[OVERLAPS == 0.5, :, :, 0, -1]),
        "AP75": mean(precision[OVERLAPS == 0.75, :, :, 0, -1]),
        "APs": mean(precision[:, :, :, 1, -1]),
        "APm": mean(precision[:, :, :, 2, -1]),
        "APl": mean(precision[:, :, :, 3, -1]),
        "AR1": mean(recall[:, :, 0, 0]),
        "AR10": mean(recall[:, :, 0, 1]),
        "AR100": mean(recall[:, :, 0, 2]),
        "ARs": mean(recall[:, :, 1, -1]),
        "ARm": mean(recall[:, :, 2, -1]),
        "ARl": mean(recall[:, :, 3, -1]),
    }


def _pose_figures(curves: Curves) -> dict[str, float | None]:
    precision, recall = curves.precision[..., -1], curves.recall[..., -1]
    return {
        "AP": mean(precision[:, :, :, 0]),
        "AP50": mean(precision[OVERLAPS == 0.5, :, :, 0]),
        "AP75": mean(precision[OVERLAPS == 0.75, :, :, 0]),
        "APm": mean(precision[:, :, :, 1]),
        "APl": mean(precision[:, :, :, 2]),
        "AR": mean(recall[:, :, 0]),
        "AR50": mean(recall[OVERLAPS == 0.5, :, 0]),
        "AR75": mean(recall[OVERLAPS == 0.75, :, 0]),
        "ARm": mean(recall[:, :, 1]),
        "ARl": mean(recall[:, :, 2]),
    }


def _is_ignored(annotation: dict[str, Any], kind: Kind) -> bool:
    return bool(annotation.get("iscrowd")) or (kind == "keypoints" and not _visible(annotation))


def _visible(annotation: dict[str, Any]) -> int:
    """Return how many keypoints an object is said to have."""
    if "num_keypoints" in annotation:
        return int(annotation["num_keypoints"])
    return sum(v > 0 for v in annotation.get("keypoints", ())[2::3])


def _box_overlap(annotations: Annotations, found: Predictions) -> Overlap:
    truth = annotations.coco["annotations"]
    boxes = np.array([a["bbox"] for a in truth], np.float64).reshape(-1, 4)
    crowd = np.array([a.get("iscrowd", 0) for a in truth], np.uint8)

    def overlap(detections: Indices, objects: Indices) -> Floats:
        overlaps: Floats = run_lengths.iou(found.box[detections], boxes[objects], crowd[objects])
        return overlaps

    return overlap


def _mask_overlap(annotations: Annotations, found: Predictions) -> Overlap:
    refuse_without(annotations, "segmentation", "a mask", "add `segmentation`")
    truth = annotations.coco["annotations"]
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in annotations.coco["images"]}
    crowd = [int(a.get("iscrowd", 0)) for a in truth]

    def overlap(detections: Indices, objects: Indices) -> Floats:
        masks = [run_length_of(truth[i]["segmentation"], *sizes[truth[i]["image_id"]]) for i in objects]
        results = [found.entries[i]["segmentation"] for i in detections]
        overlaps: Floats = run_lengths.iou(results, masks, [crowd[i] for i in objects])
        return overlaps

    return overlap


def run_length_of(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return polygons or run lengths of either form as COCO's compressed run lengths.

    Polygons that Detectron2 leaves out of training are left out: pycocotools fails on them, or takes all for boxes.
    """
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return segmentation
    whole: dict[str, Any]
    if isinstance(segmentation, dict):
        whole = run_lengths.frPyObjects(segmentation, height, width)
    elif polygons := [polygon for polygon in segmentation if is_polygon(polygon)]:
        whole = run_lengths.merge(run_lengths.frPyObjects(polygons, height, width))
    else:
        whole = run_lengths.encode(np.zeros((height, width), np.uint8, order="F"))
    return whole


def _pose_overlap(annotations: Annotations, found: Predictions, oks_sigmas: Sequence[float]) -> Overlap:
    """Return object keypoint similarity: https://cocodataset.org/#keypoints-eval, as pycocotools computes it."""
    truth = annotations.coco["annotations"]
    refuse_without(annotations, "keypoints", "keypoints", "add `keypoints`")
    sigmas = np.array(oks_sigmas, np.float64) if oks_sigmas else SIGMAS
    for which, entries in (("annotations", truth), ("predictions", found.entries)):
        lengths = {len(entry["keypoints"]) for entry in entries} - {3 * len(sigmas)}
        if lengths:
            raise UserError(
                f"{annotations.source}: {which} have {min(lengths) // 3} keypoints where there are {len(sigmas)} OKS "
                "sigmas; set TEST.KEYPOINT_OKS_SIGMAS in the recipe's options"
            )
    variances = (2 * sigmas) ** 2
    poses = [np.array(a["keypoints"], np.float64).reshape(-1, 3) for a in truth]

    def overlap(detections: Indices, objects: Indices) -> Floats:
        guesses = np.array([found.entries[i]["keypoints"] for i in detections], np.float64).reshape(
            len(detections), -1, 3
        )
        overlaps = np.empty((len(detections), len(objects)))
        for column, j in enumerate(objects):
            seen = poses[j][:, 2] > 0
            x, y, w, h = truth[j]["bbox"]
            if seen.any():
                offsets = guesses[:, :, :2] - poses[j][:, :2]
            else:  # how far outside of the box, doubled
                low, high = np.array([x - w, y - h]), np.array([x + 2 * w, y + 2 * h])
                seen = np.ones_like(seen)
                offsets = np.maximum(0, low - guesses[:, :, :2]) + np.maximum(0, guesses[:, :, :2] - high)
            squares = offsets[:, :, 0] ** 2 + offsets[:, :, 1] ** 2
            errors = (squares / variances / (truth[j]["area"] + np.spacing(1)) / 2)[:, seen]
            # Summed a row at a time, as pycocotools does: sums of a matrix round differently.
            overlaps[:, column] = [np.sum(np.exp(-row)) / len(row) for row in errors]
        return overlaps

    return overlap
