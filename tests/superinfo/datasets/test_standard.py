"""The standard sets for probing, read from the files that their authors publish."""

import gzip
import re
import struct
import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from superinfo.datasets.images import SPLITS, ImageSet, Standard, open_images
from superinfo.errors import UserError


def write_picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((6, 8, 3), grey, np.uint8))


def opened(kind: str, split: str, root: Path, **more: Any) -> ImageSet:
    return open_images(Standard.parse({"kind": kind, "split": split, "root": str(root)} | more, "test"), root)


def greys(images: ImageSet) -> list[int]:
    return [int(images[index][0, 0, 0]) for index in range(len(images))]


def idx(array: NDArray[np.uint8]) -> bytes:
    """Return an array as MNIST's files hold it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize(("kind", "folder"), [("mnist", "MNIST"), ("fashionmnist", "FashionMNIST")])
def test_grey_digits_and_clothes_become_rgb(tmp_path: Path, kind: str, folder: str) -> None:
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    for prefix, part in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        labels = np.arange(5, dtype=np.uint8)[part]
        for name, data in (("images-idx3", idx(pixels[part])), ("labels-idx1", idx(labels))):
            (raw / f"{prefix}-{name}-ubyte").write_bytes(data)
            (raw / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(data))
    for split, part in (("train", slice(0, 3)), ("test", slice(3, 5))):
        images = opened(kind, split, tmp_path)
        assert np.array_equal(
            [images[index] for index in range(len(images))], pixels[part, ..., None].repeat(3, axis=3)
        )
        assert images.labels.tolist() == list(range(5))[part]
        assert len(images.classes) == 10


def test_dtd_is_its_first_partition_and_its_splits_can_be_joined(tmp_path: Path) -> None:
    root = tmp_path / "dtd" / "dtd"
    (root / "labels").mkdir(parents=True)
    for grey, split in enumerate(("train1", "val1", "test1", "train2", "val2", "test2"), 1):
        names = [f"{name}/{name}_{split}.png" for name in ("banded", "dotted")]
        for name in names:
            write_picture(root / "images" / name, 10 * grey)
        (root / "labels" / f"{split}.txt").write_text("\n".join(names) + "\n")
    for split, expected in (
        ("train", [10, 10]),
        ("val", [20, 20]),
        ("train+val", [10, 10, 20, 20]),
        ("test", [30, 30]),
    ):
        images = opened("dtd", split, tmp_path)
        assert greys(images) == expected
        assert images.classes == ("banded", "dotted")
        assert images.labels.tolist() == [0, 1] * (len(expected) // 2)


def test_aircraft_are_told_apart_by_variant(tmp_path: Path) -> None:
    root = tmp_path / "fgvc-aircraft-2013b" / "data"
    for number in range(4):
        write_picture(root / "images" / f"00{number}.jpg", 50 * number)
    (root / "variants.txt").write_text("707-320\nA300 B4\n")
    for split, lines in {
        "train": ["001 A300 B4"],
        "val": ["000 707-320"],
        "test": ["003 707-320", "002 A300 B4"],
    }.items():
        (root / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    images = opened("aircraft", "test", tmp_path)
    assert images.classes == ("707-320", "A300 B4")
    assert images.labels.tolist() == [0, 1]
    assert greys(images) == pytest.approx([150, 100], abs=2)
    assert opened("aircraft", "train+val", tmp_path).labels.tolist() == [1, 0]


def test_flowers_are_split_by_their_published_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "flowers-102"
    for number in range(1, 5):
        write_picture(root / "jpg" / f"image_{number:05d}.jpg", 40 * number)
    contents = {
        "setid.mat": {"trnid": np.array([3, 1]), "valid": np.array([2]), "tstid": np.array([4])},
        "imagelabels.mat": {"labels": np.array([102, 7, 1, 5])},
    }
    files = dict(datasets.Flowers102._file_dict)
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        (root / name).write_bytes(name.encode())
        files[key] = (name, None)
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    scipy, reader = types.ModuleType("scipy"), types.ModuleType("scipy.io")
    reader.loadmat = lambda path, squeeze_me: contents[Path(path).name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scipy", scipy)
    monkeypatch.setitem(sys.modules, "scipy.io", reader)
    images = opened("flowers102", "train+val", tmp_path)
    assert images.labels.tolist() == [0, 101, 6]
    assert greys(images) == pytest.approx([120, 40, 80], abs=2)
    assert len(images.classes) == 102
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UserError, match=r"flowers102: its label files need the package scipy; pip install scipy"):
        opened("flowers102", "train", tmp_path)


def test_traffic_signs_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "gtsrb"
    for label, name, grey in ((1, "b", 30), (0, "z", 10), (0, "a", 20)):
        write_picture(root / "GTSRB" / "Training" / f"{label:05d}" / f"{name}.ppm", grey)
    train = opened("gtsrb", "train", tmp_path)
    assert (greys(train), train.labels.tolist()) == ([20, 10, 30], [0, 0, 1])
    write_picture(root / "GTSRB" / "Final_Test" / "Images" / "00000.ppm", 70)
    (root / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;42\n")
    test = opened("gtsrb", "test", tmp_path)
    assert (greys(test), test.labels.tolist()) == ([70], [42])
    assert train.classes == test.classes
    assert len(test.classes) == 43


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    root = tmp_path / "CUB_200_2011"
    names = ["001.Albatross/one.jpg", "001.Albatross/two.jpg", "002.Finch/three.jpg"]
    for number, name in enumerate(names, 1):
        write_picture(root / "images" / name, 60 * number)
    lists = {
        "images": names,
        "image_class_labels": ["1", "1", "2"],
        "train_test_split": ["1", "0", "1"],
        "classes": ["001.Albatross", "002.Finch"],
    }
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{number} {line}\n" for number, line in enumerate(lines, 1)))
    return tmp_path


def test_birds_are_split_by_their_published_list(birds: Path) -> None:
    train, test = opened("cub", "train", birds), opened("cub", "test", birds)
    assert greys(train) == pytest.approx([60, 180], abs=2)
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [0]
    assert train.classes == test.classes == ("001.Albatross", "002.Finch")


def test_an_archive_of_birds_that_is_not_whole_is_named(birds: Path) -> None:
    (birds / "CUB_200_2011" / "classes.txt").write_text("001.Albatross\n")
    with pytest.raises(UserError, match=r"classes\.txt: missing, or not of lines"):
        opened("cub", "train", birds)
    with pytest.raises(UserError, match=r"data\.download: CUB is not one that torchvision downloads"):
        opened("cub", "train", birds, download=True)


@pytest.mark.parametrize("kind", [kind for kind in SPLITS if kind not in {"cifar10", "cifar100", "stl10"}])
def test_a_set_that_is_not_there_is_refused_with_what_is_expected(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path))}: no {kind} here; expected the folder") as caught:
        opened(kind, "train", tmp_path)
    assert "\n" not in str(caught.value)
    assert ("download=true" in str(caught.value)) == (kind != "cub")


def test_a_split_that_is_not_published_is_refused() -> None:
    with pytest.raises(UserError, match=r"split must be train, val, train\+val or test for dtd"):
        Standard.parse({"kind": "dtd", "split": "unlabeled"}, "recipe")


def test_torchvision_s_reader_is_asked_to_download_only_where_the_recipe_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def reader(root: Path, train: bool, download: bool) -> Any:
        asked.append(download)
        raise RuntimeError("not found")

    monkeypatch.setitem(sys.modules["superinfo.datasets.standard"].CLASSES, "mnist", reader)
    for more in ({}, {"download": True}):
        with pytest.raises(UserError):
            opened("mnist", "test", tmp_path, **more)
    assert asked == [False, True]
