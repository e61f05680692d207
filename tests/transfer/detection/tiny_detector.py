"""The smallest recipe of a detector: a slim Mask R-CNN on generated scenes of two classes."""

from typing import Any

from transfer.recipe import DetectRecipe

CLASSES = ("disk", "cross")
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "protocol": "test",
    "data": {"kind": "scenes", "size": 64, "classes": CLASSES, "train": 12, "test": 6, "objects": [1, 3]},
    "config": "mask_rcnn_fpn_cpu",
    "options": {
        "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 4,
        "SOLVER.STEPS": [],
        "INPUT.MIN_SIZE_TRAIN": [64],
        "INPUT.MIN_SIZE_TEST": 64,
    },
    "encoder": {"arch": "resnet18", "stem": "imagenet", "width": 0.125},
    "pictures": 2,
}


def tiny_detector(options: dict[str, Any] | None = None, **changes: Any) -> DetectRecipe:
    return DetectRecipe.parse(RECIPE | changes | {"options": RECIPE["options"] | (options or {})}, "test")
