"""`superinfo inspect` of a data root: which sets are there, and are they whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from torchvision import datasets

from superinfo import cli
from superinfo.datasets.images import SPLITS, Standard, find_images, open_images
from superinfo.datasets.roots import inspect_root, render
from superinfo.datasets.standard import CLASSES
from superinfo.datasets.trees import TREES, Tree
from superinfo.errors import UserError

FEW = 4
"""Files of a pattern, in place of the thousands of the real sets."""


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, tree in TREES.items():
        parts = tuple(replace(part, count=min(part.count, FEW)) for part in tree.parts)
        monkeypatch.setitem(TREES, name, replace(tree, parts=parts))


def make(root: Path, tree: Tree, without: str = "") -> None:
    """Make all files of a set, empty but for those whose size is settled; leave out the last one of a pattern."""
    for part in tree.parts:
        for number in range(part.count - (part.pattern == without)):
            path = root / part.pattern.replace("*", f"n{number}")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(part.size or 0)


@pytest.mark.parametrize("name", list(TREES))
def test_a_whole_set_is_called_whole_and_one_without_a_file_is_not(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    make(tmp_path / "whole", tree)
    (found,) = [each for each in inspect_root(tmp_path / "whole").sets if each.name == name]
    assert found.whole is True
    assert [part.found for part in found.parts] == [part.count for part in tree.parts]
    assert found.bytes == sum(part.size or 0 for part in tree.parts)

    lacking = max(tree.parts, key=lambda part: part.count)
    make(tmp_path / "part", tree, without=lacking.pattern)
    (found,) = [each for each in inspect_root(tmp_path / "part").sets if each.name == name]
    assert found.whole is False
    assert [part.where for part in found.parts if part.problem] == [lacking.pattern]
    wanted = f"1 of {lacking.count:,} files are missing" if lacking.count > 1 else "is missing"
    assert wanted in render(inspect_root(tmp_path / "part"))


def test_a_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    make(tmp_path, TREES["mnist"])
    with (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").open("wb") as file:
        file.truncate(60_000)
    (found,) = inspect_root(tmp_path).sets
    assert [part.problem for part in found.parts if part.problem] == [
        "has 60,000 bytes instead of 60,008; download it again"
    ]


def test_files_beyond_the_published_ones_are_told_and_no_fault(tmp_path: Path) -> None:
    make(tmp_path, TREES["voc2007"])
    (tmp_path / "VOC2007/JPEGImages/another.jpg").touch()
    (found,) = inspect_root(tmp_path).sets
    assert found.whole
    assert "5 files, 1 more than published" in render(inspect_root(tmp_path))


def test_all_sets_lie_side_by_side_in_one_root(tmp_path: Path) -> None:
    for tree in TREES.values():
        part = tree.parts[0]
        path = tmp_path / (tree.mark or part.pattern.replace("*", "one"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [found.name for found in inspect_root(tmp_path).sets] == list(TREES)


@pytest.mark.parametrize("inside", ["MNIST", "MNIST/raw"])
def test_the_folder_of_a_set_stands_for_the_root_above_it(tmp_path: Path, inside: str) -> None:
    make(tmp_path, TREES["mnist"])
    make(tmp_path, TREES["cub"])
    found = inspect_root(tmp_path / inside)
    assert found.folder == str(tmp_path)
    assert [each.name for each in found.sets] == ["mnist"]
    assert f"SUPERINFO_DATA={tmp_path}" in found.sets[0].use


def test_any_folder_of_images_is_counted_by_split_and_class(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.JPG", "train/dog/3.png", "val/cat/4.png", "notes.txt"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    for folder, before in ((tmp_path, "pets/"), (tmp_path / "pets", "")):
        (found,) = inspect_root(folder).sets
        assert [(part.where, part.found, part.classes, part.bytes) for part in found.parts] == [
            (f"{before}train/*", 3, 2, 12),
            (f"{before}val/*", 1, 1, 4),
        ]
        assert found.whole is None
        assert f"--set data.subfolder={before}train" in found.use
    (found,) = inspect_root(tmp_path / "pets" / "train").sets
    assert [(part.where, part.found, part.classes) for part in found.parts] == [("*", 3, 2)]


def test_a_split_without_images_is_told_beside_those_that_have_some(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").touch()
    (tmp_path / "test").mkdir()
    (found,) = inspect_root(tmp_path).sets
    assert [(part.found, part.problem) for part in found.parts] == [(1, None), (0, "no images")]


def test_a_folder_of_nothing_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no set that is known, and no images below this folder; docs/reproduce\.md"):
        inspect_root(tmp_path)


def test_what_is_missing_is_told_without_counting(tmp_path: Path) -> None:
    make(tmp_path, TREES["mnist"], without="MNIST/raw/t10k-labels-idx1-ubyte")
    assert TREES["mnist"].missing(tmp_path) == ["MNIST/raw/t10k-labels-idx1-ubyte"]
    assert len(TREES["coco"].missing(tmp_path)) == len(TREES["coco"].parts)


def test_the_verb_prints_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, TREES["mnist"])
    cli.app(["inspect", str(tmp_path), "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(tmp_path)
    assert [each["whole"] for each in said["sets"]] == [True]


def test_every_set_of_recipes_has_a_tree_with_the_files_that_torchvision_reads(tmp_path: Path) -> None:
    assert TREES.keys() >= SPLITS.keys()
    for kind in ("cifar10", "cifar100", "stl10"):
        source = CLASSES[kind]
        read = {name for name, _ in [*source.train_list, *source.test_list]}
        named = {part.pattern.removeprefix(f"{source.base_folder}/") for part in TREES[kind].parts}
        assert named >= read, kind
    gone = {Path(url).stem for url, _ in datasets.MNIST.resources}
    assert {f"MNIST/raw/{name}" for name in gone} == {part.pattern for part in TREES["mnist"].parts}


def test_a_part_that_is_missing_is_told_before_anything_is_read(tmp_path: Path) -> None:
    make(tmp_path, TREES["gtsrb"])
    spec = Standard.parse({"kind": "gtsrb", "split": "test", "root": str(tmp_path)}, "test")
    find_images(spec)
    (tmp_path / "gtsrb/GT-final_test.csv").unlink()
    with pytest.raises(UserError, match=r"gtsrb lacks gtsrb/GT-final_test\.csv; `superinfo inspect /\S+` tells more"):
        find_images(spec)


@pytest.mark.parametrize("kind", ["cifar10", "stl10", "mnist", "dtd", "aircraft", "flowers102", "gtsrb", "cub"])
def test_a_set_that_is_absent_is_refused_with_the_folder_of_its_tree(kind: str, tmp_path: Path) -> None:
    spec = Standard.parse({"kind": kind, "split": "train", "root": str(tmp_path)}, "test")
    with pytest.raises(UserError) as caught:
        open_images(spec, tmp_path)
    assert TREES[kind].folder in str(caught.value)
