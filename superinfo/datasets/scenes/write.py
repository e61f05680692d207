"""The two splits as folders on disk: arrays with factors, and COCO beside Pascal VOC."""

import json
import math
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import cv2
import numpy as np

from superinfo.datasets.scenes.composition import Instance, Scene, draw_scene
from superinfo.datasets.scenes.polygons import encode_runs
from superinfo.datasets.scenes.world import ObjectFactors, World, draw_object
from superinfo.errors import UserError
from superinfo.files import new_folder, write_text

Progress = Callable[[int], None]
"""Called with the number of images that were just finished."""

SMALLEST_SIZE = 16
MOST_OBJECTS = 20
_SPLIT = re.compile(r"[A-Za-z0-9_-]+")
_NOTICEABLE = 0.02
"""An object of which less is outside or hidden counts as whole in Pascal VOC's flags."""
_CHUNK = 128
_FACTOR_COLUMNS = ["class", *[field.name for field in fields(ObjectFactors)][1:]]
Result = TypeVar("Result")


def write_objects(
    root: Path,
    world: World,
    split: str,
    count: int,
    size: int,
    processes: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write `count` images of one object each as `<root>/<split>`, which appears whole or not at all.

    `images.npy` is `(count, size, size, 3)` uint8 RGB; `factors.csv` has a row for each image. The bytes
    do not depend on `processes`. Raises `UserError` for a count below 1, a size below 16 pixels and a folder
    that is not empty.
    """
    _check_request({split: count}, size, processes, root / split)
    with new_folder(root / split) as temporary:
        path = temporary / "images.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3)).flush()
        _reserve(path)
        rows: list[list[str]] = []
        write = partial(_write_object_chunk, path, world, split, size)
        for chunk in _map_chunks(write, count, processes, progress):
            rows += chunk
        _write_csv(temporary / "factors.csv", ["index", *_FACTOR_COLUMNS], rows)


def write_scenes(
    root: Path,
    world: World,
    counts: Mapping[str, int],
    size: int,
    min_objects: int = 2,
    max_objects: int = 6,
    processes: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write splits of scenes (split -> number of images) as `root`, which appears whole or not at all.

    The folder is both a COCO and a Pascal VOC root: `annotations/instances_<split>.json`, `JPEGImages/`,
    `Annotations/`, `ImageSets/Main/<split>.txt`, and `factors_<split>.csv` with a row for each annotation.
    A crowd is one COCO annotation with `iscrowd` 1 and run lengths, and one VOC object marked difficult.
    Raises `UserError` as `write_objects` does, and for numbers of objects that are no range within 1..20.
    """
    _check_request(counts, size, processes, root)
    if not 1 <= min_objects <= max_objects <= MOST_OBJECTS:
        raise UserError(
            f"scenes: {min_objects} to {max_objects} objects for {root}: use a range within 1..{MOST_OBJECTS}"
        )
    with new_folder(root) as temporary:
        for name in ("annotations", "JPEGImages", "Annotations", "ImageSets/Main"):
            (temporary / name).mkdir(parents=True)
        for split, count in counts.items():
            draw = partial(draw_scene, world, split, size=size, min_objects=min_objects, max_objects=max_objects)
            write = partial(_write_scene_chunk, temporary, split, draw)
            chunks = _map_chunks(write, count, processes, progress)
            _write_split(temporary, world, split, size, [scene for chunk in chunks for scene in chunk])


def _reserve(path: Path) -> None:
    """Take up the disk space of a sparse file now: a full disk kills a process that writes through a memory map."""
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


@dataclass(frozen=True)
class _Annotations:
    """What is left of a scene once its picture is written: annotations and rows of factors, without ids."""

    annotations: list[dict[str, Any]]
    factors: list[list[str]]


def _check_request(counts: Mapping[str, int], size: int, processes: int, folder: Path) -> None:
    if not counts:
        raise UserError(f"scenes: no split asked for in {folder}: name at least one")
    for split, count in counts.items():
        if not _SPLIT.fullmatch(split):
            raise UserError(f"scenes: split {split!r} for {folder}: use letters, digits, '-' and '_' only")
        if count < 1:
            raise UserError(f"scenes: count {count} of split {split!r} for {folder}: use 1 or more")
    if size < SMALLEST_SIZE:
        raise UserError(f"scenes: size {size} for {folder}: use {SMALLEST_SIZE} pixels or more")
    if processes < 1:
        raise UserError(f"scenes: processes {processes} for {folder}: use 1 or more")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"scenes: {folder} exists already: remove it or name another folder")


def _map_chunks(work: Callable[[range], Result], count: int, processes: int, progress: Progress | None) -> list[Result]:
    """Return the results of `work` on consecutive ranges of indices, in order, from several processes."""
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    results = []
    with ExitStack() as stack:
        apply: Callable[..., Iterable[Result]] = map
        if min(processes, len(chunks)) > 1:
            # A parent with torch's threads must not fork.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(min(processes, len(chunks)), mp_context=context, initializer=_start_worker)
            stack.callback(pool.shutdown, cancel_futures=True)
            apply = pool.map
        for chunk, result in zip(chunks, apply(work, chunks), strict=True):
            results.append(result)
            if progress is not None:
                progress(len(chunk))
    return results


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write_object_chunk(path: Path, world: World, split: str, size: int, chunk: range) -> list[list[str]]:
    images = np.lib.format.open_memmap(path, "r+")
    rows = []
    for index in chunk:
        images[index], factors = draw_object(world, split, index, size)
        rows.append([str(index), *_factor_cells(factors)])
    images.flush()
    return rows


def _write_scene_chunk(root: Path, split: str, draw: Callable[..., Scene], chunk: range) -> list[_Annotations]:
    written = []
    for index in chunk:
        scene = draw(index=index)
        name = _image_name(split, index)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        encoded, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(scene.image[..., ::-1]), quality)
        assert encoded
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg.tobytes())
        (root / "Annotations" / f"{name}.xml").write_bytes(_voc_xml(scene, name))
        written.append(
            _Annotations(
                [_coco_annotation(instance) for instance in scene.instances],
                [_instance_cells(instance) for instance in scene.instances],
            )
        )
    return written


def _image_name(split: str, index: int) -> str:
    return f"{split}_{index:06d}"


def _coco_annotation(instance: Instance) -> dict[str, Any]:
    return {
        "category_id": instance.label + 1,
        "iscrowd": int(instance.iscrowd),
        "area": instance.area,
        "bbox": list(instance.bbox),
        "segmentation": encode_runs(instance.mask) if instance.iscrowd else instance.polygons,
    }


def _voc_xml(scene: Scene, name: str) -> bytes:
    """Describe a scene as Pascal VOC does; boxes are in whole pixels, counted from 1, both ends included."""
    height, width, depth = scene.image.shape
    root = ElementTree.Element("annotation")
    _add_fields(root, {"folder": "scenes", "filename": f"{name}.jpg"})
    _add_fields(ElementTree.SubElement(root, "size"), {"width": width, "height": height, "depth": depth})
    _add_fields(root, {"segmented": 0})
    for instance in scene.instances:
        element = ElementTree.SubElement(root, "object")
        flags = {
            "truncated": int(instance.truncated > _NOTICEABLE),
            "occluded": int(instance.occluded > _NOTICEABLE),
            "difficult": int(instance.iscrowd),
        }
        _add_fields(element, {"name": instance.class_name, "pose": "Unspecified", **flags})
        x, y, across, down = instance.bbox
        box = {
            "xmin": math.floor(x) + 1,
            "ymin": math.floor(y) + 1,
            "xmax": math.ceil(x + across),
            "ymax": math.ceil(y + down),
        }
        _add_fields(ElementTree.SubElement(element, "bndbox"), box)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"


def _add_fields(element: ElementTree.Element, values: Mapping[str, str | int]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(element, name).text = str(value)


def _write_split(root: Path, world: World, split: str, size: int, scenes: list[_Annotations]) -> None:
    """Number images from 0 and annotations from 1, and write what describes the split as a whole."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    for index, scene in enumerate(scenes):
        name = _image_name(split, index)
        images.append({"id": index, "file_name": f"{name}.jpg", "width": size, "height": size})
        for annotation, cells in zip(scene.annotations, scene.factors, strict=True):
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": index, **annotation})
            rows.append([str(index), str(number), *cells])
    coco = {
        "info": {"description": f"superinfo scenes, seed {world.seed}, split {split}", "version": "1"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": label, "name": name, "supercategory": "shape"} for label, name in enumerate(world.classes, 1)
        ],
    }
    write_text(root / "annotations" / f"instances_{split}.json", json.dumps(coco, separators=(",", ":")) + "\n")
    write_text(
        root / "ImageSets/Main" / f"{split}.txt",
        "".join(f"{_image_name(split, i)}\n" for i in range(len(scenes))),
    )
    header = ["image_id", "annotation_id", *_FACTOR_COLUMNS, "occluded", "truncated", "iscrowd"]
    _write_csv(root / f"factors_{split}.csv", header, rows)


def _factor_cells(factors: ObjectFactors) -> list[str]:
    return [f"{value:.5f}" if isinstance(value, float) else str(value) for value in astuple(factors)]


def _instance_cells(instance: Instance) -> list[str]:
    amounts = [f"{instance.occluded:.5f}", f"{instance.truncated:.5f}"]
    return [*_factor_cells(instance.factors), *amounts, str(int(instance.iscrowd))]


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    # No cell needs quotes: numbers, and names of classes and textures.
    write_text(path, "".join(",".join(row) + "\n" for row in [header, *rows]))
