"""A COCO set is checked before training: every fault is told with file, count and first example."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from superinfo.datasets.scenes import World, write_scenes
from superinfo.errors import UserError
from transfer.detection.data import check_coco, register
from transfer.recipe import CocoSet

Coco = dict[str, Any]


def tiny_coco() -> Coco:
    square = [[2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in (1, 2)],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 7,
                "bbox": [2, 2, 10, 10],
                "area": 100,
                "iscrowd": 0,
                "segmentation": square,
            }
            for i in (1, 2)
        ],
        "categories": [{"id": 9, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write(folder: Path, coco: Coco) -> tuple[Path, Path]:
    images = folder / "images"
    images.mkdir()
    for i in (1, 2):
        cv2.imwrite(str(images / f"{i}.png"), np.zeros((24, 32, 3), np.uint8))
    json_file = folder / "instances.json"
    json_file.write_text(json.dumps(coco))
    return json_file, images


def test_a_sound_set_passes_and_gives_its_classes_by_id(tmp_path: Path) -> None:
    assert check_coco(*write(tmp_path, tiny_coco())) == (2, ("dog", "cat"))


def rename_image(coco: Coco) -> None:
    coco["images"][1]["file_name"] = "gone.png"


def repeat_image(coco: Coco) -> None:
    coco["images"].append(coco["images"][0])


def push_box_out(coco: Coco) -> None:
    coco["annotations"][1]["bbox"] = [25, 2, 10, 10]


def point_to_no_image(coco: Coco) -> None:
    coco["annotations"][0]["image_id"] = 5


def point_to_no_category(coco: Coco) -> None:
    coco["annotations"][0]["category_id"] = 5


def drop_mask(coco: Coco) -> None:
    del coco["annotations"][1]["segmentation"]


def repeat_annotation(coco: Coco) -> None:
    coco["annotations"][1]["id"] = 1


def drop_width(coco: Coco) -> None:
    del coco["images"][0]["width"]


def run_lengths(coco: Coco) -> None:
    coco["annotations"][0]["segmentation"] = {"size": [24, 32], "counts": [0, 768]}


def make_all_crowds(coco: Coco) -> None:
    for annotation in coco["annotations"]:
        annotation["iscrowd"] = 1


def drop_categories(coco: Coco) -> None:
    del coco["categories"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (rename_image, r"1 images are absent from .*images, first gone\.png; add them"),
        (repeat_image, r"1 image ids are used twice, first 1"),
        (push_box_out, r"1 boxes lie outside their image, first annotation 2 .*2\.png \(32x24\); clip"),
        (point_to_no_image, r"1 annotations are of no image in the file, first annotation 1"),
        (point_to_no_category, r"1 annotations are of no category in the file, first annotation 1"),
        (drop_mask, r"1 objects have no mask, first annotation 2"),
        (repeat_annotation, r"1 annotation ids are used twice, first 1"),
        (drop_width, r"not a COCO json: KeyError 'width'"),
        (run_lengths, r"1 objects have masks of run lengths, first annotation 1"),
        (make_all_crowds, r"no object that is not a crowd"),
        (drop_categories, r"not a COCO json: KeyError 'categories'"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, spoil: Callable[[Coco], None], told: str) -> None:
    coco = tiny_coco()
    spoil(coco)
    json_file, images = write(tmp_path, coco)
    with pytest.raises(UserError, match=told) as caught:
        check_coco(json_file, images)
    assert str(caught.value).startswith(str(json_file))
    assert "\n" not in str(caught.value)


def test_a_missing_json_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    json_file, images = write(tmp_path, tiny_coco())
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        check_coco(tmp_path / "none.json", images)
    with pytest.raises(UserError, match=r"elsewhere: no such folder of images"):
        check_coco(json_file, tmp_path / "elsewhere")
    json_file.write_text("{")
    with pytest.raises(UserError, match="not a COCO json"):
        check_coco(json_file, images)


def test_splits_of_different_classes_are_refused(tmp_path: Path) -> None:
    for split, classes in (("train", ("disk", "ring")), ("val", ("disk", "star"))):
        write_scenes(tmp_path / split, World(classes=classes), {split: 3}, 64)
    parts = {
        split: {"json_file": f"{split}/annotations/instances_{split}.json", "images": f"{split}/JPEGImages"}
        for split in ("train", "val")
    }
    data = CocoSet.parse(
        {"kind": "coco", "name": "mixed", "root": str(tmp_path), "train": parts["train"], "test": parts["val"]}, "test"
    )
    with pytest.raises(UserError, match=r"instances_val\.json: categories differ"):
        register(data, tmp_path)
