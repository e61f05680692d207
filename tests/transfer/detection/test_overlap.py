"""Test images that are trained on are found by what is in their files."""

import os
import shutil
import time
from pathlib import Path

import pytest
from torch.multiprocessing.spawn import start_processes

from superinfo.errors import UserError
from superinfo.files import file_sha256
from tests.transfer.detection.tiny import Coco
from transfer.detection.annotations import Annotations
from transfer.detection.data import overlap
from transfer.detection.data.overlap import seen_in_training


def split(folder: Path, contents: dict[str, bytes | None]) -> Annotations:
    """Return a split of files; None is for a file that the test makes itself."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_bytes(content)
    coco: Coco = {"images": [{"id": i, "file_name": name} for i, name in enumerate(contents)], "annotations": []}
    return Annotations(folder.name, folder / "list.json", folder, coco, "coco")


def test_splits_that_share_nothing_pass_whatever_their_sizes(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12", "b": b"345"})
    test = split(tmp_path / "test", {"a": b"13", "b": b"6789", "c": b"346"})
    assert seen_in_training(train, test, 0.0, tmp_path / "cache") == []


def test_a_copy_under_another_name_is_refused_and_both_are_named(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12", "b": b"345"})
    test = split(tmp_path / "test", {"x": b"345", "y": b"78", "z": b"12"})
    with pytest.raises(UserError, match=r"list\.json: 2 of the 3 test images are trained on too") as caught:
        seen_in_training(train, test, 0.5, tmp_path / "cache")
    told = f"first {tmp_path}/test/x ({tmp_path}/train/b); take them out of one split, or raise data.max_seen (0.5)"
    assert told in str(caught.value)
    assert seen_in_training(train, test, 2 / 3, tmp_path / "cache") == ["2 of the 3 test images are trained on too"]


def test_links_and_the_same_file_count(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12", "b": b"345"})
    test = split(tmp_path / "test", {"soft": None, "hard": None, "../train/a": None})
    os.symlink(tmp_path / "train" / "b", tmp_path / "test" / "soft")
    os.link(tmp_path / "train" / "b", tmp_path / "test" / "hard")
    assert seen_in_training(train, test, 1.0, tmp_path / "cache") == ["3 of the 3 test images are trained on too"]


def test_only_files_whose_size_is_in_both_are_read_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = split(tmp_path / "train", {"a": b"12", "b": b"345", "c": b"6789"})
    test = split(tmp_path / "test", {"x": b"13", "y": b"12345"})
    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(overlap, "file_sha256", digest)
    for _ in range(2):
        assert seen_in_training(train, test, 0.0, tmp_path / "cache") == []
    assert sorted(read) == ["a", "x"]


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12"})
    test = split(tmp_path / "test", {"x": b"13"})
    assert seen_in_training(train, test, 0.0, tmp_path / "cache") == []
    shutil.copy2(tmp_path / "train" / "a", tmp_path / "test" / "x")
    os.utime(tmp_path / "test" / "x", ns=(0, 1))
    with pytest.raises(UserError, match="1 of the 1 test images"):
        seen_in_training(train, test, 0.0, tmp_path / "cache")


def test_files_that_cannot_be_read_are_left_for_the_loader_to_name(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12", "gone": None})
    test = split(tmp_path / "test", {"x": b"13", "gone": None})
    assert seen_in_training(train, test, 0.0, tmp_path / "cache") == []


def test_a_file_that_could_not_be_read_is_read_when_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and time of change are the same, whatever kept it from being read."""
    train = split(tmp_path / "train", {"a": b"12"})
    test = split(tmp_path / "test", {"x": b"12"})

    def digest(path: Path) -> str:
        if path.name == "x":
            raise PermissionError(path)
        return file_sha256(path)

    with monkeypatch.context() as patched:
        patched.setattr(overlap, "file_sha256", digest)
        assert seen_in_training(train, test, 0.0, tmp_path / "cache") == []
    with pytest.raises(UserError, match="1 of the 1 test images"):
        seen_in_training(train, test, 0.0, tmp_path / "cache")


def test_an_image_counts_as_often_as_it_is_listed(tmp_path: Path) -> None:
    train = split(tmp_path / "train", {"a": b"12"})
    test = split(tmp_path / "test", {"x": b"12", "../test/x": None, "y": b"13"})
    with pytest.raises(UserError, match="2 of the 3 test images are trained on too"):
        seen_in_training(train, test, 0.5, tmp_path / "cache")


def hash_in_turn(rank: int, folder: str) -> None:
    def digest(path: Path) -> str:
        with (Path(folder) / "read").open("a") as file:
            file.write(f"{path.name}\n")
        time.sleep(0.3)
        return file_sha256(path)

    train, test = (split(Path(folder) / part, {part: None}) for part in ("train", "test"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overlap, "file_sha256", digest)
        assert seen_in_training(train, test, 0.0, Path(folder) / "cache") == []


def test_of_several_processes_one_reads_the_files(tmp_path: Path) -> None:
    split(tmp_path / "train", {"train": b"12"})
    split(tmp_path / "test", {"test": b"13"})
    start_processes(hash_in_turn, (str(tmp_path),), nprocs=2, start_method="fork")  # type: ignore[no-untyped-call]
    assert sorted((tmp_path / "read").read_text().split()) == ["test", "train"]


def test_many_files_show_their_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overlap, "SHOWN", 4)
    train = split(tmp_path / "train", {"a": b"12", "b": b"34"})
    test = split(tmp_path / "test", {"x": b"13", "y": b"35"})
    seen_in_training(train, test, 0.0, tmp_path / "cache")
    assert "images of sizes found in both splits: hashing: 100%" in capsys.readouterr().err
