"""Backbones registered with Detectron2 for the encoders that its own ResNet builder refuses.

Importing this module registers, per stem, `build_superinfo_<stem>_resnet_backbone` (C4) and
`build_superinfo_<stem>_resnet_fpn_backbone` (FPN) for any width. They read the config keys that Detectron2's own
builders read, so an overlay written by `superinfo convert` needs no new config node: one import is enough.
"""

import math
from functools import partial

from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, Backbone, ResNet
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock
from fvcore.nn import weight_init
from torch import Tensor
from torch.nn import functional as F

from superinfo.architectures import ARCHITECTURES
from transfer.overlay import depth_of

DEPTHS = {depth_of(arch): architecture.depths for arch, architecture in ARCHITECTURES.items()}


class SmallStem(CNNBlockBase):  # type: ignore[misc]  # Detectron2 has no types
    """A 3x3 convolution with batch norm and ReLU, no max-pool: `(B, 3, H, W)` -> `(B, C, H/stride, W/stride)`."""

    def __init__(self, in_channels: int, out_channels: int, norm: str, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.conv1 = Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            stride=stride,
            padding=1,
            bias=False,
            norm=get_norm(norm, out_channels),
        )
        weight_init.c2_msra_fill(self.conv1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features after the ReLU."""
        return F.relu_(self.conv1(images))


STEMS = {"imagenet": BasicStem, "small": partial(SmallStem, stride=1), "stl": partial(SmallStem, stride=2)}


def build_bottom_up(stem_name: str, cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build a Detectron2 ResNet with the named stem, as wide as the config says, up to the last stage needed."""
    resnets = cfg.MODEL.RESNETS
    stem = STEMS[stem_name](input_shape.channels, resnets.STEM_OUT_CHANNELS, norm=resnets.NORM)
    needed = max(int(name.removeprefix("res")) for name in resnets.OUT_FEATURES) - 1
    stages = [make_stage(resnets, stage) for stage in range(needed)]
    return ResNet(stem, stages, out_features=resnets.OUT_FEATURES, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)


def make_stage(resnets: CfgNode, stage: int) -> list[CNNBlockBase]:
    """Return the blocks of one stage (0 is res2) of the ResNet that `MODEL.RESNETS` describes."""
    depth = DEPTHS[resnets.DEPTH][stage]
    outputs = resnets.RES2_OUT_CHANNELS * 2**stage
    inputs = resnets.STEM_OUT_CHANNELS if stage == 0 else outputs // 2
    strides = [1 if stage == 0 else 2] + [1] * (depth - 1)
    blocks: list[CNNBlockBase]
    if resnets.DEPTH < 50:
        blocks = ResNet.make_stage(
            BasicBlock,
            depth,
            stride_per_block=strides,
            in_channels=inputs,
            out_channels=outputs,
            norm=resnets.NORM,
        )
    else:
        blocks = ResNet.make_stage(
            BottleneckBlock,
            depth,
            stride_per_block=strides,
            in_channels=inputs,
            out_channels=outputs,
            bottleneck_channels=resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * 2**stage,
            num_groups=resnets.NUM_GROUPS,
            stride_in_1x1=resnets.STRIDE_IN_1X1,
            norm=resnets.NORM,
        )
    return blocks


def build_pyramid(stem_name: str, cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """Build the FPN on that ResNet, its extra level pooled from the coarsest, whatever that is called."""
    bottom_up = build_bottom_up(stem_name, cfg, input_shape)
    coarsest = bottom_up.output_shape()[cfg.MODEL.FPN.IN_FEATURES[-1]].stride
    top_block = LastLevelMaxPool()
    top_block.in_feature = f"p{int(math.log2(coarsest))}"
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


for _stem in STEMS:
    for _kind, _build in (("", build_bottom_up), ("fpn_", build_pyramid)):
        _builder = partial(_build, _stem)
        _builder.__name__ = f"build_superinfo_{_stem}_resnet_{_kind}backbone"  # type: ignore[attr-defined]
        BACKBONE_REGISTRY.register(_builder)
