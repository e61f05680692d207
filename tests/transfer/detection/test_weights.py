"""What a detector may start from, and what its record says of weights that nobody vouches for."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from superinfo.artifacts import CONVERSION, WEIGHTS, Record, load_checkpoint
from superinfo.errors import EvidenceRefused, UserError
from tests.transfer.convert.hostile_parts import SPAWNS, beside, called, spawning
from tests.transfer.convert.hostile_pickles import unwritten
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.convert import convert
from transfer.detection.detect import detect
from transfer.detection.train import FINAL
from transfer.detection.weights import open_weights, who_starts

MakeCheckpoint = Callable[..., Path]

STILL = {"SOLVER.MAX_ITER": 1, "SOLVER.BASE_LR": 0.0}
UNVERIFIED = {"weights": {"unverified": True}}


@pytest.fixture
def folder(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    return convert(make_checkpoint(width=0.125), tmp_path / "weights")


def lose_a_tensor(file: Path) -> str:
    content = pickle.loads(file.read_bytes())
    lost = "res4.0.conv1.weight"
    del content["model"][lost]
    file.write_bytes(pickle.dumps(content))
    return lost


def test_an_edited_folder_is_refused_unless_the_recipe_allows_it(folder: Path, tmp_path: Path) -> None:
    lost = lose_a_tensor(folder / WEIGHTS)
    with pytest.raises(EvidenceRefused, match=rf"tensor {lost} is missing; .* or --set weights.unverified=true"):
        detect(tiny_detector(STILL), folder, seed=0, runs=tmp_path / "runs", device="cpu")
    path = detect(tiny_detector(STILL, **UNVERIFIED), folder, seed=0, runs=tmp_path / "runs", device="cpu")
    record = Record.read(path)
    assert f"weights are not what their evidence speaks of: {WEIGHTS}: tensor {lost} is missing" in " ".join(
        record.deviations
    )
    assert any("not verified: 99 of 100 backbone tensors matched" in line for line in record.deviations)


def test_what_unverified_weights_leave_open_is_as_it_was_initialised(
    folder: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    lose_a_tensor(folder / WEIGHTS)
    path = detect(tiny_detector(STILL, **UNVERIFIED), folder, seed=0, runs=tmp_path / "runs", device="cpu")
    trained = torch.load(path.parent / FINAL, weights_only=True)["model"]
    _, source = load_checkpoint(make_checkpoint(width=0.125))
    assert torch.equal(trained["backbone.bottom_up.res4.0.conv2.weight"], source["layer3.0.conv2.weight"])
    left = trained["backbone.bottom_up.res4.0.conv1.weight"]
    assert left.isfinite().all()
    assert left.std() > 0
    assert not torch.equal(left, source["layer3.0.conv1.weight"])


def test_a_file_of_weights_is_taken_only_unverified_and_nothing_in_it_is_run(folder: Path, tmp_path: Path) -> None:
    file = folder / WEIGHTS
    with pytest.raises(
        UserError, match=r"detectron2\.pkl: a file that is not proven; convert its checkpoint, or --set"
    ):
        detect(tiny_detector(), file, seed=0, runs=tmp_path / "runs", device="cpu")
    recipe = tiny_detector(STILL, **UNVERIFIED)
    record = Record.read(detect(recipe, file, seed=0, runs=tmp_path / "runs", device="cpu"))
    assert (record.who.method, record.who.name, record.who.recipe_hash) == ("unverified", "detectron2", None)
    assert any("100 of 100 backbone tensors matched" in line for line in record.deviations)

    unlike = {"a": np.zeros(2, np.float32)}
    for content, told in (
        ({"model": unlike}, r"Detectron2 cannot load it \(ValueError: Unsupported type.*\); convert the checkpoint$"),
        (unlike, "0 of 100 backbone tensors matched .*: not of this encoder"),
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=told):
            detect(recipe, file, seed=0, runs=tmp_path / "runs", device="cpu")

    file.write_bytes(pickle.dumps({"model": {"a": np.zeros(2)}, "run": Touch(tmp_path / "ran")}))
    with pytest.raises(UserError):
        detect(recipe, file, seed=0, runs=tmp_path / "runs", device="cpu")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match=r"Detectron2 loads \.pkl and \.pth files"):
        detect(recipe, folder / CONVERSION, seed=0, runs=tmp_path / "runs", device="cpu")


@pytest.mark.parametrize("made", ["a process", "a void of objects"])
def test_unverified_weights_are_loaded_without_what_else_their_file_makes(
    folder: Path, tmp_path: Path, made: str
) -> None:
    """Detectron2's own unpickler would start the one, and NumPy would break on the other."""
    mark = tmp_path / "was_run"
    process = called(SPAWNS, "SubprocessHandler", *spawning(str(mark)))
    file = folder / WEIGHTS
    file.write_bytes(beside(file.read_bytes(), (dict(unwritten()) | {"a process": process})[made]))
    path = detect(tiny_detector(STILL, **UNVERIFIED), file, seed=0, runs=tmp_path / "runs", device="cpu")
    assert any("100 of 100 backbone tensors matched" in line for line in Record.read(path).deviations)
    assert not mark.exists()


def test_unverified_weights_that_are_damaged_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.ones(64)}}, file)
    data = bytearray(file.read_bytes())
    data[data.index(torch.ones(64).numpy().tobytes())] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"weights\.pth: tensor a is damaged"):
        detect(tiny_detector(STILL, **UNVERIFIED), file, seed=0, runs=tmp_path / "runs", device="cpu")


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.path),)


def test_a_folder_converted_for_something_else_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    out = convert(make_checkpoint(width=0.125), tmp_path / "out", "safetensors")
    recipe = tiny_detector()
    assert who_starts(recipe, out, 0).method == "simclr"
    with pytest.raises(UserError, match="converted to safetensors, not to Detectron2's"):
        open_weights(recipe, out)
