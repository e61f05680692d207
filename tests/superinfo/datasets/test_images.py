"""Image sets: folders in order, the standard sets as torchvision reads them, scenes made once."""

import errno
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from superinfo.datasets.images import Folder, ImageFiles, ScenesObjects, Standard, open_images
from superinfo.datasets.scenes import World, draw_object
from superinfo.errors import UserError

ROOT = Path(__file__).parents[3]


def write_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    assert cv2.imwrite(str(path), np.full((height, width, 3), colour[::-1], np.uint8))


def folder(root: Path | None) -> Folder:
    return Folder(kind="folder", name="mine", root=root)


def refusal(spec: ScenesObjects | Folder | Standard, cache: Path) -> str:
    """Return the one line with which an image set is refused."""
    with pytest.raises(UserError) as caught:
        open_images(spec, cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _no_data_root_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERINFO_DATA", raising=False)


def test_a_folder_gives_the_images_below_it_at_any_depth_in_path_order(tmp_path: Path) -> None:
    colours = {"b.png": (1, 2, 3), "a/z.PNG": (4, 5, 6), "a/deep/er/x.bmp": (7, 8, 9), "c/y.tiff": (10, 11, 12)}
    for name, colour in colours.items():
        write_image(tmp_path / name, colour)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "._z.png").write_text("what macOS leaves beside an image")
    images = open_images(folder(tmp_path), tmp_path)
    assert len(images) == 4
    first_pixels = [tuple(images[index][0, 0].tolist()) for index in range(4)]
    assert first_pixels == [colours[name] for name in sorted(colours)]
    assert images[0].shape == (8, 6, 3)
    assert images[0].dtype == np.uint8


def test_a_folders_classes_are_its_first_level(tmp_path: Path) -> None:
    for name in ("zoo/deep/a.png", "ant/b.png", "loose.png", "zoo/c.png", "ant.jpg.d/e.png"):
        write_image(tmp_path / "root" / name, (1, 2, 3))
    (tmp_path / "root" / "empty").mkdir()
    for root in (tmp_path / "root", Path(f"{tmp_path}/other/../root/")):
        (tmp_path / "other").mkdir(exist_ok=True)
        images = open_images(folder(root), tmp_path)
        assert images.classes == ("ant", "ant.jpg.d", "zoo")
        assert images.labels.dtype == np.int64
        # in path order: ant.jpg.d/e, ant/b, loose, zoo/c, zoo/deep/a
        assert images.labels.tolist() == [1, 0, -1, 2, 2]


def test_a_folder_without_sub_folders_has_no_classes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", (1, 2, 3))
    images = open_images(folder(tmp_path), tmp_path)
    assert images.classes == ()
    assert images.labels.tolist() == [-1]


def test_a_folder_may_be_a_tree_of_links(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere" / "a.png", (1, 2, 3))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert len(open_images(folder(tmp_path / "root"), tmp_path)) == 1


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / name / "1.png", (1, 2, 3))
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "b" / "beside").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "itself").symlink_to(tmp_path / "b" / "itself")
    images = open_images(folder(tmp_path), tmp_path)
    assert isinstance(images, ImageFiles)
    assert images.paths == [str(tmp_path / name / "1.png") for name in ("a", "b", "b/beside")]


def test_a_missing_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "nowhere", tmp_path / "file"):
        message = refusal(folder(root), tmp_path)
        assert message.startswith(f"{root}: no such folder")
        assert "data.root" in message
        assert "SUPERINFO_DATA" in message


def test_a_folder_that_nobody_named_is_asked_for(tmp_path: Path) -> None:
    message = refusal(folder(None), tmp_path)
    assert "data.root" in message
    assert "SUPERINFO_DATA" in message


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.txt").touch()
    assert refusal(folder(tmp_path), tmp_path).startswith(f"{tmp_path}: no images below this folder")


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", (1, 2, 3))
    (tmp_path / "b.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "d.jpg").touch()
    images = open_images(folder(tmp_path), tmp_path)
    for index, name in ((1, "b.jpg"), (2, "c.jpg"), (3, "d.jpg")):
        with pytest.raises(UserError) as caught:
            images[index]
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(caught.value)
    assert images[0].shape == (8, 6, 3)


def test_the_environment_names_the_data_folder_unless_the_recipe_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "environment" / "a.png", (1, 1, 1))
    write_image(tmp_path / "recipe" / "a.png", (2, 2, 2))
    monkeypatch.setenv("SUPERINFO_DATA", str(tmp_path / "environment"))
    assert open_images(folder(None), tmp_path)[0].max() == 1
    assert open_images(folder(tmp_path / "recipe"), tmp_path)[0].max() == 2
    monkeypatch.setenv("SUPERINFO_DATA", str(tmp_path / "gone"))
    assert refusal(folder(None), tmp_path).startswith(f"{tmp_path / 'gone'}: no such folder")


def some_images(count: int, side: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def write_listed(root: Path, name: str, data: bytes) -> list[str]:
    """Write a file of a standard set; return its entry in torchvision's list: name and MD5."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return [path.name, hashlib.md5(data).hexdigest()]


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_is_read_from_the_files_that_its_authors_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = datasets.CIFAR10 if kind == "cifar10" else datasets.CIFAR100
    parts = {"train": [some_images(3, 32, seed) for seed in (0, 1)], "test": [some_images(2, 32, 2)]}
    for split, batches in parts.items():
        entries = []
        for number, batch in enumerate(batches):
            planes = batch.transpose(0, 3, 1, 2).reshape(len(batch), -1)
            labels = [(number + index) % 2 for index in range(len(batch))]
            content = pickle.dumps({"data": planes, "labels": labels, "fine_labels": labels})
            entries.append(write_listed(tmp_path, f"{source.base_folder}/{split}{number}", content))
        monkeypatch.setattr(source, f"{split}_list", entries)
    meta = write_listed(tmp_path, f"{source.base_folder}/meta", pickle.dumps({"names": ["cat", "dog"]}))
    monkeypatch.setattr(source, "meta", {"filename": meta[0], "md5": meta[1], "key": "names"})
    for split, batches in parts.items():
        spec = Standard.parse({"kind": kind, "split": split, "root": str(tmp_path)}, "test")
        images = open_images(spec, tmp_path)
        assert np.array_equal([images[index] for index in range(len(images))], np.concatenate(batches))
        assert images.labels.tolist() == ([0, 1, 0, 1, 0, 1] if split == "train" else [0, 1])
        assert images.classes == ("cat", "dog")


def test_stl10_is_read_upright_and_with_its_unlabeled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = datasets.STL10
    parts = {"train": some_images(2, 96, 0), "unlabeled": some_images(3, 96, 1), "test": some_images(1, 96, 2)}
    entries = {}
    for split, images in parts.items():
        by_column = images.transpose(0, 3, 2, 1)  # the published files go down the columns
        entries[split] = [write_listed(tmp_path, f"{source.base_folder}/{split}_X.bin", by_column.tobytes())]
        if split != "unlabeled":
            labels = np.arange(1, len(images) + 1, dtype=np.uint8).tobytes()  # the files count from 1
            entries[split].append(write_listed(tmp_path, f"{source.base_folder}/{split}_y.bin", labels))
    monkeypatch.setattr(source, "train_list", [*entries["train"], *entries["unlabeled"]])
    monkeypatch.setattr(source, "test_list", entries["test"])
    write_listed(tmp_path, f"{source.base_folder}/class_names.txt", b"airplane\nbird\n")
    numbers = {"train": [0, 1], "unlabeled": [-1, -1, -1], "test": [0]}
    for split in ("train", "test", "unlabeled", "train+unlabeled"):
        spec = Standard.parse({"kind": "stl10", "split": split, "root": str(tmp_path)}, "test")
        found = open_images(spec, tmp_path)
        expected = np.concatenate([parts[name] for name in split.split("+")])
        assert np.array_equal([found[index] for index in range(len(found))], expected)
        assert found.labels.tolist() == [label for name in split.split("+") for label in numbers[name]]
        assert found.classes == ("airplane", "bird")


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "stl10"])
def test_a_standard_set_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path, kind: str) -> None:
    message = refusal(Standard.parse({"kind": kind, "root": str(tmp_path)}, "test"), tmp_path)
    assert message.startswith(f"{tmp_path}: ")
    assert "data.download=true" in message


def test_only_stl10_has_unlabeled_images() -> None:
    with pytest.raises(UserError, match="split must be train or test for cifar10"):
        Standard.parse({"kind": "cifar10", "split": "unlabeled"}, "recipe")


def test_scenes_are_generated_once_and_are_those_of_the_world(tmp_path: Path) -> None:
    spec = ScenesObjects(kind="scenes", count=5, size=16, classes=("disk", "ring"), world_seed=4, split="val")
    images = open_images(spec, tmp_path)
    assert len(images) == 5
    assert images.classes == ("disk", "ring")
    for index in range(5):
        expected, factors = draw_object(World(("disk", "ring"), 4), "val", index, 16)
        assert np.array_equal(images[index], expected)
        assert images.classes[images.labels[index]] == factors.class_name
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if "lock" not in path.name}
    assert any(path.name == "images.npy" for path in before)
    open_images(spec, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if "lock" not in path.name} == before


@pytest.mark.parametrize(
    "change", [{"count": 4}, {"size": 17}, {"classes": ("ring", "disk")}, {"world_seed": 5}, {"split": "test"}]
)
def test_other_scenes_lie_elsewhere(tmp_path: Path, change: dict[str, object]) -> None:
    def pictures(spec: ScenesObjects) -> list[bytes]:
        images = open_images(spec, tmp_path)
        return [images[index].tobytes() for index in range(len(images))]

    spec = ScenesObjects(kind="scenes", count=3, size=16, classes=("disk", "ring"), world_seed=4, split="val")
    before = pictures(spec)
    assert pictures(spec.model_copy(update=change)) != before
    assert pictures(spec) == before


def test_a_class_that_scenes_do_not_have_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    spec = ScenesObjects(kind="scenes", count=3, size=16, classes=("disk", "blob"))
    assert "unknown class 'blob'" in refusal(spec, tmp_path)
    assert not any(path.is_dir() for path in tmp_path.iterdir())


FULL_DISK = """
import sys
from pathlib import Path
from superinfo.datasets.images import ScenesObjects, open_images
if __name__ == "__main__":
    try:
        open_images(ScenesObjects(kind="scenes", count=120, size=64), Path(sys.argv[1]))
    except OSError as error:
        print(error.errno, Path(error.filename).name)
"""


def test_a_disk_too_small_for_scenes_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    def on_a_disk_of_one_megabyte(*command: str) -> subprocess.CompletedProcess[str]:
        mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && "$@"', str(tmp_path)]
        return subprocess.run([*mount, *command], cwd=ROOT, capture_output=True, text=True, check=False)

    if on_a_disk_of_one_megabyte("true").returncode != 0:
        pytest.skip("only root can mount a small disk")
    list_rest = f"import os; print([n for n in os.listdir({str(tmp_path)!r}) if os.path.isdir(n)])"
    done = on_a_disk_of_one_megabyte(sys.executable, "-c", f"{FULL_DISK}\n{list_rest}", str(tmp_path))
    assert done.stdout.splitlines() == [f"{errno.ENOSPC} images.npy", "[]"], done.stderr
