"""Older versions of artifacts are read as the newest; newer ones are told as such."""

import json
from pathlib import Path
from typing import Any

import pytest

from superinfo.artifacts import MANIFEST, RECORD, Manifest, Record
from superinfo.errors import UserError
from superinfo.recipes import recipe_names
from superinfo.schema import JsonArtifact, migrate
from superinfo.spec import Spec, identity, load_recipe, protocol_hash
from transfer.probing.recipe import RECIPES as PROBES
from transfer.probing.recipe import ProbeRecipe
from transfer.recipe import RECIPES as DETECTIONS
from transfer.recipe import DetectRecipe

VERSION_1 = Path(__file__).parent / "version_1"
"""A record and a manifest as they were written then."""
RECIPES: list[tuple[type[Spec], str, Path, tuple[str, ...]]] = [
    *((DetectRecipe, name, DETECTIONS, ()) for name in recipe_names(DETECTIONS)),
    *((ProbeRecipe, name, PROBES, ()) for name in recipe_names(PROBES)),
    (DetectRecipe, "maskrcnn_fpn_coco1pct_12k", DETECTIONS, ("data.train.share_seed=3", "data.max_seen=0.5")),
    (DetectRecipe, "fasterrcnn_c4_voc2007", DETECTIONS, ("data.root=/data", "data.max_seen=0.01")),
    (ProbeRecipe, "linear_cifar10folder", PROBES, ("data.root=/data", "batch_size=3", "workers=1")),
]


def record_1(recipe: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((VERSION_1 / RECORD).read_bytes())
    assert fields["format"] == "superinfo.record/1"
    return fields | {"recipe": recipe}


def test_a_record_of_version_1_is_read_with_every_field_it_had() -> None:
    stored, record = json.loads((VERSION_1 / RECORD).read_bytes()), Record.read(VERSION_1 / RECORD)
    assert record.format == "superinfo.record/2"
    assert record.command is None
    same = record.model_dump(mode="json", exclude={"format", "command", "protocol_hash"})
    assert same == {name: value for name, value in stored.items() if name != "format"}


def test_a_manifest_of_version_1_is_read_with_every_field_it_had() -> None:
    stored, manifest = json.loads((VERSION_1 / MANIFEST).read_bytes()), Manifest.read(VERSION_1 / MANIFEST)
    assert (manifest.format, manifest.command) == ("superinfo.manifest/2", None)
    same = manifest.model_dump(mode="json", exclude={"format", "command"})
    assert same == {"execution": {}} | {name: value for name, value in stored.items() if name != "format"}


@pytest.mark.parametrize(
    ("model", "name", "shipped", "overrides"), RECIPES, ids=[" ".join([name, *o]) for _, name, _, o in RECIPES]
)
def test_a_record_of_version_1_has_the_protocol_hash_that_its_recipe_has_today(
    model: type[Spec], name: str, shipped: Path, overrides: tuple[str, ...]
) -> None:
    recipe = load_recipe(model, name, shipped, overrides)
    stored = json.loads(json.dumps(recipe.model_dump(mode="json")))
    migrated = migrate(record_1(stored), "superinfo.record/2", "test")
    assert migrated["protocol_hash"] == protocol_hash(identity(recipe))


def test_a_record_older_than_a_field_has_the_protocol_hash_of_the_fields_default() -> None:
    recipe = load_recipe(DetectRecipe, "maskrcnn_fpn_scenes", DETECTIONS)
    stored = recipe.model_dump(mode="json")
    del stored["weights"], stored["data"]["max_seen"], stored["encoder"]["stride_in_1x1"]
    migrated = migrate(record_1(stored), "superinfo.record/2", "test")
    assert migrated["protocol_hash"] == protocol_hash(identity(recipe))


@pytest.mark.parametrize("override", ["mean=[0.1, 0.2, 0.3]", "encoder.width=0.5", "name=mine", "pictures=0"])
def test_whoever_is_measured_the_protocol_hash_stays(override: str) -> None:
    plain, changed = (load_recipe(DetectRecipe, "maskrcnn_fpn_scenes", DETECTIONS, o) for o in ((), (override,)))
    assert protocol_hash(identity(plain)) == protocol_hash(identity(changed))


@pytest.mark.parametrize("override", ["data.test=100", "options.SOLVER.MAX_ITER=301", "protocol_version=2"])
def test_measured_in_another_way_the_protocol_hash_is_another(override: str) -> None:
    plain, changed = (load_recipe(DetectRecipe, "maskrcnn_fpn_scenes", DETECTIONS, o) for o in ((), (override,)))
    assert protocol_hash(identity(plain)) != protocol_hash(identity(changed))


@pytest.mark.parametrize(("model", "name"), [(Record, "record"), (Manifest, "manifest")])
def test_an_artifact_of_a_newer_version_is_told_as_such(tmp_path: Path, model: type[JsonArtifact], name: str) -> None:
    path = tmp_path / "artifact.json"
    path.write_text(json.dumps({"format": f"superinfo.{name}/9", "unheard": "of"}))
    with pytest.raises(UserError) as caught:
        model.read(path)
    told = f"superinfo.{name}/9: newer than this version reads (2): update superinfo"
    assert str(caught.value) == f"{path}: {told}"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "superinfo.manifest/1"},
        {"format": "superinfo.manifest/9"},
        {"format": "superinfo.record/0"},
        {"format": "superinfo.record/01"},
        {"format": "superinfo.record/"},
        {"format": 1},
        {"recipe": None},
        {"recipe": {"lr": float("nan")}},
        {"seed": "0"},
    ],
)
def test_what_is_no_older_record_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / RECORD
    path.write_text(json.dumps(record_1({}) | change))
    with pytest.raises(UserError) as caught:
        Record.read(path)
    assert str(caught.value).startswith(f"{path}: not a Record of this version: ")
    assert "\n" not in str(caught.value)


def test_a_truncated_record_is_told_without_a_field(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    path.write_text("{")
    with pytest.raises(UserError, match="of this version: Invalid JSON"):
        Record.read(path)
