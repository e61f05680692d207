"""A probe from outside: encoder in, record out; what it refuses, in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from superinfo.artifacts import RECORD, EncoderSpec, Record, load_checkpoint, tensors_sha256
from superinfo.encoders import build_encoder
from superinfo.errors import UserError
from superinfo.spec import load_recipe
from tests.transfer.probing import tiny
from transfer.deviations import deviations
from transfer.probing.probe import probe
from transfer.probing.recipe import RECIPES, ProbeRecipe

MakeCheckpoint = Callable[..., Path]
KNN = {"kind": "knn", "k": 5}
SGD = {"kind": "linear", "solver": {"kind": "sgd", "epochs": 20, "lr": 0.1}}
LBFGS = {"kind": "linear", "solver": {"kind": "lbfgs"}}


def refusal(data: dict[str, Any], runs: Path, task: dict[str, Any] = KNN, checkpoint: Path | None = None) -> str:
    """Return the one line with which a probe is refused; it leaves no record."""
    with pytest.raises(UserError) as caught:
        probe(tiny.recipe(data, task), checkpoint, 0, runs, "cpu")
    assert "\n" not in str(caught.value)
    assert not list(runs.rglob(RECORD))
    return str(caught.value)


@pytest.mark.parametrize("task", [KNN, SGD, LBFGS], ids=["knn", "sgd", "lbfgs"])
def test_a_record_says_who_was_measured_on_what(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, task: dict[str, Any]
) -> None:
    checkpoint = make_checkpoint(stem="stl", width=0.125)
    data = tiny.folders(tmp_path / "images")
    path = probe(tiny.recipe(data, task), checkpoint, 3, tmp_path / "runs", "cpu")
    record = Record.read(path)
    assert path.parent.name == record.run
    assert record.run.startswith("tiny--simclr_resnet18-s3-")
    assert record.who.tensors_sha256 == tensors_sha256(load_checkpoint(checkpoint)[1])
    assert (record.what.task, record.what.dataset, record.what.split) == (task["kind"], "colours", "test")
    assert (record.what.samples, record.seed, record.deviations) == (18, 3, [])
    low, accuracy, high = (record.metrics[f"accuracy{end}"].value for end in ("_low", "", "_high"))
    assert accuracy is not None
    assert low is not None
    assert high is not None
    assert 80 <= accuracy <= 100, "three colours are easy to tell apart"
    assert 0 < low <= accuracy <= high <= 100
    assert record.metrics["accuracy"].unit == "percent"
    assert record.cost.parameters == sum(p.numel() for p in tiny_encoder().parameters())
    assert record.cost.flops is not None


def tiny_encoder() -> torch.nn.Module:
    from superinfo.encoders import build_encoder

    return build_encoder(tiny.SPEC)


def test_a_random_encoder_follows_its_seed_and_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    paths = [probe(tiny.recipe(data, KNN), None, seed, tmp_path / "runs", "cpu") for seed in (0, 1)]
    records = [Record.read(path) for path in paths]
    assert [record.who.name for record in records] == ["random", "random"]
    assert [record.who.tensors_sha256 for record in records] == [None, None]
    assert len([path for path in (tmp_path / "runs" / "features").iterdir() if path.is_dir()]) == 4
    before = {file: file.stat().st_mtime_ns for file in paths[0].parent.iterdir()}
    assert probe(tiny.recipe(data, KNN), None, 0, tmp_path / "runs", "cpu") == paths[0]
    assert {file: file.stat().st_mtime_ns for file in paths[0].parent.iterdir()} == before


def test_the_best_epoch_on_test_is_told_only_where_asked_for_and_by_that_name(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    plain = Record.read(probe(tiny.recipe(data, SGD), None, 0, tmp_path / "runs", "cpu"))
    assert "best_epoch_on_test_accuracy" not in plain.metrics
    unsteady = {"kind": "sgd", "epochs": 8, "lr": 10.0, "batch_size": 5, "best_epoch_on_test": True}
    asked = Record.read(probe(tiny.recipe(data, SGD | {"solver": unsteady}), None, 0, tmp_path / "runs", "cpu"))
    best, last = (asked.metrics[name].value for name in ("best_epoch_on_test_accuracy", "accuracy"))
    assert best is not None
    assert last is not None
    assert best > last
    assert "best on the test images" in asked.deviations[-1]


def test_test_labels_change_no_choice(tmp_path: Path) -> None:
    """C and what it scored on validation images stay, whatever the test images are said to be."""
    data = tiny.folders(tmp_path / "images")
    honest = Record.read(probe(tiny.recipe(data, LBFGS), None, 0, tmp_path / "honest", "cpu")).metrics
    test = tmp_path / "images" / "test"
    for old, new in (("red", "spare"), ("blue", "red"), ("spare", "blue")):
        (test / old).rename(test / new)
    lying = Record.read(probe(tiny.recipe(data, LBFGS), None, 0, tmp_path / "lying", "cpu")).metrics
    assert lying["accuracy"].value != honest["accuracy"].value
    for name in ("C", "validation_accuracy"):
        assert lying[name] == honest[name]


def test_a_validation_set_of_its_own_is_used_and_none_is_taken_that_would_not_be(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    tiny.write_folder(tmp_path / "images" / "val", 2, first=500)
    data |= {"validation": {"kind": "folder", "name": "colours val", "subfolder": "val"}}
    record = Record.read(probe(tiny.recipe(data, LBFGS), None, 0, tmp_path / "runs", "cpu"))
    assert record.metrics["validation_accuracy"].value in {100 * right / 6 for right in range(7)}
    with pytest.raises(UserError, match=r"data\.validation is for the solver lbfgs alone"):
        tiny.recipe(data, KNN)


def test_mean_per_class_accuracy_is_reported_where_the_recipe_asks_for_it(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    recipe = tiny.recipe(data, KNN, metric="mean_per_class_accuracy")
    metrics = Record.read(probe(recipe, None, 0, tmp_path / "runs", "cpu")).metrics
    assert {"mean_per_class_accuracy", "mean_per_class_accuracy_low", "accuracy"} <= metrics.keys()


def test_classes_that_differ_are_refused(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    (tmp_path / "images" / "test" / "red").rename(tmp_path / "images" / "test" / "rot")
    told = refusal(data, tmp_path / "runs")
    assert (
        told
        == "data.test: other classes than data.train: 1 only in data.train, as 'red'; 1 only in data.test, as 'rot'"
    )


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    for name, first in (("train", 0), ("test", 100)):
        tiny.write_folder(tmp_path / "images" / name, 3, first, classes=("red",))
    told = refusal(tiny.data(tmp_path / "images"), tmp_path / "runs")
    assert told == "data.train: all 3 images are of one class, number 0; give two classes or more"


def test_a_test_set_without_images_or_labels_is_refused(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    test = tmp_path / "images" / "test"
    for number, image in enumerate(list(test.rglob("*.png"))):
        image.rename(test / f"{number}.png")
    assert refusal(data, tmp_path / "runs").startswith("data.test: colours test has no labels")
    for image in test.glob("*.png"):
        image.unlink()
    assert refusal(data, tmp_path / "runs").startswith(f"{test}: no images below this folder")
    shutil.rmtree(test)
    assert refusal(data, tmp_path / "runs").startswith(f"{test}: no such folder; correct data.test.subfolder")


@pytest.mark.parametrize(
    "task", [KNN, {"kind": "factors", "few": 10}, {"kind": "finetune", "epochs": 1, "batch_size": 8, "lr": 0.1}]
)
def test_test_images_that_are_trained_on_are_counted_and_refused(tmp_path: Path, task: dict[str, Any]) -> None:
    data = tiny.folders(tmp_path / "images")
    for number in (2, 5):
        shutil.copy(
            tmp_path / "images/train/red" / f"{number:03d}.png", tmp_path / "images/test/red" / f"9{number}.png"
        )
    told = refusal(data, tmp_path / "runs", task)
    assert told.startswith("2 of the 20 images of data.test are in data.train too, the first is number")
    assert "data.max_seen" in told


def test_as_many_shared_images_as_are_published_are_let_pass_and_told(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    shutil.copy(tmp_path / "images/train/red/002.png", tmp_path / "images/test/red/9.png")
    record = Record.read(probe(tiny.recipe(data | {"max_seen": 0.06}, KNN), None, 0, tmp_path / "runs", "cpu"))
    assert record.deviations == ["1 of the 19 images of data.test are in data.train too"]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    assert "no such file" in refusal(data, tmp_path / "runs", checkpoint=tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    assert "not a checkpoint that can be read" in refusal(data, tmp_path / "runs", checkpoint=tmp_path / "text.pt")


def test_more_neighbours_than_images_are_refused(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images", train=4)
    told = refusal(data, tmp_path / "runs", {"kind": "knn", "k": 13})
    assert told == "task.k: 13 neighbours of 12 training images; lower it"


def test_a_gpu_that_is_too_small_for_a_classifier_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("transfer.probing.classify.knn_predict", fail)
    told = refusal(tiny.folders(tmp_path / "images"), tmp_path / "runs")
    assert told == "tiny: out of GPU memory; use --device cpu, or a GPU with more"


def test_what_leaves_a_shipped_recipe_is_told_in_the_record() -> None:
    recipe = load_recipe(ProbeRecipe, "linear_cifar10", RECIPES, ["task.solver.lr=0.1", "data.root=/x", "workers=3"])
    assert deviations(recipe, recipe.name, RECIPES) == ["task.solver.lr: 0.1 instead of 0.01"]


def test_an_encoder_from_elsewhere_is_probed_under_its_own_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = EncoderSpec(arch="resnet18", width=0.125)
    state = {f"module.encoder_q.{key}": tensor for key, tensor in build_encoder(spec).state_dict().items()}
    torch.save({"arch": "resnet18", "state_dict": state}, tmp_path / "moco_v2.pth.tar")
    path = probe(
        tiny.recipe(tiny.folders(tmp_path / "images"), KNN), tmp_path / "moco_v2.pth.tar", 0, tmp_path / "runs", "cpu"
    )
    who = Record.read(path).who
    assert (who.name, who.method, who.dataset, who.epochs) == ("moco_v2.pth", "moco", None, None)
    assert who.encoder == spec
