"""What is looked at before training: every kind of fault in a split, and what is legal but worth saying."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.data.faults import Faults
from transfer.detection.data.loading import Needs, keypoint_names
from transfer.detection.masks import WrongMask, are_finite, has_area

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may leave its image: annotators' rounding."""
LEFT_OUT = "Detectron2 leaves them out of training"

Entry = dict[str, Any]


def check(annotations: Annotations, needs: Needs) -> list[str]:
    """Return what is legal but worth saying of a split, a line each.

    Raises UserError, one line, with every kind of fault: its count, first example and remedy.
    """
    faults, coco = Faults(annotations.source), annotations.coco
    if not coco["images"]:
        raise UserError(f"{annotations.source}: no images; a split needs at least one")
    categories = _check_categories(coco["categories"], faults)
    points = _check_keypoint_names(annotations, faults) if needs.keypoints else 0
    images = _check_images(coco["images"], annotations.images, faults)
    check_object = _ObjectCheck(images, categories, needs, points, faults)
    for each in coco["annotations"]:
        check_object(each)
    notes = faults.refuse(len(coco["annotations"]))
    if all(each.get("iscrowd") for each in coco["annotations"]):
        raise UserError(f"{annotations.source}: no object that is not a crowd; annotate at least one")
    return [f"{annotations.title}: {note}" for note in [*notes, *_notes(annotations)]]


def _check_categories(entries: list[Any], faults: Faults) -> set[int]:
    """Return the ids."""
    sound = []
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("name"), str):
            sound.append(entry)
        else:
            faults.add("categories lack a whole `id` or a `name`", f"number {number}", "give them both")
    faults.add_repeated("category ids are used twice", (e["id"] for e in sound), "give each category its own")
    faults.add_repeated("category names are used twice", (e["name"] for e in sound), "give each category its own")
    return {entry["id"] for entry in sound}


def _check_keypoint_names(annotations: Annotations, faults: Faults) -> int:
    """Return how many keypoints an object has."""
    try:
        return len(keypoint_names(annotations))
    except UserError as error:
        faults.add("list of keypoint names is wrong", error, "name the same ones, each once, for all categories")
        return 0


def _check_images(entries: list[Any], folder: Path, faults: Faults) -> dict[int, Entry]:
    """Return the entries of images by id, those that are wrong left out."""
    images: dict[int, Entry] = {}
    is_there = _looked_up(folder)
    if not folder.is_dir():
        faults.add("folder of images is missing", folder, "correct data.root or the split's images")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            faults.add("images have no whole number as `id`", f"number {number}", "give each its own")
            continue
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            faults.add("images have no `file_name`", f"image {entry['id']}", "add it")
        elif not is_there(name):
            faults.add(f"images are absent from {folder}", name, "add them, or take them out of the json")
        for side in ("width", "height"):
            if type(entry.get(side)) is not int or entry[side] < 1:
                faults.add(
                    f"images have no `{side}` of whole pixels", f"{entry.get(side)!r} of image {entry['id']}", "add it"
                )
                break
        else:
            images.setdefault(entry["id"], entry)
            continue
        images.setdefault(entry["id"], {})
    ids = (entry["id"] for entry in entries if isinstance(entry, dict) and type(entry.get("id")) is int)
    faults.add_repeated("image ids are used twice", ids, "give each image its own")
    return images


def _looked_up(root: Path) -> Callable[[str], bool]:
    """Return whether a name below `root` is a file, by one listing of each folder."""
    listed: dict[str, set[str]] = {}

    def is_there(name: str) -> bool:
        folder, last = os.path.split(name)
        if folder not in listed:
            listed[folder] = _files(os.path.join(root, folder))
        return last in listed[folder]

    return is_there


def _files(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as found:
            return {entry.name for entry in found if entry.is_file()}
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return set()


class _ObjectCheck:
    """Looks at one annotation after the other; each is told of every kind of fault that can be seen in it."""

    def __init__(
        self, images: dict[int, Entry], categories: set[int], needs: Needs, points: int, faults: Faults
    ) -> None:
        self.images, self.categories, self.needs, self.points = images, categories, needs, points
        self.add = faults.add
        self._ids: set[int] = set()
        self._twice: set[int] = set()
        self._number = -1

    def __call__(self, each: Any) -> None:
        self._number += 1
        key = each.get("id") if isinstance(each, dict) else None
        if type(key) is not int:
            self.add("annotations have no whole number as `id`", f"number {self._number}", "give each its own")
            if not isinstance(each, dict):
                return
        elif key in self._ids:
            if key not in self._twice:
                self._twice.add(key)
                self.add("annotation ids are used twice", key, "give each annotation its own")
        else:
            self._ids.add(key)
        image = self.images.get(image_id) if type(image_id := each.get("image_id")) is int else None
        if image is None:
            self.add("annotations are of no image in the file", f"annotation {key}", "take them out")
        if type(category := each.get("category_id")) is not int or category not in self.categories:
            remedy = "add the category, or take them out"
            self.add("annotations are of no category in the file", f"annotation {key}", remedy)
        if each.get("ignore"):
            remedy = "take them out, or mark them crowds"
            self.add("annotations have `ignore`, which Detectron2 does not read", f"annotation {key}", remedy)
        if (crowd := each.get("iscrowd", 0)) not in (0, 1):
            self.add("annotations have an `iscrowd` that is neither 0 nor 1", f"annotation {key}", "set it to either")
        if self.needs.coco_metric:
            self._check_scored(each, key)
        self._check_box(each.get("bbox"), key, image)
        if self.needs.masks:
            self._check_mask(each, key, image, bool(crowd))
        if self.needs.keypoints and not crowd:
            self._check_keypoints(each.get("keypoints"), key)

    def _check_scored(self, each: Entry, key: object) -> None:
        area = each.get("area")
        if type(area) not in (int, float) or not are_finite([area]):
            self.add("annotations have no number as `area`, by which COCO scores", f"annotation {key}", "add it")
        if "iscrowd" not in each:
            self.add("annotations have no `iscrowd`, by which COCO scores", f"annotation {key}", "add 0")

    def _check_box(self, box: Any, key: object, image: Entry | None) -> None:
        if not isinstance(box, list) or len(box) != 4 or not all(type(v) in (int, float) for v in box):
            self.add("annotations have no `bbox` of four numbers", f"annotation {key}", "add x, y, width and height")
            return
        if not are_finite(box):
            self.add("boxes have numbers that are not finite", f"annotation {key} with {box}", "correct them")
            return
        x, y, w, h = box
        slack = OUTSIDE_TOLERANCE
        if image and (x < -slack or y < -slack or x + w > image["width"] + slack or y + h > image["height"] + slack):
            size = f"({image['width']}x{image['height']})"
            example = f"annotation {key} with bbox {box} in {image.get('file_name')} {size}"
            self.add("boxes lie outside their image", example, "clip them to the image", "Detectron2 clips them")
        if w < 0 or h < 0:
            remedy = "give x, y, width and height"
            self.add("boxes have a negative width or height", f"annotation {key} with bbox {box}", remedy)
        elif w == 0 or h == 0:
            self.add("boxes have no area", f"annotation {key} with bbox {box}", "take them out", LEFT_OUT)

    def _check_mask(self, each: Entry, key: object, image: Entry | None, crowd: bool) -> None:
        segmentation = each.get("segmentation")
        if not segmentation:
            if not crowd or self.needs.coco_metric:
                remedy = "add `segmentation`, or set MODEL.MASK_ON to false"
                self.add("objects have no mask", f"annotation {key}", remedy)
        elif image:
            try:
                covers = has_area(segmentation, image["height"], image["width"])
            except WrongMask as error:
                self.add("masks cannot be read", f"annotation {key}: {error}", "correct them")
            else:
                if not covers:
                    remedy = "take them out, or draw three points or more around a pixel or more"
                    self.add("masks have no area", f"annotation {key}", remedy, LEFT_OUT)

    def _check_keypoints(self, keypoints: Any, key: object) -> None:
        if keypoints is None:
            remedy = "add `keypoints`, zeros where none is seen, or set MODEL.KEYPOINT_ON to false"
            self.add("objects have no keypoints", f"annotation {key}", remedy)
        elif not isinstance(keypoints, list) or len(keypoints) != 3 * self.points:
            found = len(keypoints) if isinstance(keypoints, list) else "no list"
            remedy = f"give x, y and visibility of each of {self.points} points"
            self.add("objects have another number of keypoints", f"annotation {key} with {found} numbers", remedy)
        elif not are_finite(keypoints):
            self.add("keypoints have values that are not finite numbers", f"annotation {key}", "correct them")


def _notes(annotations: Annotations) -> list[str]:
    """Say which classes have no object and which images no object, or crowds alone."""
    coco = annotations.coco
    of_class: Counter[int] = Counter()
    crowded, with_objects = set(), set()
    for each in coco["annotations"]:
        if each.get("iscrowd"):
            crowded.add(each["image_id"])
        else:
            of_class[each["category_id"]] += 1
            with_objects.add(each["image_id"])
    classes = zip(annotations.category_ids, annotations.classes, strict=True)
    unseen = [name for key, name in classes if not of_class[key]]
    without = [e for e in coco["images"] if e["id"] not in with_objects]
    only_crowds = [e["file_name"] for e in without if e["id"] in crowded]
    bare = [e["file_name"] for e in without if e["id"] not in crowded]
    told = [
        (unseen, f"of {len(annotations.classes):,} classes have no object"),
        (only_crowds, f"of {len(coco['images']):,} images have crowds alone"),
        (bare, f"of {len(coco['images']):,} images have no object"),
    ]
    return [f"{len(examples):,} {what}, first {examples[0]}" for examples, what in told if examples]
