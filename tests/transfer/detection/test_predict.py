"""A finished detector on new images: what Detectron2 finds there, as a COCO json and pictures, whole or not at all."""

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools.coco import COCO

from superinfo.artifacts import RECORD, Record
from superinfo.cli import main
from superinfo.errors import UserError
from tests.transfer.detection.tiny_detector import CLASSES, tiny_detector
from transfer.detection import pictures
from transfer.detection import predict as predicting
from transfer.detection.annotations import Annotations
from transfer.detection.detect import detect
from transfer.detection.predict import PICTURES, PREDICTIONS, predict, unique_names
from transfer.detection.train import FINAL
from transfer.detection.trained import CONFIG
from transfer.detection.vocabulary import Vocabulary

SKELETON = [[1, 2], [2, 3]]
JOINTS = ["head", "hand", "foot"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detect(tiny_detector(), None, seed=0, runs=tmp_path_factory.mktemp("runs"), device="cpu").parent


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in each of the forms that files have."""
    folder = tmp_path_factory.mktemp("images")
    rgb = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
    rgb = np.kron(rgb[::10, ::10], np.ones((10, 10, 1), np.uint8))
    rgb[:, :30, 2] = 255  # not the same upside down, nor in another order of channels
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    (folder / "deeper").mkdir()
    image.save(folder / "deeper" / "turned.JPG", exif=exif)
    image.save(folder / "colour.png")
    image.convert("L").save(folder / "grey.png")
    image.convert("P").save(folder / "palette.png", transparency=bytes(range(256)))
    image.convert("CMYK").save(folder / "cmyk.jpg")
    rgba = image.convert("RGBA")
    rgba.putalpha(100)
    rgba.save(folder / "alpha.png")
    cv2.imwrite(str(folder / "sixteen.png"), rgb[:, :, ::-1].astype(np.uint16) * 257)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"nor this")
    return folder


def config(run: Path) -> CfgNode:
    """As a user of Detectron2 reads it."""
    cfg = get_cfg()
    cfg.set_new_allowed(True)
    cfg.merge_from_file(str(run / CONFIG))
    cfg.MODEL.WEIGHTS = str(run / FINAL)
    return cfg


def read(path: Path) -> dict[str, Any]:
    coco: dict[str, Any] = json.loads(path.read_text())
    return coco


def read_picture(path: Path) -> NDArray[Any]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def test_what_is_found_is_what_detectron2s_predictor_finds(run: Path, images: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        path = predict(run, [images], tmp_path / "out", device="cpu")
    assert [str(warning.message) for warning in told if "alette" in str(warning.message)] == []
    coco = COCO(str(path))
    assert len(coco.imgs) == 7
    predictor = DefaultPredictor(config(run))
    boxes = 0
    for entry in coco.imgs.values():
        expected = predictor(read_image(entry["file_name"], format="BGR"))["instances"]
        found = coco.imgToAnns[entry["id"]]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in found)]
        assert corners == [pytest.approx(box, abs=1e-3) for box in expected.pred_boxes.tensor.tolist()]
        assert [a["score"] for a in found] == pytest.approx(expected.scores.tolist(), abs=1e-6)
        assert [a["category_id"] for a in found] == [(1, 2)[c] for c in expected.pred_classes.tolist()]
        for annotation, mask in zip(found, expected.pred_masks.numpy(), strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
        boxes += len(found)
    assert boxes > 7


def test_the_json_is_a_sound_coco_json_of_upright_images(run: Path, images: Path, tmp_path: Path) -> None:
    path = predict(run, [images / "deeper", images / "grey.png", images], tmp_path / "out", device="cpu")
    coco = read(path)
    assert path == tmp_path / "out" / PREDICTIONS
    names = [Path(entry["file_name"]).relative_to(images).as_posix() for entry in coco["images"]]
    others = ["alpha.png", "cmyk.jpg", "colour.png", "palette.png", "sixteen.png"]
    assert names == ["deeper/turned.JPG", "grey.png", *others]
    for entry in coco["images"]:
        upright = ImageOps.exif_transpose(Image.open(entry["file_name"]))
        assert (entry["width"], entry["height"]) == upright.size
        assert (path.parent / entry["picture"]).is_file()
    assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (40, 60)
    assert coco["categories"] == [{"id": 1, "name": CLASSES[0]}, {"id": 2, "name": CLASSES[1]}]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    assert {a["iscrowd"] for a in coco["annotations"]} == {0}
    assert run.name in coco["info"]["description"]


def test_a_picture_shows_what_reaches_the_score(run: Path, images: Path, tmp_path: Path) -> None:
    image = images / "colour.png"
    scores = []
    shown = []
    for score in (0.0, 1.0):
        path = predict(run, [image], tmp_path / f"{score}", score, device="cpu")
        scores.append([a["score"] for a in read(path)["annotations"]])
        shown.append(read_picture(path.parent / PICTURES / "colour.png"))
    assert scores[0] == scores[1] != []  # the json has all
    bare = cv2.resize(read_picture(image), (512, 341), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(shown[1], bare)
    assert not np.array_equal(shown[0], bare)


def test_pictures_of_large_images_are_reduced(run: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((800, 3200, 3), np.uint8))
    path = predict(run, [tmp_path / "large.png"], tmp_path / "out", 1.0, device="cpu")
    assert read_picture(path.parent / PICTURES / "large.png").shape == (400, 1600, 3)


def test_pictures_have_names_of_their_own() -> None:
    files = map(Path, ("a/x.png", "b/x.jpg", "b/X.png", "c/x-2.png", "y.tar.png", "c/x.bmp"))
    assert unique_names(files) == ["x", "x-2", "X-3", "x-2-2", "y.tar", "x-4"]


def broken_images(folder: Path, images: Path) -> Path:
    folder.mkdir()
    whole = (images / "deeper" / "turned.JPG").read_bytes()
    (folder / "2cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3text.png").write_text("no image")
    cv2.imwrite(str(folder / "1grey16.png"), np.zeros((9, 9), np.uint16))
    Image.fromarray(np.zeros((9, 9), np.float32)).save(folder / "4float.tif")
    cv2.imwrite(str(folder / "5thin.png"), np.zeros((1, 5000, 3), np.uint8))
    (folder / "6empty.jpg").write_bytes(b"")
    shutil.copy(images / "grey.png", folder / "7whole.png")
    return folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("1grey16.png", r"more than 8 bits a pixel \(mode I;16\), which Detectron2 cuts off; convert it"),
        ("2cut.jpg", r"not a readable image \(.*truncated"),
        ("3text.png", r"not a readable image \(cannot identify"),
        ("4float.tif", r"more than 8 bits a pixel \(mode F\)"),
        ("5thin.png", r"too narrow \(5000x1\)"),
        ("6empty.jpg", r"not a readable image"),
    ],
)
def test_an_image_that_cannot_be_used_is_named(run: Path, images: Path, tmp_path: Path, name: str, told: str) -> None:
    folder = broken_images(tmp_path / "broken", images)
    with pytest.raises(UserError, match=rf"^1 of 2 images cannot be used, first \S*{name}: .*{told}"):
        predict(run, [images / "grey.png", folder / name], tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_used_are_counted_before_any_is_looked_at(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "detect_objects", None)
    folder = broken_images(tmp_path / "broken", images)
    with pytest.raises(UserError, match=r"^6 of 7 images cannot be used, first \S*1grey16\.png") as caught:
        predict(run, [folder], tmp_path / "out", device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def told_by_the_verb(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["superinfo", "predict", *arguments, "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_the_verb_prints_the_path_and_shows_progress(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = [str(run), str(images / "grey.png"), str(images / "deeper"), "--out", str(out)]
    code, printed, progress = told_by_the_verb(arguments, monkeypatch, capsys)
    assert (code, printed) == (0, f"{out / PREDICTIONS}\n")
    assert "predict: 100%" in progress
    assert "images/s" in progress
    assert {path.name for path in out.iterdir()} == {PREDICTIONS, PICTURES}
    assert {path.name for path in (out / PICTURES).iterdir()} == {"grey.png", "turned.png"}


def make_runs(run: Path, folder: Path) -> None:
    """Runs of other kinds, and some that lack something."""
    for name in ("untrained", "without_config", "without_classes", "broken", "another", "strange"):
        shutil.copytree(run, folder / name)
    (folder / "untrained" / RECORD).unlink()
    (folder / "without_config" / CONFIG).unlink()
    payload = torch.load(run / FINAL, weights_only=True)
    torch.save({"model": payload["model"], "seconds": 1.0}, folder / "without_classes" / FINAL)
    (folder / "broken" / FINAL).write_bytes(b"no weights")
    maskless = (run / CONFIG).read_text().replace("MASK_ON: true", "MASK_ON: false")
    (folder / "another" / CONFIG).write_text(maskless)
    (folder / "strange" / CONFIG).write_text("MODEL: !!python/object/apply:os.system ['touch hacked']\n")
    (folder / "probed").mkdir()
    record = Record.read(run / RECORD)
    what = record.what.model_copy(update={"task": "linear"})
    record.model_copy(update={"recipe": {"task": {}}, "what": what}).write(folder / "probed" / RECORD)
    (folder / "pretrained").mkdir()
    (folder / "pretrained" / "metrics.jsonl").write_text("")
    (folder / "nothing").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "precious.txt").write_text("mine")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none", "grey.png", "--out", "out"], "none: no folder; name that of a finished `superinfo detect`"),
        (["nothing", "grey.png", "--out", "out"], "nothing: no finished run of `superinfo detect`"),
        (["pretrained", "grey.png", "--out", "out"], "pretrained: a pretraining run"),
        (["probed", "grey.png", "--out", "out"], "probed: a run of `superinfo probe` (linear)"),
        (["untrained", "grey.png", "--out", "out"], "untrained: not finished; the same `superinfo detect` resumes it"),
        (["without_config", "grey.png", "--out", "out"], "without_config/config.yaml: no such file; repeat its"),
        (["without_classes", "grey.png", "--out", "out"], "without_classes/model_final.pth: does not say its classes"),
        (["broken", "grey.png", "--out", "out"], "broken/model_final.pth: not a readable file of weights"),
        (["another", "grey.png", "--out", "out"], "another/model_final.pth: not the weights of the detector in"),
        (["strange", "grey.png", "--out", "out"], "strange/config.yaml: not a Detectron2 config"),
        (["run", "gone.png", "--out", "out"], "gone.png: no such image or folder"),
        (["run", "nothing", "--out", "out"], "nothing: no images below this folder"),
        (["run", "grey.png", "--out", "full"], "--out full: not a new or empty folder"),
        (["run", "grey.png", "--out", "grey.png"], "--out grey.png: not a new or empty folder"),
        (["run", "grey.png", "--out", "/proc"], "--out /proc: a mount point"),
        (["run", "grey.png", "--out", "out", "--score", "1.5"], "--score 1.5: choose a number from 0 to 1"),
        (["run", "grey.png", "--out", "out", "--score", "nan"], "--score nan: choose a number from 0 to 1"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(
    run: Path,
    images: Path,
    tmp_path: Path,
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_runs(run, tmp_path)
    (tmp_path / "run").symlink_to(run)
    shutil.copy(images / "grey.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, printed, line = told_by_the_verb(arguments, monkeypatch, capsys)
    assert (code, printed) == (2, ""), line
    assert line.startswith(f"superinfo: {told}")
    assert line.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_on_the_way_leaves_nothing(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = predicting.detect_objects

    def fail_on_the_second(*given: Any) -> Any:
        if given[-1] == 2:
            raise RuntimeError("broken")
        return found(*given)

    monkeypatch.setattr(predicting, "detect_objects", fail_on_the_second)
    with pytest.raises(RuntimeError, match="broken"):
        predict(run, [images], tmp_path / "out", device="cpu")
    assert list(tmp_path.iterdir()) == []


def untrained(run: Path, folder: Path, changes: list[Any], categories: list[dict[str, Any]]) -> Path:
    """A finished run of another kind of detector, with weights as they were drawn."""
    folder.mkdir()
    cfg = config(run)
    cfg.merge_from_list(["MODEL.WEIGHTS", "", *changes])
    (folder / CONFIG).write_text(cfg.dump())
    torch.manual_seed(0)
    coco = {"images": [], "annotations": [], "categories": categories}
    vocabulary = Vocabulary.of(Annotations("test", folder, folder, coco, "coco"), keypoints=cfg.MODEL.KEYPOINT_ON)
    trained = {"model": build_model(cfg).state_dict(), "seconds": 0.0, "notes": []}
    torch.save(trained | vocabulary.payload, folder / FINAL)
    shutil.copy(run / RECORD, folder)
    return folder


def test_a_detector_of_keypoints_names_and_draws_them(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "SEEN", -1)  # it is sure of none
    person = {"id": 5, "name": "person", "keypoints": JOINTS, "skeleton": SKELETON}
    changes = ["MODEL.MASK_ON", False, "MODEL.KEYPOINT_ON", True, "MODEL.ROI_HEADS.NUM_CLASSES", 1]
    changes += ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 3, "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", [8]]
    finder = untrained(run, tmp_path / "keypoints", changes, [person])
    path = predict(finder, [images / "colour.png"], tmp_path / "out", 0.0, device="cpu")
    coco = read(path)
    assert coco["categories"] == [person]
    expected = DefaultPredictor(config(finder))(read_image(str(images / "colour.png"), format="BGR"))["instances"]
    assert len(expected) == len(coco["annotations"]) > 0
    for annotation, points in zip(coco["annotations"], expected.pred_keypoints.numpy(), strict=True):
        found: NDArray[Any] = np.reshape(annotation["keypoints"], (3, 3))
        # Detectron2 counts from pixels' edges, COCO from their centres.
        assert found[:, :2] == pytest.approx(points[:, :2] - 0.5, abs=1e-3)
        assert found[:, 2].tolist() == [2, 2, 2]
        assert annotation["keypoint_scores"] == pytest.approx(points[:, 2], abs=1e-6)
        assert annotation["num_keypoints"] == 3
        assert "segmentation" not in annotation
    picture = read_picture(path.parent / PICTURES / "colour.png")
    columns, rows = np.round((found[:, :2].T + 0.5) * 512 / 60).astype(int)  # of the last one: no other covers it
    inside = (rows > 3) & (rows < 338) & (columns > 3) & (columns < 508)
    assert inside.any()
    assert (picture[rows[inside], columns[inside]] == 255).all()


def test_a_detector_of_boxes_has_no_masks_and_keeps_the_categories_ids(run: Path, images: Path, tmp_path: Path) -> None:
    categories = [{"id": 90, "name": "cup", "keypoints": JOINTS}, {"id": 7, "name": "person"}]
    finder = untrained(run, tmp_path / "boxes", ["MODEL.MASK_ON", False, "TEST.DETECTIONS_PER_IMAGE", 50], categories)
    coco = COCO(str(predict(finder, [images / "colour.png"], tmp_path / "out", device="cpu")))
    assert {a["category_id"] for a in coco.anns.values()} == {7, 90}
    assert coco.dataset["categories"] == [{"id": 7, "name": "person"}, {"id": 90, "name": "cup"}]
    for annotation in coco.anns.values():
        assert annotation.keys() == {"id", "image_id", "category_id", "bbox", "score", "iscrowd", "area"}
        assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3])
