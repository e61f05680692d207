"""Cityscapes' figures are those of its own script, fed with files, and those that a small picture allows to count."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as run_lengths

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.cityscapes import cityscapes_scores

Results = list[dict[str, Any]]
NAMES = ("person", "car", "bicycle")
LABELS = {"person": 24, "car": 26, "bicycle": 33}
ROAD, STATIC = 7, 4
HEIGHT, WIDTH = 48, 64


def annotated(folder: Path, pictures: list[NDArray[np.int64]]) -> Annotations:
    images = []
    for image_id, picture in enumerate(pictures, 1):
        path = folder / f"town_{image_id:06d}_000019_gtFine_instanceIds.png"
        Image.fromarray(picture.astype(np.uint16)).save(path)
        size = {"height": picture.shape[0], "width": picture.shape[1]}
        images.append({"id": image_id, "file_name": f"town_{image_id:06d}.png", "instance_ids": str(path)} | size)
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 5)]
    return Annotations(
        "val", folder, folder, {"images": images, "annotations": [], "categories": categories}, "cityscapes"
    )


def predicted(image_id: int, name: str, score: float, mask: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = run_lengths.encode(np.asfortranarray(mask, np.uint8))
    rows, columns = np.nonzero(mask)
    box = [0.0] * 4 if not len(rows) else [float(columns.min()), float(rows.min()), 1.0, 1.0]
    segmentation = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    return {
        "image_id": image_id,
        "category_id": NAMES.index(name) + 5,
        "bbox": box,
        "score": score,
        "segmentation": segmentation,
    }


def test_figures_that_can_be_counted(tmp_path: Path) -> None:
    """Of 200 pixels, one prediction has 160: right at the 6 thresholds below an overlap of 0.8, else wrong.

    There the other one alone is right, and less sure: precision 1/2 at recall 1/2, then 0 at 0, which the script's
    steps make 1/2 * 1/4.
    """
    pytest.importorskip("cityscapesscripts")
    picture = np.full((HEIGHT, WIDTH), ROAD)
    picture[0:10, 0:20] = 26001
    picture[20:30, 0:20] = 26002
    annotations = annotated(tmp_path, [picture])
    part, whole, nowhere = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(3))
    part[0:8, 0:20], whole[20:30, 0:20], nowhere[40:48, 40:60] = True, True, True
    ours = cityscapes_scores(annotations, [predicted(1, "car", 0.9, part), predicted(1, "car", 0.8, whole)])
    assert ours["AP50"] == ours["AP50-car"] == 100.0
    assert ours["AP"] == pytest.approx((6 * 100 + 4 * 12.5) / 10)
    assert ours["AP-person"] is None
    assert ours["AP50-bicycle"] is None
    assert cityscapes_scores(annotations, [])["AP"] == 0.0
    exact = [predicted(1, "car", 0.9, picture == 26001), predicted(1, "car", 0.8, picture == 26002)]
    assert cityscapes_scores(annotations, exact)["AP"] == 100.0
    # A sure false positive before both: precision 2/3 and 1/2 at recalls 1 and 1/2.
    wrong = cityscapes_scores(annotations, [*exact, predicted(1, "car", 0.95, nowhere)])
    assert wrong["AP50"] == pytest.approx(100 * (2 / 3 * 0.25 + 1 / 2 * 0.5 + 0 * 0.25))


def test_a_set_without_objects_has_no_ap(tmp_path: Path) -> None:
    pytest.importorskip("cityscapesscripts")
    annotations = annotated(tmp_path, [np.full((HEIGHT, WIDTH), ROAD)])
    assert set(cityscapes_scores(annotations, []).values()) == {None}


def random_set(folder: Path, seed: int) -> tuple[Annotations, Results]:
    rng = np.random.default_rng(seed)
    pictures, results = [], []
    for image_id in range(1, 5):
        picture = np.where(rng.random((HEIGHT, WIDTH)) < 0.1, STATIC, ROAD)
        for number in range(8):
            name = str(rng.choice(NAMES[:2]))
            y, x = rng.integers(0, 30), rng.integers(0, 40)
            h, w = rng.integers(4, 18, 2)
            group = rng.random() < 0.2  # of which instances are not told apart
            picture[y : y + h, x : x + w] = LABELS[name] if group else LABELS[name] * 1000 + number
            for _ in range(int(rng.integers(0, 4))):
                mask = np.zeros((HEIGHT, WIDTH), bool)
                dy, dx, dh, dw = rng.integers(-2, 3, 4) * rng.integers(0, 2)
                mask[max(y + dy, 0) : y + h + dh, max(x + dx, 0) : x + w + dw] = True
                wrong = rng.random() < 0.2
                score = float(rng.choice([0.3, 0.5, 0.5, 0.8]))
                results.append(predicted(image_id, str(rng.choice(NAMES)) if wrong else name, score, mask))
        pictures.append(picture)
    results.append(predicted(1, "car", 0.9, np.zeros((HEIGHT, WIDTH), bool)))
    return annotated(folder, pictures), results


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    pytest.importorskip("cityscapesscripts")
    from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling

    official = evalInstanceLevelSemanticLabeling
    annotations, results = random_set(tmp_path, seed)
    written = tmp_path / "written"
    written.mkdir()
    files, truth = [], []
    for image in annotations.coco["images"]:
        mine = [r for r in results if r["image_id"] == image["id"]]
        lines = []
        for number, r in enumerate(mine):
            name = f"{image['id']}_{number}.png"
            Image.fromarray(run_lengths.decode(r["segmentation"]) * 255).save(written / name)
            lines.append(f"{name} {LABELS[NAMES[r['category_id'] - 5]]} {r['score']}\n")
        files.append(str(written / f"{image['id']}_pred.txt"))
        Path(files[-1]).write_text("".join(lines))
        truth.append(image["instance_ids"])
    # What it cannot do with numpy 2.4: call a function by its old name, and write the counts into a json.
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    monkeypatch.setattr(official, "writeDict2JSON", lambda *_: None)
    monkeypatch.setattr(official.args, "predictionPath", str(written))
    monkeypatch.setattr(official.args, "gtInstancesFile", str(written / "gtInstances.json"))
    monkeypatch.setattr(official.args, "JSONOutput", False)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        theirs = official.evaluateImgLists(files, truth, official.args)["averages"]
    monkeypatch.undo()
    before = set(os.listdir())
    ours = cityscapes_scores(annotations, results)
    assert set(os.listdir()) == before
    assert 0 < theirs["allAp"] < theirs["allAp50%"] < 1
    assert ours["AP"] == pytest.approx(100 * theirs["allAp"], abs=1e-9)
    assert ours["AP50"] == pytest.approx(100 * theirs["allAp50%"], abs=1e-9)
    for name in NAMES[:2]:
        assert ours[f"AP-{name}"] == pytest.approx(100 * theirs["classes"][name]["ap"], abs=1e-9)
        assert ours[f"AP50-{name}"] == pytest.approx(100 * theirs["classes"][name]["ap50%"], abs=1e-9)


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    pytest.importorskip("cityscapesscripts")
    annotations, results = random_set(tmp_path, 0)
    with pytest.raises(UserError, match="a mask of 10x10 in image 1, which has 48x64 pixels"):
        cityscapes_scores(annotations, [predicted(1, "car", 0.5, np.ones((10, 10), bool))])
    path = Path(annotations.coco["images"][0]["instance_ids"])
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)
    with pytest.raises(UserError, match=r"instanceIds\.png: of shape 48x64x3 where .* says 48x64"):
        cityscapes_scores(annotations, results)
    path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"instanceIds\.png: not a readable picture of instance ids"):
        cityscapes_scores(annotations, results)
    annotations.coco["categories"][0]["name"] = "tree"
    with pytest.raises(
        UserError, match="tree is no class whose instances Cityscapes evaluates; those are person, rider"
    ):
        cityscapes_scores(annotations, results)


def test_an_absent_package_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cityscapesscripts", None)
    monkeypatch.delitem(sys.modules, "cityscapesscripts.evaluation", raising=False)
    with pytest.raises(UserError, match="pip install cityscapesscripts"):
        cityscapes_scores(annotated(tmp_path, []), [])
