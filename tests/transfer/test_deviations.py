"""What a record says of its recipe: where it leaves the shipped one of its name."""

import pytest

from superinfo.spec import load_recipe
from transfer.deviations import deviations
from transfer.recipe import RECIPES, DetectRecipe


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], []),
        (["data.root=/data", "save_minutes=3.0"], []),
        (["encoder.arch=resnet34", "encoder.width=1.0", "mean=[0.5, 0.5, 0.5]"], []),
        (["options.SOLVER.AMP.ENABLED=true"], ["options.SOLVER.AMP.ENABLED: True instead of the default"]),
        (["options.SOLVER.MAX_ITER=3"], ["options.SOLVER.MAX_ITER: 3 instead of 300"]),
        (
            ["data.name=mine", "protocol_version=2"],
            ["data.name: mine instead of coco_person320", "protocol_version: 2 instead of 1"],
        ),
    ],
)
def test_a_changed_protocol_is_told(overrides: list[str], told: list[str]) -> None:
    recipe = load_recipe(DetectRecipe, "maskrcnn_fpn_person320", RECIPES, overrides)
    assert deviations(recipe, recipe.name, RECIPES) == told


def test_a_recipe_of_the_user_s_own_has_no_protocol_to_leave() -> None:
    recipe = load_recipe(DetectRecipe, "maskrcnn_fpn_scenes", RECIPES, ["name=mine", "config=other"])
    assert deviations(recipe, recipe.name, RECIPES) == []
