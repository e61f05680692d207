"""Detection sets: generated or found, checked before training, and registered with Detectron2."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from superinfo.datasets.images import data_root
from superinfo.datasets.scenes import World, write_scenes
from superinfo.errors import UserError
from superinfo.files import exclusive
from superinfo.progress import progress
from superinfo.spec import identity_hash
from transfer.recipe import CocoSet, CocoSplit, ScenesSet

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may leave its image: annotators' rounding."""


@dataclass(frozen=True)
class RegisteredSplit:
    """A split that Detectron2 knows."""

    name: str
    json_file: Path
    images: int
    classes: tuple[str, ...]


def register(data: ScenesSet | CocoSet, runs: Path) -> tuple[RegisteredSplit, RegisteredSplit]:
    """Make the training and test split known to Detectron2, generating `scenes` if need be.

    Raises UserError, naming file, count and first example, if anything is amiss with the data.
    """
    if isinstance(data, ScenesSet):
        root = _generated_scenes(data, runs / "data")
        return tuple(  # type: ignore[return-value]  # of two
            _register_split(root / "annotations" / f"instances_{split}.json", root / "JPEGImages")
            for split in ("train", data.test_split)
        )
    found = os.environ.get("DETECTRON2_DATASETS")
    root = data_root(data.root or (Path(found) if found else None), "data.root")
    train, test = (_register_found(root, split) for split in (data.train, data.test))
    if train.classes != test.classes:
        raise UserError(f"{test.json_file}: categories differ from those of {train.json_file}; make them the same")
    return train, test


def check_coco(json_file: Path, images: Path) -> tuple[int, tuple[str, ...]]:
    """Return the number of images and the class names of a COCO json for instance segmentation.

    Raises UserError on the first kind of fault, with its count and first example.
    """
    if not json_file.is_file():
        raise UserError(f"{json_file}: no such file; correct data.root or the split's json_file")
    if not images.is_dir():
        raise UserError(f"{images}: no such folder of images; correct data.root or the split's images")
    try:
        coco = json.loads(json_file.read_bytes())
        if all(a.get("iscrowd") for a in coco["annotations"]):
            raise UserError(f"{json_file}: no object that is not a crowd; annotate at least one")
        for what, examples, remedy in _faults(coco, images):
            if examples:
                raise UserError(f"{json_file}: {len(examples):,} {what}, first {examples[0]}; {remedy}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{json_file}: not a COCO json: {type(error).__name__} {error}") from None
    names = {category["id"]: category["name"] for category in coco["categories"]}
    return len(coco["images"]), tuple(names[key] for key in sorted(names))


def _faults(coco: dict[str, Any], images: Path) -> Iterator[tuple[str, list[str], str]]:
    """Yield (what is wrong, examples of it, remedy), each kind only looked for when those before are absent."""
    entries, annotations = coco["images"], coco["annotations"]
    by_id = {entry["id"]: entry for entry in entries}
    categories = {category["id"] for category in coco["categories"]}
    objects = [a for a in annotations if not a.get("iscrowd")]

    twice = [str(key) for key, count in Counter(entry["id"] for entry in entries).items() if count > 1]
    yield "image ids are used twice", twice, "give each image its own"
    absent = [entry["file_name"] for entry in entries if not (images / entry["file_name"]).is_file()]
    yield f"images are absent from {images}", absent, "add them, or take them out of the json"
    repeated = [str(key) for key, count in Counter(a["id"] for a in annotations).items() if count > 1]
    yield "annotation ids are used twice", repeated, "give each annotation its own"
    stray = [f"annotation {a['id']}" for a in annotations if a["image_id"] not in by_id]
    yield "annotations are of no image in the file", stray, "take them out"
    unknown = [f"annotation {a['id']}" for a in annotations if a["category_id"] not in categories]
    yield "annotations are of no category in the file", unknown, "add the category, or take them out"
    outside = [
        f"annotation {a['id']} with bbox {a['bbox']} in {entry['file_name']} ({entry['width']}x{entry['height']})"
        for a in annotations
        if _is_outside(a["bbox"], entry := by_id[a["image_id"]])
    ]
    yield "boxes lie outside their image", outside, "clip them to the image"
    bare = [f"annotation {a['id']}" for a in objects if not a.get("segmentation")]
    yield "objects have no mask", bare, "add `segmentation`"
    runs = [f"annotation {a['id']}" for a in objects if isinstance(a["segmentation"], dict)]
    yield "objects have masks of run lengths", runs, "give polygons: run lengths are read for crowds alone"
    ignored = [f"annotation {a['id']}" for a in annotations if a.get("ignore")]
    yield "annotations have `ignore`, which Detectron2 does not read", ignored, "take them out, or mark them crowds"


def _is_outside(bbox: list[float], entry: dict[str, Any]) -> bool:
    x, y, w, h = bbox
    slack = OUTSIDE_TOLERANCE
    return min(x, y, w, h) < -slack or x + w > entry["width"] + slack or y + h > entry["height"] + slack


def _register_found(root: Path, split: CocoSplit) -> RegisteredSplit:
    return _register_split(root / split.json_file, root / split.images)


def _register_split(json_file: Path, images: Path) -> RegisteredSplit:
    count, classes = check_coco(json_file, images)
    name = str(json_file.resolve())
    if name not in DatasetCatalog:
        register_coco_instances(name, {}, str(json_file), str(images))
        MetadataCatalog.get(name).thing_classes = list(classes)
    return RegisteredSplit(name, json_file, count, classes)


def _generated_scenes(data: ScenesSet, cache: Path) -> Path:
    folder = cache / f"scenes-{data.size}px-{data.train}-{data.test}-{identity_hash(data)[:8]}"
    with exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        if not folder.is_dir():
            counts = {"train": data.train, data.test_split: data.test}
            world = World(classes=data.classes, seed=data.world_seed)
            with progress("scenes", sum(counts.values()), "images") as advance:
                write_scenes(
                    folder,
                    world,
                    counts,
                    data.size,
                    *data.objects,
                    len(os.sched_getaffinity(0)),
                    partial(advance, note=""),
                )
    return folder
