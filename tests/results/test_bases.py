"""What sets a row apart from its base beside the term is a footnote, whichever way it got its base."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretrain.recipe import RECIPES, PretrainRecipe
from results.bases import APART, OF_NO_RESULT
from results.manifests import describe_changes, flatten
from results.records import Store
from results.table import Table
from results.tables import build, build_all
from superinfo.artifacts import EncoderSpec
from superinfo.spec import identity, load_recipe
from tests.results.made import SIMCLR, TERM, declaration, runs, store

DECLARED = [
    {"label": "base", "match": {"name": SIMCLR}},
    {"label": "row", "match": {"name": TERM}, "base": "base"},
]
BASE = {
    "name": SIMCLR,
    "data": {"kind": "scenes", "root": None},
    "views": {"crop_scale": [0.3, 1.0]},
    "encoder": {"arch": "resnet18"},
    "method": {"kind": "simclr", "temperature": 0.2},
    "term": {"kind": "none"},
    "batch_size": 64,
    "precision": "32-true",
    "workers": 0,
}
ROW = BASE | {"name": TERM, "term": {"kind": "superinfo", "compression": [0.1, 0.1]}}
VALUES = [50.0, 51.0, 53.0]


def measured(folder: Path, *recipes: dict[str, Any], who: dict[str, Any] | None = None) -> Store:
    """Return runs of three seeds of a base and of a row, with the manifests of those that have a recipe."""
    for name, recipe in zip((SIMCLR, TERM), recipes, strict=False):
        for seed in range(3):
            place = folder / f"{name}-{seed}"
            place.mkdir(parents=True)
            content = {"tensors_sha256": f"{name}{seed}", "recipe": recipe}
            (place / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return store(runs(SIMCLR, VALUES), runs(TERM, VALUES, who=who), folder=folder)


def footnotes(table: Table, label: str) -> list[str]:
    (marks,) = [line.marks for line in table.lines if line.label == label]
    return [note.text for note in table.notes if note.mark in marks]


def test_the_term_and_what_changes_no_result_set_nobody_apart(tmp_path: Path) -> None:
    there = measured(tmp_path, BASE, ROW | {"workers": 8, "data": {"kind": "scenes", "root": "/data"}})
    (table,) = build_all(there)
    assert [line.base for line in table.lines] == [None, SIMCLR]
    assert (table.notes, build(declaration(rows=DECLARED), there).notes) == ((), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 2048}, "batch_size 2048 instead of 64"),
        ({"views": {"crop_scale": [0.1, 1.0]}}, "views.crop_scale [0.1, 1.0] instead of [0.3, 1.0]"),
        ({"precision": "16-mixed"}, "precision 16-mixed instead of 32-true"),
        ({"method": {"kind": "byol", "momentum": 0.9}}, "method.kind byol instead of simclr"),
    ],
    ids=["batch", "views", "precision", "method"],
)
def test_anything_else_is_a_footnote_of_automatic_and_of_declared_rows(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    there = measured(tmp_path, BASE, ROW | change)
    for table, label, base in (
        (build_all(there)[0], TERM, SIMCLR),
        (build(declaration(rows=DECLARED), there), "row", "base"),
    ):
        assert footnotes(table, label) == [f"Differs from {base} in more than the term: {said}."]
        assert footnotes(table, base) == []


def test_a_field_that_came_later_than_a_manifest_is_no_difference(tmp_path: Path) -> None:
    there = measured(tmp_path, BASE, ROW | {"later": "as before"})
    assert build(declaration(rows=DECLARED), there).notes == ()


def test_another_encoder_than_that_of_a_declared_base_is_a_footnote(tmp_path: Path) -> None:
    there = measured(tmp_path, BASE, ROW, who={"encoder": EncoderSpec(arch="resnet50")})
    assert footnotes(build(declaration(rows=DECLARED), there), "row") == [
        "Differs from base in more than the term: encoder resnet50 x1 imagenet instead of resnet18 x1 imagenet."
    ]


def test_nothing_is_said_where_a_manifest_is_not_at_hand_or_no_difference_is_shown(tmp_path: Path) -> None:
    assert build(declaration(rows=DECLARED), measured(tmp_path, BASE)).notes == ()
    there = measured(tmp_path / "both", BASE, ROW | {"batch_size": 2048})
    assert build(declaration(rows=DECLARED, test="none"), there).notes == ()
    hidden = [{"runs": {}, "metrics": ["mask/AP"]}]
    assert build(declaration(rows=DECLARED, groups=hidden), there).notes == ()


def test_what_holds_in_all_groups_of_a_row_is_marked_once_at_its_label(tmp_path: Path) -> None:
    there = measured(tmp_path, BASE, ROW | {"batch_size": 2048})
    groups = [
        {"header": name, "runs": {"dataset": name}, "metrics": [{"metric": "mask/AP", "difference": True}]}
        for name in ("scenes", "else")
    ]
    others = [replace(run, what=run.what.model_copy(update={"dataset": "else"})) for run in there.runs]
    both = replace(there, runs=(*there.runs, *others))
    table = build(declaration(rows=DECLARED, groups=groups), both)
    assert len(footnotes(table, "row")) == 1
    assert [cell.marks for line in table.lines for cell in line.cells] == [()] * 4


def test_a_part_of_another_kind_is_said_by_its_kind_alone() -> None:
    ours = flatten({"task": {"kind": "a", "k": 1, "solver": {"kind": "x"}}, "other": 2})
    theirs = flatten({"task": {"kind": "b", "k": 2}, "other": 3})
    assert describe_changes(ours, theirs, ()) == ["other 2 instead of 3", "task.kind a instead of b"]


@pytest.mark.parametrize(
    "name", ["simclr_r18w25_scenes_30e", "simclr+superinfo_r18_cifar10_200e", "byol_r50_in1k_200e"]
)
def test_what_is_left_out_is_what_is_not_of_a_recipes_identity(name: str) -> None:
    recipe = load_recipe(PretrainRecipe, name, RECIPES)
    every, hashed = (
        {field for field in flatten(fields) if not field.startswith(APART)}
        for fields in (recipe.model_dump(mode="json"), identity(recipe))
    )
    assert {field for field in every if field.startswith(OF_NO_RESULT)} == every - hashed
