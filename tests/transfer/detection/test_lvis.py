"""LVIS's jsons have no file names of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from superinfo.errors import UserError
from tests.transfer.detection.tiny import BOXES, MASKS, tiny_coco, write_image
from transfer.detection.data import Needs
from transfer.detection.data.check import check
from transfer.detection.data.loading import as_detectron2
from transfer.detection.data.lvis import read_lvis
from transfer.detection.scores.lvis import lvis_scores

SCORED = Needs(True, False, metric="lvis")


def tiny_lvis() -> dict[str, Any]:
    """Return what LVIS v1 has: no `iscrowd` and no `file_name`."""
    lvis = tiny_coco()
    for i, entry in enumerate(lvis["images"]):
        del entry["file_name"]
        entry["coco_url"] = f"http://images.cocodataset.org/{('train2017', 'val2017')[i]}/00000000000{i}.jpg"
        entry["neg_category_ids"] = [9 - 2 * i]
        entry["not_exhaustive_category_ids"] = [9][:i]
    for category, frequency in zip(lvis["categories"], "rf", strict=True):
        category["frequency"] = frequency
    for each in lvis["annotations"]:
        del each["iscrowd"], each["keypoints"]
    return lvis


def write(folder: Path, lvis: dict[str, Any]) -> Path:
    for i, split in enumerate(("train2017", "val2017")):
        write_image(folder / "coco" / split / f"00000000000{i}.jpg")
    (folder / "lvis_v1_val.json").write_text(json.dumps(lvis))
    return folder / "lvis_v1_val.json"


def test_images_are_found_in_cocos_folders_and_judged_classes_are_kept(tmp_path: Path) -> None:
    split = read_lvis(write(tmp_path, tiny_lvis()), tmp_path / "coco")
    assert check(split, MASKS) == []
    assert (split.title, split.metric) == ("lvis_v1_val", "lvis")
    loaded = as_detectron2(split, MASKS)
    assert [image["file_name"] for image in loaded] == [
        str(tmp_path / "coco" / "train2017" / "000000000000.jpg"),
        str(tmp_path / "coco" / "val2017" / "000000000001.jpg"),
    ]
    assert [image["neg_category_ids"] for image in loaded] == [[9], [7]]
    assert [image["not_exhaustive_category_ids"] for image in loaded] == [[], [9]]
    assert [a["category_id"] for image in loaded for a in image["annotations"]] == [0, 1]


def test_an_image_without_a_name_and_one_that_is_absent_are_named(tmp_path: Path) -> None:
    lvis = tiny_lvis()
    del lvis["images"][0]["coco_url"]
    lvis["images"][1]["coco_url"] = "nowhere.jpg"
    path = write(tmp_path, lvis)
    with pytest.raises(
        UserError, match=r"1 images have no `file_name`, first image 1; .*1 images are absent .*nowhere\.jpg"
    ):
        check(read_lvis(path, tmp_path / "coco"), BOXES)


@pytest.mark.parametrize(
    ("part", "number", "field", "values", "told"),
    [
        (
            "categories",
            1,
            "frequency",
            (None, "x", ["r"]),
            "1 categories have no `frequency` of r, c or f, .* first dog",
        ),
        ("images", 0, "neg_category_ids", (None, 7, [7, 8], [[7]]), "no `neg_category_ids` of categories in the file"),
        (
            "images",
            1,
            "not_exhaustive_category_ids",
            (None, {}, [True]),
            "1 images have no `not_exhaustive_category_ids`",
        ),
        ("images", 1, "not_exhaustive_category_ids", ("",), "first image 2, val2017/000000000001.jpg; add it, empty"),
        (
            "annotations",
            0,
            "area",
            (None, "9"),
            "1 annotations have no `area` in pixels, .* annotation 1 in train2017/",
        ),
    ],
)
def test_what_lvis_scores_by_is_asked_for_where_it_scores(
    tmp_path: Path, part: str, number: int, field: str, values: tuple[Any, ...], told: str
) -> None:
    for value in values:
        lvis = tiny_lvis()
        lvis[part][number][field] = value
        split = read_lvis(write(tmp_path, lvis), tmp_path / "coco")
        assert check(split, MASKS) == []
        with pytest.raises(UserError, match=told):
            check(split, SCORED)


def test_a_set_that_passes_can_be_scored(tmp_path: Path) -> None:
    split = read_lvis(write(tmp_path, tiny_lvis()), tmp_path / "coco")
    assert check(split, SCORED) == []
    assert lvis_scores(split, [], "mask")["AP"] == 0.0
