"""The pages of docs/ say what the program does."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_the_program_says(page: Path) -> None:
    script = ROOT / "scripts" / "render_docs.py"
    spec = importlib.util.spec_from_file_location("render_docs", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = page.read_text()
    assert module.masked(module.rendered(text)) == module.masked(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_on_a_page_imports_what_it_says(page: Path) -> None:
    imports = re.findall(r"^(?:from|import) .+$", "\n".join(_examples(page)), re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", "\n".join(imports)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_links_to_files_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def _examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
