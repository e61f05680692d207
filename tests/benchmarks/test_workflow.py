"""A workflow from outside: what becomes of jobs that end well, badly or not at all, and of its processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import workflow
from benchmarks.jobs import Job
from benchmarks.machine import Machine
from benchmarks.outcome import Outcome
from benchmarks.workflow import run_jobs
from superinfo.errors import Interrupted, SuperInfoError
from superinfo.files import write_text
from superinfo.resources import Resources
from tests.benchmarks.errands import errand, lines

TWO_CORES = Machine("local", "cpu", 2, 2, ())


def nothing() -> None:
    """Watch nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suite")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Outcome]:
    started, once = folder / "started", folder / "once"
    fails = "echo {0} >> {1}; echo superinfo: no {0} >&2; exit {0}"
    jobs = [
        errand("pretrain/well", "echo said; echo artifact.pt; echo a note >&2"),
        errand("convert/after-it", "echo weights", "pretrain/well"),
        *(errand(f"pretrain/code-{code}", fails.format(code, started)) for code in (1, 2, 3)),
        errand("convert/after-failure", f"echo never >> {started}", "pretrain/code-2"),
        errand("detect/after-blocked", f"echo never >> {started}", "convert/after-failure"),
        errand("probe/interrupted", f"echo 75 >> {started}; test -e {once} || {{ touch {once}; exit 75; }}"),
        errand("probe/warned", f"test -e {folder}/warned || {{ touch {folder}/warned; kill -USR1 $$; }}"),
        errand("probe/killed", "kill -9 $$"),
        errand("probe/threads", "echo $OMP_NUM_THREADS", threads=2),
    ]
    return run_jobs(jobs, folder, TWO_CORES, nothing)


def test_a_job_that_ends_well_names_its_artifact(ended: dict[str, Outcome]) -> None:
    assert ended["pretrain/well"] == Outcome("done", artifact="artifact.pt")
    assert ended["convert/after-it"] == Outcome("done", artifact="weights")


def test_a_failed_job_stops_no_other_and_says_why(ended: dict[str, Outcome]) -> None:
    for code in (1, 2, 3):
        assert ended[f"pretrain/code-{code}"] == Outcome("failed", code=code, reason=f"no {code}")
    assert ended["probe/threads"].state == "done"


def test_no_failure_is_tried_again(ended: dict[str, Outcome], folder: Path) -> None:
    assert ended
    started = lines(folder / "started")
    assert [started.count(code) for code in ("1", "2", "3")] == [1, 1, 1]


def test_what_needs_a_failed_job_is_not_started_and_names_it(ended: dict[str, Outcome], folder: Path) -> None:
    for name in ("convert/after-failure", "detect/after-blocked"):
        assert ended[name] == Outcome("blocked", reason="pretrain/code-2 failed: no 2")
    assert "never" not in lines(folder / "started")


def test_an_interrupted_job_is_started_again(ended: dict[str, Outcome], folder: Path) -> None:
    assert ended["probe/interrupted"].state == "done"
    assert lines(folder / "started").count("75") == 2


def test_a_job_that_its_scheduler_warns_too_early_is_started_again(ended: dict[str, Outcome]) -> None:
    assert ended["probe/warned"].state == "done"


def test_a_job_that_the_kernel_kills_has_failed(ended: dict[str, Outcome]) -> None:
    assert ended["probe/killed"].state == "failed"
    assert "SIGKILL" in ended["probe/killed"].reason


def test_a_job_has_its_threads(ended: dict[str, Outcome]) -> None:
    assert ended["probe/threads"].artifact == "2"


def test_jobs_wait_for_one_another_where_one_is_to_run_at_a_time(tmp_path: Path) -> None:
    script = f"test ! -e {tmp_path}/busy && touch {tmp_path}/busy && sleep 0.2 && rm {tmp_path}/busy"
    jobs = [errand(f"probe/{number}", script) for number in range(4)]
    ended = run_jobs(jobs, tmp_path, Machine("local", "cpu", 4, 1, ()), nothing)
    assert {outcome.state for outcome in ended.values()} == {"done"}


def test_jobs_at_once_have_gpus_of_their_own(tmp_path: Path) -> None:
    meet = f"cd {tmp_path}; touch $CUDA_VISIBLE_DEVICES; while ! test -e 5 -a -e 7; do sleep 0.05; done"
    jobs = [errand(f"pretrain/{number}", f"{meet}; echo gpu $CUDA_VISIBLE_DEVICES", gpus=1) for number in range(2)]
    both = "echo gpu $CUDA_VISIBLE_DEVICES, threads $OMP_NUM_THREADS"
    jobs += [errand("detect/both", both, "pretrain/0", "pretrain/1", threads=4, gpus=2)]
    ended = run_jobs(jobs, tmp_path, Machine("local", "auto", 4, 2, ("5", "7")), nothing)
    assert {ended["pretrain/0"].artifact, ended["pretrain/1"].artifact} == {"gpu 5", "gpu 7"}
    assert ended["detect/both"].artifact == "gpu 5,7, threads 2"  # of each of its processes


def test_a_signal_lets_jobs_save_and_starts_no_more(tmp_path: Path) -> None:
    saves = f"trap 'echo saved >> {tmp_path}/said; exit 75' TERM; touch {tmp_path}/at-work; sleep 30 & wait"
    jobs = [errand("pretrain/long", saves), errand("convert/later", f"echo later >> {tmp_path}/said", "pretrain/long")]
    with signalled_when((tmp_path / "at-work").exists), pytest.raises(Interrupted, match="same command"):
        run_jobs(jobs, tmp_path, TWO_CORES, nothing)
    assert lines(tmp_path / "said") == ["saved"]


def test_no_more_jobs_start_where_no_outcome_can_be_written(tmp_path: Path) -> None:
    """As on a full disk; here each job puts a folder where its outcome is to be."""
    breaks = f"echo >> {tmp_path}/started; mkdir -p {tmp_path}/jobs/{{0}}/breaks.json/mine"
    jobs = [errand(f"{kind}/breaks", breaks.format(kind)) for kind in ("pretrain", "convert", "detect", "probe")]
    with suppress(OSError, SuperInfoError):  # by what Snakemake has put away
        run_jobs(jobs, tmp_path, Machine("local", "cpu", 1, 1, ()), nothing)
    assert len(lines(tmp_path / "started")) == 1


def test_a_job_whose_log_cannot_be_written_is_not_tried_again(tmp_path: Path) -> None:
    breaks = errand("pretrain/breaks", f"mkdir -p {tmp_path}/jobs/convert/silent.log")
    ended = run_jobs([breaks, errand("convert/silent", "true", breaks.name)], tmp_path, TWO_CORES, nothing)
    assert ended["pretrain/breaks"].state == "done"
    assert ended["convert/silent"].state == "failed"
    assert (tmp_path / "snakemake.log").read_text().count("Is a directory") == 1


@pytest.mark.parametrize("victim", ["suite", "snakemake", "wrapper"])
def test_a_killed_process_leaves_none_behind(tmp_path: Path, victim: str) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.benchmarks.errands import errand\n"
        "from tests.benchmarks.test_workflow import TWO_CORES, nothing, run_jobs\n"
        "here = Path(sys.argv[1])\n"
        "job = errand('pretrain/long', f'echo $$ > {here}/verb; exec sleep 60')\n"
        "run_jobs([job], here, TWO_CORES, nothing)"
    )
    suite = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    until(lambda: bool(lines(tmp_path / "verb")))
    verb = int(lines(tmp_path / "verb")[0])
    wrapper = parent_of(verb)
    chain = {"suite": suite.pid, "snakemake": parent_of(wrapper), "wrapper": wrapper}
    assert parent_of(chain["snakemake"]) == suite.pid
    os.kill(chain[victim], signal.SIGKILL)
    until(lambda: not alive(verb))
    if victim != "wrapper":  # which an interrupted job is started again without
        until(lambda: suite.poll() is not None)
    suite.kill()
    suite.wait()
    until(lambda: not any(map(alive, (chain["snakemake"], chain["wrapper"]))))
    until(lambda: not alive(int(lines(tmp_path / "verb")[-1])))


class signalled_when:  # noqa: N801  # reads as the sentence it is
    """Sends this process SIGTERM as soon as a condition holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self.thread = threading.Thread(target=self._send, args=(condition,))

    def _send(self, condition: Callable[[], bool]) -> None:
        until(condition)
        os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_modules_in_the_users_folder_are_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, module in (("benchmarks", "scheduler"), ("benchmarks", "job"), ("superinfo", "cli")):
        for name in ("__init__", module):
            write_text(tmp_path / package / f"{name}.py", "raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    verb = Job("pretrain/none", ("superinfo", "pretrain", "none"), (), None, Resources(), gpus=0, threads=1)
    ended = run_jobs([verb], tmp_path / "runs", TWO_CORES, nothing)
    assert ended[verb.name].reason.startswith("none: no recipe of that name")


def test_what_a_job_asks_of_slurm_and_why_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a cluster are stand-ins: sbatch notes what it is asked for, and refuses."""
    scripts = dict.fromkeys(("scontrol", "sinfo", "squeue", "sacct", "sacctmgr", "sshare"), "exit 0")
    scripts["sbatch"] = f'echo "$@" > {tmp_path}/asked; echo "sbatch: error: Invalid qos" >&2; exit 1'
    for name, script in scripts.items():
        write_text(tmp_path / "bin" / name, f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    soon = "slurm-init-seconds-before-status-checks: 1\nseconds-between-status-checks: 1\n"
    write_text(tmp_path / "profile" / "config.yaml", f"{soon}default-resources: {{slurm_partition: gpu}}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path / "profile"))
    monkeypatch.setattr(workflow, "REQUEUED", 0)
    job = errand("pretrain/large", "true", gpus=8, threads=64)
    with pytest.raises(SuperInfoError, match=r"before any job did: SLURM sbatch failed.+sbatch: error: Invalid qos"):
        run_jobs([job], tmp_path / "suite", Machine("slurm", "auto", None, 100, ()), nothing)
    asked = (tmp_path / "asked").read_text().partition("--wrap")[0].split()
    assert {"--nodes=1", "--gpus=8", "--cpus-per-task=64"} <= set(asked)
    assert not [argument for argument in asked if "per-gpu" in argument]
    assert [asked[asked.index(name) + 1] for name in ("--mem", "-t", "-p")] == ["8000", "60", "gpu"]


def test_a_scheduler_that_cannot_start_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "no-such-profile")
    with pytest.raises(SuperInfoError, match=r"snakemake\.log: Snakemake ended with 1 before any job did: .+profile"):
        run_jobs([errand("pretrain/one", "true")], tmp_path, TWO_CORES, nothing)
