"""The house keeps its own rules: each tool runs over the tree with the configuration in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROSE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "environment.yml", "pyproject.toml")
ROOMS = ("superinfo", "pretrain", "transfer", "results", "benchmarks", "scripts", "tests")


def check(program: str, *arguments: str) -> None:
    """Run a program of this environment in the root; what it printed is the message if it fails."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing() -> None:
    check("ruff", "check")


def test_the_tree_is_formatted() -> None:
    check("ruff", "format", "--check")


def test_mypy_finds_nothing() -> None:
    check("mypy")


def test_imports_go_one_way() -> None:
    check("lint-imports")


def test_nothing_is_misspelt() -> None:
    check("codespell", *ROOMS, *(name for name in PROSE if (ROOT / name).exists()))


@pytest.mark.parametrize("room", ["results", "scripts"])
def test_text_files_are_utf8_whatever_the_locale(room: str) -> None:
    found = []
    for path in (ROOT / room).rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
        for call in calls:
            named = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if named in {"read_text", "write_text"} and "encoding" not in {one.arg for one in call.keywords}:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert found == []


def test_there_is_no_package_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
