"""What a detector's results could not be scored by is told before it is trained."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superinfo.artifacts import Pixels
from superinfo.errors import UserError
from tests.transfer.detection.tiny import Coco, tiny_coco, voc_xml, write_cityscapes, write_image, write_voc
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection import measure
from transfer.detection.measure import Setting, prepare
from transfer.detection.weights import Start
from transfer.overlay import encoder_overlay

NO_MASKS = {"MODEL.MASK_ON": False}
KEYPOINTS = NO_MASKS | {"MODEL.KEYPOINT_ON": True}


def prepared(folder: Path, data: dict[str, Any], options: dict[str, Any] | None = None) -> Setting:
    recipe = tiny_detector(options, data=data | {"root": str(folder)})
    start = Start(None, encoder_overlay(recipe.encoder, Pixels(mean=recipe.mean, std=recipe.std)))
    return prepare(recipe, start, 0, folder / "runs" / "run", "hash", folder / "runs", "cpu")


def coco_data(folder: Path, change: Callable[[Coco], object]) -> dict[str, Any]:
    """Write two splits, of which the test split is changed."""
    for shade, split in enumerate(("train", "test")):
        coco = tiny_coco()
        for entry in coco["images"]:
            write_image(folder / split / entry["file_name"], 100 * shade + entry["id"])
        if split == "test":
            change(coco)
        (folder / f"{split}.json").write_text(json.dumps(coco))
    return {"kind": "coco", "name": "tiny"} | {
        split: {"json_file": f"{split}.json", "images": split} for split in ("train", "test")
    }


def street_data(folder: Path, side: int) -> dict[str, Any]:
    """Write two splits of a car each, that of the test split a square of `side` pixels."""
    for shade, (split, size) in enumerate({"train": 20, "val": side}.items()):
        pixels = np.full((24, 32), 7)
        pixels[:size, :size] = 26000
        write_cityscapes(folder / "cityscapes", split, {"ulm/ulm_1": pixels}, shade)
    return {"kind": "cityscapes"}


def voc_data(folder: Path, difficult: int) -> dict[str, Any]:
    for split, flag in (("trainval", 0), ("test", difficult)):
        write_voc(folder / "VOC2007", split, {split: voc_xml(32, 24, ("cat", (3, 4, 10, 12), flag))})
    write_image(folder / "VOC2007" / "JPEGImages" / "test.jpg", 200)
    train, test = ({"folder": "VOC2007", "split": split} for split in ("trainval", "test"))
    return {"kind": "voc", "name": "VOC", "train": [train], "test": test}


def test_a_voc_split_of_difficult_objects_alone_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, voc_data(tmp_path, difficult=0), NO_MASKS)
    with pytest.raises(UserError, match=r"test\.txt: no object counts for box/AP by voc2007; .* not difficult"):
        prepared(tmp_path, voc_data(tmp_path, difficult=1), NO_MASKS)


def test_a_test_split_without_visible_keypoints_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, coco_data(tmp_path, lambda coco: None), KEYPOINTS)
    unseen = coco_data(tmp_path, lambda coco: [each.update(num_keypoints=0) for each in coco["annotations"]])
    with pytest.raises(UserError, match=r"test\.json: no object counts for keypoints/AP by coco; .* visible one"):
        prepared(tmp_path, unseen, KEYPOINTS)


def test_another_number_of_oks_sigmas_than_of_keypoints_is_refused(tmp_path: Path) -> None:
    data = coco_data(tmp_path, lambda coco: None)
    prepared(tmp_path, data, KEYPOINTS | {"TEST.KEYPOINT_OKS_SIGMAS": [0.1] * 17})
    with pytest.raises(UserError, match=r"have 17 keypoints where there are 3 OKS sigmas; set TEST\.KEYPOINT_OKS"):
        prepared(tmp_path, data, KEYPOINTS | {"TEST.KEYPOINT_OKS_SIGMAS": [0.1] * 3})


def test_small_objects_of_cityscapes_alone_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cityscapesscripts")
    prepared(tmp_path, street_data(tmp_path, side=10))
    assert capsys.readouterr().out == "", "stdout is for the path of the record"
    with pytest.raises(UserError, match=r"no object counts for mask/AP by cityscapes; annotate one of 100 pixels"):
        prepared(tmp_path, street_data(tmp_path, side=9))


def test_a_detector_that_gives_nothing_of_what_the_metric_measures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cityscapes measures mask, and the detector gives box; choose a config"):
        prepared(tmp_path, street_data(tmp_path, side=20), NO_MASKS)


def test_the_absence_of_cityscapes_evaluation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cityscapesscripts", None)
    monkeypatch.delitem(sys.modules, "cityscapesscripts.evaluation", raising=False)
    with pytest.raises(UserError, match="pip install cityscapesscripts"):
        prepared(tmp_path, street_data(tmp_path, side=20))


def test_what_is_rehearsed_is_rehearsed_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring nothing on LVIS takes a quarter of a minute."""

    class OfTheSecond:
        def first(self, work: Callable[[], object]) -> None:
            """Wait for the first."""

    def rehearsed(*_: Any) -> None:
        raise AssertionError("rehearsed")

    monkeypatch.setattr(measure, "rehearse", rehearsed)
    data = coco_data(tmp_path, lambda coco: None)
    with pytest.raises(AssertionError, match="rehearsed"):
        prepared(tmp_path, data)
    monkeypatch.setattr(measure, "Agreement", OfTheSecond)
    assert prepared(tmp_path, data).state is None
