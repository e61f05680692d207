"""Our configs are Detectron2's own but for what MoCo changes, key by key."""

from typing import Any

import pytest
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Pixels
from superinfo.spec import load_recipe
from transfer.detection.config import lay_over, read_config
from transfer.detection.options import apply_options
from transfer.overlay import encoder_overlay
from transfer.recipe import RECIPES, DetectRecipe

WEIGHTS = {
    "INPUT.FORMAT": "RGB",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
}
"""What comes with the weights of a torchvision ResNet-50 on ImageNet."""
MOCO = WEIGHTS | {
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.NORM": "SyncBN",
    "TEST.PRECISE_BN.ENABLED": True,
    "SOLVER.REFERENCE_WORLD_SIZE": 8,
}
C4 = MOCO | {"MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm"}
FPN = MOCO | {"MODEL.FPN.NORM": "SyncBN"}
TWICE = {"SOLVER.STEPS": [120000, 160000], "SOLVER.MAX_ITER": 180000}
FEW = {"SOLVER.STEPS": [9000, 11000], "SOLVER.MAX_ITER": 12000}
ELSEWHERE = (
    "DATASETS",
    "OUTPUT_DIR",
    "MODEL.WEIGHTS",
    "MODEL.ROI_HEADS.NUM_CLASSES",
    "SOLVER.OPTIMIZER",
    "TEST.EVAL_PERIOD",
)
"""Set by the data and the run, or ours alone."""


@pytest.mark.parametrize(
    ("recipe", "zoo", "changes"),
    [
        (
            "fasterrcnn_c4_voc0712_24k",
            "PascalVOC-Detection/faster_rcnn_R_50_C4.yaml",
            C4 | {"SOLVER.STEPS": [18000, 22000], "SOLVER.MAX_ITER": 24000},
        ),
        ("maskrcnn_c4_coco_1x", "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml", C4),
        ("maskrcnn_c4_coco_2x", "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml", C4 | TWICE),
        ("maskrcnn_fpn_coco_1x", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", FPN),
        ("maskrcnn_fpn_coco_2x", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", FPN | TWICE),
        ("maskrcnn_fpn_coco1pct_12k", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", FPN | FEW),
        ("maskrcnn_fpn_coco10pct_12k", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", FPN | FEW),
        ("keypointrcnn_fpn_coco_2x", "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", FPN | TWICE),
        ("maskrcnn_fpn_lvis1_2x", "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", FPN),
        ("maskrcnn_fpn_cityscapes_24k", "Cityscapes/mask_rcnn_R_50_FPN.yaml", FPN),
    ],
)
def test_a_recipe_is_detectron2s_but_for_what_moco_changes(recipe: str, zoo: str, changes: dict[str, Any]) -> None:
    found = load_recipe(DetectRecipe, recipe, RECIPES)
    ours = read_config(found.config)
    lay_over(ours, encoder_overlay(EncoderSpec(), Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)))
    apply_options(ours, found.options)
    theirs = get_cfg()
    theirs.merge_from_file(model_zoo.get_config_file(zoo))
    mine, other = flat(ours), flat(theirs)
    assert {key: mine[key] for key in mine if key not in other or mine[key] != other[key]} == changes


@pytest.mark.parametrize(
    ("recipe", "rate"),
    [
        ("fasterrcnn+swav_c4_voc0712_24k", 0.1),
        ("fasterrcnn+simsiam_c4_voc0712_24k", 0.2),
        ("fasterrcnn+byol_c4_voc0712_24k", 0.1),
        ("fasterrcnn+pirl_c4_voc0712_24k", 0.002),
        ("maskrcnn+swav_c4_coco_2x", 0.1),
        ("maskrcnn+simsiam_fpn_coco_2x", 0.2),
    ],
)
def test_a_preset_changes_the_rate_and_keeps_the_schedule(recipe: str, rate: float) -> None:
    head, tail = recipe.split("_", 1)
    plain = load_recipe(DetectRecipe, f"{head.split('+')[0]}_{tail}", RECIPES)
    preset = load_recipe(DetectRecipe, recipe, RECIPES)
    warmup = {"SOLVER.WARMUP_ITERS": 1000} if "swav" in recipe else {}
    assert preset.options == plain.options | {"SOLVER.BASE_LR": rate} | warmup
    assert preset.model_copy(update={"name": plain.name, "options": plain.options}) == plain


def flat(cfg: CfgNode, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in cfg.items():
        name = f"{prefix}{key}"
        if isinstance(value, CfgNode):
            found |= flat(value, f"{name}.")
        elif not name.startswith(ELSEWHERE):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
