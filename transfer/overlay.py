"""The Detectron2 config that must go with an encoder's weights: exactly what a change of weights changes."""

import math
from typing import Any

from superinfo.artifacts import EncoderSpec

STEM_STRIDES = {"imagenet": 4, "small": 1, "stl": 2}


def encoder_overlay(
    encoder: EncoderSpec, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> dict[str, Any]:
    """Return the overlay as nested config; `mean` and `std` are per channel, of RGB images in [0, 1].

    An encoder that Detectron2's own ResNet can be leaves the choice between C4 and FPN to the config below it; any
    other needs an FPN on a backbone that `transfer.detection.backbone` registers.
    """
    channels = encoder.stem_channels
    bottleneck = encoder.arch == "resnet50"
    model: dict[str, Any] = {
        "PIXEL_MEAN": [round(255 * value, 4) for value in mean],
        "PIXEL_STD": [round(255 * value, 4) for value in std],
        "BACKBONE": {"FREEZE_AT": 0},
        "RESNETS": {
            "DEPTH": int(encoder.arch.removeprefix("resnet")),
            "STEM_OUT_CHANNELS": channels,
            "RES2_OUT_CHANNELS": channels * (4 if bottleneck else 1),
            "WIDTH_PER_GROUP": channels,
            "STRIDE_IN_1X1": False,
            "NORM": "BN",
        },
    }
    if not detectron2_builds(encoder):
        levels = pyramid_levels(encoder)
        model["BACKBONE"]["NAME"] = backbone_name(encoder)
        model["RPN"] = {"IN_FEATURES": levels}
        model["ROI_HEADS"] = {"IN_FEATURES": levels[:-1]}
    return {"INPUT": {"FORMAT": "RGB"}, "MODEL": model}


def detectron2_builds(encoder: EncoderSpec) -> bool:
    """Say whether Detectron2's own ResNet builder can build the encoder."""
    return encoder.stem == "imagenet" and encoder.width == 1


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
