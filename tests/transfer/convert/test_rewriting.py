"""What other libraries load of a stranger's file is a copy of its tensors, written anew."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer

from superinfo.errors import UserError
from tests.transfer.convert.hostile_parts import beside, saved
from tests.transfer.convert.hostile_pickles import unwritten
from transfer.convert import convert
from transfer.convert.inspection import inspect
from transfer.convert.rewriting import rewritten

FLAT = torch.arange(1000.0)


@pytest.mark.parametrize("target", ["detectron2", "detectron2-pth"])
def test_detectron2_proves_a_folder_again_by_copies_of_its_file(
    make_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    out = convert(make_checkpoint(width=0.125), tmp_path / "out", target)
    load, loaded = DetectionCheckpointer.load, list[Path]()

    def remember(checkpointer: DetectionCheckpointer, path: str) -> Any:
        loaded.append(Path(path))
        return load(checkpointer, path)

    monkeypatch.setattr(DetectionCheckpointer, "load", remember)
    inspect(out)
    assert loaded
    for path in loaded:
        assert path.parent != out
        assert (out / path.name).is_file()
        assert not path.exists()


def test_a_copy_has_the_tensors_texts_and_numbers_and_nothing_else(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    inner = {"a": array, "b": np.asfortranarray(array), "c": array, "deeper": {"x": array}}
    content = {"model": inner, "copy": inner, "__author__": "A", "matching_heuristics": True, 7: array, "epochs": [1]}
    file = tmp_path / "x.pkl"
    file.write_bytes(beside(pickle.dumps(content, protocol=4), dict(unwritten())["a void of objects"]))
    with rewritten(file) as copy:
        assert copy.name == "x.pkl"
        found = pickle.loads(copy.read_bytes())
    assert found.keys() == {"model", "copy", "__author__", "matching_heuristics"}
    assert (found["__author__"], found["matching_heuristics"]) == ("A", True)
    for name in ("model", "copy"):
        assert {key: value.tolist() for key, value in found[name].items()} == dict.fromkeys("abc", array.tolist())
    assert found["copy"] is found["model"]
    assert found["model"]["a"] is found["model"]["c"]


def test_a_copy_of_a_torch_file_has_its_tensors_without_what_they_are_views_of(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(saved({"state_dict": {"a": FLAT[:10].view(2, 5).T, "b": FLAT[10:20]}, "epoch": 3}))
    with rewritten(file) as copy:
        found = torch.load(copy, weights_only=True)
        assert copy.stat().st_size < file.stat().st_size
    assert found["epoch"] == 3
    assert torch.equal(found["state_dict"]["a"], FLAT[:10].view(2, 5).T)
    assert torch.equal(found["state_dict"]["b"], FLAT[10:20])


def test_weights_that_are_tied_are_copied_and_a_storage_of_many_tensors_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "tied.pth").write_bytes(saved({"a": FLAT, "b": FLAT.view(10, 100)}))
    with rewritten(tmp_path / "tied.pth") as copy:
        assert torch.load(copy, weights_only=True).keys() == {"a", "b"}
    (tmp_path / "bomb.pth").write_bytes(saved({str(number): FLAT.view(-1) for number in range(100)}))
    with pytest.raises(UserError, match=r"bomb\.pth: .* together they are larger"), rewritten(tmp_path / "bomb.pth"):
        pass


def test_a_file_of_no_tensors_by_name_has_no_copy(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(saved([FLAT]))
    with pytest.raises(UserError, match=r"x\.pth: holds no tensors by name"), rewritten(tmp_path / "x.pth"):
        pass
