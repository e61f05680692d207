"""Cityscapes (Cordts et al. 2016, arXiv 1604.01685): objects from the pixels of `*_gtFine_instanceIds.png`."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from superinfo.errors import UserError
from superinfo.files import exclusive, write_bytes
from superinfo.progress import progress
from transfer.detection.annotations import Annotations

VERSION = 1
"""Of what is kept: another one is made anew."""
CLASSES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Those that have instances, by the number that pixels have."""
INSTANCES = 1000
"""A pixel of the n-th instance of class c is 1000 c + n; one of a group that is not told apart is c."""
IMAGE, TRUTH = "_leftImg8bit.png", "_gtFine_instanceIds.png"


def read_cityscapes(folder: Path, split: str, cache: Path) -> Annotations:
    """Return a split of a tree with `leftImg8bit` and `gtFine`; groups are crowds, masks are run lengths.

    What was found in the pixels is kept below `cache`, by the content of all of them. Raises UserError if there are
    no images, if one has no truth, and if a truth cannot be read.
    """
    images, truths = folder / "leftImg8bit" / split, folder / "gtFine" / split
    for place in (images, truths):
        if not place.is_dir():
            raise UserError(f"{place}: no such folder; correct data.root, data.folder or the split")
    names = sorted(str(path.relative_to(images)).removesuffix(IMAGE) for path in images.glob(f"*/*{IMAGE}"))
    if not names:
        raise UserError(f"{images}: no <city>/*{IMAGE}; unpack leftImg8bit_trainvaltest.zip here")
    lacking = [name for name in names if not (truths / f"{name}{TRUTH}").is_file()]
    if lacking:
        raise UserError(f"{truths}: {len(lacking):,} images have no *{TRUTH}, first {lacking[0]}; unpack gtFine")
    entries, objects = _read_kept(truths, names, f"Cityscapes {split}", cache)
    coco = {
        "images": [
            entry
            | {"id": i, "file_name": f"{name}{IMAGE}", "instance_ids": str((truths / f"{name}{TRUTH}").absolute())}
            for i, (name, entry) in enumerate(zip(names, entries, strict=True))
        ],
        "annotations": objects,
        "categories": [{"id": number, "name": name} for number, name in CLASSES.items()],
    }
    return Annotations(split, truths, images, coco, "cityscapes")


def _read_kept(
    truths: Path, names: list[str], title: str, cache: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return each image's size, and the objects of all images."""
    paths = [truths / f"{name}{TRUTH}" for name in names]
    key = hashlib.sha256(f"{VERSION}".encode())
    for name, path in zip(names, paths, strict=True):
        key.update(json.dumps([name, hashlib.sha256(path.read_bytes()).hexdigest()]).encode())
    kept = cache / f"cityscapes-{key.hexdigest()[:24]}.json"
    with exclusive(kept.with_name(f".{kept.name}.lock"), wait=True):
        if not kept.exists():
            write_bytes(kept, json.dumps(_look_into(paths, title)).encode())
    sizes, objects = json.loads(kept.read_bytes())
    return sizes, objects


def _look_into(truths: list[Path], title: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    sizes: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    with progress(f"{title}: objects from pixels", len(truths), "images") as advance:
        for i, path in enumerate(truths):
            pixels = _read_pixels(path)
            sizes.append({"height": pixels.shape[0], "width": pixels.shape[1]})
            for each in _objects(pixels):
                objects.append({"id": len(objects) + 1, "image_id": i, **each})
            advance(1, "")
    return sizes, objects


def _read_pixels(path: Path) -> NDArray[Any]:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2:
        raise UserError(f"{path}: not a readable PNG of one channel; unpack gtFine anew")
    return pixels


def _objects(pixels: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the objects in an image `(H, W)`, by rising number."""
    from pycocotools import mask as masks

    flat = pixels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    found = []
    for value in np.unique(values).tolist():
        category = value // INSTANCES if value >= INSTANCES else value
        if category not in CLASSES:
            continue
        mine = values == value
        edges = np.column_stack([starts[mine], ends[mine]]).ravel().tolist()
        edges = [0, *edges, flat.size] if edges[-1] < flat.size else [0, *edges]
        counts = np.diff(edges).tolist()
        runs = masks.frPyObjects({"size": list(pixels.shape), "counts": counts}, *pixels.shape)
        found.append(
            {
                "category_id": category,
                "iscrowd": int(value < INSTANCES),
                "area": int(masks.area(runs)),
                "bbox": masks.toBbox(runs).tolist(),
                "segmentation": {"size": list(pixels.shape), "counts": runs["counts"].decode()},
            }
        )
    return found
