"""A protocol for eight GPUs on fewer: what changes, and that it is said."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from superinfo.errors import UserError
from transfer.detection import machine
from transfer.detection.config import read_config
from transfer.detection.machine import differences, fit_to_machine, schedule

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
    assert fit_to_machine(protocol, GPU, 4, 100)[0].SOLVER.IMS_PER_BATCH == 8, "never more than the protocol's"


def test_processes_agree_on_what_the_one_with_least_memory_can_do(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class OfAnother:
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
