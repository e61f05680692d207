import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "local_slurm.sh"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
DAEMONS = ("munged", "slurmctld", "slurmd")
LACKING = [program for program in (*DAEMONS, "sbatch") if shutil.which(program, path=PATH) is None]

needs_slurm = pytest.mark.skipif(bool(LACKING), reason=f"Debian's packages of Slurm are not here: {', '.join(LACKING)}")


def run(*command: str | Path, path: str = PATH, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": path} | variables
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=240)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that its programs need."""
    started = run(SCRIPT, "start", tmp_path / "slurm")
    try:
        assert started.returncode == 0, started.stderr
        name, _, value = started.stdout.strip().removeprefix("export ").partition("=")
        yield {name: value}
    finally:
        run(SCRIPT, "stop", tmp_path / "slurm")


def daemons_of(folder: Path) -> list[str]:
    """The processes that are daemons of a cluster in a folder, by what files they hold open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            held = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if name in DAEMONS and any(place.startswith(f"{folder}/") for place in held):
            found.append(name)
    return sorted(found)


@pytest.mark.slow
@needs_slurm
def test_a_job_runs_and_its_failure_shows(cluster: dict[str, str], tmp_path: Path) -> None:
    assert daemons_of(tmp_path / "slurm") == sorted(DAEMONS)
    out = tmp_path / "out.txt"
    done = run("sbatch", "--wait", f"--output={out}", "--wrap=echo of job $SLURM_JOB_ID", **cluster)
    assert (done.returncode, out.read_text()) == (0, "of job 1\n")
    failed = run("sbatch", "--wait", f"--output={out}", "--wrap=exit 75", **cluster)
    assert failed.returncode == 75
    shown = run("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i %T", **cluster)
    assert shown.stdout.splitlines() == ["1 COMPLETED", "2 FAILED"]


@pytest.mark.slow
@needs_slurm
def test_stopping_ends_jobs_and_daemons_even_after_one_was_killed(cluster: dict[str, str], tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 1000"
    assert run("sbatch", f"--output={tmp_path / 'out.txt'}", f"--wrap={job}", **cluster).returncode == 0
    run("bash", "-c", f"until [[ -e {started} ]]; do sleep 0.1; done")
    stopped = run(SCRIPT, "stop", tmp_path / "slurm")
    assert stopped.returncode == 0, stopped.stderr
    assert daemons_of(tmp_path / "slurm") == []
    assert b"sleep" not in _command(int(started.read_text()))

    assert run(SCRIPT, "start", tmp_path / "slurm").returncode == 0
    os.kill(int((tmp_path / "slurm" / "slurmctld.pid").read_text()), 9)
    assert run(SCRIPT, "stop", tmp_path / "slurm").returncode == 0
    assert daemons_of(tmp_path / "slurm") == []


@pytest.mark.slow
@needs_slurm
def test_a_second_cluster_in_one_folder_is_refused_and_the_first_goes_on(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    again = run(SCRIPT, "start", tmp_path / "slurm")
    assert again.returncode == 2
    assert "a cluster runs here already" in again.stderr
    assert run("sinfo", "--noheader", "--format=%T", **cluster).stdout == "idle\n"


@pytest.mark.slow
@needs_slurm
def test_a_start_that_fails_leaves_no_daemon_and_shows_the_logs(tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "slurmd"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no node today >&2\nexit 1\n")
    broken.chmod(0o755)
    failed = run(SCRIPT, "start", tmp_path / "slurm", path=f"{broken.parent}:{PATH}")
    assert failed.returncode == 2
    assert "no node today" in failed.stderr
    assert daemons_of(tmp_path / "slurm") == []


def test_a_machine_without_slurm_is_told_the_packages(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    os.symlink(bash, tmp_path / "bash")
    script = tmp_path / "local_slurm.sh"  # without the folders of daemons
    script.write_text(SCRIPT.read_text().replace(":/usr/sbin:/sbin", ""))
    done = run(bash, script, "start", tmp_path / "slurm", path=str(tmp_path))
    assert done.returncode == 2
    assert "apt-get install -y slurmctld slurmd slurm-client munge" in done.stderr


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
