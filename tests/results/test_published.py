"""The committed rows of others' numbers are what was transcribed from their sources, figure by figure."""

import hashlib
from collections import Counter

import pytest

from results.citations import read_sources
from results.literature import Published, read_published

TRANSCRIBED = "24a8a1eb267978cc067733059f854a93572d8479c52122edace5671d75e4ad9a"
"""SHA-256 of the transcription that the rows were made from: its 878 lines sorted, 11 fields each, tabs between them."""

COUNTS = {
    "barlowtwins": 2,
    "densecl": 12,
    "detectron2": 18,
    "lightly": 149,
    "mmselfsup": 151,
    "moco": 17,
    "openselfsup": 164,
    "pixpro": 65,
    "pycontrast": 56,
    "simsiam": 2,
    "solo-learn": 142,
    "ssl-transfer": 6,
    "swav": 15,
    "vicreg": 3,
    "vissl": 76,
}

LITERAL = {
    "barlowtwins": [
        ("Barlow Twins", 1000, "linear", "accuracy", "73.5", "percent", "README.md"),
        ("Barlow Twins", 1000, "linear", "top5_accuracy", "91.0", "percent", "README.md"),
    ],
    "densecl": [
        ("DenseCL", 200, "object_detection", "box/AP", "58.7", "percent", "README.md"),
        ("DenseCL", 1600, "semantic_segmentation", "mIoU", "68.0", "percent", "README.md"),
    ],
    "detectron2": [
        ("Supervised", None, "instance_segmentation", "mask/AP", "35.2", "percent", "MODEL_ZOO.md"),
        ("Supervised", None, "keypoint_detection", "keypoints/AP", "65.5", "percent", "MODEL_ZOO.md"),
    ],
    "lightly": [
        ("TiCo", 100, "knn", "top5_accuracy", "53.6", "percent", "docs/source/getting_started/benchmarks.rst"),
        ("MoCo", 200, "knn", "accuracy", "0.560", "fraction", "docs/source/getting_started/benchmarks.rst"),
        ("SimMIM", 800, "knn", "accuracy", "0.343", "fraction", "docs/source/getting_started/benchmarks.rst"),
    ],
    "mmselfsup": [
        ("SwAV", 200, "object_detection", "box/AP50", "77.64", "percent", "configs/selfsup/swav/README.md"),
        ("SimSiam", 200, "object_detection", "box/AP50", "79.85", "percent", "configs/selfsup/simsiam/README.md"),
        ("SimSiam", 200, "semantic_segmentation", "mIoU", "46.27", "percent", "configs/selfsup/simsiam/README.md"),
    ],
    "moco": [
        ("MoCo v2", 200, "object_detection", "box/AP", "57.0", "percent", "detection/README.md"),
        ("MoCo v2", 800, "object_detection", "box/AP75", "64.0", "percent", "detection/README.md"),
        ("MoCo v2", 800, "linear", "accuracy", "71.1", "percent", "README.md"),
    ],
    "openselfsup": [
        ("Random init", None, "object_detection", "box/AP", "32.83", "percent", "docs/MODEL_ZOO.md"),
        ("BYOL", 200, "object_detection", "box/AP75", "52.80", "percent", "docs/MODEL_ZOO.md"),
        ("SimCLR", 200, "instance_segmentation", "mask/AP", "34.6", "percent", "docs/MODEL_ZOO.md"),
        ("NPID", 200, "svm", "mAP", "74.50", "percent", "docs/MODEL_ZOO.md"),
    ],
    "pixpro": [
        ("Random init", None, "instance_segmentation", "box/AP", "26.4", "percent", "README.md"),
        ("Random init", None, "instance_segmentation", "mask/AP", "29.3", "percent", "README.md"),
        ("PixPro", 400, "object_detection", "box/AP75", "67.7", "percent", "README.md"),
    ],
    "pycontrast": [
        ("InfoMin Aug.", 200, "instance_segmentation", "mask/AP", "39.2", "percent", "pycontrast/detection/README.md"),
        ("CMC (no RA)", 200, "linear", "accuracy", "58.6", "percent", "pycontrast/README.md"),
    ],
    "simsiam": [("SimSiam", 100, "linear", "accuracy", "68.3", "percent", "README.md")],
    "solo-learn": [
        ("W-MSE", 400, "linear", "accuracy", "69.06", "percent", "README.md#results"),
        ("MAE", 100, "finetune", "accuracy", "81.60", "percent", "README.md#results"),
    ],
    "ssl-transfer": [
        ("BYOL", None, "object_detection", "box/AP50", "82.01", "percent", "readme.md"),
        ("Supervised", None, "few_shot", "accuracy", "32.34", "percent", "readme.md"),
    ],
    "swav": [("SeLa-v2", 400, "linear", "accuracy", "67.2", "percent", "README.md")],
    "vicreg": [("VICReg", None, "linear", "accuracy", "77.3", "percent", "README.md")],
    "vissl": [
        ("Barlow Twins", 1000, "linear", "accuracy", "71.80", "percent", "MODEL_ZOO.md"),
        ("SEER", None, "linear", "accuracy", "79.8", "percent", "MODEL_ZOO.md"),
    ],
}
"""Method, epochs, task, metric, value, unit and place, typed from the transcription."""

REPOSITORIES = {
    "barlowtwins": "facebookresearch/barlowtwins@8e8d284",
    "moco": "facebookresearch/moco@132aea9",
    "mmselfsup": "open-mmlab/mmselfsup@db861f30",
    "openselfsup": "open-mmlab/OpenSelfSup@1db69ec",
}
"""As the transcription names them, where not by the title of `sources.yaml` alone."""
DATASETS = {"COCO 2017": "COCO2017 val", "VOC07+12": "VOC07+12->test2007", "VOC07": "VOC07 cls"}
TASKS = {"linear": "linear_eval", "svm": "linear_svm"}
METRICS = {"accuracy": "top1", "top5_accuracy": "top5", "keypoints/AP": "keypoint_AP"}

rows = [quoted.row for quoted in read_published()]
filled = [row for row in rows if row.source != "superinfo"]


def transcribed(row: Published) -> str:
    """Return the line of the transcription that a row was made from."""
    task = "semi_supervised_finetune" if row.label_percent else TASKS.get(row.task, row.task)
    dataset = DATASETS.get(row.dataset, row.dataset) + (f" {row.label_percent}%" if row.label_percent else "")
    metric = METRICS.get(row.metric, row.metric.replace("/", "_")) + ("(fraction)" if row.unit == "fraction" else "")
    if row.dataset == "VOC07+12":
        metric = metric.removeprefix("box_")
    source = REPOSITORIES.get(row.source) or read_sources()[row.source].title
    epochs = "" if row.epochs is None else str(row.epochs)
    fields = (row.method, row.pretrain_dataset, row.backbone, epochs, task, dataset, row.setting, metric, row.value)
    return "\t".join((*fields, source, row.source_path))


def test_all_878_rows_have_every_field_of_the_transcription() -> None:
    lines = sorted(map(transcribed, filled))
    assert len(lines) == 878
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == TRANSCRIBED


def test_each_source_has_all_its_rows() -> None:
    assert Counter(row.source for row in filled) == COUNTS


@pytest.mark.parametrize("source", LITERAL)
def test_figures_typed_from_the_transcription_stand_there_byte_for_byte(source: str) -> None:
    there = {
        (row.method, row.epochs, row.task, row.metric, row.value, row.unit, row.source_path)
        for row in rows
        if row.source == source
    }
    assert set(LITERAL[source]) <= there


def test_every_source_is_sampled_and_every_listed_source_has_a_file() -> None:
    assert set(LITERAL) == set(COUNTS)
    assert set(read_sources()) == {*COUNTS, "superinfo"}


def test_a_file_holds_the_rows_of_the_source_it_is_named_after() -> None:
    assert {(quoted.path.stem, quoted.row.source) for quoted in read_published()} == {
        (source, source) for source in read_sources()
    }


def test_no_number_is_attributed_to_the_superinfo_paper() -> None:
    paper = [row for row in rows if row.source == "superinfo"]
    assert len(paper) == 34
    assert {(row.method, row.value, row.std, row.source_path, row.setting) for row in paper} == {
        ("SuperInfo", "", "", "", "")
    }


def test_tags_say_what_the_setting_says() -> None:
    words = {
        "4conv1fc": "4conv1fc",
        "syncbn_heads": "SyncBN in heads",
        "msra_init": "MSRA init",
        "frozen_bn": "FrozenBN",
        "mmdet": "mmdet ",
        "mmseg": "mmseg ",
        "best_epoch": ("best epoch", "max over epochs"),
        "last_epoch": "last epoch",
        "released_checkpoint": "released checkpoint",
        "online_or_offline": "does not say online/offline",
        "c4": ("R50-C4", "R-CNN C4", "r50-c4"),
        "fpn": ("R50-FPN", "_fpn_"),
        "k200": "k=200",
        "k20": ("k=20;", "k=20 "),
        "2x": "2x (",
        "freeze_at_4": "FREEZE_AT 4",
    }
    told_elsewhere = {("moco", "msra_init")}
    for row in filled:
        for tag, said in words.items():
            found = any(word in f"{row.setting} (" for word in ((said,) if isinstance(said, str) else said))
            if (row.source, tag) not in told_elsewhere:
                assert (tag in row.tags) == found, (tag, row.setting)


def test_trials_and_deviations_are_those_said() -> None:
    for row in filled:
        assert (row.trials == 5) == ("mean of 5" in row.setting), row.setting
    deviations = {(row.source, row.task, row.metric, row.std) for row in filled if row.std}
    assert deviations == {
        ("moco", "linear", "accuracy", "0.1"),
        ("moco", "linear", "accuracy", "0.2"),
        ("moco", "object_detection", "box/AP50", "0.2"),
        ("moco", "object_detection", "box/AP", "0.2"),
        ("moco", "object_detection", "box/AP75", "0.4"),
    }


@pytest.mark.parametrize(
    ("setting", "batch"),
    [
        ("VISSL eval; variant: RN50 - 300 epochs - 2048 batch-size", 2048),
        ("mmdet mask-rcnn_r50_fpn_ms-1x; pretrain resnet50_8xb32-accum16-coslr-200e", 8 * 32 * 16),
        ("feat5; pretrain selfsup/byol/r50_bs2048_accumulate2_ep200_fp16.py", 2048 * 2),
        ("bs4096; 2x224", 4096),
        ("Faster R-CNN R50-FPN frozen (FREEZE_AT 4), bs2 144k, 1 GPU", None),
    ],
)
def test_batch_size_is_that_of_pretraining(setting: str, batch: int | None) -> None:
    assert {row.batch_size for row in filled if row.setting == setting} == {batch}


def test_widths_are_read_off_the_backbone() -> None:
    encoders = {row.backbone: row.encoder for row in filled}
    assert encoders["ResNet-50"] == "resnet50 x1"
    assert encoders["RN50-w2"] == encoders["ResNet-50 (x2)"] == encoders["ResNet-50-w2"] == "resnet50 x2"
    assert encoders["ResNet-200 (x2)"] == "resnet200 x2"
    assert encoders["ViT/B16 - 90 epochs (*)"] == encoders["ViT-B/16"] == "vit_b16"


def test_only_others_methods_in_pixpro_are_marked_as_restated() -> None:
    restated = {row.method for row in filled if "restated" in row.tags}
    own = {row.method for row in filled if row.source == "pixpro" and "restated" not in row.tags}
    assert restated == {"Random init", "Supervised", "MoCo v1", "SimCLR", "MoCo v2", "InfoMin"}
    assert own == {"PixPro", "PixPro (+instance branch)"}


def test_the_head_of_a_table_that_was_taken_for_a_row_is_marked() -> None:
    assert [(row.method, row.value) for row in filled if "not_a_result" in row.tags] == [("1", "16")]
