"""Options of a recipe that cannot be: told in one line, before any data are read."""

import json
from typing import Any

import pytest
from detectron2.config import CfgNode, get_cfg

from superinfo.artifacts import EncoderSpec, Pixels
from superinfo.errors import UserError
from tests.transfer.detection.tiny_detector import RECIPE, tiny_detector
from transfer.detection.config import protocol_config, read_config
from transfer.detection.options import apply_options, flatten
from transfer.overlay import encoder_overlay
from transfer.recipe import DECIDED, DetectRecipe


def protocol(options: dict[str, Any], **changes: Any) -> CfgNode:
    recipe = tiny_detector(options, **changes)
    return protocol_config(recipe, encoder_overlay(recipe.encoder, Pixels(mean=recipe.mean, std=recipe.std)))


def refusal(options: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        protocol(options, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"SOLVER.LR": 0.1}, "SOLVER.LR is no option of Detectron2"),
        ({"SOLVER.MAX_ITERS": 3}, "SOLVER.MAX_ITERS is no option of Detectron2 (did you mean `SOLVER.MAX_ITER`?)"),
        ({"SOLVER.MAX_ITER.OF": 3}, "SOLVER.MAX_ITER.OF is no option of Detectron2"),
        ({"TEST.PRECISE_BN": 3}, "TEST.PRECISE_BN is a group of options: name one of them, ENABLED, NUM_ITER"),
        ({"SOLVER.MAX_ITER": "many"}, "SOLVER.MAX_ITER must be a whole number, as 90000, got 'many'"),
        ({"SOLVER.MAX_ITER": None}, "SOLVER.MAX_ITER must be a whole number"),
        ({"SOLVER.MAX_ITER": True}, "SOLVER.MAX_ITER must be a whole number"),
        ({"SOLVER.MAX_ITER": [4]}, "SOLVER.MAX_ITER must be a whole number"),
        ({"SOLVER.BASE_LR": "fast"}, "SOLVER.BASE_LR must be a number"),
        ({"INPUT.MIN_SIZE_TRAIN": 64}, "INPUT.MIN_SIZE_TRAIN must be a list of numbers"),
        ({"INPUT.MIN_SIZE_TRAIN": ["wide"]}, "INPUT.MIN_SIZE_TRAIN must be a list of numbers"),
        ({"MODEL.MASK_ON": 1}, "MODEL.MASK_ON must be true or false"),
        ({"MODEL.RESNETS.NORM": 1}, "MODEL.RESNETS.NORM must be a text"),
        ({"SOLVER.OPTIMIZER": "LION"}, "SOLVER.OPTIMIZER is LION: choose SGD or ADAMW"),
        ({"DATALOADER.SAMPLER_TRAIN": "Other"}, "SAMPLER_TRAIN is Other: choose TrainingSampler or"),
        ({"SOLVER.IMS_PER_BATCH": 0}, "SOLVER.IMS_PER_BATCH is 0: at least 1 is needed"),
        ({"SOLVER.MAX_ITER": -1}, "SOLVER.MAX_ITER is -1: at least 1 is needed"),
        ({"SOLVER.REFERENCE_WORLD_SIZE": -8}, "SOLVER.REFERENCE_WORLD_SIZE is -8: at least 0 is needed"),
        ({"DATALOADER.NUM_WORKERS": -1}, "DATALOADER.NUM_WORKERS is -1: at least 0 is needed"),
        ({"INPUT.MIN_SIZE_TRAIN": []}, "INPUT.MIN_SIZE_TRAIN is (): at least 1 is needed"),
        ({"INPUT.MIN_SIZE_TRAIN": [64, 0]}, "INPUT.MIN_SIZE_TRAIN is (64, 0): at least 1 is needed"),
        ({"TEST.PRECISE_BN.NUM_ITER": 0}, "TEST.PRECISE_BN.NUM_ITER is 0: at least 1 is needed"),
    ],
)
def test_an_option_that_is_none_or_of_the_wrong_type_is_named(options: dict[str, Any], told: str) -> None:
    assert refusal(options).startswith("options: ")
    assert told in refusal(options)


@pytest.mark.parametrize(
    "options",
    [
        {"MODEL.PROPOSAL_GENERATOR.NAME": "Guess"},
        {"MODEL.ROI_HEADS.NAME": "Res5ROIHeads"},
        {"MODEL.RPN.IN_FEATURES": ["p2", "p9"]},
        {"MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16]]},
        {"MODEL.RESNETS.NORM": "XN"},
        {"MODEL.ROI_BOX_HEAD.POOLER_TYPE": "Mean"},
        {"SOLVER.BASE_LR": -1.0},
        {"SOLVER.LR_SCHEDULER_NAME": "Stairs"},
        {"INPUT.MIN_SIZE_TRAIN_SAMPLING": "any"},
    ],
)
def test_valid_parts_that_do_not_fit_together_are_told(options: dict[str, Any]) -> None:
    told = refusal({"SOLVER.OPTIMIZER": "SGD"} | options)
    assert told.startswith("config mask_rcnn_fpn_cpu, its options and the encoder do not make a detector (")
    assert told.endswith("); correct the recipe's `options` or `config`")


def test_a_c4_head_of_another_kind_is_told() -> None:
    assert "do not make a detector" in refusal({"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"}, config="faster_rcnn_c4_cpu")


@pytest.mark.parametrize("overlay", [{"MODEL": 5}, {"MODEL": {"NOPE": 1}}, {"MODEL": {"MASK_ON": "no"}}])
def test_an_edited_overlay_that_is_none_is_told(overlay: dict[str, Any]) -> None:
    told = r"^the encoder's overlay is not one of Detectron2's config \(.*\); convert the checkpoint anew$"
    with pytest.raises(UserError, match=told):
        protocol_config(tiny_detector(), overlay)


@pytest.mark.parametrize("name", DECIDED)
def test_what_the_suite_decides_is_no_option_of_a_recipe(name: str) -> None:
    assert any(f"{option}.".startswith(f"{name}.") for option in flatten(get_cfg()))
    with pytest.raises(UserError, match=f"^test: `options.{name}` is no option of a recipe: ") as caught:
        DetectRecipe.parse(RECIPE | {"options": {name: 1}}, "test")
    assert "\n" not in str(caught.value)


def test_an_option_is_a_finite_number() -> None:
    with pytest.raises(UserError, match=r"^test: `options\.SOLVER\.BASE_LR` must be finite, got Infinity$"):
        DetectRecipe.parse(RECIPE | {"options": {"SOLVER.BASE_LR": float("inf")}}, "test")


def test_an_encoder_is_that_of_the_record() -> None:
    """Another depth, or another backbone, would be measured under its name."""
    overlay = encoder_overlay(EncoderSpec(), Pixels(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)))
    decided = {name for name in flatten(CfgNode(overlay)) if f"{name}." in {f"{other}." for other in DECIDED}}
    assert flatten(CfgNode(overlay)).keys() - decided == {"MODEL.BACKBONE.FREEZE_AT", "MODEL.RESNETS.NORM"}


def test_a_whole_number_is_a_fraction_too_and_lists_keep_their_kind() -> None:
    cfg = read_config("mask_rcnn_fpn_cpu")
    given = {"SOLVER.BASE_LR": 1, "SOLVER.STEPS": [], "MODEL.ANCHOR_GENERATOR.SIZES": [[8.5, 16]]}
    apply_options(cfg, json.loads(json.dumps(given)))
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.MODEL.ANCHOR_GENERATOR.SIZES) == (1.0, (), [[8.5, 16]])
    assert isinstance(cfg.SOLVER.BASE_LR, float)
