"""What a feature keeps of its view and image: all of what it is made of, nothing of what it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superinfo.artifacts import Metric, Record
from superinfo.datasets.images import ScenesObjects, scenes_factors
from superinfo.errors import UserError
from superinfo.views import PARAMETERS, ViewSpec
from tests.transfer.probing import tiny
from transfer.probing.factors import r_squared
from transfer.probing.features import Features, FeatureStore
from transfer.probing.probe import probe
from transfer.probing.splits import Split

CLASSES = ["disk", "cross", "ring"]
MakeFeatures = Callable[[Split], Features]


def scenes(split: str, count: int) -> dict[str, Any]:
    return {"kind": "scenes", "split": split, "count": count, "size": 16, "classes": CLASSES}


DATA = {"name": "scenes", "train": scenes("train", 300), "test": scenes("test", 120)}
TASK = {"kind": "factors", "few": 60, "draws": 3}


def measured(runs: Path, data: dict[str, Any] = DATA, **task: Any) -> dict[str, Metric]:
    path = probe(tiny.recipe(data, TASK | task), None, 0, runs, "cpu")
    return Record.read(path).metrics


def value(metrics: dict[str, Metric], name: str) -> float:
    found = metrics[name].value
    assert found is not None
    return found


def pretend(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    """Let features of views be their first eight parameters and hue beside noise, those of images hue and shape."""

    def of_views(self: FeatureStore, split: Split, views: ViewSpec, seed: int) -> Features:
        found = kept_views(self, split, views, seed)
        noise = np.random.default_rng(len(split.indices)).normal(size=(len(split.indices), 2, 40))
        hues = 2 * np.pi * found.parameters[..., [PARAMETERS.index("hue")]]
        parts = [found.parameters[..., :8], np.sin(hues), np.cos(hues), noise]
        values = np.concatenate(parts, axis=2).astype(np.float32)
        return Features(values, found.labels, found.indices, found.parameters)

    def of(self: FeatureStore, split: Split) -> Features:
        found = kept(self, split)
        spec = ScenesObjects.parse(DATA[split.field.removeprefix("data.")], "test")
        hues = np.deg2rad([float(row["hue"]) for row in scenes_factors(spec, runs / "data")])
        classes = np.eye(len(CLASSES))[found.labels]
        values = np.column_stack([np.sin(hues), np.cos(hues), classes]).astype(np.float32)
        return Features(values, found.labels, found.indices, found.parameters)

    kept, kept_views = FeatureStore.of, FeatureStore.of_views
    monkeypatch.setattr(FeatureStore, "of", of)
    monkeypatch.setattr(FeatureStore, "of_views", of_views)


def test_what_a_feature_is_made_of_is_read_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tmp_path)
    metrics = measured(tmp_path, views={"hue": 0.5})
    for name in (*PARAMETERS[:8], "hue"):
        assert value(metrics, f"view/{name}/R2") > 0.98, name
        assert value(metrics, f"view/{name}/R2@60") > 0.8, name
    assert value(metrics, "view/flip/accuracy") > 98
    assert abs(value(metrics, "view/blur_sigma/R2")) < 0.15
    assert value(metrics, "image/hue/R2") > 0.99
    assert value(metrics, "image/shape/accuracy") == 100
    assert abs(value(metrics, "image/pose/R2")) < 0.1
    assert value(metrics, "image/texture/accuracy") < value(metrics, "image/texture/majority") + 15
    mean = np.mean([value(metrics, f"view/{name}/R2") for name in PARAMETERS if name != "solarize"])
    assert value(metrics, "view/R2") == pytest.approx(mean)


def test_view_and_image_factors_are_apart_and_only_the_task_is_wanted(tmp_path: Path) -> None:
    metrics = measured(tmp_path)
    assert {name.split("/")[0] for name in metrics} == {"view", "image", "nuisance"}
    wanted = {name for name, metric in metrics.items() if metric.higher_is_better}
    assert wanted == {f"image/shape/{figure}" for figure in ("accuracy", "accuracy@60", "majority")}
    assert not [name for name in metrics if "solarize" in name], "no view of these is solarized"
    shown = {"hue", "texture", "background_texture", "background_hue", "pose", "x", "y", "scale", "shape"}
    assert shown <= {name.split("/")[1] for name in metrics if name.startswith("image/")}
    assert {"R2", "percent"} == {metric.unit for metric in metrics.values()}


def test_any_image_set_has_view_parameters(tmp_path: Path) -> None:
    metrics = measured(tmp_path, tiny.folders(tmp_path / "images", train=10), few=10, draws=1)
    assert {name.split("/")[0] for name in metrics} == {"view"}


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train: 300 images are fewer than twice task\.few, 200; lower it"):
        measured(tmp_path, few=200)


def test_r_squared_is_one_minus_the_share_of_the_deviation_that_is_left() -> None:
    targets = np.array([[0.0, 1], [1, 0], [0, -1], [-1, 0]])
    assert r_squared(targets, targets) == 1
    assert r_squared(np.zeros((4, 2)), targets) == 0
    assert r_squared(0.5 * targets, targets) == pytest.approx(0.75)
    assert r_squared(-targets, targets) == -3
