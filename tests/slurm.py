"""A Slurm cluster of this machine, as `scripts/local_slurm.sh` brings it up."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "local_slurm.sh"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
DAEMONS = ("munged", "slurmctld", "slurmd")
LACKING = [program for program in (*DAEMONS, "sbatch") if shutil.which(program, path=PATH) is None]

needs_slurm = pytest.mark.skipif(bool(LACKING), reason=f"Debian's packages of Slurm are not here: {', '.join(LACKING)}")


def run(
    *command: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None, path: str = PATH
) -> subprocess.CompletedProcess[str]:
    """Run a program in an environment, by default this process's with the folders of daemons."""
    env = environment or os.environ | {"PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=cwd, timeout=240)


@contextmanager
def cluster_in(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which programs speak to a cluster in `folder`, as its user's shell would have it."""
    start = run(SCRIPT, "start", folder)
    try:
        assert start.returncode == 0, start.stderr
        tell = 'eval "$1" && exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        environment: dict[str, str] = json.loads(run("bash", "-c", tell, "-", start.stdout, sys.executable).stdout)
        yield environment
    finally:
        run(SCRIPT, "stop", folder)


def daemons_of(folder: Path) -> list[str]:
    """Return the processes that are daemons of a cluster in a folder, by what files they hold open."""
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
