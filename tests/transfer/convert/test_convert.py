"""Conversion proves itself, or leaves nothing."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from superinfo.artifacts import CONVERSION, OVERLAY, WEIGHTS, Conversion, load_checkpoint
from superinfo.encoders import STAGES
from superinfo.errors import EvidenceRefused, UserError
from transfer.convert import convert
from transfer.convert.resnet import to_torchvision
from transfer.convert.targets import TARGETS
from transfer.overlay import encoder_overlay

MakeCheckpoint = Callable[..., Path]

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
        assert array.tobytes() == state[to_torchvision(key)].numpy().tobytes()


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

    def mistaken(*arguments: Any) -> dict[str, Any]:
        overlay = whole(*arguments)
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
