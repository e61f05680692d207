"""Every detection recipe is built at full size and trained for two iterations on a tiny set laid out as its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from superinfo.artifacts import EncoderSpec, Pixels, Record
from superinfo.datasets.scenes import World, write_scenes
from superinfo.recipes import recipe_names
from superinfo.spec import load_recipe
from tests.transfer.detection.tiny import write_cityscapes
from transfer.detection.config import lay_over, read_config
from transfer.detection.detect import detect
from transfer.detection.options import apply_options
from transfer.overlay import encoder_overlay
from transfer.recipe import RECIPES, DetectRecipe, ScenesSet, VocSet

NAMES = recipe_names(RECIPES)
TWO_ITERATIONS = {
    "SOLVER.MAX_ITER": 2,
    "SOLVER.STEPS": [],
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "TEST.PRECISE_BN.NUM_ITER": 2,
    "INPUT.MIN_SIZE_TRAIN": [64],
    "INPUT.MAX_SIZE_TRAIN": 96,
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TEST": 96,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 60,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 30,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 60,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": [32, 32],
    "TEST.DETECTIONS_PER_IMAGE": 10,
    "DATALOADER.NUM_WORKERS": 0,
}
SPLITS = {"train": "train2017", "val": "val2017"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out the same few images as COCO, as a cut of it, as VOC of two years, as LVIS and as Cityscapes."""
    root = tmp_path_factory.mktemp("data")
    made = root / "made"
    write_scenes(made, World(classes=("disk", "ring", "cross")), {"train": 6, "val": 3}, 64, 1, 3)
    for split, title in SPLITS.items():
        coco = json.loads((made / "annotations" / f"instances_{split}.json").read_text())
        for folder in ("coco", "coco_person320"):
            (root / folder / "annotations").mkdir(parents=True, exist_ok=True)
            (root / folder / title).symlink_to(made / "JPEGImages")
            (root / folder / "annotations" / f"instances_{title}.json").write_text(json.dumps(coco))
        (root / "lvis").mkdir(exist_ok=True)
        (root / "lvis" / f"lvis_v1_{split}.json").write_text(json.dumps(as_lvis(coco, title)))
        persons = root / "coco" / "annotations" / f"person_keypoints_{title}.json"
        persons.write_text(json.dumps(as_persons(coco)))
        streets = {f"ulm/ulm_{split}_{i}": street(i + 10 * (split == "val")) for i in range(3)}
        write_cityscapes(root / "cityscapes", split, streets, 7 * (split == "val"))
    for year, lists in {"VOC2007": ("trainval", "test"), "VOC2012": ("trainval",)}.items():
        for part in ("Annotations", "JPEGImages"):
            (root / year).mkdir(exist_ok=True)
            (root / year / part).symlink_to(made / part)
        (root / year / "ImageSets" / "Main").mkdir(parents=True)
        for name in lists:
            kept = [p.stem for p in sorted((made / "JPEGImages").glob("val*" if name == "test" else "train*"))]
            kept = kept[:3] if year == "VOC2012" else kept[-3:]
            (root / year / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(kept))
    return root


def as_lvis(coco: dict[str, Any], folder: str) -> dict[str, Any]:
    images = [
        {k: v for k, v in image.items() if k != "file_name"}
        | {"coco_url": f"http://x/{folder}/{image['file_name']}", "neg_category_ids": [1]}
        | {"not_exhaustive_category_ids": []}
        for image in coco["images"]
    ]
    categories = [category | {"frequency": "rcf"[i]} for i, category in enumerate(coco["categories"])]
    return coco | {"images": images, "categories": categories}


def as_persons(coco: dict[str, Any]) -> dict[str, Any]:
    def keypoints(box: list[float]) -> list[float]:
        x, y, w, h = box
        return [value for i in range(17) for value in (x + w * i / 17, y + h * i / 17, 2)]

    objects = [
        each | {"category_id": 1, "keypoints": keypoints(each["bbox"]), "num_keypoints": 17}
        for each in coco["annotations"]
    ]
    return coco | {"annotations": objects, "categories": [{"id": 1, "name": "person"}]}


def street(seed: int) -> np.ndarray[Any, Any]:
    pixels = np.full((64, 96), 7)
    draw = np.random.default_rng(seed)
    for number in range(3):
        y, x = draw.integers(0, 30, 2)
        pixels[y : y + 24, x : x + 24] = (24 + number) * 1000 + number
    return pixels


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_bears_the_name_of_its_file(name: str) -> None:
    assert load_recipe(DetectRecipe, name, RECIPES).name == name


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * ("+" in name)) for name in NAMES]
)  # a preset changes rates alone
def test_a_recipe_builds_at_full_size(name: str, arch: str) -> None:
    recipe = load_recipe(DetectRecipe, name, RECIPES)
    encoder = recipe.encoder.model_copy(update={"arch": arch})
    cfg = read_config(recipe.config)
    lay_over(cfg, encoder_overlay(encoder, Pixels(mean=recipe.mean, std=recipe.std)))
    apply_options(cfg, recipe.options)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    heads = model.roi_heads
    assert (bool(getattr(heads, "mask_on", False)), bool(getattr(heads, "keypoint_on", False))) == (
        name.startswith("maskrcnn"),
        name.startswith("keypointrcnn"),
    )
    assert ("fpn" in name) == hasattr(model.backbone, "bottom_up")


def in_turn() -> list[Any]:
    """Pair each recipe with both encoders, and leave to the slow tests what another pair shows as well.

    That is every second encoder, in turn, and both where config and form of the data are those of an earlier recipe.
    """
    pairs: list[Any] = []
    shown: set[tuple[str, str]] = set()
    for name in (name for name in NAMES if "+" not in name):
        recipe = load_recipe(DetectRecipe, name, RECIPES)
        kind = recipe.config, recipe.data.kind
        for number, arch in enumerate(("resnet18", "resnet50")):
            again = kind in shown or (number + len(shown)) % 2
            pairs.append(pytest.param(name, arch, marks=[pytest.mark.slow] if again else []))
        shown.add(kind)
    return pairs


@pytest.mark.usefixtures("counted_flops")
@pytest.mark.parametrize(("name", "arch"), in_turn())
def test_a_recipe_trains_and_evaluates(name: str, arch: str, root: Path, tmp_path: Path) -> None:
    recipe = load_recipe(DetectRecipe, name, RECIPES)
    data: dict[str, Any] = {"root": root}
    if isinstance(recipe.data, ScenesSet):
        data = {"train": 6, "test": 3, "size": 64}
    elif isinstance(recipe.data, VocSet):
        data["classes"] = ("disk", "ring", "cross")
    elif "pct" in name:
        data["train"] = recipe.data.train.model_copy(update={"share": 0.5})  # type: ignore[union-attr]
    small = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "options": recipe.options | TWO_ITERATIONS,
            "encoder": EncoderSpec.parse({"arch": arch, "width": 0.25 if arch == "resnet18" else 0.125}, "test"),
            "pictures": 1,
        }
    )
    record = Record.read(detect(small, None, seed=0, runs=tmp_path, device="cpu"))
    kinds = {"faster": {"box"}, "mask": {"box", "mask"}, "keypoint": {"box", "keypoints"}}[
        name.split("rcnn", maxsplit=1)[0]
    ]
    if record.what.dataset == "Cityscapes":
        kinds = {"mask"}  # which is all that it scores
    assert {metric.split("/")[0] for metric in record.metrics} == kinds
    assert all(record.metrics[f"{kind}/AP"].value is not None for kind in kinds)
    assert record.who.encoder.arch == arch
    changed = [line for line in record.deviations if line.startswith("options.")]
    assert any("MAX_ITER: 2 instead of" in line for line in changed)
    synchronised = any("BN instead of SyncBN on a CPU" in line for line in record.deviations)
    assert synchronised == recipe.config.endswith("_moco")
