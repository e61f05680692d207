"""A protocol for eight GPUs on fewer: what changes, and that it is said."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from superinfo.errors import UserError
from superinfo.processes import Agreement
from transfer.detection import machine
from transfer.detection.config import read_config
from transfer.detection.machine import batch_as_told, differences, fit_to_machine, schedule

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the machine a GPU of so many GiB."""

    def give(gib: float) -> None:
        found = type("Properties", (), {"total_memory": int(gib * 2**30)})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)

    return give


def solver(cfg: CfgNode) -> tuple[Any, ...]:
    s = cfg.SOLVER
    return s.IMS_PER_BATCH, s.BASE_LR, s.MAX_ITER, s.STEPS, s.WARMUP_ITERS


def test_on_eight_gpus_a_protocol_is_left_as_it_is(memory: Any) -> None:
    memory(16)
    protocol = read_config("faster_rcnn_c4_moco")
    fitted, changes = fit_to_machine(protocol, GPU, 8, None)
    assert changes == []
    assert solver(fitted) == solver(protocol) == (16, 0.02, 24000, (18000, 22000), 100)
    assert fitted.MODEL.RESNETS.NORM == "SyncBN"


def test_on_one_gpu_batch_rate_and_schedule_are_scaled_together_and_told(memory: Any) -> None:
    memory(16)
    fitted, changes = fit_to_machine(read_config("faster_rcnn_c4_moco"), GPU, 1, None)
    assert solver(fitted) == (2, 0.0025, 192000, (144000, 176000), 800)
    assert fitted.MODEL.RESNETS.NORM == "BN"
    assert "MODEL.RESNETS.NORM: BN instead of SyncBN in one process" in changes
    assert "SOLVER.IMS_PER_BATCH: 2 instead of 16 (1 process of 2 images)" in changes
    assert "SOLVER.BASE_LR: 0.0025 instead of 0.02 (1 process of 2 images)" in changes
    assert len(changes) == 6


def test_a_small_gpu_gets_fewer_images_and_the_user_has_the_last_word(memory: Any) -> None:
    memory(6)
    protocol = read_config("mask_rcnn_fpn_moco")
    assert fit_to_machine(protocol, GPU, 4, None)[0].SOLVER.IMS_PER_BATCH == 4
    assert fit_to_machine(protocol, GPU, 4, 2)[0].SOLVER.IMS_PER_BATCH == 8
    memory(80)
    assert fit_to_machine(protocol, GPU, 4, 1)[0].SOLVER.IMS_PER_BATCH == 4
    assert fit_to_machine(protocol, GPU, 4, 100)[0].SOLVER.IMS_PER_BATCH == 16, "never more than the protocol's"


@pytest.mark.parametrize("processes", [1, 2, 4, 8, 16])
def test_gpus_that_hold_the_protocols_batch_train_on_it_whatever_their_number(memory: Any, processes: int) -> None:
    memory(79.1)
    protocol = read_config("mask_rcnn_fpn_moco")
    fitted, changes = fit_to_machine(protocol, GPU, processes, None)
    assert solver(fitted) == solver(protocol)
    alone = [f"MODEL.{part}.NORM: BN instead of SyncBN in one process" for part in ("RESNETS", "FPN")]
    assert changes == (alone if processes == 1 else [])
    norms = fitted.MODEL.RESNETS.NORM, fitted.MODEL.FPN.NORM
    assert norms == (("BN", "BN") if processes == 1 else ("SyncBN", "SyncBN"))


def test_three_gpus_share_out_what_of_the_batch_they_can(memory: Any) -> None:
    memory(79.1)
    fitted, changes = fit_to_machine(read_config("mask_rcnn_fpn_moco"), GPU, 3, None)
    assert solver(fitted) == (15, 0.01875, 96000, (64000, 85333), 1067)
    assert "SOLVER.IMS_PER_BATCH: 15 instead of 16 (3 processes of 5 images)" in changes


@pytest.mark.parametrize(
    ("config", "gib", "images"),
    [
        ("mask_rcnn_fpn_moco", 10.7, 2),
        ("mask_rcnn_fpn_moco", 23.6, 5),
        ("mask_rcnn_fpn_moco", 39.4, 9),
        ("mask_rcnn_c4_moco", 10.7, 1),
        ("mask_rcnn_c4_moco", 39.4, 6),
        ("mask_rcnn_c4_moco", 79.1, 13),
    ],
)
def test_one_gpu_gets_as_many_images_as_its_memory_holds(memory: Any, config: str, gib: float, images: int) -> None:
    """With room to spare: tensors kept for the backward pass are 2.4 GiB of an image with FPN, 4.3 with C4."""
    memory(gib)
    fitted, _ = fit_to_machine(read_config(config), GPU, 1, None)
    assert solver(fitted)[0] == images
    kept = 2.4 if "fpn" in config else 4.3
    assert images * kept + 1 < gib


def test_smaller_images_have_as_many_regions(memory: Any) -> None:
    """Of 320 x 320 a Mask R-CNN R50-C4 keeps 2.8 GiB."""
    memory(23.6)
    protocol = read_config("mask_rcnn_c4_moco")
    protocol.INPUT.MIN_SIZE_TRAIN, protocol.INPUT.MAX_SIZE_TRAIN = (320,), 320
    assert fit_to_machine(protocol, GPU, 1, None)[0].SOLVER.IMS_PER_BATCH == 6


@pytest.mark.parametrize(
    ("name", "value"), [("DEPTH", 152), ("RES2_OUT_CHANNELS", 1024), ("WIDTH_PER_GROUP", 128), ("NUM_GROUPS", 32)]
)
def test_an_encoder_whose_memory_is_not_known_gets_the_two_images_of_the_protocols_devices(
    memory: Any, name: str, value: int
) -> None:
    memory(79.1)
    protocol = read_config("mask_rcnn_fpn_moco")
    protocol.MODEL.RESNETS[name] = value
    assert fit_to_machine(protocol, GPU, 1, None)[0].SOLVER.IMS_PER_BATCH == 2
    assert fit_to_machine(protocol, GPU, 1, 16)[0].SOLVER.IMS_PER_BATCH == 16


def test_a_cpu_whose_memory_others_use_too_gets_two_images_unless_asked_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**26}[name])
    protocol = read_config("mask_rcnn_fpn_moco")
    assert fit_to_machine(protocol, CPU, 1, None)[0].SOLVER.IMS_PER_BATCH == 2
    assert fit_to_machine(protocol, CPU, 1, 16)[0].SOLVER.IMS_PER_BATCH == 16


def test_the_batch_is_told_and_that_more_images_are_asked_for_than_it_has(memory: Any) -> None:
    memory(79.1)
    fitted, _ = fit_to_machine(read_config("mask_rcnn_fpn_moco"), GPU, 8, 4)
    assert batch_as_told(fitted, 8, None) == "16 images an iteration, 2 in each of 8 processes"
    assert batch_as_told(fitted, 8, 2) == batch_as_told(fitted, 8, None)
    told = "16 images an iteration, 2 in each of 8 processes: the protocol has no more, though images_per_device is 4"
    assert batch_as_told(fitted, 8, 4) == told


def test_more_gpus_than_the_batch_has_images_are_refused(memory: Any) -> None:
    memory(79.1)
    with pytest.raises(UserError, match=r"IMS_PER_BATCH 16 is not divisible by 32 processes; use 1, 2, 4, 8, 16 of"):
        fit_to_machine(read_config("mask_rcnn_fpn_moco"), GPU, 32, None)


def test_processes_agree_on_what_the_one_with_least_memory_can_do(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class OfAnother(Agreement):
        def least(self, mine: int) -> int:
            return min(mine, 1)

    memory(80)
    monkeypatch.setattr(machine, "Agreement", OfAnother)
    assert fit_to_machine(read_config("mask_rcnn_fpn_moco"), GPU, 4, None)[0].SOLVER.IMS_PER_BATCH == 4


def test_a_run_once_begun_keeps_its_schedule_and_tells_it_once(memory: Any) -> None:
    memory(6)
    protocol = read_config("mask_rcnn_fpn_moco")
    begun = schedule(fit_to_machine(protocol, GPU, 4, None)[0])
    memory(80)
    fitted, changes = fit_to_machine(protocol, CPU, 2, None, begun)
    assert schedule(fitted) == begun != schedule(protocol)
    assert differences(begun, fitted) == ""
    assert differences(begun, protocol).startswith("IMS_PER_BATCH 4, now 16, BASE_LR 0.005, now 0.02, MAX_ITER")
    assert changes == [f"MODEL.{part}.NORM: BN instead of SyncBN on a CPU" for part in ("RESNETS", "FPN")]
    with pytest.raises(UserError, match="IMS_PER_BATCH 4 is not divisible by 3 processes; use 1, 2, 4 of them"):
        fit_to_machine(protocol, CPU, 3, None, begun)


def test_mixed_precision_needs_a_gpu() -> None:
    cfg = read_config("mask_rcnn_fpn_cpu")
    cfg.SOLVER.AMP.ENABLED = True
    with pytest.raises(UserError, match=r"SOLVER\.AMP\.ENABLED is true, which needs a GPU"):
        fit_to_machine(cfg, CPU, 1, None)


def test_a_recipe_for_no_number_of_gpus_keeps_its_batch(memory: Any) -> None:
    protocol = read_config("mask_rcnn_fpn_cpu")
    fitted, changes = fit_to_machine(protocol, CPU, 2, None)
    assert (solver(fitted), changes) == (solver(protocol), [])
    halved, told = fit_to_machine(protocol, CPU, 1, 4)
    assert solver(halved)[:2] == (4, 0.001)
    assert "SOLVER.IMS_PER_BATCH: 4 instead of 8 (1 process of 4 images)" in told


def test_synchronised_norms_are_plain_on_a_cpu_whatever_the_processes() -> None:
    fitted, changes = fit_to_machine(read_config("mask_rcnn_fpn_moco"), CPU, 2, None)
    assert (fitted.MODEL.RESNETS.NORM, fitted.MODEL.FPN.NORM) == ("BN", "BN")
    assert "MODEL.FPN.NORM: BN instead of SyncBN on a CPU" in changes


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(UserError, match="IMS_PER_BATCH 8 is not divisible by 3 processes"):
        fit_to_machine(read_config("mask_rcnn_fpn_cpu"), CPU, 3, None)
