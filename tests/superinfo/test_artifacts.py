"""The file contracts: what is written is what is read, and what is not ours is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from superinfo.artifacts import (
    CheckpointInfo,
    Conversion,
    Cost,
    EncoderSpec,
    JsonArtifact,
    Loaded,
    Manifest,
    Metric,
    Pixels,
    Provenance,
    Record,
    Source,
    What,
    Who,
    load_checkpoint,
    save_checkpoint,
    tensors_sha256,
)
from superinfo.errors import UserError

PROVENANCE = Provenance(
    created="2025-01-02T03:04:05+00:00",
    commit=None,
    versions={"torch": "2.14.1"},
    hardware={"cpu": "Some CPU", "cores": 2},
)
COST = Cost(wall_seconds=1.5, peak_memory_mib=300.25, parameters=11, flops=1e9, flops_input="1x3x64x64")
INFO = CheckpointInfo(
    encoder=EncoderSpec(arch="resnet18", stem="stl", width=0.5),
    name="simclr_tiny",
    method="simclr",
    term="none",
    dataset="scenes",
    epochs=2,
    seed=3,
    input_size=64,
    mean=(0.1, 0.2, 1 / 3),
    std=(0.4, 0.5, 0.6),
    recipe_hash="ab" * 32,
)
ARTIFACTS: list[JsonArtifact] = [
    Manifest(
        run="simclr_tiny-s3-abababab",
        command="superinfo pretrain simclr_tiny --seed 3",
        recipe={"views": {"crop_scale": [0.08, 1.0]}, "epochs": 2, "name": None},
        recipe_hash="ab" * 32,
        tensors_sha256="cd" * 32,
        metrics={"loss": 1 / 3},
        cost=COST,
        provenance=PROVENANCE,
    ),
    Conversion(
        source=Source(
            name="simclr_tiny",
            layouts=["superinfo"],
            branch="online",
            encoder=INFO.encoder,
            pixels=Pixels(mean=INFO.mean, std=INFO.std),
            dtype="float32",
            tensors_sha256="b",
            checkpoint=INFO,
        ),
        source_file_sha256="a",
        target="detectron2",
        files={"detectron2.pkl": "c", "detectron2.yaml": "d"},
        tensors={"stem.conv1.weight": "e"},
        keys_used={"conv1.weight": "stem.conv1.weight"},
        keys_made={},
        keys_left={"bn1.num_batches_tracked": "no such buffer"},
        loaded={"Detectron2 FPN": Loaded(tensors=1, matched=1)},
        feature_difference={"res2": 1e-7},
        feature_samples={"res2": [0.1 + 0.2, 1.0]},
        tolerance=1e-4,
        provenance=PROVENANCE,
    ),
    Record(
        run="mask--simclr_tiny-s0-abababab",
        command="superinfo detect mask --weights random --seed 0",
        seed=0,
        who=Who(
            name="random",
            method="none",
            term="none",
            dataset=None,
            epochs=0,
            seed=0,
            encoder=INFO.encoder,
            recipe_hash=None,
            tensors_sha256=None,
        ),
        what=What(
            task="instance_segmentation",
            dataset="scenes",
            split="test",
            samples=100,
            protocol="mask_fpn",
            protocol_version=1,
        ),
        metrics={
            "mask/AP": Metric(value=0.1 + 0.2, unit="percent", higher_is_better=True),
            "mask/APl": Metric(value=None, unit="percent", higher_is_better=True),
        },
        deviations=["half the schedule"],
        recipe={"options": {"SOLVER.MAX_ITER": 10}},
        recipe_hash="ef" * 32,
        protocol_hash="01" * 32,
        cost=Cost(wall_seconds=1, peak_memory_mib=2, parameters=3),
        provenance=PROVENANCE.model_copy(update={"commit": "0123abc+"}),
    ),
]
every_artifact = pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: type(artifact).__name__)


def state() -> dict[str, Tensor]:
    return {
        "conv1.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
        "bn1.num_batches_tracked": torch.tensor(5),
        "fc.bias": torch.tensor([float("inf"), -0.0]),
    }


def refusal(path: Path) -> str:
    """Return the one line with which a checkpoint is refused."""
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_checkpoint_gives_back_tensors_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint.pt"
    transposed = {"t": torch.arange(6.0).reshape(2, 3).t().requires_grad_()}
    save_checkpoint(path, INFO, state() | transposed)
    info, found = load_checkpoint(path)
    assert info == INFO
    assert list(found) == [*state(), "t"]
    for key, tensor in (state() | transposed).items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)
        assert not found[key].requires_grad


def test_a_checkpoint_is_plain_data_that_torch_loads_without_this_project(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", INFO, state())
    payload = torch.load(tmp_path / "c.pt", weights_only=True)
    assert set(payload) == {"superinfo", "state_dict"}
    assert payload["superinfo"]["format"] == "superinfo.checkpoint/1"
    json.dumps(payload["superinfo"])


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "no such checkpoint" in refusal(tmp_path / "none.pt")
    assert "no such checkpoint" in refusal(tmp_path)


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, INFO, state())
    path.write_bytes(path.read_bytes()[:cut])
    assert "not a readable torch checkpoint" in refusal(path)


class Payload:
    """Something that only code can unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was-run"),)


def test_a_checkpoint_that_would_run_code_is_refused_and_the_code_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"superinfo": INFO.model_dump(mode="json"), "state_dict": Payload()}, "c.pt")
    assert "not a readable torch checkpoint" in refusal(tmp_path / "c.pt")
    assert not Path("was-run").exists()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (torch.zeros(3), "not a checkpoint written by"),
        ({"conv1.weight": torch.zeros(3)}, "not a checkpoint written by"),
        ({"superinfo": INFO.model_dump(mode="json")}, "not a checkpoint written by"),
        (
            {"superinfo": INFO.model_dump(mode="json") | {"format": "superinfo.checkpoint/2"}, "state_dict": {}},
            "`format`",
        ),
        ({"superinfo": INFO.model_dump(mode="json") | {"epoch": 3}, "state_dict": {}}, "did you mean `epochs`?"),
        ({"superinfo": {}, "state_dict": {}}, "`encoder` is missing"),
    ],
)
def test_a_torch_file_of_another_kind_is_refused(tmp_path: Path, payload: object, reason: str) -> None:
    torch.save(payload, tmp_path / "c.pt")
    assert reason in refusal(tmp_path / "c.pt")


def test_the_hash_of_tensors_outlives_the_file_name_and_the_order(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", INFO, state())
    save_checkpoint(tmp_path / "another.pt", INFO, dict(reversed(state().items())))
    hashes = {tensors_sha256(load_checkpoint(tmp_path / name)[1]) for name in ("a.pt", "another.pt")}
    assert hashes == {tensors_sha256(state())}


def test_the_hash_of_tensors_does_not_depend_on_strides() -> None:
    images = torch.arange(48.0).reshape(2, 3, 2, 4)
    assert tensors_sha256({"a": images.to(memory_format=torch.channels_last)}) == tensors_sha256({"a": images})


def test_the_hash_of_tensors_sees_name_dtype_shape_and_value() -> None:
    a = torch.zeros(4)
    changed = {
        "as is": {"a": a},
        "name": {"b": a},
        "dtype of the same bytes": {"a": a.to(torch.int32)},
        "shape": {"a": a.reshape(2, 2)},
        "value": {"a": torch.tensor([0.0, 0.0, 0.0, 1e-38])},
        "sign of zero": {"a": -a},
        "one more": {"a": a, "b": a},
        "one moved": {"a": a, "b": torch.zeros(0)},
    }
    assert len({tensors_sha256(tensors) for tensors in changed.values()}) == len(changed)


def test_tensors_of_every_precision_have_a_hash() -> None:
    assert len({tensors_sha256({"a": torch.ones(3, dtype=d)}) for d in (torch.float16, torch.bfloat16)}) == 2


@every_artifact
def test_an_artifact_gives_back_what_was_written(tmp_path: Path, artifact: JsonArtifact) -> None:
    path = tmp_path / "folder" / "artifact.json"
    artifact.write(path)
    assert type(artifact).read(path) == artifact
    name, version = json.loads(path.read_text())["format"].split("/")
    assert name == f"superinfo.{type(artifact).__name__.lower()}"
    assert int(version) >= 1
    assert list(path.parent.iterdir()) == [path]


@every_artifact
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "superinfo.sonnet/1"}, "format"),
        ({"format": None}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"provenance": {}}, "provenance.created"),
    ],
)
def test_an_artifact_of_another_version_or_with_another_field_is_refused(
    tmp_path: Path, artifact: JsonArtifact, change: dict[str, object], field: str
) -> None:
    path = tmp_path / "artifact.json"
    path.write_text(json.dumps(artifact.model_dump(mode="json") | change))
    with pytest.raises(UserError) as caught:
        type(artifact).read(path)
    assert str(caught.value).startswith(f"{path}: not a {type(artifact).__name__} of this version: {field}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["seed", "who", "what", "metrics", "cost", "provenance", "recipe_hash"])
def test_a_record_that_lacks_a_field_is_refused(tmp_path: Path, field: str) -> None:
    data = ARTIFACTS[2].model_dump(mode="json")
    del data[field]
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=f"{field}: Field required"):
        Record.read(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "superinfo.record/1"}'])
def test_a_file_that_is_no_record_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        Record.read(path)
    assert str(caught.value).startswith(f"{path}: not a Record")
    assert "\n" not in str(caught.value)


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        Record.read(tmp_path / "none.json")


def test_a_figure_that_is_not_finite_cannot_become_a_record() -> None:
    with pytest.raises(ValueError, match="finite"):
        Metric(value=float("nan"), unit="percent", higher_is_better=True)
