"""A row for each pretraining, told apart from its like, with the base that it differs from in the term alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from results.declaration import DECLARATIONS, Declaration, load_declaration
from results.manifests import Manifests
from results.records import Run
from results.rows import every
from results.tables import build
from superinfo.artifacts import EncoderSpec
from superinfo.errors import UserError
from superinfo.recipes import recipe_names
from tests.results.made import FOLDER, SIMCLR, TERM, declaration, pending, run, runs, store


def rows(*measured: Run, folder: Path = FOLDER) -> dict[str, str | None]:
    return {row.label: row.base for row in every(measured, (), store(folder=folder).manifests)}


def manifest(folder: Path, tensors: str, recipe: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"tensors_sha256": tensors, "recipe": recipe}))


def test_a_rows_base_is_the_same_recipe_without_the_term() -> None:
    found = rows(run(TERM, 1.0), run("moco_r18_scenes_6e", 1.0), run(SIMCLR, 1.0), run("random", 1.0))
    assert found == {"random": None, "moco_r18_scenes_6e": None, SIMCLR: None, TERM: SIMCLR}
    assert next(iter(found)) == "random"
    assert list(found).index(SIMCLR) < list(found).index(TERM)


@pytest.mark.parametrize(
    "other", [{"epochs": 12}, {"dataset": "else"}, {"encoder": EncoderSpec(arch="resnet50")}, {"method": "byol"}]
)
def test_a_row_has_no_base_where_more_than_the_term_differs(other: dict[str, object]) -> None:
    assert rows(run(TERM, 1.0), run(SIMCLR, 1.0, who=other))[TERM] is None


def test_of_two_recipes_without_a_term_the_base_is_that_of_the_same_name() -> None:
    assert rows(run(TERM, 1.0), run("simclr_r18_scenes_6e_tuned", 1.0), run(SIMCLR, 1.0))[TERM] == SIMCLR
    others = run("simclr_a", 1.0), run("simclr_b", 1.0)
    assert rows(run(TERM, 1.0), *others)[TERM] is None


def test_encoders_of_one_name_are_told_apart_by_what_differs() -> None:
    small, large = (run("random", 1.0, who={"encoder": EncoderSpec(arch=arch)}) for arch in ("resnet18", "resnet50"))
    assert list(rows(small, large)) == ["random (resnet18 x1 imagenet)", "random (resnet50 x1 imagenet)"]


def test_random_encoders_whose_images_are_normalised_otherwise_are_told_apart() -> None:
    pixels = {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)}
    found = rows(*(run("random", 1.0, who={"pixels": pixels | {"channel_order": order}}) for order in ("RGB", "BGR")))
    assert list(found) == [f"random ({order}, mean 0.5 0.5 0.5, std 1 1 1)" for order in ("RGB", "BGR")]


def test_settings_of_a_term_are_told_apart_as_their_manifests_have_them(tmp_path: Path) -> None:
    for number, weight in enumerate((0.001, 0.1)):
        manifest(tmp_path / str(number), f"t{number}", {"term": {"kind": "superinfo", "weight": weight}, "seed": 1})
    alike = [run(TERM, 1.0, recipe_hash=str(n) * 64, tensors=f"t{n}") for n in range(2)]
    assert list(rows(*alike, folder=tmp_path)) == [f"{TERM} (weight 0.001)", f"{TERM} (weight 0.1)"]


def test_recipes_that_nothing_else_tells_apart_show_their_hashes() -> None:
    alike = [run(TERM, 1.0, recipe_hash=letter * 64) for letter in "ab"]
    assert list(rows(*alike)) == [f"{TERM} (aaaaaaaa)", f"{TERM} (bbbbbbbb)"]


def test_files_from_elsewhere_are_rows_of_their_own() -> None:
    files = [run("resnet50", 1.0, recipe_hash=None, tensors=letter * 64) for letter in "ab"]
    assert list(rows(*files)) == ["resnet50 (aaaaaaaa)", "resnet50 (bbbbbbbb)"]


def test_a_name_of_which_nothing_is_finished_is_a_row_too() -> None:
    found = every(runs(SIMCLR, [1.0]), [pending(TERM, "running"), pending(SIMCLR, "failed", 1)], Manifests(()))
    assert [(row.label, len(row.runs), len(row.unfinished)) for row in found] == [(SIMCLR, 1, 1), (TERM, 0, 1)]


def test_a_row_matches_by_each_of_its_fields() -> None:
    measured = store(run(SIMCLR, 1.0), run(TERM, 2.0), run("random", 3.0), run("moco_r18_scenes_6e", 4.0))
    for match, expected in (
        ({"name": SIMCLR}, 1.0),
        ({"name": "*superinfo*"}, 2.0),
        ({"method": "simclr", "term": "superinfo"}, 2.0),
        ({"pretraining_set": ""}, 3.0),
        ({"method": ["moco", "byol"]}, 4.0),
        ({"recipe_hash": f"{TERM:*>64}"}, 2.0),
        ({"name": "random", "encoder": "resnet18*"}, 3.0),
        ({"name": "random", "epochs": 6}, None),
    ):
        table = build(declaration(rows=[{"label": "row", "match": match}]), measured)
        assert table.lines[0].cells[0].mean == expected, match


@pytest.mark.parametrize("text", ["a.c", "a[b]c", "a+c", "(a)"])
def test_only_a_star_is_special_in_a_pattern(text: str) -> None:
    match = {"dataset": text}
    group = [{"runs": match, "metrics": ["mask/AP"]}]
    there = store(run(SIMCLR, 1.0, what={"dataset": text}), run(TERM, 2.0, what={"dataset": "abc"}))
    assert [line.label for line in build(declaration(groups=group), there).lines] == [SIMCLR]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": [{"label": "a", "match": {}}, {"label": "a", "match": {}}]}, "'a' stands twice"),
        ({"rows": [{"label": "a", "match": {}, "base": "b"}]}, "base 'b' must be the label of another row: a"),
        ({"rows": [{"label": "a", "match": {}, "base": "a"}]}, "base 'a' must be the label of another row"),
        ({"groups": [{"runs": {}, "metrics": ["x"]}] * 2}, "headers of their own"),
        ({"groups": [{"runs": {}, "metrics": ["x", "x"]}]}, "each metric once"),
        ({"groups": [{"runs": {"dataset_": "x"}, "metrics": ["x"]}]}, "not a field"),
        ({"test": "sign"}, "test"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        declaration(**fields)
    assert "\n" not in str(caught.value)


def test_a_declaration_of_an_unknown_name_is_refused_with_a_near_one() -> None:
    with pytest.raises(UserError, match="did you mean `coco_fpn`"):
        load_declaration("coco_fnp")


def test_every_shipped_table_builds_from_nothing(shipped: Declaration) -> None:
    table = build(shipped, store())
    assert table.title
    assert {column.difference for column in table.columns} >= {True}


@pytest.fixture(params=recipe_names(DECLARATIONS))
def shipped(request: pytest.FixtureRequest) -> Declaration:
    return load_declaration(request.param)
