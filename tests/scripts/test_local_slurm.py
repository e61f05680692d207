import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm import DAEMONS, PATH, SCRIPT, cluster_in, daemons_of, needs_slurm, run


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    with cluster_in(tmp_path / "slurm") as environment:
        yield environment


@pytest.mark.slow
@needs_slurm
def test_a_job_runs_and_its_failure_shows(cluster: dict[str, str], tmp_path: Path) -> None:
    assert daemons_of(tmp_path / "slurm") == sorted(DAEMONS)
    out = tmp_path / "out.txt"
    done = run("sbatch", "--wait", f"--output={out}", "--wrap=echo of job $SLURM_JOB_ID", environment=cluster)
    assert (done.returncode, out.read_text()) == (0, "of job 1\n")
    failed = run("sbatch", "--wait", f"--output={out}", "--wrap=exit 75", environment=cluster)
    assert failed.returncode == 75
    step = ("env", "--unset=SLURM_CONF", "srun", "--ntasks=2", "echo", "of two")  # as Snakemake's plugin calls it
    assert run(*step, environment=cluster).stdout == "of two\n" * 2
    shown = run("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i %T", environment=cluster)
    assert shown.stdout.splitlines() == ["1 COMPLETED", "2 FAILED", "3 COMPLETED"]


@pytest.mark.slow
@needs_slurm
def test_stopping_ends_jobs_and_daemons_even_after_one_was_killed(cluster: dict[str, str], tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 1000"
    assert run("sbatch", f"--output={tmp_path / 'out.txt'}", f"--wrap={job}", environment=cluster).returncode == 0
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
    assert run("sinfo", "--noheader", "--format=%T", environment=cluster).stdout == "idle\n"


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
