"""A checkout whose tables are what its records give passes; each way to differ is found, and mended by one command."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results.check import check_committed, check_records
from results.committed import ROOT, write_committed
from results.records import Store, read_store
from tests.demo import copy_demo

DEMO = "results/tables/demo"
PAGE = "docs/page.md"
SHOWN = (f"{DEMO}.md", f"{DEMO}.tex", "README.md", PAGE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a checkout with the demo's records and declaration, published rows, a README and a page, written."""
    (tmp_path / "results" / "tables").mkdir(parents=True)
    copy_demo(tmp_path / "results" / "records")
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    shutil.copy(ROOT / f"{DEMO}.yaml", tmp_path / f"{DEMO}.yaml")
    (tmp_path / "README.md").write_text("# A\n\n<!-- table: demo -->\n<!-- end of table -->\n\nB\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / PAGE).write_text("<!-- table: demo -->\n<!-- end of table -->\n")
    write_committed(records(tmp_path), tmp_path)
    return tmp_path


def records(root: Path) -> Store:
    return read_store(root / "results" / "records")


def findings(root: Path) -> list[str]:
    return check_committed(records(root), root)


def a_record(root: Path, name: str = "simclr_r18") -> Path:
    return next(root.glob(f"results/records/*--{name}*/record.json"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_was_just_written_passes_and_is_not_written_again(root: Path) -> None:
    assert findings(root) == []
    assert write_committed(records(root), root) == []
    readme = (root / "README.md").read_text()
    assert readme.startswith("# A\n\n<!-- table: demo -->\n\n**Mask R-CNN on scenes")
    assert readme.endswith("<!-- end of table -->\n\nB\n")
    pictures = [path.read_bytes() for path in root.glob("results/records/*--simclr+superinfo*/pictures.png")]
    assert [(root / "results" / "records" / "demo.png").read_bytes()] == pictures


@pytest.mark.parametrize("name", SHOWN)
def test_a_hand_edited_table_is_found_by_file_and_line_and_mended(root: Path, name: str) -> None:
    shown = re.findall(r"\d\d\.\d", (root / name).read_text())[0]
    edit(root / name, shown, "99.9")
    line = next(n for n, text in enumerate((root / name).read_text().splitlines(), 1) if "99.9" in text)
    (finding,) = findings(root)
    assert finding == (
        f"{root / name}: differs from what the records give in line {line}; run scripts/render_results.py"
    )
    assert write_committed(records(root), root) == [root / name]
    assert findings(root) == []


def test_a_changed_record_makes_every_table_of_it_stale(root: Path) -> None:
    record = json.loads(a_record(root).read_text())
    record["metrics"]["box/AP"]["value"] += 1
    a_record(root).write_text(json.dumps(record))
    assert {finding.split(":")[0] for finding in findings(root)} == {str(root / name) for name in SHOWN}


def test_a_missing_table_and_one_without_a_declaration_are_found(root: Path) -> None:
    (root / f"{DEMO}.tex").rename(root / "results" / "tables" / "other.tex")
    missing, stray = findings(root)
    assert "demo.tex: is missing" in missing
    assert "other.tex: no declaration beside it" in stray


@pytest.mark.parametrize("name", ["README.md", PAGE])
def test_a_document_that_shows_an_undeclared_table_is_found(root: Path, name: str) -> None:
    edit(root / name, "<!-- table: demo -->", "<!-- table: dem0 -->")
    assert f"{root / name}: no table is declared by the name 'dem0'" in findings(root)


def test_another_picture_is_found(root: Path) -> None:
    (root / "results" / "records" / "demo.png").write_bytes(b"\0")
    (finding,) = findings(root)
    assert "demo.png: differs" in finding


def test_a_record_whose_manifest_is_gone_is_found(root: Path) -> None:
    next(root.glob("results/records/simclr_r18*/manifest.json")).unlink()
    (finding,) = findings(root)
    assert "no manifest" in finding


def test_a_truncated_record_is_found_and_does_not_stop_the_check(root: Path) -> None:
    a_record(root).write_bytes(a_record(root).read_bytes()[:-100])
    assert any(str(a_record(root)) in finding and "unreadable" in finding for finding in findings(root))


def test_a_record_whose_metrics_are_nan_is_found(root: Path) -> None:
    record = json.loads(a_record(root).read_text())
    record["metrics"]["mask/AP"]["value"] = math.nan
    a_record(root).write_text(json.dumps(record))
    assert any("'SimCLR' has no number" in finding for finding in findings(root))


def test_a_copied_record_is_a_duplicate_seed(root: Path) -> None:
    shutil.copytree(a_record(root).parent, a_record(root).parent.with_name("copy"))
    assert any("duplicate of seed 0" in finding for finding in findings(root))


def test_every_published_number_that_is_wrong_is_found(root: Path) -> None:
    moco = root / "results" / "published" / "moco.csv"
    edit(moco, ",moco,", ",,")
    edit(moco, ",53.5,percent,", ",0.535,percent,")
    first, second = findings(root)
    assert first.startswith(f"{moco}:2: `source`")
    assert second.startswith(f"{moco}:3: ")
    assert "percent" in second


def test_a_checkout_is_checked_and_written_as_utf8_in_any_locale(root: Path) -> None:
    edit(root / "README.md", "# A", "# Ä ± Δ")
    edit(root / PAGE, "Δ", "?")
    program = (
        "import sys\nfrom pathlib import Path\nfrom results.check import check_committed\n"
        "from results.committed import write_committed\nfrom results.records import read_store\n"
        "root = Path(sys.argv[1])\nstore = read_store(root / 'results' / 'records')\n"
        "assert len(check_committed(store, root)) == 1\nwrite_committed(store, root)\n"
        "assert check_committed(store, root) == []"
    )
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", program, str(root)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "README.md").read_text(encoding="utf-8").startswith("# Ä ± Δ")


def test_records_and_manifests_behind_links_are_checked_where_they_are_read(root: Path, tmp_path: Path) -> None:
    (root / "results" / "records" / "latest").symlink_to(a_record(root).parent.name)
    assert findings(root) == []
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "records").symlink_to(root / "results" / "records")
    assert check_records(read_store(tmp_path / "linked")) == []


def test_records_of_another_folder_are_checked_without_tables(root: Path) -> None:
    assert check_records(records(root)) == []
