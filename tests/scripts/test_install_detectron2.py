import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from types import ModuleType

import pytest

from scripts.install_detectron2 import (
    NUMPY_ALIASES,
    SHA256,
    STAND_IN,
    InstallError,
    Patch,
    apply,
    substitute,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "install_detectron2.py"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A virtual environment with nothing in it, not even pip."""
    venv.create(tmp_path / "bare", symlinks=True)
    return tmp_path / "bare"


def run(environment: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    command = [str(environment / "bin" / "python"), str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def installed(environment: Path) -> list[Path]:
    return list(environment.glob("lib/python*/site-packages/*detectron2*"))


def test_a_tampered_archive_is_refused_in_one_line_and_none_of_it_runs(bare: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    setup = f"open({str(trace)!r}, 'w')".encode()
    archive = tmp_path / "pb1-detectron2-0.6.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("pb1-detectron2-0.6/setup.py")
        member.size = len(setup)
        tar.addfile(member, io.BytesIO(setup))

    done = run(bare, "--archive", str(archive))

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(archive) in line
    assert SHA256 in line
    assert not trace.exists()
    assert installed(bare) == []


def test_an_archive_that_is_not_there_is_refused_in_one_line(bare: Path, tmp_path: Path) -> None:
    done = run(bare, "--archive", str(tmp_path / "nothing.tar.gz"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "nothing.tar.gz: No such file" in line


def test_an_importable_detectron2_is_left_alone(bare: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "detectron2"
    (theirs / "utils").mkdir(parents=True)
    (theirs / "__init__.py").write_text("__version__ = '9.9'\n")
    for name in ("engine", "evaluation", "utils/__init__", "utils/visualizer"):
        (theirs / f"{name}.py").touch()

    done = run(bare, "--archive", str(tmp_path / "nothing.tar.gz"), path=theirs.parent)

    assert done.returncode == 0
    assert f"Detectron2 9.9 at {theirs} is importable" in done.stderr
    assert installed(bare) == []


def test_a_half_installed_detectron2_does_not_pass_for_one(bare: Path, tmp_path: Path) -> None:
    half = tmp_path / "half" / "detectron2"
    half.mkdir(parents=True)
    (half / "__init__.py").write_text("__version__ = '0.6'\n")

    done = run(bare, "--archive", str(tmp_path / "nothing.tar.gz"), path=half.parent)

    assert done.returncode == 2
    assert "replacing a Detectron2 that does not import: ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x.astype(np.bool)", "x.astype(bool)"),
        ("dtype=np.int\n", "dtype=int\n"),
        ("np.full(3, np.nan, dtype=np.float)", "np.full(3, np.nan, dtype=float)"),
        ("np.str, np.object", "str, object"),
        (
            "np.bool_, np.int64, np.float32, np.str_, np.object_",
            "np.bool_, np.int64, np.float32, np.str_, np.object_",
        ),
        ("np.integer, np.floating, np.interp, xnp.int", "np.integer, np.floating, np.interp, xnp.int"),
    ],
)
def test_only_the_dropped_numpy_aliases_become_builtins(before: str, after: str) -> None:
    assert substitute(NUMPY_ALIASES, before)[0] == after


def test_a_patch_that_finds_nothing_stops_the_installation(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text('name="something-else"')
    with pytest.raises(InstallError, match=r"nothing in setup\.py matches"):
        apply(Patch("setup.py", 'name="pb1-detectron2"', 'name="detectron2"'), tmp_path)


def test_a_missing_compiled_operator_is_named() -> None:
    module = ModuleType("_C")
    exec(STAND_IN, module.__dict__)
    with pytest.raises(ImportError, match="'box_iou_rotated'"):
        module.box_iou_rotated  # noqa: B018
    assert not hasattr(module, "__path__")
    assert "without compiled operators" in module.get_compiler_version()


def test_the_installed_source_has_no_dropped_numpy_alias_left() -> None:
    spec = importlib.util.find_spec("detectron2")
    assert spec is not None, f"no Detectron2 beside {sys.executable}"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    stand_in = package / "_C.py"
    if not stand_in.exists() or stand_in.read_text() != STAND_IN:
        pytest.skip("this Detectron2 is not the one that scripts/install_detectron2.py installs")
    left = [path for path in package.rglob("*.py") if substitute(NUMPY_ALIASES, path.read_text())[1]]
    assert left == []
