"""A suite on Kubernetes, as Snakemake's plugin asks for it; a stand-in of this machine answers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine
from benchmarks.outcome import Outcome
from benchmarks.workflow import run_jobs
from superinfo.errors import SuperInfoError
from tests.benchmarks.errands import errand, lines
from tests.kubernetes import Cluster, cluster_in, needs_rsync
from tests.test_suite import PRETRAIN, PROBE, SIMCLR

BENCH = (sys.executable, "-m", "superinfo.cli", "bench", "suite.yaml", "--device", "cpu", "--cores", "1")
RECIPES: dict[str, dict[str, Any]] = {
    "simclr": PRETRAIN | {"epochs": 200, "save_minutes": 1 / 60},
    "knn": PROBE,
    "suite": {"name": "suite", "tables": [{"title": "SimCLR", "rows": [SIMCLR], "tasks": [{"probe": "knn.yaml"}]}]},
}
PODS = Machine("kubernetes", "auto", None, 100, ())
PATIENCE = 240

pytestmark = [pytest.mark.slow, needs_rsync]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with cluster_in(tmp_path / "cluster") as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster


def test_what_a_pod_asks_for_and_has(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERINFO_DATA", "/images")
    jobs = [
        errand("pretrain/large", "echo made; echo said >&2", gpus=8, threads=64),
        errand("convert/small", f"echo $SUPERINFO_DATA in $PWD > {tmp_path}/found; exit 3", "pretrain/large"),
        errand("probe/after", "true", "convert/small"),
    ]
    monkeypatch.chdir(tmp_path)
    ended = run_jobs(jobs, tmp_path / "runs" / "suite", PODS, lambda: None)
    assert ended["pretrain/large"] == Outcome("done", artifact="made")
    assert (ended["convert/small"].state, ended["convert/small"].code) == ("failed", 3)
    assert ended["probe/after"].state == "blocked"
    assert lines(tmp_path / "found") == [f"/images in {tmp_path}"]
    large, small, _ = (job["spec"]["template"]["spec"]["containers"][0]["resources"] for job in cluster.asked)
    assert large["limits"] == {"cpu": "64000m", "memory": "8000M", "nvidia.com/gpu": "8"} | _disk(large)
    assert small["limits"]["nvidia.com/gpu"] == "0"


def _disk(resources: dict[str, dict[str, str]]) -> dict[str, str]:
    """What Snakemake asks for by itself."""
    return {name: size for name, size in resources["limits"].items() if name == "ephemeral-storage"}


def test_what_the_cluster_refuses_is_told(cluster: Cluster, tmp_path: Path) -> None:
    profile = Path(cluster.environment["SNAKEMAKE_PROFILE"]) / "config.yaml"
    profile.write_text(profile.read_text() + 'set-resources: ["pretrain:scale=1"]\n')
    with pytest.raises(SuperInfoError, match=r"before any job did: .+Limit must be set for non overcommitable"):
        run_jobs([errand("pretrain/large", "true", gpus=8)], tmp_path / "suite", PODS, lambda: None)


def test_a_suite_whose_pod_is_killed_ends_as_on_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    alone, folder = make(tmp_path / "alone"), make(tmp_path / "clustered")
    subprocess.run(BENCH, cwd=alone, check=True, capture_output=True)
    command = [*BENCH, "--executor", "kubernetes"]
    suite = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE
        while not list((folder / "runs").rglob("training-*.state")):
            assert (suite.poll(), time.monotonic() < deadline) == (None, True), "no state is saved"
            time.sleep(0.05)
        (pod,) = cluster.pods
        cluster.end_pod(pod, signal.SIGKILL)
        _, told = suite.communicate(timeout=PATIENCE)
    finally:
        suite.kill()
        suite.wait()
    assert suite.returncode == 0, told.decode()
    (log,) = (folder / "runs" / "suite" / "jobs" / "pretrain").glob("*.log")
    assert "resumed at step" in log.read_text()
    assert len(cluster.asked) == 3  # the pretraining twice
    assert same_tables(folder, alone)

    (record,) = (folder / "runs").glob("knn_tiny-*")
    shutil.rmtree(record)
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (again.returncode, "2 jobs, 1 left to run" in again.stderr) == (0, True), again.stderr
    assert len(cluster.asked) == 4
    assert same_tables(folder, alone)


def make(folder: Path) -> Path:
    folder.mkdir()
    for name, content in RECIPES.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    return folder


def same_tables(one: Path, other: Path) -> bool:
    tables = ("table.txt", "table.md", "table.csv", "table.tex")
    return all(
        (one / "runs" / "suite" / name).read_bytes() == (other / "runs" / "suite" / name).read_bytes()
        for name in tables
    )
