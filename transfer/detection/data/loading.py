"""From a split to what Detectron2's loaders read, and what it calls metadata."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_PERSON_KEYPOINT_NAMES
from detectron2.structures import BoxMode
from pycocotools import mask as masks

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations, Metric
from transfer.detection.data.lvis import JUDGED
from transfer.detection.masks import is_polygon

EVALUATORS = {
    "coco": "coco",
    "lvis": "lvis",
    "voc2007": "pascal_voc",
    "voc2012": "pascal_voc",
    "cityscapes": "cityscapes_instance",
}
"""What Detectron2 calls each metric."""
MIRRORED = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}


@dataclass(frozen=True)
class Needs:
    """What is read of an object besides its box and class: by a detector and, of a test split, by its metric."""

    masks: bool
    keypoints: bool
    metric: Metric | None = None


def as_detectron2(annotations: Annotations, needs: Needs) -> list[dict[str, Any]]:
    """Return what Detectron2's `load_coco_json` does, without masks or keypoints where they are not needed.

    Images come in the order of their ids; categories are numbered from 0; objects whose polygons have fewer than
    three points are left out if masks are needed.
    """
    number = {key: i for i, key in enumerate(annotations.category_ids)}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for each in annotations.coco["annotations"]:
        if (loaded := _object(each, number, needs)) is not None:
            objects[each["image_id"]].append(loaded)
    return [
        {
            "file_name": os.path.join(annotations.images, entry["file_name"]),
            "height": entry["height"],
            "width": entry["width"],
            "image_id": entry["id"],
            "annotations": objects.get(entry["id"], []),
        }
        | ({key: entry.get(key, []) for key in JUDGED} if annotations.metric == "lvis" else {})
        for entry in sorted(annotations.coco["images"], key=lambda entry: entry["id"])
    ]


def annotations_use_rle(annotations: Annotations) -> bool:
    """Say whether a mask that is trained on is given as run lengths: Detectron2 then needs MASK_FORMAT bitmask."""
    return any(isinstance(a.get("segmentation"), dict) for a in annotations.coco["annotations"] if not a.get("iscrowd"))


def metadata(annotations: Annotations, needs: Needs) -> dict[str, Any]:
    """Return what Detectron2 wants to know of a split besides its images."""
    found: dict[str, Any] = {
        "thing_classes": list(annotations.classes),
        "thing_dataset_id_to_contiguous_id": {key: i for i, key in enumerate(annotations.category_ids)},
        "evaluator_type": EVALUATORS[annotations.metric],
        "image_root": str(annotations.images),
    }
    if annotations.source.suffix == ".json":
        found["json_file"] = str(annotations.source)
    if needs.keypoints:
        names = keypoint_names(annotations)
        found |= {"keypoint_names": names, "keypoint_flip_map": flip_map(names)}
    return found


def keypoint_names(annotations: Annotations) -> tuple[str, ...]:
    """Return the names of an object's keypoints: those of the categories, else COCO's 17 of a person.

    Raises UserError if categories differ, as one detector's objects all have the same.
    """
    named = [c["keypoints"] for c in annotations.coco["categories"] if isinstance(c, dict) and c.get("keypoints")]
    for names in named:
        if names != named[0]:
            raise UserError("categories have different keypoints")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError("`keypoints` of a category is no list of names")
        if len(set(names)) < len(names):
            raise UserError("a keypoint's name is given twice")
    return tuple(named[0]) if named else tuple(COCO_PERSON_KEYPOINT_NAMES)


def flip_map(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the pairs that change places in a mirror, told by left and right in their names."""
    pairs = ((name, re.sub("left|Left|LEFT", lambda found: MIRRORED[found[0]], name)) for name in names)
    return tuple((name, other) for name, other in pairs if name != other and other in names)


def _object(each: dict[str, Any], number: dict[int, int], needs: Needs) -> dict[str, Any] | None:
    loaded = {
        "bbox": each["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": number[each["category_id"]],
    }
    if "iscrowd" in each:
        loaded["iscrowd"] = each["iscrowd"]
    if needs.masks and (mask := each.get("segmentation")):
        if isinstance(mask, list):
            mask = [polygon for polygon in mask if is_polygon(polygon)]
            if not mask:
                return None
        elif isinstance(mask["counts"], list):
            mask = masks.frPyObjects(mask, *mask["size"])
        loaded["segmentation"] = mask
    if needs.keypoints and (points := each.get("keypoints")) is not None:
        # COCO gives pixels, Detectron2 reads points: a pixel's middle is half a pixel further.
        loaded["keypoints"] = [v if i % 3 == 2 else v + 0.5 for i, v in enumerate(points)]
    return loaded
