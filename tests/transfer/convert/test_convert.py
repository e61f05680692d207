"""Conversion proves itself, or leaves nothing."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from superinfo.artifacts import CONVERSION, OVERLAY, WEIGHTS, Conversion, EncoderSpec, load_checkpoint
from superinfo.encoders import STAGES, build_encoder
from superinfo.errors import EvidenceRefused, UserError
from superinfo.files import file_sha256
from transfer.convert import convert
from transfer.convert.dialects import caffe2, detectron2
from transfer.convert.formats import open_checkpoint
from transfer.convert.resnet import to_detectron2
from transfer.convert.targets import TARGETS
from transfer.convert.verify import verify
from transfer.overlay import encoder_overlay
from transfer.who import inputs_of, who_from

MakeCheckpoint = Callable[..., Path]
ROOT = Path(__file__).parents[3]

ENCODERS = [
    ("resnet18", "imagenet", 1.0),
    ("resnet18", "small", 0.25),
    ("resnet18", "stl", 0.5),
    ("resnet34", "imagenet", 0.5),
    ("resnet50", "imagenet", 1.0),
    ("resnet50", "stl", 0.25),
]


@pytest.mark.parametrize(("arch", "stem", "width"), ENCODERS)
def test_every_encoder_converts_with_proof(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, arch: str, stem: str, width: float
) -> None:
    checkpoint = make_checkpoint(arch, stem, width)
    out = convert(checkpoint, tmp_path / "out")
    evidence = Conversion.read(out / CONVERSION)
    assert {loaded.matched for loaded in evidence.loaded.values()} == {len(evidence.keys_used)}
    assert {loaded.tensors for loaded in evidence.loaded.values()} == {len(evidence.keys_used)}
    assert ("Detectron2 C4" in evidence.loaded) == (arch == "resnet50" and stem == "imagenet")
    assert set(evidence.feature_difference) == set(STAGES)
    assert max(evidence.feature_difference.values()) < 1e-4
    _, state = load_checkpoint(checkpoint)
    assert evidence.keys_used.keys() | evidence.keys_left.keys() == state.keys()
    assert not evidence.keys_used.keys() & evidence.keys_left.keys()
    weights = pickle.loads((out / WEIGHTS).read_bytes())["model"]
    for key, array in weights.items():
        assert array.tobytes() == state[detectron2()[key]].numpy().tobytes()


def test_the_overlay_and_weights_serve_a_detector_of_the_users_own(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Plain Detectron2 with its own R50-FPN and R50-C4 configs: the overlay, the pkl, nothing else of this project."""
    from detectron2 import model_zoo

    checkpoint = make_checkpoint("resnet50")
    out = convert(checkpoint, tmp_path / "out")
    _, state = load_checkpoint(checkpoint)
    for config in ("mask_rcnn_R_50_FPN_1x", "mask_rcnn_R_50_C4_1x"):
        cfg = get_cfg()
        cfg.merge_from_file(model_zoo.get_config_file(f"COCO-InstanceSegmentation/{config}.yaml"))
        cfg.merge_from_file(str(out / OVERLAY))
        cfg.MODEL.DEVICE = "cpu"
        model = build_model(cfg)
        DetectionCheckpointer(model).load(str(out / WEIGHTS))
        loaded = model.state_dict()
        prefix = "backbone.bottom_up" if "FPN" in config else "backbone"
        torch.testing.assert_close(loaded[f"{prefix}.stem.conv1.weight"], state["conv1.weight"], rtol=0, atol=0)
        last = f"{prefix}.res5.2" if "FPN" in config else "roi_heads.res5.2"
        torch.testing.assert_close(loaded[f"{last}.conv3.weight"], state["layer4.2.conv3.weight"], rtol=0, atol=0)
        assert cfg.INPUT.FORMAT == "RGB"
        assert model.pixel_mean.flatten().tolist() == pytest.approx([255 * m for m in (0.4, 0.45, 0.5)], abs=1e-3)


def test_converting_again_changes_no_byte(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(width=0.25)
    out = convert(checkpoint, tmp_path / "out")
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in out.iterdir()}
    assert convert(checkpoint, out) == out
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in out.iterdir()} == before


def test_who_converts_to_a_folder_that_is_being_made_waits_and_finds_it(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, out = make_checkpoint(width=0.25), tmp_path / "outs" / "out"
    command = [sys.executable, "-m", "superinfo.cli", "convert", str(checkpoint), "--out", str(out)]
    others = list[subprocess.Popen[str]]()
    target = TARGETS["detectron2"]

    def write_and_be_overtaken(*arguments: Any) -> None:
        target.write(*arguments)
        others.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        deadline = time.monotonic() + 30
        while others[0].poll() is None and not waits_for_a_lock(others[0].pid) and time.monotonic() < deadline:
            time.sleep(0.05)

    monkeypatch.setitem(TARGETS, "detectron2", replace(target, write=write_and_be_overtaken))
    convert(checkpoint, out)
    made = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    assert [other.communicate(timeout=60)[1] for other in others] == [""]
    assert others[0].returncode == 0
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == made
    assert list(out.parent.iterdir()) == [out]


def waits_for_a_lock(process: int) -> bool:
    return any("->" in line and str(process) in line.split() for line in Path("/proc/locks").read_text().splitlines())


def test_a_folder_that_holds_something_else_is_not_overwritten(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    out = convert(make_checkpoint(width=0.25), tmp_path / "out")
    with pytest.raises(UserError, match="holds the conversion of another checkpoint"):
        convert(make_checkpoint(width=0.25, seed=1), out)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="exists and is no conversion"):
        convert(make_checkpoint(width=0.25), tmp_path / "mine")


def test_conversion_refuses_when_a_tensor_stays_random(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = "layer3.0.downsample.0.weight"
    target = TARGETS["detectron2"]
    rename = target.rename
    forgetful = replace(target, rename=lambda key: None if key == lost else rename(key))
    monkeypatch.setitem(TARGETS, "detectron2", forgetful)
    with pytest.raises(EvidenceRefused, match=r"99 of 100 .* tensor res4\.0\.shortcut\.weight") as caught:
        convert(make_checkpoint(width=0.25), tmp_path / "out")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("wrong", ["mean", "order"])
def test_conversion_refuses_when_the_overlay_feeds_other_pixels(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    whole = encoder_overlay

    def mistaken(*arguments: Any, **more: Any) -> dict[str, Any]:
        overlay = whole(*arguments, **more)
        if wrong == "mean":
            overlay["MODEL"]["PIXEL_MEAN"] = overlay["MODEL"]["PIXEL_MEAN"][::-1]
        else:
            overlay["INPUT"]["FORMAT"] = "BGR"
        return overlay

    monkeypatch.setattr("transfer.convert.targets.encoder_overlay", mistaken)
    with pytest.raises(EvidenceRefused, match=r"100 of 100 .* features differ by at most"):
        convert(make_checkpoint(width=0.25), tmp_path / "out")


def test_the_overlay_names_the_import_that_it_needs(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    narrow = convert(make_checkpoint(stem="stl", width=0.25), tmp_path / "narrow") / OVERLAY
    assert "import transfer.detection.backbone" in narrow.read_text()
    overlay = yaml.safe_load(narrow.read_text())
    assert overlay["MODEL"]["RPN"]["IN_FEATURES"] == ["p1", "p2", "p3", "p4", "p5"]
    standard = convert(make_checkpoint(), tmp_path / "standard") / OVERLAY
    assert "import" not in standard.read_text()
    assert "NAME" not in yaml.safe_load(standard.read_text())["MODEL"]["BACKBONE"]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "x.pt"
    stranger.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"x\.pt: not a checkpoint that can be read"):
        convert(stranger, tmp_path / "out")
    torch.save({"state_dict": {}}, stranger)
    with pytest.raises(UserError, match=r"x\.pt: holds no tensors by name"):
        convert(stranger, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_in_another_format_than_their_loaders_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Detectron2 goes by the file's ending: what is read here as one thing must not be another one there."""
    out = convert(make_checkpoint(width=0.25), tmp_path / "out")
    other = convert(make_checkpoint(width=0.25), tmp_path / "other", "safetensors")
    (out / WEIGHTS).write_bytes((other / "encoder.safetensors").read_bytes())
    evidence = Conversion.read(out / CONVERSION)
    files = evidence.files | {WEIGHTS: file_sha256(out / WEIGHTS)}
    evidence.model_copy(update={"files": files}).write(out / CONVERSION)
    with pytest.raises(EvidenceRefused, match=r"detectron2\.pkl: a safetensors file, where detectron2 has a pickle"):
        verify(out)


def test_an_array_that_is_named_twice_is_there_twice(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": array, "b": array}, protocol))
        content = open_checkpoint(tmp_path / "x.pkl").content
        assert [content[name].read().tolist() for name in "ab"] == [array.tolist()] * 2


def test_a_random_state_beside_an_encoder_does_no_harm(tmp_path: Path) -> None:
    state = np.random.default_rng(0).integers(0, 9, 4).astype(np.uint32)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": np.ones(3, np.float32), "rng": state}))
    assert open_checkpoint(tmp_path / "x.pkl").content["a"].read().tolist() == [1, 1, 1]


def test_the_same_tensors_read_in_another_way_are_another_row(tmp_path: Path) -> None:
    state = build_encoder(EncoderSpec(arch="resnet50", width=0.125)).state_dict()
    arrays = {to_detectron2(key): tensor.numpy() for key, tensor in state.items() if "tracked" not in key}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "Somebody"}))
    rows = []
    for source in ("detectron2_rgb", "detectron2_msra"):
        out = convert(tmp_path / "model.pkl", tmp_path / source, source=source)
        rows.append(inputs_of(who_from(Conversion.read(out / CONVERSION).source)))
    assert rows[0][0] == rows[1][0]
    assert rows[0] != rows[1]


def test_a_conversion_that_was_damaged_since_is_not_called_done(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(width=0.25)
    out = convert(checkpoint, tmp_path / "out")
    (out / WEIGHTS).unlink()
    with pytest.raises(EvidenceRefused, match=r"detectron2\.pkl: is missing"):
        convert(checkpoint, out)


@pytest.mark.parametrize("lost", ["res2_0_branch2a_bn_rm", "res_conv1_bn_riv"])
def test_statistics_that_are_lost_are_not_made_up(tmp_path: Path, lost: str) -> None:
    spelling = {ours: theirs for theirs, ours in caffe2().items()}
    state = build_encoder(EncoderSpec(arch="resnet50", width=0.125)).state_dict()
    arrays = {spelling[key]: tensor.numpy() for key, tensor in state.items() if "tracked" not in key}
    del arrays[lost]
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(EvidenceRefused, match=f"tensor {lost} is missing"):
        convert(tmp_path / "R-50.pkl", tmp_path / "out", source="caffe2_msra")


def test_norms_without_statistics_are_frozen(tmp_path: Path) -> None:
    spelling = {ours: theirs for theirs, ours in caffe2().items()}
    state = build_encoder(EncoderSpec(arch="resnet50", width=0.125)).state_dict()
    arrays = {spelling[key]: tensor.numpy() for key, tensor in state.items() if "tracked" not in key}
    affine = {name: array for name, array in arrays.items() if not name.endswith(("_rm", "_riv"))}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(affine))
    out = convert(tmp_path / "R-50.pkl", tmp_path / "out", source="caffe2_msra")
    again = convert(out / WEIGHTS, tmp_path / "again")
    for folder in (out, again):
        assert yaml.safe_load((folder / OVERLAY).read_text())["MODEL"]["RESNETS"]["NORM"] == "FrozenBN"
    assert Conversion.read(again / CONVERSION).source == Conversion.read(out / CONVERSION).source


def test_two_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    state = build_encoder(EncoderSpec(arch="resnet50", width=0.125)).state_dict()
    names = {key: f"backbone.{to_detectron2(key)}" for key in state if "tracked" not in key}
    arrays = {name: state[key].numpy() for key, name in names.items()}
    arrays["roi_heads.res5.0.conv1.weight"] = arrays["backbone.res5.0.conv1.weight"] + 1
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": arrays}))
    with pytest.raises(EvidenceRefused, match=r"res5\.0\.conv1\.weight is there under another name too"):
        convert(tmp_path / "model.pkl", tmp_path / "out", source="detectron2_rgb")


def test_a_convolutions_bias_is_left_out_only_if_it_is_zero(tmp_path: Path) -> None:
    spelling = {ours: theirs for theirs, ours in caffe2().items()}
    state = build_encoder(EncoderSpec(arch="resnet50", width=0.125)).state_dict()
    arrays = {spelling[key]: tensor.numpy() for key, tensor in state.items() if "tracked" not in key}
    for value, name in ((0, "conv1_b"), (0, "res2_0_branch2a_b"), (1, "res3_1_branch2b_b")):
        arrays[name] = np.full(8, value, np.float32)
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(EvidenceRefused, match="tensor res3_1_branch2b_b is a convolution's bias and not zero"):
        convert(tmp_path / "R-50.pkl", tmp_path / "out", source="caffe2_msra")
    del arrays["res3_1_branch2b_b"]
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(arrays))
    out = convert(tmp_path / "R-50.pkl", tmp_path / "out", source="caffe2_msra")
    assert Conversion.read(out / CONVERSION).keys_left["conv1_b"] == "a bias of zeros"
