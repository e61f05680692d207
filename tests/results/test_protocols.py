"""What differs between two protocols is said by name, down to the fields of their recipes."""

import json
from pathlib import Path
from typing import Any

from results.protocols import describe_difference
from results.records import Run
from tests.results.made import SIMCLR, run


def written(folder: Path, recipe: dict[str, Any], digit: str) -> Run:
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps({"recipe": recipe}))
    return run(SIMCLR, 1.0, protocol_hash=digit * 64, folder=folder)


def test_a_changed_field_of_the_recipe_is_named(tmp_path: Path) -> None:
    usual = {"name": "a", "options": {"SOLVER.BASE_LR": 0.02}, "save_minutes": 1, "encoder": {"arch": "resnet18"}}
    other = {"name": "b", "options": {"SOLVER.BASE_LR": 0.1}, "save_minutes": 9, "encoder": {"arch": "resnet50"}}
    other["resources"] = {"gpus": 8}
    ours, theirs = written(tmp_path / "a", other, "1"), written(tmp_path / "b", usual, "2")
    assert describe_difference(ours, theirs) == "options.SOLVER.BASE_LR 0.1 instead of 0.02"


def test_a_recipe_that_is_not_at_hand_is_told_by_name() -> None:
    ours, theirs = (run(SIMCLR, 1.0, protocol_hash=digit * 64, recipe=f"r{digit}") for digit in "12")
    assert describe_difference(ours, theirs) == "another recipe, r1"


def test_every_respect_is_said() -> None:
    ours = run(SIMCLR, 1.0, what={"samples": 10, "protocol_version": 3})
    assert describe_difference(ours, run(SIMCLR, 1.0)) == "samples 10 instead of 200; version 3 instead of 1"
