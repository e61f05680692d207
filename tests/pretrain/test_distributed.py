"""Two processes that train together compute what one does on the joint batch. This file is also their script."""

import copy
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from pretrain import distributed
from pretrain.gradients import Gradients
from pretrain.methods import MoCo
from pretrain.model import Pretraining
from pretrain.noise import Noise
from pretrain.schedule import Moment
from superinfo import processes
from tests.pretrain.tiny import IMAGES, METHODS, build, settle, two_views

WORLD = 2
SHARE = IMAGES // WORLD
CASES = [(method, term, SHARE) for method in METHODS for term in ("none", "superinfo", "lbe")] + [
    ("simclr", "none", 2),
    ("barlow_twins", "lbe", 2),
    ("moco", "lbe", 2),
    ("moco", "none", 2),
]
MOMENT = Moment(3, steps_per_epoch=4, epochs=2)

Case = tuple[str, str, int]
"""Method, term and chunk size."""
Outcome = dict[str, dict[str, Tensor]]
"""What a process has after a step: gradients, parts of the loss, rows of the embedding, state after the step."""


class Report(TypedDict):
    """What a process found."""

    steps: dict[Case, Outcome]
    keys: Tensor
    order: Tensor
    gathered: Tensor
    gradient: Tensor
    agreed: list[bool]
    first: str
    left: str
    merged: dict[int, str]
    who: tuple[int, int]
    gave_up: bool


def learn(bare: Pretraining, chunk_size: int) -> Outcome:
    """Do a step as the engine does, in evaluation mode: batch norm mixes no images."""
    bare.eval()
    model = DistributedDataParallel(bare, broadcast_buffers=False) if processes.world_size() > 1 else None
    gradients = Gradients(model or bare, bare, chunk_size, without_sync=model.no_sync if model else None)
    share = IMAGES // processes.world_size()
    first = processes.rank() * share
    v1, v2 = (view[first : first + share] for view in two_views(IMAGES))
    noise = Noise(0, 3, IMAGES)
    losses, embedded = gradients(lambda chunk: (v1[chunk], v2[chunk]), share, noise, MOMENT)
    bare.after_step(embedded, MOMENT)
    found = {name: p.grad.clone() for name, p in bare.named_parameters() if p.grad is not None}
    means = {name: torch.tensor(value) for name, value in distributed.mean(losses.parts).items()}
    return {"gradients": found, "parts": means, "embedded": embedded, "state": bare.state_dict()}


def shuffled_keys(model: Pretraining) -> tuple[Tensor, Tensor]:
    """Return this process's keys in training mode, and the order in which the target saw the images."""
    share = IMAGES // WORLD
    first = processes.rank() * share
    v1, v2 = (view[first : first + share] for view in two_views(IMAGES))
    rows = Noise(0, 3, IMAGES).rows(first, first + share)
    embedded = model(v1, v2, rows)
    return torch.cat([embedded["k1"], embedded["k2"]]), rows.order("moco", 2 * IMAGES)


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    models = {case: settle(build(*case[:2])) for case in CASES}  # while each is alone: what they start from is the same
    alone = settle(build("moco", "none"))
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=WORLD)
    steps = {case: learn(model, case[2]) for case, model in models.items()}
    keys, order = shuffled_keys(alone)
    mine = torch.full((3, 2), float(rank), requires_grad=True)
    gathered = distributed.gather(mine)
    (gradient,) = torch.autograd.grad((gathered * torch.arange(6.0)[:, None]).sum(), mine)
    agreement = processes.Agreement()
    report = Report(
        steps=steps,
        keys=keys,
        order=order,
        gathered=gathered.detach(),
        gradient=gradient,
        agreed=agreement.any(rank == 1, False, True),
        first=agreement.first(lambda: f"process {rank}"),
        left=left_by(agreement),
        merged=agreement.merged({rank: f"process {rank}"}),
        who=(processes.rank(), processes.world_size()),
        gave_up=gives_up(rank, folder),
    )
    torch.save(report, folder / f"{rank}.pt")
    dist.destroy_process_group()


def left_by(agreement: processes.Agreement) -> str:
    """How a process leaves when the first one fails."""

    def fail() -> None:
        raise ValueError("no such folder")

    try:
        agreement.first(fail)
    except (ValueError, SystemExit) as end:
        return repr(end)
    return "not at all"


def gives_up(rank: int, folder: Path) -> bool:
    """Whether the second process waits no longer than PATIENCE for the first one, which never comes."""
    gave_up, deadline = folder / "gave up", time.monotonic() + 60
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "PATIENCE", timedelta(seconds=1))
        agreement = processes.Agreement()
    if rank == 1:
        with pytest.raises(RuntimeError):
            agreement.any(True)
        gave_up.touch()
    while not gave_up.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return gave_up.exists()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Report]]:
    folder, root = tmp_path_factory.mktemp("processes"), Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(folder)], env=environment, cwd=root)
        for rank in range(WORLD)
    ]
    try:
        assert [process.wait(timeout=240) for process in processes] == [0] * WORLD
        yield [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-9 of each tensor's largest element."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = float(tensor.abs().max())
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-9 * max(1.0, largest), msg=name)


@pytest.mark.parametrize(("method", "term", "chunk_size"), CASES)
def test_two_processes_compute_the_gradient_of_the_joint_batch(
    reports: list[Report], method: str, term: str, chunk_size: int
) -> None:
    model = settle(build(method, term))
    expected = learn(model, IMAGES)
    for rank, report in enumerate(reports):
        found = report["steps"][method, term, chunk_size]
        assert_same(found["gradients"], expected["gradients"])
        for name, value in expected["parts"].items():  # the mean over processes is taken in float32
            assert found["parts"][name].item() == pytest.approx(value.item(), rel=1e-5)
        share = slice(rank * SHARE, (rank + 1) * SHARE)
        assert_same(found["embedded"], {name: tensor[share] for name, tensor in expected["embedded"].items()})


@pytest.mark.parametrize(("term", "chunk_size"), [case[1:] for case in CASES if case[0] == "moco"])
def test_the_queue_is_the_same_in_both_processes_and_in_one(reports: list[Report], term: str, chunk_size: int) -> None:
    model = settle(build("moco", term))
    assert isinstance(model.method, MoCo)
    before = model.method.queue.clone()
    expected = learn(model, IMAGES)["state"]
    assert expected["method.cursor"] == 2 * IMAGES
    assert not torch.isclose(expected["method.queue"][: 2 * IMAGES], before[: 2 * IMAGES]).all(dim=1).any()
    states = [report["steps"]["moco", term, chunk_size]["state"] for report in reports]
    assert torch.equal(states[0]["method.queue"], states[1]["method.queue"])
    for state in states:
        assert_same(state, expected)


def test_each_process_normalises_its_share_of_the_shuffled_keys(reports: list[Report]) -> None:
    model = settle(build("moco", "none"))
    assert isinstance(model.method, MoCo)
    views = two_views(IMAGES)
    shares = [slice(rank * SHARE, (rank + 1) * SHARE) for rank in range(WORLD)]
    images = torch.cat([view[share] for share in shares for view in views])
    assert torch.equal(reports[0]["order"], reports[1]["order"])
    expected = torch.zeros(2 * IMAGES, 8, dtype=torch.float64)
    for half in reports[0]["order"].chunk(WORLD):
        expected[half] = copy.deepcopy(model.method.target)(images[half])
    found = torch.cat([report["keys"] for report in reports])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_gathered_rows_come_in_the_order_of_processes_and_each_ones_own_carry_gradient(
    reports: list[Report],
) -> None:
    for rank, report in enumerate(reports):
        assert report["gathered"].tolist() == [[0.0, 0.0]] * 3 + [[1.0, 1.0]] * 3
        assert report["gradient"].tolist() == [[3.0 * rank + i] * 2 for i in range(3)]


def test_a_question_is_answered_yes_by_all_if_one_does(reports: list[Report]) -> None:
    assert [report["agreed"] for report in reports] == [[True, False, True]] * WORLD
    assert [report["who"] for report in reports] == [(rank, WORLD) for rank in range(WORLD)]


def test_what_the_first_process_finds_all_have_and_all_end_where_it_fails(reports: list[Report]) -> None:
    assert [report["first"] for report in reports] == ["process 0"] * WORLD
    assert [report["left"] for report in reports] == ["ValueError('no such folder')", "SystemExit(0)"]
    assert [report["merged"] for report in reports] == [{0: "process 0", 1: "process 1"}] * WORLD


def test_a_process_waits_for_the_first_one_for_as_long_as_is_said(reports: list[Report]) -> None:
    assert [report["gave_up"] for report in reports] == [True] * WORLD


def test_a_single_process_is_alone_and_gathers_and_agrees_with_itself() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.gather(rows) is rows
    assert (processes.rank(), processes.world_size()) == (0, 1)
    assert distributed.mean({"loss": torch.tensor(2.5)}) == {"loss": 2.5}
    assert processes.Agreement().any(True, False) == [True, False]
    assert processes.Agreement().first(lambda: 3) == 3
    assert processes.Agreement().merged({1: "a"}) == {1: "a"}


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
