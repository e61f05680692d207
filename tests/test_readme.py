"""What the README says is so: its examples run, its table is the committed records', its verbs exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.outputs import suite_tables
from benchmarks.suite import load_suite
from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe
from results.check import check_committed
from results.publish import RECORDS
from results.records import read_store
from results.render import FORMATS
from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Manifest, Pixels
from superinfo.cli import app
from superinfo.recipes import recipe_names
from superinfo.spec import identity_hash, load_recipe
from transfer.convert.targets import overlay_text
from transfer.detection.config import CONFIGS
from transfer.overlay import encoder_overlay
from transfer.probing.recipe import RECIPES as PROBING
from transfer.recipe import RECIPES as TRANSFER

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    overlay = encoder_overlay(EncoderSpec(arch="resnet50"), Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD))
    (tmp_path / "weights" / "detectron2.yaml").write_text(overlay_text(overlay))
    shutil.copy(CONFIGS / "mask_rcnn_fpn.yaml", tmp_path / "my_fpn_config.yaml")
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_demos_table_is_that_of_the_committed_records() -> None:
    shown = README.split("<!-- table: demo -->")[1].split("<!-- end of table -->")[0]
    tables = suite_tables(load_suite("demo"), RECORDS)
    assert [line.runs for line in tables[0].lines] == ["1", "1", "1"]
    assert shown.strip() == FORMATS["md"](tables).strip()


def test_every_committed_table_is_that_of_the_committed_records() -> None:
    assert check_committed(read_store(RECORDS)) == []


def test_the_committed_records_are_of_the_recipes_as_they_are() -> None:
    manifests = [Manifest.read(path) for path in (ROOT / "results" / "records").glob("*/manifest.json")]
    measured = {run.who.tensors_sha256 for run in read_store(RECORDS).runs} - {None}
    assert {manifest.tensors_sha256 for manifest in manifests} == measured
    for manifest in manifests:
        recipe = load_recipe(PretrainRecipe, manifest.recipe["name"], PRETRAIN)
        assert manifest.recipe_hash == identity_hash(recipe), manifest.run


def test_every_verb_is_shown_and_no_other() -> None:
    shown = set(re.findall(r"^superinfo (\w+)", README, re.MULTILINE))
    assert shown == {command.callback.__name__ for command in app.registered_commands if command.callback}


def test_every_recipe_named_is_shipped() -> None:
    named = re.findall(r"^superinfo (?:pretrain|detect|probe) ([a-z]\S+)", README, re.MULTILINE)
    assert named
    for name in named:
        assert name in {*recipe_names(PRETRAIN), *recipe_names(TRANSFER), *recipe_names(PROBING)}


def test_every_path_that_is_linked_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
