"""Heads of C4 detectors, whose last stage is the encoder's fifth, for every ResNet and with the norm that MoCo adds.

Importing this module registers `Res5ROIHeadsAnyDepth` and `Res5ROIHeadsExtraNorm` with Detectron2, whose own head is
three bottleneck blocks whatever the encoder.
"""

from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, get_norm
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import Res5ROIHeads
from torch import nn

from transfer.detection.backbone import DEPTHS, make_stage

ALL_FROZEN = 5
"""FREEZE_AT from which the fifth stage is frozen too; 4 leaves it trainable, in a C4 head as in an FPN."""


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsAnyDepth(Res5ROIHeads):  # type: ignore[misc]  # Detectron2 has no types
    """Detectron2's Res5ROIHeads with the blocks of the encoder's own fifth stage: basic ones for ResNet-18 and -34."""

    @classmethod
    def _build_res5_block(cls, cfg: CfgNode) -> tuple[nn.Sequential, int]:
        resnets, last = cfg.MODEL.RESNETS, len(DEPTHS[cfg.MODEL.RESNETS.DEPTH]) - 1
        blocks: list[CNNBlockBase] = make_stage(resnets, last)
        if cfg.MODEL.BACKBONE.FREEZE_AT >= ALL_FROZEN:
            for block in blocks:
                block.freeze()
        return nn.Sequential(*blocks), blocks[-1].out_channels


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeadsAnyDepth):
    """The same with a norm after the stage, under MoCo's name for it (arXiv 1911.05722, section 4.2)."""

    @classmethod
    def _build_res5_block(cls, cfg: CfgNode) -> tuple[nn.Sequential, int]:
        stage, channels = super()._build_res5_block(cfg)
        stage.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, channels))
        return stage, channels
