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
from transfer.detection.data.lvis import check_judged
from transfer.detection.data.objects import Entry, ObjectCheck


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
    if needs.metric == "lvis":
        check_judged(coco, categories, faults)
    check_object = ObjectCheck(images, categories, needs, points, faults)
    for each in coco["annotations"]:
        check_object(each)
    notes = faults.refuse(len(coco["annotations"]))
    objects = [each for each in coco["annotations"] if not each.get("iscrowd")]
    if not objects:
        raise UserError(f"{annotations.source}: no object that is not a crowd; annotate at least one")
    if needs.keypoints and not any(v > 0 for each in objects for v in each["keypoints"][2::3]):
        raise UserError(f"{annotations.source}: no object that is not a crowd has a visible keypoint; annotate one")
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
        points = len(keypoint_names(annotations))
    except UserError as error:
        faults.add("list of keypoint names is wrong", error, "name the same ones, each once, for all categories")
        return 0
    for entry in annotations.coco["categories"]:
        if isinstance(entry, dict) and not _joins_points(entry.get("skeleton") or [], points):
            remedy = f"give pairs of numbers from 1 to {points}, or leave it out"
            faults.add("skeletons of categories join no pairs of keypoints", entry.get("name"), remedy)
    return points


def _joins_points(skeleton: Any, points: int) -> bool:
    return isinstance(skeleton, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(end) is int and 1 <= end <= points for end in pair)
        for pair in skeleton
    )


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
                example = f"{entry.get(side)!r} of image {entry['id']}, {name}"
                faults.add(f"images have no `{side}` of whole pixels", example, "add it")
                break
        else:
            images.setdefault(entry["id"], entry)
            continue
        images.setdefault(entry["id"], {})
    sound = [entry for entry in entries if isinstance(entry, dict) and type(entry.get("id")) is int]
    faults.add_repeated("image ids are used twice", (entry["id"] for entry in sound), "give each image its own")
    names = [name for entry in sound if isinstance(name := entry.get("file_name"), str)]
    files = (os.path.normpath(os.path.join(folder, name)) for name in names)
    faults.add_repeated("images are listed twice", files, "list each file once")
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
