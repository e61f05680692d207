"""What is found before the first job: every fault of a suite, at once, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from benchmarks.bench import foresee_suite, run_suite
from benchmarks.checks import find_faults
from benchmarks.jobs import plan_suite
from benchmarks.machine import NOWHERE, Machine
from benchmarks.outputs import suite_tables
from benchmarks.suite import SUITES, load_suite
from results.publish import RECORDS
from superinfo.errors import UserError
from superinfo.recipes import recipe_names

HERE = Machine("local", "cpu", 2, 1, ())
CLUSTER = Machine("slurm", "auto", None, 100, ())
SIMCLR = "simclr_r18w25_scenes_6e"
SCENES = {"detect": "maskrcnn_fpn_scenes"}


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPERINFO_DATA", "DETECTRON2_DATASETS"):
        monkeypatch.delenv(name, raising=False)


def suite(folder: Path, rows: list[dict[str, Any]], tasks: list[dict[str, Any]] | None = None, **more: Any) -> str:
    content = {"name": "mine", "tables": [{"title": "Mine", "rows": rows, "tasks": tasks or [SCENES]}], **more}
    (folder / "mine.yaml").write_text(json.dumps(content))
    return str(folder / "mine.yaml")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            [{"label": "a", "pretrained": SIMCLR}],
            "`tables.0.rows.0.pretrained` is not a field (did you mean `pretrain`?)",
        ),
        ([{"label": "a", "pretrain": SIMCLR, "checkpoint": "x.pt"}], "give one of them, or neither"),
        ([{"label": "a", "source": "moco"}], "are of a `checkpoint`, which is not given"),
        ([{"label": "a", "set": {"epochs": 1}}], "changes nothing of random weights"),
        ([{"label": "a"}, {"label": "A "}], "must have labels that differ"),
        ([{"label": "a", "base": "b"}], "base 'b' must be the label of a row"),
    ],
)
def test_a_suite_that_says_two_things_is_refused_where_it_does(
    tmp_path: Path, rows: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(UserError) as refused:
        load_suite(suite(tmp_path, rows))
    assert told in str(refused.value)


def test_seeds_that_are_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`seeds` must differ"):
        load_suite(suite(tmp_path, [{"label": "a"}], seeds=[1, 1]))


def test_a_table_has_the_suites_seeds_or_its_own(tmp_path: Path) -> None:
    tables = [
        {"title": "Cheap", "rows": [{"label": "a"}], "tasks": [{"probe": "knn_scenes"}]},
        {"title": "Dear", "rows": [{"label": "a"}], "tasks": [SCENES], "seeds": [7]},
    ]
    mine = load_suite(suite(tmp_path, [], seeds=[3, 7], tables=tables))
    cells = plan_suite(mine, tmp_path, NOWHERE).cells
    assert [(cell.table.title, cell.seed) for cell in cells] == [("Cheap", 3), ("Cheap", 7), ("Dear", 7)]
    demo = load_suite("demo")
    its_own = demo.model_copy(update={"seeds": (0, 1), "tables": (demo.tables[0].model_copy(update={"seeds": (0,)}),)})
    waits_for_more = demo.model_copy(update={"seeds": (0, 1)})
    assert suite_tables(its_own, RECORDS) == suite_tables(demo, RECORDS) != suite_tables(waits_for_more, RECORDS)


def test_all_that_is_wrong_is_told_at_once_and_nothing_runs(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "odd.pt")
    rows: list[dict[str, Any]] = [
        {"label": "a typo", "pretrain": "simclr_r18w25_scene_6e"},
        {"label": "a field", "pretrain": SIMCLR, "set": {"epoch": 3}},
        {"label": "first", "pretrain": SIMCLR},
        {"label": "twin", "pretrain": SIMCLR, "set": {"workers": 2}},
        {"label": "no file", "checkpoint": str(tmp_path / "none.pt")},
        {"label": "no encoder", "checkpoint": str(tmp_path / "odd.pt")},
        {"label": "no images", "pretrain": "simclr_r18_cifar10_200e"},
        {"label": "halves", "pretrain": SIMCLR, "set": {"name": "halves", "precision": "16-mixed"}},
    ]
    tasks: list[dict[str, Any]] = [
        SCENES,
        {**SCENES, "set": {"pictures": 1}},
        {**SCENES, "set": {"options": {"SOLVER.MAX_ITERS": 1}, "name": "odd"}},
        {"probe": "linear_dtd", "set": {"data.root": str(tmp_path)}},
        {"detect": "maskrcnn_fpn_coco_1x", "set": {"data.root": str(tmp_path)}},
    ]
    with pytest.raises(UserError) as refused:
        run_suite(load_suite(suite(tmp_path, rows, tasks)), tmp_path / "runs", HERE)
    told = str(refused.value)
    for fault in (
        "mine: 11 things are wrong: (1) ",
        "row 'a typo': simclr_r18w25_scene_6e: no recipe of that name (did you mean `simclr_r18w25_scenes_6e`?)",
        "row 'a field': simclr_r18w25_scenes_6e.yaml: `epoch` is not a field (did you mean `epochs`?)",
        "Mine: rows 'first' and 'twin' are one encoder",
        "Mine: task 'maskrcnn_fpn_scenes' stands twice",
        "row 'no file': " + str(tmp_path / "none.pt"),
        "row 'no encoder': " + str(tmp_path / "odd.pt"),
        "halves: precision 16-mixed needs a GPU, and its job gets none",
        "odd: options: SOLVER.MAX_ITERS is no option of Detectron2",
        "simclr_r18_cifar10_200e: data.root is not given",
        f"linear_dtd: {tmp_path}: no dtd here",
        f"maskrcnn_fpn_coco_1x: {tmp_path}/coco/annotations/instances_train2017.json: not there",
    ):
        assert fault in told
    assert not (tmp_path / "runs").exists()


def test_a_batch_that_gpus_cannot_share_is_refused(tmp_path: Path) -> None:
    rows = [{"label": "a", "pretrain": SIMCLR, "set": {"resources.gpus": 3}}]
    found = find_faults(load_suite(suite(tmp_path, rows)), CLUSTER)
    assert found.wrong.told() == [f"{SIMCLR}: batch_size 128 is not shared out among 3 GPUs"]


@pytest.mark.parametrize(
    ("options", "machine", "told"),
    [
        ({"SOLVER.MAX_ITER": 0}, CLUSTER, "options: SOLVER.MAX_ITER is 0: at least 1 is needed"),
        ({"SOLVER.OPTIMIZER": "LION"}, CLUSTER, "options: SOLVER.OPTIMIZER is LION: choose SGD or ADAMW"),
        ({"MODEL.ROI_HEADS.NAME": "NoHeads"}, CLUSTER, "its options and the encoder do not make a detector"),
        (
            {"SOLVER.AMP.ENABLED": True},
            HERE,
            "options: SOLVER.AMP.ENABLED is true, which needs a GPU, and its job gets",
        ),
        (
            {"SOLVER.IMS_PER_BATCH": 3, "SOLVER.REFERENCE_WORLD_SIZE": 0},
            Machine("local", "auto", 2, 2, ("0", "1")),
            "options: SOLVER.IMS_PER_BATCH 3 is not shared out among 2 GPUs",
        ),
        ({"SOLVER.IMS_PER_BATCH": 4}, CLUSTER, "options: SOLVER.IMS_PER_BATCH 4 is not shared out among 8 GPUs"),
    ],
)
def test_a_detector_that_cannot_be_trained_is_refused(
    tmp_path: Path, options: dict[str, Any], machine: Machine, told: str
) -> None:
    task = {"detect": "maskrcnn_c4_coco_1x", "set": {"options": options}}
    (wrong,) = find_faults(load_suite(suite(tmp_path, [{"label": "random"}], [task])), machine).wrong.told()
    assert wrong.startswith("maskrcnn_c4_coco_1x: ")
    assert told in wrong


def test_half_precision_is_refused_where_the_machine_has_no_gpu(tmp_path: Path) -> None:
    rows = [{"label": "a", "pretrain": SIMCLR, "set": {"precision": "16-mixed"}}]
    (wrong,) = find_faults(load_suite(suite(tmp_path, rows)), Machine("local", "auto", 2, 1, ())).wrong.told()
    assert wrong == f"{SIMCLR}: precision 16-mixed needs a GPU, and its job gets none"


def test_data_that_is_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voc = tmp_path / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / folder).mkdir(parents=True)
    for split in ("trainval", "test"):
        (voc / "ImageSets" / "Main" / f"{split}.txt").touch()
    source = suite(tmp_path, [{"label": "random"}], [{"detect": "fasterrcnn_c4_voc2007"}])
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert find_faults(load_suite(source), HERE).missing.told() == []
    (voc / "ImageSets" / "Main" / "test.txt").unlink()
    (told,) = find_faults(load_suite(source), HERE).missing.told()
    assert f"{voc}/ImageSets/Main/test.txt: not there" in told


@pytest.mark.parametrize("name", recipe_names(SUITES))
def test_a_shipped_suite_has_no_fault_on_a_cluster_but_for_the_data(name: str) -> None:
    assert find_faults(load_suite(name), CLUSTER).wrong.told() == []


def test_a_dry_run_lists_every_job_and_reports_missing_data_without_failing(tmp_path: Path) -> None:
    told = foresee_suite(load_suite("table-coco"), tmp_path / "runs", CLUSTER)
    jobs = [line for line in told.splitlines() if line.startswith("to run ")]
    assert len(set(jobs)) == 192
    kinds = [line.split()[3] for line in jobs]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"pretrain": 48, "convert": 48, "detect": 96}
    assert sum("maskrcnn_c4_coco_1x" in line for line in jobs) == 48
    assert "estimate of what is to run: 12,480.0 GPU-hours" in told
    assert "missing: simclr_r50_in1k_200e and 17 more: data.root is not given" in told
    assert not (tmp_path / "runs").exists()


def test_the_example_of_the_page_is_a_suite_without_a_fault_but_its_data(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "suites.md"
    example = page.read_text().split("```yaml\n")[1].split("```")[0]
    torch.save(resnet18().state_dict(), tmp_path / "mine.pth")
    (tmp_path / "mine.yaml").write_text(example.replace("mine.pth", str(tmp_path / "mine.pth")))
    found = find_faults(load_suite(str(tmp_path / "mine.yaml")), HERE)
    assert found.wrong.told() == []
    assert found.missing.told() == ["knn_cifar10: /data: no such folder; correct data.train.root or SUPERINFO_DATA"]
