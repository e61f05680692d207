"""The table of the standard sets' folders agrees with the recipes that read them."""

from pathlib import PurePath

import pytest

from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe
from superinfo.datasets.images import Folder, Images
from superinfo.datasets.trees import TREES, Tree, drawn
from superinfo.spec import load_recipe
from transfer.probing.recipe import RECIPES as PROBING
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import RECIPES as DETECTION
from transfer.recipe import CityscapesSet, CocoSet, DetectRecipe, LvisSet, VocSet

COMMANDS = [(tree, command) for tree in TREES.values() for command in tree.recipes]


@pytest.mark.parametrize(("tree", "command"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_of_a_tree_reads_that_trees_folder(tree: Tree, command: str) -> None:
    verb, name = command.split()
    if verb == "detect":
        read = detection_files(load_recipe(DetectRecipe, name, DETECTION))
        assert any(covers(tree, path) for path in read)
        return
    specs: list[Images]
    if verb == "pretrain":
        specs = [load_recipe(PretrainRecipe, name, PRETRAIN).data]
    else:
        data = load_recipe(ProbeRecipe, name, PROBING).data
        specs = [data.train, data.test]
    for spec in specs:
        if isinstance(spec, Folder):
            assert covers(tree, f"{spec.subfolder}/n01440764/n01440764_10026.JPEG")
        else:
            assert spec.kind == tree.name


def test_every_file_that_a_detection_recipe_names_is_in_a_tree() -> None:
    commands = {command for tree in TREES.values() for command in tree.recipes if command.startswith("detect")}
    assert len(commands) >= 7
    for command in commands:
        for path in detection_files(load_recipe(DetectRecipe, command.split()[1], DETECTION)):
            assert any(covers(tree, path) for tree in TREES.values()), path


def test_the_drawing_names_each_folder_once_above_its_files() -> None:
    assert drawn([TREES["cifar100"], TREES["voc2012"]]).splitlines() == [
        "cifar-100-python/",
        "  train",
        "  test",
        "  meta",
        "VOC2012/",
        "  JPEGImages/*.jpg                          17,125 files",
        "  Annotations/*.xml                         17,125 files",
        "  ImageSets/",
        "    Main/",
        "      trainval.txt",
    ]


def covers(tree: Tree, path: str) -> bool:
    return any(
        PurePath(path).match(part.pattern) and len(PurePath(path).parts) == part.pattern.count("/") + 1
        for part in tree.parts
    )


def detection_files(recipe: DetectRecipe) -> list[str]:
    """One file of each kind that the recipe names."""
    data = recipe.data
    if isinstance(data, VocSet):
        lists = [*data.train, data.test]
        return [f"{split.folder}/ImageSets/Main/{split.split}.txt" for split in lists]
    if isinstance(data, CityscapesSet):
        return [f"{data.folder}/leftImg8bit/{split}/ulm/ulm_0_leftImg8bit.png" for split in (data.train, data.test)]
    if isinstance(data, LvisSet):
        return [str(split.json_file) for split in (data.train, data.test)]
    assert isinstance(data, CocoSet)
    return [
        path for split in (data.train, data.test) for path in (str(split.json_file), str(split.images / "000001.jpg"))
    ]
