"""Install Detectron2 0.6 as a pure-Python wheel, where no Detectron2 is importable yet.

The package index has no Detectron2 under its own name. It has `pb1-detectron2`, a source archive whose
Python files equal the upstream tag v0.6. This script downloads it, checks its hash, patches what newer numpy,
Pillow, setuptools and torch broke, builds a wheel called `detectron2` and installs that. Nothing is compiled:
Mask R-CNN takes ROIAlign and NMS from torchvision, and every other compiled operator says by name that it is
missing.

    python scripts/install_detectron2.py [--archive FILE]

Exit code 0: Detectron2 is importable. 1: a step failed. 2: the archive is not the one that was checked.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

NAME, VERSION = "pb1-detectron2", "0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"

# `detectron2/_C.py`. Detectron2's collect_env asks for the first two of these whenever a training run starts.
STAND_IN = '''\
"""Stands in for the compiled operators, which this build leaves out."""


def get_compiler_version():
    return "none (built without compiled operators)"


def get_cuda_version():
    return "none (built without compiled operators)"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"this build of Detectron2 leaves out its compiled operators, {name!r} among them")
'''

# The last modules that an install writes are among these, so that a half-written install does not pass.
PROBE = """\
import detectron2, detectron2.engine, detectron2.evaluation, detectron2.utils.visualizer
print(getattr(detectron2, "__version__", "of unknown version"), "at", detectron2.__path__[0])
"""


class InstallError(Exception):
    """A step that did not work, told in one line."""

    exit_code = 1


class RefusedError(InstallError):
    """What was given is not the archive that was checked."""

    exit_code = 2


@dataclass(frozen=True)
class Patch:
    """Replace `pattern` in every file that `files` (a glob below the archive's root) matches."""

    files: str
    pattern: str
    replacement: str


# numpy 1.24 dropped these aliases of the builtins. np.bool_, np.int64 and their like are other things.
NUMPY_ALIASES = Patch("**/*.py", r"\bnp\.(bool|int|float|str|object)\b", r"\1")

PATCHES = (
    NUMPY_ALIASES,
    # numpy 2: copy=False raises where a copy is needed.
    Patch("detectron2/layers/mask_ops.py", r"\bnp\.array\(mask, copy=False\)", "np.asarray(mask)"),
    # Pillow 10 dropped the name.
    Patch("detectron2/data/transforms/*.py", r"\bImage\.LINEAR\b", "Image.BILINEAR"),
    # setuptools 82 dropped pkg_resources.
    Patch("detectron2/model_zoo/model_zoo.py", r"\bimport pkg_resources\b", "import importlib.resources"),
    Patch(
        "detectron2/model_zoo/model_zoo.py",
        r'pkg_resources\.resource_filename\(\s*("[\w.]+"), os\.path\.join\(("\w+"), config_path\)\s*\)',
        r"str(importlib.resources.files(\1).joinpath(\2, config_path))",
    ),
    # torch announces that it will require the argument, and warns until then.
    Patch(
        "detectron2/modeling/anchor_generator.py",
        r"\btorch\.meshgrid\(shifts_y, shifts_x\)",
        'torch.meshgrid(shifts_y, shifts_x, indexing="ij")',
    ),
    # torch dropped caffe2, which the model analysis (FLOPs, parameters) would otherwise import.
    Patch("detectron2/export/__init__.py", r"from \.api import \*\n", ""),
    # The distribution: its own name, its configs, no compiler, none of the pins that nothing meets any more.
    Patch("setup.py", r'\bname="pb1-detectron2"', 'name="detectron2"'),
    Patch(
        "setup.py",
        r'find_packages\(exclude=\("configs", "tests\*"\)\)',
        'find_packages(include=["detectron2*"])',
    ),
    Patch(
        "setup.py",
        r'("detectron2\.model_zoo": )get_model_zoo_configs\(\)',
        r'\1["configs/**/*.yaml", "configs/**/*.py"]',
    ),
    Patch("setup.py", r"\n +ext_modules=get_extensions\(\),", ""),
    Patch("setup.py", r'\n +cmdclass=\{"build_ext": [\w.]+\},', ""),
    Patch("setup.py", r'"iopath>=0\.1\.7,<0\.1\.10"', '"iopath>=0.1.7"'),
    Patch("setup.py", r'\n +"(black==21\.4b2|future|pydot)",', ""),
)


def main(arguments: list[str] | None = None) -> int:
    """Leave an importable Detectron2 alone, install one otherwise; returns the exit code."""
    parser = argparse.ArgumentParser(description="Install Detectron2 where none is importable.")
    parser.add_argument("--archive", type=Path, help=f"an already downloaded {NAME}-{VERSION}.tar.gz")
    archive: Path | None = parser.parse_args(arguments).archive
    try:
        install(archive)
    except InstallError as failure:
        say(str(failure))
        return failure.exit_code
    return 0


def install(archive: Path | None) -> None:
    """Run the steps in order; raises InstallError at the first that does not work."""
    found = probe()
    if found.returncode == 0:
        say(f"Detectron2 {found.stdout.strip()} is importable: leaving it alone")
        return
    if "No module named 'detectron2'" not in found.stderr:
        say(f"replacing a Detectron2 that does not import: {last_line(found.stderr)}")
    with tempfile.TemporaryDirectory(prefix="detectron2-") as name:
        folder = Path(name)
        if archive is None:
            say(f"downloading {NAME} {VERSION}")
            archive = download(folder)
        check(archive)
        say("unpacking and patching")
        source = unpack(archive, folder / "source")
        for patch in PATCHES:
            apply(patch, source)
        (source / "detectron2" / "_C.py").write_text(STAND_IN, encoding="utf-8")
        say("building the wheel")
        pip("wheel", "--no-build-isolation", "--use-pep517", "--no-deps", "--wheel-dir", name, str(source))
        wheel = next(folder.glob("detectron2-*.whl"))
        say("installing")
        pip("install", "--no-deps", "--no-index", "--force-reinstall", str(wheel))
    found = probe()
    if found.returncode != 0:
        raise InstallError(f"the Detectron2 just installed does not import: {last_line(found.stderr)}")
    say(f"Detectron2 {found.stdout.strip()} installed")


def probe() -> subprocess.CompletedProcess[str]:
    """Import Detectron2 in a fresh interpreter, which no earlier failed import disturbs."""
    return subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)


def download(folder: Path) -> Path:
    """Let pip fetch the archive; given the hash, pip refuses another archive before it runs its setup.py."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    options = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--dest", str(folder))
    pip("download", *options, "--requirement", str(requirement))
    return next(folder.glob("*.tar.gz"))


def check(archive: Path) -> None:
    """Raise RefusedError unless the archive's bytes are those that were compared with upstream."""
    try:
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    except OSError as error:
        raise RefusedError(f"cannot read --archive {archive}: {error.strerror}") from error
    if digest != SHA256:
        raise RefusedError(f"{archive} has sha256 {digest}, not {SHA256}: refused, nothing was installed")


def unpack(archive: Path, folder: Path) -> Path:
    """Extract below `folder` an archive that `check` let pass; returns its one top folder."""
    with tarfile.open(archive) as tar:
        # Before Python 3.11.4 there was no filter.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        tar.extractall(folder)
    return folder / f"{NAME}-{VERSION}"


def apply(patch: Patch, source: Path) -> None:
    """Patch the files in place; finding nothing to replace means that the archive is not what we know."""
    total = 0
    for path in sorted(source.glob(patch.files)):
        text, count = substitute(patch, path.read_text(encoding="utf-8"))
        if count:
            path.write_text(text, encoding="utf-8")
        total += count
    if total == 0:
        raise InstallError(f"nothing in {patch.files} matches {patch.pattern!r}: this patch does not fit this archive")


def substitute(patch: Patch, text: str) -> tuple[str, int]:
    """Return the patched text and how many places changed."""
    return re.subn(patch.pattern, patch.replacement, text)


def pip(*arguments: str) -> None:
    """Run this interpreter's pip; its output is shown only if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if "DO NOT MATCH THE HASHES" in done.stdout:
        raise RefusedError(
            f"the index gives a {NAME} {VERSION} whose sha256 is not {SHA256}: refused, nothing was installed"
        )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise InstallError(f"pip {arguments[0]} failed, see its messages above")


def last_line(text: str) -> str:
    """Return the line of a traceback that says what happened."""
    return text.strip().rpartition("\n")[2]


def say(message: str) -> None:
    """Tell the person at the terminal one line."""
    print(f"install_detectron2: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
