"""One job of a suite, as Snakemake starts it: run its verb, and say what became of it.

`python -m benchmarks.job PLAN NAME OUTCOME THREADS PARENT`. Exits with 0 and an outcome if the job is done, failed or
blocked, and with 75 and none if it was interrupted: Snakemake starts it again.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome, last_line, log_path, outcome_path
from superinfo.errors import Interrupted
from superinfo.files import exclusive
from superinfo.orphans import die_with_parent

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main() -> int:
    """Run the job that the command line names; return the exit code."""
    plan_file, name, outcome_file, threads, parent = sys.argv[1:]
    die_with_parent(int(parent))
    plan = json.loads(Path(plan_file).read_text())
    try:
        outcome = run(plan, name, int(threads))
        if outcome is None:
            return Interrupted.exit_code
        # One file, unless Snakemake has its outputs elsewhere than on the disk that all jobs share.
        for path in {Path(outcome_file).resolve(), outcome_path(Path(plan["folder"]), name)}:
            outcome.write(path)
    except OSError:  # as of a full disk: no job can say how it ended, so no more are to start
        os.kill(int(parent), signal.SIGTERM)
        raise
    return 0


def run(plan: dict[str, Any], name: str, threads: int) -> Outcome | None:
    """Run a job of a plan, its log beside its outcome; None if it was interrupted."""
    folder, job = Path(plan["folder"]), plan["jobs"][name]
    for need in job["needs"]:
        before = Outcome.read(outcome_path(folder, need))
        assert before is not None, f"{need}: Snakemake starts a job when those that it needs have ended"
        if before.state == "failed":
            return Outcome("blocked", reason=f"{need} failed: {before.reason}")
        if before.state == "blocked":
            return before
    log = log_path(folder, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    each = max(1, threads // max(1, job["gpus"]))  # a process for every GPU
    environment = os.environ | plan["environment"] | dict.fromkeys(THREADS, str(each))
    with ExitStack() as stack:
        if plan["gpus"]:
            held = stack.enter_context(_held_gpus(folder, plan["gpus"], job["gpus"]))
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        code, said = _run(job["command"], plan["directory"], environment, log)
    if code in {Interrupted.exit_code, -signal.SIGTERM, -signal.SIGUSR1}:  # the signals: before it could handle them
        return None
    return Outcome("done", artifact=said) if code == 0 else Outcome("failed", code=code, reason=_reason(code, log))


def _run(command: list[str], directory: str, environment: dict[str, str], log: Path) -> tuple[int, str]:
    """Return the exit code and the last line of stdout; signals that ask to stop are passed on."""
    program, *arguments = command
    verb = [sys.executable, "-P", "-m", "superinfo.cli"] if program == "superinfo" else [program]
    wrapper = os.getpid()
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*verb, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=directory,
            env=environment,
            text=True,
            preexec_fn=lambda: die_with_parent(wrapper),  # noqa: PLW1509  # this process has no threads
        )
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, lambda *_: process.send_signal(signal.SIGTERM))
        said, _ = process.communicate()
    return process.returncode, next((line for line in reversed(said.splitlines()) if line), "")


@contextmanager
def _held_gpus(folder: Path, gpus: Sequence[str], count: int) -> Iterator[list[str]]:
    """Yield so many of this machine's GPUs, by number, that no other job of the suite has."""
    with ExitStack() as stack:
        held: list[str] = []
        for gpu in gpus:
            if len(held) < count:
                try:
                    stack.enter_context(exclusive(folder / "jobs" / f".gpu{gpu}.lock", wait=False))
                except BlockingIOError:
                    continue
                held.append(gpu)
        assert len(held) == count, f"{count} GPUs asked for, {len(held)} are free: Snakemake counts them"
        yield held


def _reason(code: int, log: Path) -> str:
    if code < 0:
        more = ": out of memory?" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{more}"
    return last_line(log).removeprefix("superinfo: ") or f"exit code {code}"


if __name__ == "__main__":
    sys.exit(main())
