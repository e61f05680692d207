"""VOC's folders are read as Detectron2 reads them."""

from pathlib import Path

import numpy as np
import pytest
from detectron2.data.datasets.pascal_voc import CLASS_NAMES, load_voc_instances
from detectron2.structures import BoxMode

from superinfo.datasets.scenes import World, write_scenes
from superinfo.errors import UserError
from tests.transfer.detection.tiny import BOXES, MASKS, SHARED, needs_shared, voc_xml, write_voc
from transfer.detection.annotations import Annotations
from transfer.detection.data.check import check
from transfer.detection.data.loading import as_detectron2
from transfer.detection.data.voc import read_voc
from transfer.recipe import VOC_CLASSES, VocSet, VocSplit

DOG = voc_xml(32, 24, ("dog", (1, 1, 32, 24), 0), ("cat", (3, 4, 10, 12), 1))
CAT = voc_xml(32, 24, ("cat", (3.5, 4, 10, 12), None))


def read(root: Path, *splits: VocSplit, classes: tuple[str, ...] = ("dog", "cat")) -> Annotations:
    return read_voc(root, splits or (VocSplit(folder="VOC2007", split="test"),), classes, "2007")


def assert_as_detectron2(split: Annotations, folder: Path, name: str, classes: tuple[str, ...]) -> None:
    expected = load_voc_instances(str(folder), name, classes)
    found = as_detectron2(split, BOXES)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert [ours[key] for key in ("file_name", "width", "height")] == [
            theirs[key] for key in ("file_name", "width", "height")
        ]
        assert [a["category_id"] for a in ours["annotations"]] == [a["category_id"] for a in theirs["annotations"]]
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in ours["annotations"]]
        assert np.allclose(boxes, [a["bbox"] for a in theirs["annotations"]])


def test_images_objects_and_difficult_ones_are_read(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"000003": DOG, "000001": CAT})
    split = read(tmp_path)
    assert check(split, BOXES) == []
    assert (split.title, split.metric, split.classes) == ("VOC2007 test", "voc2007", ("dog", "cat"))
    assert [(entry["id"], entry["file_name"]) for entry in split.coco["images"]] == [
        (0, "VOC2007/JPEGImages/000003.jpg"),
        (1, "VOC2007/JPEGImages/000001.jpg"),
    ]
    assert [a["difficult"] for a in split.coco["annotations"]] == [0, 1, 0]
    assert [a["bbox"] for a in split.coco["annotations"]] == [[0, 0, 32, 24], [2, 3, 8, 9], [2.5, 3, 7.5, 9]]
    assert [a["id"] for a in split.coco["annotations"]] == [1, 2, 3]
    assert_as_detectron2(split, tmp_path / "VOC2007", "test", ("dog", "cat"))


def test_lists_of_several_folders_are_put_together(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "trainval", {"000003": DOG})
    write_voc(tmp_path / "VOC2012", "trainval", {"2008_000003": CAT, "000003": DOG})
    split = read(tmp_path, *(VocSplit(folder=f"VOC{year}", split="trainval") for year in (2007, 2012)))
    assert split.title == "VOC2007 trainval + VOC2012 trainval"
    assert check(split, BOXES) == []
    assert [entry["id"] for entry in split.coco["images"]] == [0, 1, 2]
    assert [(a["id"], a["image_id"]) for a in split.coco["annotations"]] == [(1, 0), (2, 0), (3, 1), (4, 2), (5, 2)]


def test_a_list_may_have_flags_and_images_another_suffix(tmp_path: Path) -> None:
    write_voc(tmp_path, "dog_test", {"a": DOG, "b": CAT}, suffix=".png")
    (tmp_path / "ImageSets" / "Main" / "dog_test.txt").write_text("a  1\nb -1\n\n")
    split = read(tmp_path, VocSplit(folder=".", split="dog_test"))
    assert check(split, BOXES) == []
    assert split.title == "dog_test"
    assert [entry["file_name"] for entry in split.coco["images"]] == ["JPEGImages/a.png", "JPEGImages/b.png"]


def test_what_lies_beside_an_image_is_not_taken_for_it(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"a": DOG})
    write_voc(tmp_path / "VOC2007", "test", {"a": DOG, "b": CAT}, suffix=".png")
    for suffix in ("txt", "json", "xml", "a", "zip"):
        for name in ("a", "b"):
            (tmp_path / "VOC2007" / "JPEGImages" / f"{name}.{suffix}").write_text("of the image")
    found = [entry["file_name"] for entry in read(tmp_path).coco["images"]]
    assert found == ["VOC2007/JPEGImages/a.jpg", "VOC2007/JPEGImages/b.png"]


def test_generated_scenes_are_read_from_their_xml(tmp_path: Path) -> None:
    world = World()
    write_scenes(tmp_path / "scenes", world, {"val": 20}, 64)
    split = read(tmp_path / "scenes", VocSplit(folder=".", split="val"), classes=world.classes)
    check(split, BOXES)
    assert_as_detectron2(split, tmp_path / "scenes", "val", world.classes)


@needs_shared
@pytest.mark.parametrize(("name", "images", "boxes"), [("trainval", 224, 699), ("test", 120, 363)])
def test_voc2007_is_read_as_detectron2_reads_it(name: str, images: int, boxes: int) -> None:
    split = read(SHARED, VocSplit(folder="VOC2007", split=name), classes=VOC_CLASSES)
    check(split, BOXES)
    assert (len(split.coco["images"]), len(split.coco["annotations"])) == (images, boxes)
    assert VOC_CLASSES == CLASS_NAMES
    assert_as_detectron2(split, SHARED / "VOC2007", name, VOC_CLASSES)


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        (DOG[:-20], r"not a readable XML \("),
        ("", r"not a readable XML \("),
        (f'<?xml version="1.0" encoding="latin-99"?>{DOG}', r"not a readable XML \(.*latin-99"),
        (DOG.replace("<width>32</width>", ""), r"<annotation> has no size/width; add it"),
        (
            DOG.replace("<width>32</width>", "<width>32.5</width>"),
            r"size/width of <annotation> is 32\.5; make it a whole",
        ),
        (DOG.replace("<width>32</width>", "<width>inf</width>"), r"size/width of <annotation> is inf; make it a whole"),
        (DOG.replace("<xmax>32</xmax>", "<xmax/>"), r"bndbox/xmax of <object> is ''; make it a number"),
        (DOG.replace("<xmax>32</xmax>", ""), r"<object> has no bndbox/xmax; add it"),
        (
            DOG.replace("<difficult>0</difficult>", "<difficult>no</difficult>"),
            r"difficult of <object> is 'no'; make it",
        ),
        (DOG.replace("dog", "bird"), r"an object of class 'bird', which data\.classes lacks; add it there, or correct"),
    ],
)
def test_a_broken_xml_is_named(tmp_path: Path, xml: str, told: str) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"000001": CAT, "000002": xml})
    with pytest.raises(UserError, match=told) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/VOC2007/Annotations/000002.xml: ")
    assert "\n" not in str(caught.value)


def test_numbers_that_make_no_box_are_told_by_the_check(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"000001": voc_xml(32, 24, ("cat", (1, 1, float("nan"), 9), 0))})
    with pytest.raises(UserError, match=r"Main/test\.txt: 1 boxes have numbers that are not finite"):
        check(read(tmp_path), BOXES)


def test_a_missing_list_xml_or_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Main/test\.txt: no such file; correct data\.root, or the split and its folder"
    ):
        read(tmp_path)
    write_voc(tmp_path / "VOC2007", "test", {"000001": CAT, "000002": DOG})
    (tmp_path / "VOC2007" / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(UserError, match=r"1 images are absent from .*, first VOC2007/JPEGImages/000002\.jpg"):
        check(read(tmp_path), BOXES)
    (tmp_path / "VOC2007" / "Annotations" / "000001.xml").unlink()
    with pytest.raises(UserError, match=r"Annotations/000001\.xml: no such file; add it, or take the image out"):
        read(tmp_path)


def test_an_image_that_is_listed_twice_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"000001": CAT})
    write_voc(tmp_path / "VOC2007", "more", {"000001": CAT})
    told = r"Main/test\.txt: 1 images are listed twice, first .*VOC2007/JPEGImages/000001\.jpg; list each file once"
    lists = [VocSplit(folder=folder, split=name) for folder, name in (("VOC2007", "test"), ("./VOC2007", "more"))]
    with pytest.raises(UserError, match=told):
        check(read(tmp_path, *lists), BOXES)
    (tmp_path / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text("000001\n000001\n")
    with pytest.raises(UserError, match=told):
        check(read(tmp_path), BOXES)


def test_masks_are_not_to_be_had_from_voc(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", "test", {"000001": CAT})
    with pytest.raises(
        UserError,
        match=r"1 objects have no mask, first annotation 1 in VOC2007/JPEGImages/000001\.jpg; .*MASK_ON to false",
    ):
        check(read(tmp_path), MASKS)


@pytest.mark.parametrize(
    ("folder", "metric"), [("VOC2007", "2007"), ("VOC2009", "2007"), ("VOC2010", "2012"), ("my/VOC2012", "2012")]
)
def test_the_metric_is_that_of_the_test_folders_year(folder: str, metric: str) -> None:
    test = {"folder": folder, "split": "test"}
    data = {"kind": "voc", "name": "VOC", "train": [{"folder": "VOC2012", "split": "trainval"}], "test": test}
    assert VocSet.parse(data, "recipe").metric == metric
    assert VocSet.parse(data, "recipe") == VocSet.parse(data | {"metric": metric}, "recipe")
    test["folder"] = "mine"
    with pytest.raises(UserError, match="metric is not given and 'mine' names no year; say '2007' or '2012'"):
        VocSet.parse(data, "recipe")
