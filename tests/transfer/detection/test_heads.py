"""C4 detectors of any depth: MoCo's extra norm, basic blocks, and what is frozen."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.modeling.roi_heads import Res5ROIHeads
from torch import nn

import transfer.detection.heads  # noqa: F401
from superinfo.artifacts import EncoderSpec, Pixels
from superinfo.encoders import build_encoder
from transfer.convert.proof import bottom_up
from transfer.detection.config import lay_over, read_config
from transfer.overlay import encoder_overlay


def config(encoder: EncoderSpec, name: str = "faster_rcnn_c4_cpu", **options: Any) -> CfgNode:
    cfg = read_config(name)
    lay_over(cfg, encoder_overlay(encoder, Pixels(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))))
    for option, value in options.items():
        cfg.merge_from_list([option.replace("__", "."), value])
    cfg.MODEL.DEVICE = torch.empty(0).device.type  # meta, within such a context
    return cfg


def spec(arch: str, width: float = 1.0, stem: str = "imagenet") -> EncoderSpec:
    return EncoderSpec.parse({"arch": arch, "width": width, "stem": stem}, "test")


@pytest.mark.parametrize("stem", ["imagenet", "small", "stl"])
@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d"]
)
def test_a_c4_detector_holds_every_tensor_of_the_encoder(arch: str, stem: str) -> None:
    encoder = spec(arch, 0.25 if "resnet18" in arch or stem != "imagenet" else 1.0, stem)
    with torch.device("meta"):
        model = build_model(config(encoder, MODEL__ROI_HEADS__NAME="Res5ROIHeadsAnyDepth"))
        expected = sorted(tuple(t.shape) for k, t in build_encoder(encoder).state_dict().items() if t.dim())
    held = [*bottom_up(model).state_dict().values(), *model.roi_heads.res5.state_dict().values()]
    assert sorted(tuple(tensor.shape) for tensor in held if tensor.dim()) == expected


def test_for_a_resnet50_the_head_is_detectron2s_own() -> None:
    cfg = config(spec("resnet50", 0.125), MODEL__ROI_HEADS__NAME="Res5ROIHeadsAnyDepth")
    ours = build_model(cfg).roi_heads.res5
    theirs, channels = Res5ROIHeads._build_res5_block(cfg)
    assert channels == 256
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 128, 14, 14)
    assert torch.equal(ours.train()(images), theirs.train()(images))


def test_the_extra_norm_comes_after_the_last_block() -> None:
    res5 = build_model(config(spec("resnet18", 0.25))).roi_heads.res5
    assert [name for name, _ in res5.named_children()] == ["0", "1", "norm"]
    assert isinstance(res5.norm, nn.BatchNorm2d)
    nn.init.constant_(res5.norm.bias, 3.0)
    nn.init.zeros_(res5.norm.weight)
    assert torch.equal(res5(torch.randn(2, 64, 8, 8)), torch.full((2, 128, 4, 4), 3.0))


@pytest.mark.parametrize(("freeze_at", "trained"), [(0, {"stem", "res2", "res5"}), (4, {"res5"}), (5, set())])
@pytest.mark.parametrize("name", ["faster_rcnn_c4_cpu", "mask_rcnn_fpn_cpu"])
def test_four_leaves_the_last_stage_trainable_and_five_freezes_it(name: str, freeze_at: int, trained: set[str]) -> None:
    with torch.device("meta"):
        model = build_model(config(spec("resnet18", 0.25), name, MODEL__BACKBONE__FREEZE_AT=freeze_at))
    stages: dict[str, nn.Module] = dict(bottom_up(model).named_children())
    stages.setdefault("res5", getattr(model.roi_heads, "res5", None) or stages["res5"])
    extra = set() if "fpn" in name else {"norm"}
    for stage in ("stem", "res2", "res5"):
        learns = [
            key for key, p in stages[stage].named_parameters() if p.requires_grad and key.split(".")[0] not in extra
        ]
        assert bool(learns) == (stage in trained), stage
        norms = [type(m) for m in stages[stage].modules() if isinstance(m, nn.BatchNorm2d)]
        assert bool(norms[len(extra) * (stage == "res5") :]) == (stage in trained)
