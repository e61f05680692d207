"""Cityscapes' objects are in its pixels."""

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as masks
from torch.multiprocessing.spawn import start_processes

from superinfo.errors import UserError
from tests.transfer.detection.tiny import MASKS, write_cityscapes
from transfer.detection.annotations import Annotations
from transfer.detection.data import annotations_use_rle
from transfer.detection.data.check import check
from transfer.detection.data.cityscapes import read_cityscapes

Pixels = np.ndarray[Any, Any]


def street() -> Pixels:
    """Return two cars, one hidden in part by a pole, a group of people, a rider at the far corner, road and sky."""
    pixels = np.full((24, 32), 7)
    pixels[:8] = 23
    pixels[4:9, 2:9] = 26000
    pixels[4:9, 5] = 17
    pixels[10:20, 10:20] = 26001
    pixels[:, 24:26] = 24
    pixels[20:, 30:] = 25003
    pixels[0, 0] = 29000  # a caravan, which is not evaluated
    return pixels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_cityscapes(tmp_path / "tree", "val", {"ulm/ulm_1": street(), "bonn/bonn_2": np.full((24, 32), 26000)})
    return tmp_path / "tree"


def objects_of(split: Annotations, image: int) -> dict[int, tuple[int, Pixels]]:
    return {
        a["category_id"] * 10 + a["id"]: (a["iscrowd"], masks.decode(a["segmentation"]))
        for a in split.coco["annotations"]
        if a["image_id"] == image
    }


def test_instances_are_objects_and_groups_are_crowds(tree: Path, tmp_path: Path) -> None:
    split = read_cityscapes(tree, "val", tmp_path / "cache")
    notes = check(split, MASKS)
    assert notes == ["val: 6 of 8 classes have no object, first person"]
    assert (split.title, split.metric, split.classes[:3]) == ("val", "cityscapes", ("person", "rider", "car"))
    first, second = split.coco["images"]
    assert first["file_name"] == "bonn/bonn_2_leftImg8bit.png"
    assert second["instance_ids"] == str(tree / "gtFine/val/ulm/ulm_1_gtFine_instanceIds.png")
    assert (second["height"], second["width"]) == (24, 32)
    pixels = street()
    found = [a for a in split.coco["annotations"] if a["image_id"] == second["id"]]
    for each, number in zip(found, (24, 25003, 26000, 26001), strict=True):
        mask = np.asfortranarray(pixels == number, dtype=np.uint8)
        assert each["category_id"] == (24 if number == 24 else number // 1000)
        assert each["iscrowd"] == (number == 24)
        assert each["segmentation"]["counts"] == masks.encode(mask)["counts"].decode()
        assert each["area"] == mask.sum()
        ys, xs = np.nonzero(mask)
        assert each["bbox"] == [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
    (whole,) = [a for a in split.coco["annotations"] if a["image_id"] == first["id"]]
    assert (whole["area"], whole["bbox"]) == (24 * 32, [0, 0, 32, 24])
    assert annotations_use_rle(split)


def test_what_was_found_is_kept_and_found_anew_where_any_pixel_changes(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    path = tree / "gtFine/val/ulm/ulm_1_gtFine_instanceIds.png"
    stored = [cv2.IMWRITE_PNG_COMPRESSION, 0]  # files of one size, whatever is in them
    cv2.imwrite(str(path), street().astype(np.uint16), stored)
    state = path.stat()
    before = read_cityscapes(tree, "val", cache)
    with monkeypatch.context() as patched:
        patched.setattr(cv2, "imread", lambda *_: pytest.fail("read again"))
        assert read_cityscapes(tree, "val", cache) == before
    pixels = street()
    pixels[10, 10] = 7
    cv2.imwrite(str(path), pixels.astype(np.uint16), stored)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    after = read_cityscapes(tree, "val", cache)
    assert [a["area"] for a in before.coco["annotations"]][-1] - [a["area"] for a in after.coco["annotations"]][-1] == 1
    moved = tree.rename(tmp_path / "moved")
    assert read_cityscapes(moved, "val", cache).coco["annotations"] == after.coco["annotations"]
    assert len(list(cache.glob("*.json"))) == 2


def look_in_turn(rank: int, folder: str) -> None:
    read = cv2.imread

    def noted(name: str, flags: int) -> Any:
        with (Path(folder) / "read").open("a") as file:
            file.write(f"{Path(name).name}\n")
        time.sleep(0.3)
        return read(name, flags)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cv2, "imread", noted)
        read_cityscapes(Path(folder) / "tree", "val", Path(folder) / "cache")


def test_of_several_processes_one_looks_into_the_pixels(tree: Path, tmp_path: Path) -> None:
    start_processes(look_in_turn, (str(tmp_path),), nprocs=2, start_method="fork")  # type: ignore[no-untyped-call]
    assert len((tmp_path / "read").read_text().split()) == 2


def test_what_is_missing_or_broken_is_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"leftImg8bit/train: no such folder; correct data\.root, data\.folder or the spl"
    ):
        read_cityscapes(tree, "train", tmp_path)
    truth = tree / "gtFine/val/ulm/ulm_1_gtFine_instanceIds.png"
    truth.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"ulm_1_gtFine_instanceIds\.png: not a readable PNG of one channel"):
        read_cityscapes(tree, "val", tmp_path)
    truth.unlink()
    with pytest.raises(
        UserError, match=r"gtFine/val: 1 images have no \*_gtFine_instanceIds\.png, first ulm/ulm_1; unpack"
    ):
        read_cityscapes(tree, "val", tmp_path)
    (tree / "leftImg8bit" / "empty").mkdir()
    (tree / "gtFine" / "empty").mkdir()
    with pytest.raises(UserError, match=r"leftImg8bit/empty: no <city>/\*_leftImg8bit\.png; unpack"):
        read_cityscapes(tree, "empty", tmp_path)
