"""What a run tells about itself: statistics with known values and oracles, and logs that survive being killed."""

import json
import math
import multiprocessing
import shutil
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch import Tensor

from pretrain.monitor import MetricsLog, feature_statistics
from superinfo.errors import UserError

ROOT = Path(__file__).parents[2]


def draw(rows: int, dimension: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dimension, generator=torch.Generator().manual_seed(seed))


def statistics(mu1: Tensor, mu2: Tensor | None = None) -> dict[str, float]:
    return {name: value.item() for name, value in feature_statistics(mu1, mu1 if mu2 is None else mu2).items()}


def of_rank(rank: int, rows: int, dimension: int) -> Tensor:
    """Features whose centred matrix has `rank` equal singular values, about a mean much larger than they."""
    left, _ = torch.linalg.qr(torch.cat([torch.ones(rows, 1), draw(rows, rank)], dim=1))
    right, _ = torch.linalg.qr(draw(dimension, rank, seed=1))
    features: Tensor = 5 + left[:, 1:] @ right.T
    return features


def oracle(mu1: Tensor, mu2: Tensor) -> dict[str, float]:
    """The papers' formulas in loops of Python's floats; singular values by numpy's SVD."""
    dimension, rows = mu1.shape[1], len(mu1)
    views = [[[x / math.hypot(*row) for x in row] for row in mu.double().tolist()] for mu in (mu1, mu2)]

    def distance(a: list[float], b: list[float]) -> float:
        return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    std, rank, uniformity = 0.0, 0.0, 0.0
    for z, mu in zip(views, (mu1, mu2), strict=True):
        for column in zip(*z, strict=True):
            mean = math.fsum(column) / rows
            std += math.sqrt(math.fsum((x - mean) ** 2 for x in column) / (rows - 1)) / dimension
        array = mu.double().numpy()
        singular = torch.linalg.svdvals(torch.from_numpy(array - array.mean(axis=0))).tolist()
        p = [s / sum(singular) for s in singular]
        rank += math.exp(-sum(x * math.log(x) for x in p if x > 1e-12))
        pairs = [math.exp(-2 * distance(z[i], z[j])) for i in range(rows) for j in range(rows) if i != j]
        uniformity += math.log(math.fsum(pairs) / len(pairs))
    alignment = math.fsum(distance(a, b) for a, b in zip(*views, strict=True)) / rows
    return {
        "feature_std": std / 2 * math.sqrt(dimension),
        "effective_rank": rank / 2,
        "alignment": alignment,
        "uniformity": uniformity / 2,
    }


@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (5, 30), (30, 5), (16, 16)])
def test_the_statistics_are_those_of_the_papers_formulas(shape: tuple[int, int]) -> None:
    mu1, mu2 = draw(*shape, seed=1) + 0.5, 2 * draw(*shape, seed=2)
    assert statistics(mu1, mu2) == pytest.approx(oracle(mu1, mu2), rel=1e-4, abs=1e-5)


def test_isotropic_features_have_std_one_full_rank_and_are_uniform() -> None:
    found = statistics(draw(4000, 32, seed=1), draw(4000, 32, seed=2))
    assert found["feature_std"] == pytest.approx(1, abs=0.01)
    assert found["effective_rank"] == pytest.approx(32, rel=0.01)
    assert found["alignment"] == pytest.approx(2, abs=0.02)  # unrelated views: E |z1 - z2|^2 = 2
    # On the sphere in D dimensions E exp(4 z.z') is about exp(4^2 / 2D).
    assert found["uniformity"] == pytest.approx(-4 + 8 / 32, abs=0.02)


@pytest.mark.parametrize("shape", [(2, 1), (2, 8), (64, 8), (8, 300)])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e4, 1e-6])
def test_collapsed_features_have_no_spread_and_no_rank(shape: tuple[int, int], value: float) -> None:
    collapsed = value * (1 + torch.rand(shape[1], generator=torch.Generator().manual_seed(3))).expand(shape)
    found = statistics(collapsed)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-5)
    assert found["effective_rank"] == 0


@pytest.mark.parametrize("shape", [(256, 64), (64, 512)])
@pytest.mark.parametrize("rank", [1, 2, 7, 50])
def test_the_effective_rank_is_the_rank_where_singular_values_are_equal(rank: int, shape: tuple[int, int]) -> None:
    assert statistics(of_rank(rank, *shape))["effective_rank"] == pytest.approx(rank, rel=2e-3)


@pytest.mark.parametrize("shape", [(300, 4), (4, 300), (7, 7)])
def test_the_rank_is_computed_on_the_smaller_side(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []
    solve = torch.linalg.eigvalsh

    def watched(matrix: Tensor) -> Tensor:
        sides.extend(matrix.shape)
        values: Tensor = solve(matrix)
        return values

    monkeypatch.setattr(torch.linalg, "eigvalsh", watched)
    statistics(draw(*shape))
    assert set(sides) == {min(shape)}


def test_a_common_mean_lowers_the_std_and_leaves_the_rank() -> None:
    centred, shifted = statistics(draw(500, 16)), statistics(draw(500, 16) + 10)
    assert shifted["feature_std"] < 0.2 * centred["feature_std"]
    assert shifted["effective_rank"] == pytest.approx(centred["effective_rank"], rel=1e-4)


def test_the_rank_falls_as_one_direction_takes_over() -> None:
    scales = [1.0, 3.0, 10.0, 100.0]
    ranks = []
    for scale in scales:
        features = draw(500, 16)
        features[:, 0] *= scale
        ranks.append(statistics(features)["effective_rank"])
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] > 15.5
    assert ranks[-1] < 2.5


def test_opposite_views_are_the_furthest_apart_and_equal_ones_the_nearest() -> None:
    mu = draw(50, 8)
    assert statistics(mu, 3 * mu)["alignment"] == pytest.approx(0, abs=1e-6)
    assert statistics(mu, -mu)["alignment"] == pytest.approx(4, rel=1e-6)


def test_an_image_is_no_pair_with_itself() -> None:
    opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    assert statistics(opposite)["uniformity"] == pytest.approx(-8, rel=1e-6)  # the one pair's distance is 2


def test_each_view_counts_alike() -> None:
    spread, collapsed = draw(100, 8), torch.ones(100, 8)
    both, alone = statistics(spread, collapsed), statistics(spread)
    for name in ("feature_std", "effective_rank", "uniformity"):
        assert both[name] == pytest.approx(alone[name] / 2, rel=1e-4)
        assert both[name] == pytest.approx(statistics(collapsed, spread)[name])


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return [(event.step, event.value) for event in reader.Scalars(name)]


def log_steps(log: MetricsLog, steps: range, session: int) -> None:
    for step in steps:
        log.write({"step": step, "loss": 100.0 * session + step, "lr": 0.5})


def killed(folder: Path, now: Path) -> Path:
    """What a SIGKILL leaves: what is in the files at that moment."""
    shutil.copytree(folder, now)
    return now


def test_each_step_is_a_line_and_an_event(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log_steps(log, range(3), session=1)
        assert log.last == {"step": 2, "loss": 102.0, "lr": 0.5}
    assert lines(tmp_path) == [{"step": step, "loss": 100.0 + step, "lr": 0.5} for step in range(3)]
    assert events(tmp_path) == [(0, 100.0), (1, 101.0), (2, 102.0)]
    assert events(tmp_path, "lr") == [(0, 0.5), (1, 0.5), (2, 0.5)]


@pytest.mark.parametrize("clock", [0.0, -3600.0])
def test_after_kills_each_step_is_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    before_any_save = MetricsLog(folder, 0)
    log_steps(before_any_save, range(3), session=1)
    before_any_save.sync()
    folder = killed(folder, tmp_path / "1")
    after_the_save_of_step_4 = MetricsLog(folder, 0)
    log_steps(after_the_save_of_step_4, range(7), session=2)
    after_the_save_of_step_4.sync()
    folder = killed(folder, tmp_path / "2")
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start + clock)  # on a machine whose clock may be late
    with MetricsLog(folder, 5) as log:
        assert log.last == {"step": 4, "loss": 204.0, "lr": 0.5}
        log_steps(log, range(5, 9), session=3)
    monkeypatch.undo()
    with MetricsLog(folder, 8) as log:
        log_steps(log, range(8, 10), session=4)
    expected = [(step, 100.0 * (2 if step < 5 else 3 if step < 8 else 4) + step) for step in range(10)]
    assert [(line["step"], line["loss"]) for line in lines(folder)] == expected
    assert events(folder) == expected
    before_any_save.close()
    after_the_save_of_step_4.close()


def test_what_was_synced_survives_a_kill_in_the_middle_of_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RecordWriter.write

    def write_slowly(writer: RecordWriter, data: bytes) -> None:
        time.sleep(0.02)  # TensorBoard's thread lags behind
        write(writer, data)

    monkeypatch.setattr(RecordWriter, "write", write_slowly)
    folder = tmp_path / "0"
    folder.mkdir()
    log = MetricsLog(folder, 0)
    log_steps(log, range(5), session=1)
    log.sync()
    left = killed(folder, tmp_path / "1")
    log.close()
    with (left / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    (event_file,) = (left / "tensorboard").iterdir()
    record = event_file.read_bytes()
    event_file.write_bytes(record + record[:20])  # a record's head and a part of its body
    with MetricsLog(left, 5) as log:
        log_steps(log, range(5, 7), session=2)
    expected = [(step, (100.0 if step < 5 else 200.0) + step) for step in range(7)]
    assert [(line["step"], line["loss"]) for line in lines(left)] == expected
    assert events(left) == expected


def test_closing_ends_the_threads_and_may_be_done_twice(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    log = MetricsLog(tmp_path, 0)
    assert set(threading.enumerate()) > before
    log.write({"step": 0, "loss": 1.0})
    log.close()
    assert set(threading.enumerate()) == before
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.write({"step": 1, "loss": 1.0})


def fail_while_logging(folder: Path) -> None:
    with MetricsLog(folder, 0) as log:
        log_steps(log, range(50), session=1)
        raise SystemExit(7)


def fail_without_closing(folder: Path) -> None:
    log_steps(MetricsLog(folder, 0), range(50), session=1)
    raise SystemExit(7)


@pytest.mark.parametrize(("fail", "kept"), [(fail_while_logging, 50), (fail_without_closing, 0)])
def test_a_process_that_fails_exits_and_what_its_context_closed_is_whole(tmp_path: Path, fail: Any, kept: int) -> None:
    process = multiprocessing.get_context("fork").Process(target=fail, args=(tmp_path,))
    process.start()
    process.join(timeout=30)
    ended = process.exitcode
    process.kill()
    assert ended == 7
    assert len(lines(tmp_path)) == 50
    if kept:
        assert len(events(tmp_path)) == kept


def test_tensorboard_is_neither_imported_nor_written_if_not_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pretrain.monitor import MetricsLog\n"
        "with MetricsLog(Path(sys.argv[1]), 0, tensorboard=False) as log: log.write({'step': 0}); log.sync()\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('tensorboard', 'wandb')])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_metric_that_is_not_a_number_is_refused_and_not_logged(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 0, "loss": 1.0})
        with pytest.raises(ValueError, match="JSON"):
            log.write({"step": 1, "loss": math.nan})
    assert len(lines(tmp_path)) == len(events(tmp_path)) == 1


class FakeWandb(types.ModuleType):
    """Stands for the package, which is not installed here: keeps what it was told."""

    class Error(Exception):
        pass

    def __init__(self, refusal: str | None = None) -> None:
        super().__init__("wandb")
        self.refusal = refusal
        self.told: list[tuple[str, object]] = []

    def init(self, **settings: object) -> "FakeWandb":
        if self.refusal:
            raise self.Error(self.refusal)
        self.told.append(("init", settings))
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.told.append(("log", (step, values)))

    def finish(self, exit_code: int) -> None:
        self.told.append(("finish", exit_code))


def test_wandb_gets_each_step_in_the_run_named_like_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = tmp_path / "simclr-s0-01234567"
    folder.mkdir()
    with MetricsLog(folder, 3, tensorboard=False, wandb=True) as log:
        log.write({"step": 3, "loss": 1.5})
        log.sync()
    settings = {"project": "superinfo", "id": folder.name, "name": folder.name, "dir": str(folder), "resume": "allow"}
    assert wandb.told == [("init", settings), ("log", (3, {"loss": 1.5})), ("finish", 0)]


def test_wandb_hears_that_a_run_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(RuntimeError, match="broken"), MetricsLog(tmp_path, 0, tensorboard=False, wandb=True):
        raise RuntimeError("broken")
    assert wandb.told[-1] == ("finish", 1)


def test_without_wandb_asking_for_it_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # import fails
    with pytest.raises(UserError, match=r"^[^\n]*`pip install wandb`, or --set monitor.wandb=false$"):
        MetricsLog(tmp_path, 0, wandb=True)
    assert list(tmp_path.iterdir()) == []
    MetricsLog(tmp_path, 0, tensorboard=False).close()


def test_what_wandb_says_against_a_run_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(refusal="no API key\n  configured."))
    with pytest.raises(
        UserError, match=r"^W&B: no API key configured; set WANDB_MODE=offline, or --set monitor.wandb=false$"
    ):
        MetricsLog(tmp_path, 0, tensorboard=False, wandb=True)
