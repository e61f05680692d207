"""From a recipe's data to what Detectron2 knows of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from superinfo.artifacts import Pixels
from superinfo.datasets.scenes import World, write_scenes
from superinfo.errors import UserError
from superinfo.spec import identity, identity_hash
from tests.transfer.detection.tiny import (
    BOXES,
    MASKS,
    POINTS,
    SHARED,
    Coco,
    needs_shared,
    tiny_coco,
    voc_xml,
    write_cityscapes,
    write_image,
    write_voc,
)
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection.config import build_config, protocol_config, read_needs
from transfer.detection.data import Splits, register
from transfer.overlay import encoder_overlay
from transfer.recipe import AnyDetectionSet, DetectRecipe


def data_of(kind: str, **fields: Any) -> AnyDetectionSet:
    return tiny_detector(data={"kind": kind, **fields}).data


def coco_set(root: Path | None, **fields: Any) -> AnyDetectionSet:
    parts = {s: {"json_file": f"instances_{s}.json", "images": s} for s in ("train", "test")}
    place = {"root": str(root)} if root else {}
    return data_of("coco", **({"name": "tiny", **place, **parts} | fields))


def write_coco(root: Path, **changed: Coco) -> None:
    for shade, split in enumerate(("train", "test")):
        coco = changed.get(split, tiny_coco())
        (root / f"instances_{split}.json").write_text(json.dumps(coco))
        for entry in coco["images"]:
            write_image(root / split / entry["file_name"], 100 * shade + entry["id"])


def test_both_splits_are_known_to_detectron2_under_names_of_their_own(tmp_path: Path) -> None:
    write_coco(tmp_path)
    splits = register(coco_set(tmp_path), tmp_path / "runs", MASKS)
    assert splits.train.name != splits.test.name
    assert splits.notes == []
    assert (splits.test.images, splits.test.classes, splits.test.annotations.title) == (2, ("dog", "cat"), "test")
    for split, name in ((splits.train, "train"), (splits.test, "test")):
        loaded = DatasetCatalog.get(split.name)
        assert [image["file_name"] for image in loaded] == [str(tmp_path / name / f"{i}.png") for i in (1, 2)]
        assert MetadataCatalog.get(split.name).thing_classes == ["dog", "cat"]
        assert MetadataCatalog.get(split.name).json_file == str(tmp_path / f"instances_{name}.json")


def test_a_set_that_changed_is_registered_anew(tmp_path: Path) -> None:
    write_coco(tmp_path)
    register(coco_set(tmp_path), tmp_path / "runs", MASKS)
    coco = tiny_coco()
    coco["categories"][0]["name"] = "cow"
    write_coco(tmp_path, train=coco, test=coco)
    splits = register(coco_set(tmp_path), tmp_path / "runs", POINTS)
    assert MetadataCatalog.get(splits.train.name).thing_classes == ["dog", "cow"]
    assert "keypoints" in DatasetCatalog.get(splits.train.name)[0]["annotations"][0]


def test_what_is_worth_saying_is_said_on_stderr_and_nothing_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = tiny_coco()
    coco["annotations"].pop()
    write_coco(tmp_path, train=coco)
    register(coco_set(tmp_path), tmp_path / "runs", MASKS)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "train: 1 of 2 classes have no object, first cat",
        "train: 1 of 2 images have no object, first 2.png",
    ]


def test_the_first_process_alone_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    coco = tiny_coco()
    coco["annotations"].pop()
    write_coco(tmp_path, train=coco)
    monkeypatch.setenv("LOCAL_RANK", "1")
    register(coco_set(tmp_path), tmp_path / "runs", MASKS)
    assert capsys.readouterr().err == ""


def test_the_root_is_the_recipes_then_detectron2s_then_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("recipe", "detectron2", "superinfo"):
        (tmp_path / name).mkdir()
        write_coco(tmp_path / name)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    monkeypatch.delenv("SUPERINFO_DATA", raising=False)
    with pytest.raises(UserError, match=r"data\.root is not given"):
        register(coco_set(None), tmp_path, BOXES)

    def root(data: AnyDetectionSet) -> str:
        return register(data, tmp_path / "runs", BOXES).test.annotations.source.parent.name

    monkeypatch.setenv("SUPERINFO_DATA", str(tmp_path / "superinfo"))
    assert root(coco_set(None)) == "superinfo"
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "detectron2"))
    assert root(coco_set(None)) == "detectron2"
    assert root(coco_set(tmp_path / "recipe")) == "recipe"
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"gone: no such folder; correct DETECTRON2_DATASETS, or give data\.root"):
        root(coco_set(None))


def test_splits_of_different_classes_are_refused(tmp_path: Path) -> None:
    for split, classes in (("train", ("disk", "ring")), ("val", ("disk", "star"))):
        write_scenes(tmp_path / split, World(classes=classes), {split: 3}, 64)
    train, test = (
        {"json_file": f"{split}/annotations/instances_{split}.json", "images": f"{split}/JPEGImages"}
        for split in ("train", "val")
    )
    with pytest.raises(UserError, match=r"val\.json: categories differ from those of .*train\.json: 'ring' is only in"):
        register(coco_set(tmp_path, train=train, test=test), tmp_path, BOXES)


def test_splits_whose_classes_are_in_another_order_are_refused(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["categories"] = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
    write_coco(tmp_path, test=coco)
    with pytest.raises(UserError, match="they are in another order of ids; make them the same"):
        register(coco_set(tmp_path), tmp_path, BOXES)


def test_splits_of_different_keypoints_are_refused_where_they_are_needed(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["categories"][0]["keypoints"] = [f"point {i}" for i in range(17)]
    write_coco(tmp_path, test=coco)
    register(coco_set(tmp_path), tmp_path, BOXES)
    with pytest.raises(
        UserError, match=r"test\.json: keypoints differ from those of .*train\.json; name the same ones"
    ):
        register(coco_set(tmp_path), tmp_path, POINTS)


def test_a_test_split_is_asked_for_what_scores_it(tmp_path: Path) -> None:
    coco = tiny_coco()
    del coco["annotations"][0]["area"]
    write_coco(tmp_path, train=coco)
    register(coco_set(tmp_path), tmp_path, BOXES)
    write_coco(tmp_path, test=coco)
    with pytest.raises(UserError, match=r"instances_test\.json: 1 annotations have no `area` in pixels"):
        register(coco_set(tmp_path), tmp_path, BOXES)


def test_images_seen_in_training_are_refused_unless_they_are_let_pass_and_then_noted(tmp_path: Path) -> None:
    write_coco(tmp_path)
    shutil.copy(tmp_path / "train" / "2.png", tmp_path / "test" / "1.png")
    with pytest.raises(UserError, match=r"1 of the 2 test images are trained on too, first .*test/1\.png"):
        register(coco_set(tmp_path), tmp_path / "runs", BOXES)
    splits = register(coco_set(tmp_path, max_seen=0.5), tmp_path / "runs", BOXES)
    assert splits.notes == ["1 of the 2 test images are trained on too"]


def test_one_json_may_be_both_splits_where_that_is_let_pass(tmp_path: Path) -> None:
    write_coco(tmp_path)
    split = {"json_file": "instances_train.json", "images": "train"}
    splits = register(coco_set(tmp_path, train=split, test=split, max_seen=1.0), tmp_path / "runs", BOXES)
    assert splits.train.name != splits.test.name
    assert splits.notes == ["2 of the 2 test images are trained on too"]


def test_a_share_of_the_training_images_is_in_titles_and_in_the_hash(tmp_path: Path) -> None:
    write_coco(tmp_path)
    split = {"json_file": "instances_train.json", "images": "train"}
    whole, half, other = (
        coco_set(tmp_path, train=split | extra) for extra in ({}, {"share": 0.5}, {"share": 0.5, "share_seed": 2})
    )
    assert [data.title for data in (whole, half, other)] == [
        "tiny",
        "tiny (50 % of the training images)",
        "tiny (50 % of the training images, draw 2)",
    ]
    assert len({identity_hash(data) for data in (whole, half, other)}) == 3
    assert identity(whole)["train"] == split
    splits = register(half, tmp_path / "runs", BOXES)
    assert (splits.train.images, splits.test.images) == (1, 2)
    with pytest.raises(UserError, match=r"test\.share must be 1"):
        coco_set(tmp_path, test=split | {"share": 0.5})


def test_voc_lvis_and_cityscapes_are_registered(tmp_path: Path) -> None:
    cat = voc_xml(32, 24, ("cat", (3, 4, 10, 12), 0))
    write_voc(tmp_path / "VOC2007", "trainval", {"a": cat})
    write_voc(tmp_path / "VOC2007", "test", {"b": cat})
    write_image(tmp_path / "VOC2007" / "JPEGImages" / "b.jpg", 200)
    parts: dict[str, Any] = {
        "train": [{"folder": "VOC2007", "split": "trainval"}],
        "test": {"folder": "VOC2007", "split": "test"},
    }
    voc = register(data_of("voc", name="VOC", root=str(tmp_path), **parts), tmp_path / "runs", BOXES)
    assert (voc.test.annotations.title, voc.test.annotations.metric) == ("VOC2007 test", "voc2007")
    assert len(voc.train.classes) == 20

    for split in ("train", "val"):
        lvis = tiny_coco()
        for entry in lvis["images"]:
            entry["coco_url"] = f"http://x/{split}2017/{entry.pop('file_name')}"
            entry |= {"neg_category_ids": [7], "not_exhaustive_category_ids": []}
            write_image(tmp_path / "coco" / f"{split}2017" / f"{entry['id']}.png", entry["id"] + 100 * (split == "val"))
        for category in lvis["categories"]:
            category["frequency"] = "f"
        (tmp_path / f"lvis_v1_{split}.json").write_text(json.dumps(lvis))
    parts = {role: {"json_file": f"lvis_v1_{split}.json"} for role, split in (("train", "train"), ("test", "val"))}
    lvis_splits = register(data_of("lvis", name="LVIS v1", root=str(tmp_path), **parts), tmp_path / "runs", MASKS)
    assert (lvis_splits.test.annotations.title, lvis_splits.test.annotations.metric) == ("lvis_v1_val", "lvis")

    for shade, split in enumerate(("train", "val")):
        write_cityscapes(tmp_path / "cityscapes", split, {"ulm/ulm_1": torch.full((24, 32), 26000).numpy()})
        write_image(tmp_path / f"cityscapes/leftImg8bit/{split}/ulm/ulm_1_leftImg8bit.png", shade)
    streets = register(data_of("cityscapes", root=str(tmp_path)), tmp_path / "runs", MASKS)
    assert (streets.train.images, streets.test.annotations.title) == (1, "val")


def config_of(made: DetectRecipe, splits: Splits, folder: Path) -> Any:
    overlay = encoder_overlay(made.encoder, Pixels(mean=made.mean, std=made.std))
    return build_config(protocol_config(made, overlay), made, None, splits, 0, torch.device("cpu"), folder)


def test_needs_are_those_of_the_recipes_detector() -> None:
    assert read_needs(tiny_detector()) == MASKS
    assert read_needs(tiny_detector({"MODEL.MASK_ON": False, "MODEL.KEYPOINT_ON": True})) == POINTS
    with pytest.raises(UserError, match=r"SOLVER\.LR is no option"):
        read_needs(tiny_detector({"SOLVER.LR": 1}))


def test_the_config_is_made_for_the_data(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["categories"][0]["keypoints"] = ["nose", "tail"]
    for each in coco["annotations"]:
        each["keypoints"] = [1, 1, 2] * 2
    write_coco(tmp_path, train=coco, test=coco)
    made = tiny_detector({"MODEL.KEYPOINT_ON": True})
    cfg = config_of(made, register(coco_set(tmp_path), tmp_path / "runs", read_needs(made)), tmp_path)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS == 2
    assert cfg.INPUT.MASK_FORMAT == "polygon"
    coco["annotations"][0]["segmentation"] = {"size": [24, 32], "counts": [100, 10, 658]}
    write_coco(tmp_path, train=coco, test=coco)
    splits = register(coco_set(tmp_path), tmp_path / "runs", read_needs(made))
    assert config_of(made, splits, tmp_path).INPUT.MASK_FORMAT == "bitmask"


def test_a_number_of_classes_that_is_not_the_datas_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path)
    splits = register(coco_set(tmp_path), tmp_path / "runs", MASKS)
    config_of(tiny_detector({"MODEL.ROI_HEADS.NUM_CLASSES": 2}), splits, tmp_path)
    with pytest.raises(
        UserError, match=r"NUM_CLASSES is 80, but the data has 2, the first 'dog'; leave the option out"
    ):
        config_of(tiny_detector({"MODEL.ROI_HEADS.NUM_CLASSES": 80}), splits, tmp_path)


@needs_shared
@pytest.mark.parametrize("folder", ["coco", "coco_person320"])
def test_real_coco_sets_are_whole(folder: str, tmp_path: Path) -> None:
    parts = {
        role: {"json_file": f"{folder}/annotations/instances_{split}2017.json", "images": f"{folder}/{split}2017"}
        for role, split in (("train", "train"), ("test", "val"))
    }
    splits = register(coco_set(SHARED, **parts), tmp_path, MASKS)
    counts = {"coco": (92, 66, 80), "coco_person320": (227, 49, 1)}
    assert (splits.train.images, splits.test.images, len(splits.test.classes)) == counts[folder]


@needs_shared
def test_real_voc_is_whole(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        "train": [{"folder": "VOC2007", "split": "trainval"}],
        "test": {"folder": "VOC2007", "split": "test"},
    }
    splits = register(data_of("voc", name="VOC", root=str(SHARED), **parts), tmp_path, BOXES)
    assert (splits.train.images, splits.test.images) == (224, 120)
