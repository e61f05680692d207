"""Detection sets of a few images, in every format that is read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.data import Needs
from transfer.detection.data.check import check

Coco = dict[str, Any]
Spoil = Callable[[Coco], None]
BOXES, MASKS, POINTS = Needs(False, False), Needs(True, False), Needs(False, True)

SHARED = Path(os.environ.get("DETECTRON2_DATASETS", Path(__file__).parents[4] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not (SHARED / "VOC2007").is_dir(), reason=f"{SHARED} has no real images")


def tiny_coco() -> Coco:
    square = [[2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in (1, 2)],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 5 + 2 * i,
                "bbox": [2, 2, 10, 10],
                "area": 100,
                "iscrowd": 0,
                "segmentation": square,
                "keypoints": [3, 4, 2] * 17,
            }
            for i in (1, 2)
        ],
        "categories": [{"id": 9, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def change(part: str, number: int, field: str, value: Any) -> Spoil:
    def spoil(coco: Coco) -> None:
        coco[part][number][field] = value

    return spoil


def drop(part: str, number: int, field: str) -> Spoil:
    def spoil(coco: Coco) -> None:
        del coco[part][number][field]

    return spoil


def write_image(path: Path, shade: int = 0, width: int = 32, height: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), shade, np.uint8))


def tiny_split(folder: Path, coco: Coco, name: str = "instances_tiny.json") -> Annotations:
    """Write the json beside its two images."""
    for i in (1, 2):
        write_image(folder / "images" / f"{i}.png", i)
    (folder / name).write_text(json.dumps(coco))
    return Annotations("tiny", folder / name, folder / "images", json.loads((folder / name).read_text()), "coco")


def assert_refused(folder: Path, spoil: Spoil, needs: Needs, told: str) -> None:
    """Spoil the tiny split, and hold its refusal to a pattern and to one line that begins with its file."""
    coco = tiny_coco()
    spoil(coco)
    split = tiny_split(folder, coco)
    with pytest.raises(UserError, match=told) as caught:
        check(split, needs)
    assert str(caught.value).startswith(f"{split.source}: ")
    assert "\n" not in str(caught.value)


def voc_xml(width: int, height: int, *objects: tuple[str, tuple[float, float, float, float], int | None]) -> str:
    written = "".join(
        f"<object><name>{name}</name>"
        + ("" if difficult is None else f"<difficult>{difficult}</difficult>")
        + "<bndbox>{}</bndbox>".format(
            "".join(f"<{key}>{v}</{key}>" for key, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        )
        + "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
        for name, box, difficult in objects
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{written}</annotation>"


def write_voc(folder: Path, split: str, xmls: dict[str, str], suffix: str = ".jpg") -> None:
    """Write a VOC folder of one list, with an image for each XML."""
    for name in ("ImageSets/Main", "Annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in xmls))
    for shade, (name, xml) in enumerate(xmls.items()):
        (folder / "Annotations" / f"{name}.xml").write_text(xml)
        write_image(folder / "JPEGImages" / f"{name}{suffix}", 40 * shade)


def write_cityscapes(folder: Path, split: str, truths: dict[str, np.ndarray[Any, Any]], shade: int = 0) -> None:
    """Write images and what is in their pixels; a name is `city/city_000000_000019`."""
    for number, (name, pixels) in enumerate(truths.items()):
        height, width = pixels.shape
        write_image(folder / "leftImg8bit" / split / f"{name}_leftImg8bit.png", shade + 40 * number, width, height)
        path = folder / "gtFine" / split / f"{name}_gtFine_instanceIds.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels.astype(np.uint16))
