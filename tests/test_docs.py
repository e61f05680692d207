"""The pages of docs/ say what the program does."""

import importlib.util
import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from benchmarks.suite import SUITES
from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe
from results.publish import RECORDS
from superinfo import cli
from superinfo.spec import load_recipe
from transfer.probing.recipe import RECIPES as PROBING
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import RECIPES as DETECTION
from transfer.recipe import DetectRecipe

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def load_renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_docs", ROOT / "scripts" / "render_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENDERER = load_renderer()


def _commands(page: Path) -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for line in re.findall(r"^(?:\$ )?superinfo ([^[\n]+)$", page.read_text(), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", list(RENDERER.PARTS))
def test_the_generated_parts_of_a_page_are_what_the_program_says(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    assert RENDERER.masked(RENDERER.rendered(name, page)) == RENDERER.masked(page)


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=lambda page: page.stem)
def test_a_command_on_a_page_is_one_that_the_program_takes(page: Path) -> None:
    verbs = typer.main.get_command(cli.app)
    assert isinstance(verbs, typer.core.TyperGroup)
    for verb, *arguments in _commands(page):
        assert verb in verbs.commands, verb
        verbs.commands[verb].make_context(verb, arguments)  # raises for an option or argument that it does not take


@pytest.mark.parametrize("command", _commands(ROOT / "docs" / "reproduce.md"), ids=" ".join)
def test_a_command_to_reproduce_names_a_recipe_or_suite_and_changes_fields_that_it_has(command: list[str]) -> None:
    verb, name, *options = command
    changes = [value for option, value in itertools.pairwise(options) if option == "--set"]
    if verb == "pretrain":
        load_recipe(PretrainRecipe, name, PRETRAIN, changes)
    elif verb == "detect":
        load_recipe(DetectRecipe, name, DETECTION, changes)
    elif verb == "probe":
        load_recipe(ProbeRecipe, name, PROBING, changes)
    elif verb in {"bench", "table"}:
        assert (SUITES / f"{name}.yaml").is_file()


def test_what_a_suite_costs_is_what_its_file_says() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text()
    costs = dict(re.findall(r"^\| `(\S+)` \|.*\| ([^|]*?(?:hours|cores)[^|]*) \|$", page, re.MULTILINE))
    assert len(costs) >= 5
    for name, cost in costs.items():
        figure = cost.removesuffix(" (measured)")
        assert figure in (SUITES / f"{name}.yaml").read_text().replace("\n# ", " "), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_on_a_page_imports_what_it_says(page: Path) -> None:
    imports = re.findall(r"^(?:from|import) .+$", "\n".join(_examples(page)), re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", "\n".join(imports)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_links_to_files_and_headings_that_exist(page: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not heading or heading in _anchors(target), f"{link}#{heading}"


def test_mibs_penalty_is_as_small_as_the_study_says() -> None:
    assert "weighed, is less than a thousandth of the loss" in (ROOT / "docs" / "study.md").read_text()
    curves = list(RECORDS.glob("*+mib_r18w25_scenes_30e-s*/metrics.jsonl"))
    assert curves
    for path in curves:
        weight = json.loads(path.with_name("manifest.json").read_text())["recipe"]["term"]["weight"]
        steps = [step for line in path.read_text().splitlines() if "mib" in (step := json.loads(line))]
        assert steps
        assert all(weight * step["mib"] < step["loss"] / 1000 for step in steps), path


def _anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives a page's headings, of words without signs."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
