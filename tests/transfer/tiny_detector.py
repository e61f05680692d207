"""The smallest recipe of a detector: a slim Mask R-CNN on generated scenes of two classes."""

from typing import Any

from transfer.recipe import DetectRecipe

CLASSES = ("disk", "cross")
OPTIONS: dict[str, Any] = {
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.MAX_ITER": 2,
    "SOLVER.STEPS": [],
    "INPUT.MIN_SIZE_TRAIN": [64],
    "INPUT.MIN_SIZE_TEST": 64,
    "TEST.DETECTIONS_PER_IMAGE": 5,
}


def tiny_detector(options: dict[str, Any] | None = None) -> DetectRecipe:
    recipe = {
        "name": "tiny",
        "protocol": "test",
        "data": {"kind": "scenes", "size": 64, "classes": CLASSES, "train": 8, "test": 2, "objects": [1, 3]},
        "config": "mask_rcnn_fpn_cpu",
        "options": OPTIONS | (options or {}),
        "encoder": {"arch": "resnet18", "stem": "imagenet", "width": 0.125},
        "pictures": 1,
    }
    return DetectRecipe.parse(recipe, "test")
