"""The page as a file: whole, small, the same each time, and open about what it leaves out."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from results.records import read_store
from results.report import evidence, page, write_report
from results.tables import build_all
from tests.demo import copy_demo
from tests.results.report import world


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    world.write(folder)
    return folder


class Elements(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.sources: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {str(value).partition(",")[0] for name, value in attrs if name == "src"}


def report(records: Path, out: Path, plots: Path | None = None) -> str:
    store = read_store(records)
    return write_report(store, build_all(store), out, plots).read_text()


@pytest.fixture(scope="module")
def text(records: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of all records."""
    return report(records, tmp_path_factory.mktemp("page") / "page.html")


def embedded(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="evidence">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_page_of_the_demo_is_below_one_megabyte(demo: Path, tmp_path: Path) -> None:
    text = report(demo, tmp_path / "page.html")
    assert len(text.encode()) < 1_000_000
    assert len(embedded(text)["runs"]) == len(list(demo.rglob("record.json")))
    assert text.count("data:image/webp;base64,") == len(list(demo.rglob("pictures.png")))


def test_the_same_records_give_the_same_page(text: str, records: Path, tmp_path: Path) -> None:
    assert report(records, tmp_path / "page.html") == text


def test_each_plot_of_the_page_is_also_written_as_a_file(demo: Path, tmp_path: Path) -> None:
    text = report(demo, tmp_path / "page.html", tmp_path / "plots")
    names = re.findall(r'<b id="([a-z0-9-]+)-title">', text)
    assert names
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("pdf", "svg")
    )


def test_the_page_names_no_address_and_allows_its_own_script_alone(text: str) -> None:
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}';" in text.replace("&#39;", "'")


def test_hostile_names_are_text_wherever_they_stand(text: str) -> None:
    parsed = Elements()
    parsed.feed(text)
    assert parsed.tags.count("script") == 2
    assert not {"\x07", "\u202e"} & set(text)
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert set(parsed.sources) == {"data:image/webp;base64"}
    assert any(world.SHOWN in run["facts"][2][1] for run in embedded(text)["runs"])


def test_every_id_is_there_once_and_every_reference_leads_to_one(text: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', text)
    assert used
    assert set(used) <= set(ids)


def test_what_is_not_in_the_tables_is_told_with_the_reason(text: str) -> None:
    told = text[text.index('<section id="apart"') :]
    for words in ("linear--byol_r18-s0-01234567", "out of memory", "truncated/record.json", "truncated/manifest.json"):
        assert words in told


def test_records_beyond_the_budget_are_counted_and_each_figure_keeps_its_first(
    text: str, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embedded(text)["runs"]
    letters = len(json.dumps(whole))
    monkeypatch.setattr(evidence, "BUDGET", letters // 2)
    less = report(records, tmp_path / "page.html")
    kept = embedded(less)["runs"]
    assert 0 < len(kept) < len(whole)
    assert f"the details of {len(kept)} records and leaves out those of {len(whole) - len(kept)}," in less
    assert {run["seed"] for run in kept[: len(whole) // world.SEEDS]} == {"0"}


def test_a_manifest_is_told_or_said_to_be_missing(text: str) -> None:
    runs = {run["id"]: dict(run["facts"]) for run in embedded(text)["runs"]}
    assert runs["detect--2-s1"]["manifest"].startswith("pretrain-2-s1")
    assert runs["detect--3-s1"]["manifest"].startswith("not beside these records")
    assert runs["detect--0-s1"]["pretraining"] == "none: random initialisation"


def test_manifests_that_cannot_be_opened_are_told_and_the_page_is_written(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(demo, tmp_path / "records"))
    (folder / "folder" / "manifest.json").mkdir(parents=True)
    (folder / "lost").mkdir()
    (folder / "lost" / "manifest.json").touch()
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent.name == "lost":
            raise OSError(5, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    text = report(folder, tmp_path / "page.html")
    told = text[text.index('<section id="apart"') :]
    for words in ("folder/manifest.json", "no file", "lost/manifest.json", "Input/output error"):
        assert words in told


def test_a_page_that_cannot_be_written_leaves_the_old_one(records: Path, tmp_path: Path, monkeypatch: Any) -> None:
    out = tmp_path / "page.html"
    out.write_text("old")
    monkeypatch.setattr(page, "_policy", lambda script: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(records, out)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
