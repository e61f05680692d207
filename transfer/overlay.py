"""The Detectron2 config that must go with an encoder's weights: exactly what a change of weights changes."""

import math
import re
from typing import Any

from superinfo.architectures import ARCHITECTURES
from superinfo.artifacts import Arch, EncoderSpec, Pixels

STEM_STRIDES = {"imagenet": 4, "small": 1, "stl": 2}


def encoder_overlay(encoder: EncoderSpec, pixels: Pixels, norm: str = "BN") -> dict[str, Any]:
    """Return the overlay as nested config; `norm` is FrozenBN where batch norms have no statistics to train from.

    An encoder that Detectron2's own ResNet can be leaves the choice between C4 and FPN to the config below it; any
    other needs an FPN on a backbone that `transfer.detection.backbone` registers.
    """
    architecture, channels = ARCHITECTURES[encoder.arch], encoder.stem_channels
    model: dict[str, Any] = {
        "PIXEL_MEAN": [round(255 * value, 4) for value in pixels.mean],
        "PIXEL_STD": [round(255 * value, 4) for value in pixels.std],
        "BACKBONE": {"FREEZE_AT": 0},
        "RESNETS": {
            "DEPTH": depth_of(encoder.arch),
            "STEM_OUT_CHANNELS": channels,
            "RES2_OUT_CHANNELS": channels * architecture.expansion,
            "NUM_GROUPS": architecture.groups,
            "WIDTH_PER_GROUP": architecture.inner_channels(channels) // architecture.groups,
            "STRIDE_IN_1X1": encoder.stride_in_1x1,
            "NORM": norm,
        },
    }
    if not detectron2_builds(encoder):
        levels = pyramid_levels(encoder)
        model["BACKBONE"]["NAME"] = backbone_name(encoder)
        model["RPN"] = {"IN_FEATURES": levels}
        model["ROI_HEADS"] = {"IN_FEATURES": levels[:-1]}
    return {"INPUT": {"FORMAT": pixels.channel_order}, "MODEL": model}


def depth_of(arch: Arch) -> int:
    """Return the number of layers in an architecture's name: 18 to 152."""
    return int(re.findall(r"\d+", arch)[0])


def detectron2_builds(encoder: EncoderSpec) -> bool:
    """Say whether Detectron2's own ResNet builder can build the encoder: basic blocks it builds at one width only."""
    return encoder.stem == "imagenet" and (encoder.width == 1 or ARCHITECTURES[encoder.arch].bottleneck)


def backbone_name(encoder: EncoderSpec) -> str:
    """Return the name of the FPN backbone in Detectron2's registry."""
    return (
        "build_resnet_fpn_backbone"
        if detectron2_builds(encoder)
        else f"build_superinfo_{encoder.stem}_resnet_fpn_backbone"
    )


def pyramid_levels(encoder: EncoderSpec) -> list[str]:
    """Return the names of the FPN's outputs, `p<log2 of the stride>`, as Detectron2 counts them."""
    finest = int(math.log2(STEM_STRIDES[encoder.stem]))
    return [f"p{finest + i}" for i in range(5)]
