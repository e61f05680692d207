"""A suite on a Slurm cluster, whose jobs are killed; and one run of several processes in a job."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from superinfo.artifacts import MANIFEST, Manifest
from superinfo.files import is_held
from tests.slurm import SCRIPT, cluster_in, daemons_of, needs_slurm, run
from tests.test_suite import DETECT, PRETRAIN, PROBE, SIMCLR, files

PATIENCE = 240
BENCH = (sys.executable, "-m", "superinfo.cli", "bench", "suite.yaml", "--device", "cpu", "--cores", "1")
ONE_SECOND = 1 / 60
RECIPES: dict[str, dict[str, Any]] = {
    "simclr": PRETRAIN | {"epochs": 400, "save_minutes": ONE_SECOND},
    "detect": DETECT,
    "knn": PROBE,
    "suite": {
        "name": "suite",
        "tables": [{"title": "SimCLR", "rows": [SIMCLR], "tasks": [{"detect": "detect.yaml"}, {"probe": "knn.yaml"}]}],
    },
}
TABLES = ("table.txt", "table.md", "table.csv", "table.tex")

pytestmark = [pytest.mark.slow, needs_slurm]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    with cluster_in(tmp_path / "slurm") as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


def make(folder: Path) -> Path:
    folder.mkdir()
    for name, content in RECIPES.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    return folder


def test_a_suite_whose_jobs_are_killed_ends_as_on_one_machine(cluster: dict[str, str], tmp_path: Path) -> None:
    alone, folder = make(tmp_path / "alone"), make(tmp_path / "clustered")
    subprocess.run(BENCH, cwd=alone, check=True, capture_output=True)
    command = [*BENCH, "--executor", "slurm"]
    suite = subprocess.Popen(command, cwd=folder, env=cluster, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: bool(saved(folder)), suite)
        (first,) = running(cluster)
        assert run("scancel", first, environment=cluster).returncode == 0  # SIGTERM, and SIGKILL half a minute later
        until(lambda: bool(steps(folder, "resumed at step")), suite)
        assert steps(folder, "stopped after step") == steps(folder, "resumed at step")
        until(lambda: max(saved(folder)) > steps(folder, "resumed at step")[0], suite)
        (second,) = running(cluster)
        kill_at_once(second)
        _, told = suite.communicate(timeout=PATIENCE)
    finally:
        suite.kill()
        suite.wait()
    assert suite.returncode == 0, told.decode()
    assert len(steps(folder, "stopped after step")) == 1
    assert len(steps(folder, "resumed at step")) == 2
    assert submitted(cluster) == {"pretrain": 3, "convert": 1, "detect": 1, "probe": 1}
    for name in TABLES:
        tables = [place / "runs" / "suite" / name for place in (folder, alone)]
        assert tables[0].read_bytes() == tables[1].read_bytes(), name

    made = files(folder)
    again = run(*command, environment=cluster, cwd=folder)
    assert (again.returncode, "4 jobs, 0 left to run" in again.stderr) == (0, True), again.stderr
    assert {name: made[name] for name in made if not name.startswith("runs/suite/")}.items() <= files(folder).items()
    assert sum(submitted(cluster).values()) == 6
    assert not [lock for lock in folder.rglob("*.lock") if is_held(lock)]
    assert run(SCRIPT, "stop", tmp_path / "slurm").returncode == 0
    assert daemons_of(tmp_path / "slurm") == []
    assert processes_in(tmp_path) == []


def test_a_suite_that_is_killed_itself_takes_its_jobs_back(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = make(tmp_path / "suite")
    command = [*BENCH, "--executor", "slurm"]
    suite = subprocess.Popen(command, cwd=folder, env=cluster, stderr=subprocess.DEVNULL)
    try:
        until(lambda: bool(saved(folder)), suite)
    finally:
        suite.kill()
        suite.wait()
    (left,), before = running(cluster), max(saved(folder))
    again = run(*command, environment=cluster, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "left jobs to Slurm, 1: cancelled" in again.stderr
    assert left not in running(cluster)
    assert submitted(cluster) == {"pretrain": 2, "convert": 1, "detect": 1, "probe": 1}
    (resumed,) = steps(folder, "resumed at step")
    assert resumed >= before


LAUNCHES = {
    "srun": f"srun {sys.executable} -m superinfo.cli",
    "torchrun": f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2 -m superinfo.cli",
    "devices": f"{sys.executable} -m superinfo.cli",
}


def test_a_run_of_two_processes_in_a_job_is_the_same_however_they_start(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "simclr.yaml").write_text(json.dumps(PRETRAIN))
    manifests = {}
    for name, launch in LAUNCHES.items():
        verb = f"{launch} pretrain simclr.yaml --device cpu --runs {name}" + " --devices 2" * (name == "devices")
        job = ("sbatch", "--wait", "--ntasks=2", "--output=log.txt", f"--wrap={verb}")
        assert run(*job, environment=cluster, cwd=tmp_path).returncode == 0, (tmp_path / "log.txt").read_text()
        (path,) = (tmp_path / name).rglob(MANIFEST)
        manifests[name] = Manifest.read(path)
    assert {name: manifest.execution["processes"] for name, manifest in manifests.items()} == dict.fromkeys(LAUNCHES, 2)
    assert len({manifest.tensors_sha256 for manifest in manifests.values()}) == 1


def until(condition: Callable[[], bool], suite: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert suite.poll() is None, "the suite ended"
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


def saved(folder: Path) -> list[int]:
    """The steps after which a training state was saved, of those kept."""
    return [int(path.stem.partition("-")[2]) for path in (folder / "runs").rglob("training-*.state")]


def steps(folder: Path, after: str) -> list[int]:
    """The numbers that the log of the pretraining names behind some words."""
    (log,) = (folder / "runs" / "suite" / "jobs" / "pretrain").glob("*.log")
    return [int(number.replace(",", "")) for number in re.findall(rf"{after} ([\d,]+)", log.read_text())]


def running(cluster: dict[str, str]) -> list[str]:
    return run("squeue", "--noheader", "--states=RUNNING", "--format=%i", environment=cluster).stdout.split()


def kill_at_once(job: str) -> None:
    """SIGKILL the processes of a job, parents first, as if its node had failed: Slurm itself sends SIGTERM before."""
    for process in sorted(int(place.name) for place in Path("/proc").glob("[0-9]*")):
        with suppress(OSError):
            if f"SLURM_JOB_ID={job}\0".encode() in Path(f"/proc/{process}/environ").read_bytes():
                os.kill(process, signal.SIGKILL)


def submitted(cluster: dict[str, str]) -> Counter[str]:
    """How many jobs of each kind the cluster was given."""
    shown = run("squeue", "--noheader", "--states=all", "--format=%k", environment=cluster).stdout
    return Counter(comment.split("_")[1] for comment in shown.split())


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder, or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if str(folder) in f"{line} {place}":
            found.append(line)
    return found
