"""The key map is a bijection between torchvision's ResNets and Detectron2's."""

import pytest
import torchvision
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.resnet import build_resnet_backbone

from superinfo.errors import EvidenceRefused
from transfer.convert.dialects import detectron2
from transfer.convert.resnet import to_detectron2


def torchvision_shapes(arch: str) -> dict[str, tuple[int, ...]]:
    state = getattr(torchvision.models, arch)().state_dict()
    return {
        key: tuple(tensor.shape)
        for key, tensor in state.items()
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }


def detectron2_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    cfg = get_cfg()
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64 if depth < 50 else 256
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    state = build_resnet_backbone(cfg, ShapeSpec(channels=3)).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_key_lands_on_the_tensor_of_its_shape(depth: int) -> None:
    mapped = {to_detectron2(key): shape for key, shape in torchvision_shapes(f"resnet{depth}").items()}
    assert mapped == detectron2_shapes(depth)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_map_back_is_its_inverse(depth: int) -> None:
    for key in torchvision_shapes(f"resnet{depth}"):
        assert detectron2()[to_detectron2(key)] == key


@pytest.mark.parametrize("key", ["fc.weight", "projector.0.weight", "layer5.0.conv1.weight", "encoder.conv1.weight"])
def test_a_key_that_no_resnet_has_is_refused(key: str) -> None:
    with pytest.raises(EvidenceRefused, match=key):
        to_detectron2(key)
    assert key not in detectron2()
