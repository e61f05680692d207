"""Every shipped recipe opens with its claim, parses and builds."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from benchmarks.suite import SUITES, load_suite
from pretrain.model import build_model as build_pretraining
from pretrain.optimizer import build_optimizer
from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe
from superinfo.spec import load_recipe
from transfer.detection.config import build_config
from transfer.detection.data import RegisteredSplit
from transfer.overlay import encoder_overlay
from transfer.recipe import RECIPES as TRANSFER
from transfer.recipe import DetectRecipe


def shipped(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


@pytest.mark.parametrize("path", [p for f in (PRETRAIN, TRANSFER, SUITES) for p in sorted(f.glob("*.yaml"))], ids=str)
def test_a_recipe_opens_with_its_claim_cost_and_command(path: Path) -> None:
    lines = path.read_text().splitlines()
    opening = [line for line in lines if line.startswith("# ")]
    assert lines[: len(opening)] == opening
    assert [
        word for word in ("Claim", "Cost", "Command") if any(line.startswith(f"# {word}: ") for line in opening)
    ] == [
        "Claim",
        "Cost",
        "Command",
    ]
    (command,) = [line for line in opening if line.startswith("# Command: superinfo ")]
    assert command.split()[4] == path.stem


@pytest.mark.parametrize("name", shipped(PRETRAIN))
def test_a_pretraining_recipe_builds(name: str) -> None:
    recipe = load_recipe(PretrainRecipe, name, PRETRAIN)
    assert recipe.name == name
    assert ("+superinfo" in name) == (recipe.term.kind == "superinfo")
    with torch.device("meta"):
        model = build_pretraining(recipe, seed=0)
    assert build_optimizer(recipe.optimizer, model).param_groups[0]["lr"] == recipe.optimizer.lr


@pytest.mark.parametrize("name", shipped(TRANSFER))
def test_a_detection_recipe_builds(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(DetectRecipe, name, TRANSFER)
    assert recipe.name == name
    split = RegisteredSplit("none", Path("none.json"), 1, ("a", "b"))
    overlay = encoder_overlay(recipe.encoder, recipe.mean, recipe.std)
    cfg = build_config(recipe, overlay, None, (split, split), 0, torch.device("cpu"), tmp_path)
    assert build_model(cfg).roi_heads.num_classes == 2


@pytest.mark.parametrize("name", shipped(SUITES))
def test_a_suite_names_recipes_that_exist(name: str) -> None:
    suite = load_suite(name)
    load_recipe(DetectRecipe, suite.detect, TRANSFER)
    for row in suite.rows:
        if row.pretrain:
            load_recipe(PretrainRecipe, row.pretrain, PRETRAIN)


def test_rows_of_the_demo_differ_in_the_term_alone() -> None:
    plain, weighed = (
        load_recipe(PretrainRecipe, f"simclr{term}_r18w25_scenes_6e", PRETRAIN) for term in ("", "+superinfo")
    )
    assert plain.model_copy(update={"name": weighed.name, "term": weighed.term}) == weighed
