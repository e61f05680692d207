import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# What conda-forge calls differently than the package index does.
CONDA_NAMES = {"torch": "pytorch", "opencv-python-headless": "py-opencv"}
# What conda users get besides: the interpreter, pip, and the Detectron2 that a script installs for others.
CONDA_ONLY = {
    "python": SpecifierSet(PROJECT["requires-python"]),
    "pip": SpecifierSet(),
    "detectron2": SpecifierSet(),
}


def bounds(requirements: list[str]) -> dict[str, SpecifierSet]:
    parsed = [Requirement(text) for text in requirements]
    assert not any(requirement.marker or requirement.extras for requirement in parsed)
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in parsed}


def declared() -> dict[str, SpecifierSet]:
    return bounds(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"])


def test_conda_users_get_the_packages_and_bounds_of_pyproject() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    assert "-e ." in by_pip
    by_conda = bounds([entry for entry in entries if isinstance(entry, str)])
    by_index = bounds([entry for entry in by_pip if entry != "-e ."])
    assert by_conda.keys().isdisjoint(by_index)

    expected = {CONDA_NAMES.get(name, name): specifier for name, specifier in declared().items()}
    assert by_conda | by_index == expected | CONDA_ONLY


def test_every_pin_is_exact_and_within_the_bounds_of_pyproject() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = bounds([line for line in lines if not line.startswith("#")])
    for name, specifier in declared().items():
        (pin,) = pins[name]
        assert pin.operator == "==", name
        assert specifier.contains(pin.version), f"{name}: {pin.version} is not {specifier}"


def test_the_tested_pair_of_torch_and_torchvision_is_pinned_without_its_cuda_packages() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(lines)
    assert not [line for line in lines if line.startswith(("nvidia", "cuda", "triton", "detectron2", "superinfo"))]
