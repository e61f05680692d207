"""What reading thousands of records takes: the store, the frame and every table, beside 5 s and 500 MB for 10,000.

    python -m benchmarks.perf.tables [--records N ...]

The records are the committed ones of detection, 32 figures each, repeated over rows, seeds and protocols with figures,
hashes, costs and commands of their own. Each measurement is a process of its own, which starts with importing this
project; its memory is that of it and of the processes that it starts, the most at any one time. Files are in the cache
of the system, as they were just written.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from superinfo.artifacts import RECORD, Record
from superinfo.files import write_json

COUNTS = (1000, 10_000)
LIMIT_SECONDS, LIMIT_MB = 5.0, 500.0
COMMITTED = Path(__file__).parents[2] / "results" / "records"
SEEDS, PROTOCOLS = 5, 4
STEPS = ("store", "frame")


def main() -> None:
    """Measure every step for every number of records; print a table, and last a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        {"store": read, "frame": load}[arguments.step](arguments.folder)
        return
    print(f"{'records':>8}  {'step':<8}{'seconds':>9}{'MB':>8}")
    found: dict[str, float] = {}
    for count in arguments.records:
        with tempfile.TemporaryDirectory() as name:
            generate(Path(name), count)
            for step in STEPS:
                seconds, megabytes = measure(step, Path(name))
                print(f"{count:>8,}  {step:<8}{seconds:>9.2f}{megabytes:>8.0f}", flush=True)
                found |= {f"{step}_{count}_seconds": round(seconds, 2), f"{step}_{count}_mb": round(megabytes)}
    print(f"at most {LIMIT_SECONDS:g} s and {LIMIT_MB:g} MB for all steps together")
    last = max(found[f"{step}_{arguments.records[-1]}_seconds"] for step in STEPS)
    result = {"name": "tables", "ratio": round(LIMIT_SECONDS / last, 2), "cores": len(os.sched_getaffinity(0))}
    print(json.dumps(result | found))


def read(folder: Path) -> None:
    """Read the store."""
    from results.records import read_store

    assert read_store(folder).runs


def load(folder: Path) -> None:
    """Read the store and make the frame."""
    from results import load_records

    assert len(load_records(folder))


def generate(folder: Path, count: int) -> None:
    """Write records: of each committed one as many as are due, every row with SEEDS seeds under PROTOCOLS protocols."""
    stored = [Record.read(path).model_dump(mode="json") for path in sorted(COMMITTED.glob(f"*/{RECORD}"))]
    stored = [fields for fields in stored if "config" in fields["recipe"]]
    for number in range(count):
        fields = _another(stored[number % len(stored)], number)
        write_json(folder / f"group{number % 7}" / fields["run"] / RECORD, fields)


def _another(fields: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a record like another one with a name, figures, hashes and costs of its own."""
    rng = np.random.default_rng(number)
    seed, protocol, row = number % SEEDS, number // SEEDS % PROTOCOLS, number // (SEEDS * PROTOCOLS)
    name, recipe = f"simclr+superinfo_r18w25_scenes_{row}e", f"maskrcnn_fpn_scenes{protocol}"
    run = f"{recipe}--{name}-s{seed}-{number:08x}"
    metrics = {
        key: metric | {"value": None if metric["value"] is None else metric["value"] + float(rng.normal())}
        for key, metric in fields["metrics"].items()
    }
    hashes = [rng.bytes(32).hex() for _ in range(2)]
    return fields | {
        "run": run,
        "command": f"superinfo detect {recipe} --weights runs/{name}-s{seed}-{number:08x}/detectron2 --seed {seed}",
        "seed": seed,
        "who": fields["who"] | {"name": name, "seed": seed, "recipe_hash": f"{row:064x}", "tensors_sha256": hashes[0]},
        "what": fields["what"] | {"protocol": f"protocol-{protocol}"},
        "metrics": metrics,
        "recipe": fields["recipe"] | {"name": recipe},
        "recipe_hash": f"{protocol:064x}",
        "protocol_hash": f"{protocol:064x}",
        "cost": fields["cost"] | {"wall_seconds": 100 * rng.random()},
    }


def measure(step: str, folder: Path) -> tuple[float, float]:
    """Return the seconds that a step takes in a process of its own, and its memory in MB."""
    command = [sys.executable, "-m", "benchmarks.perf.tables", "--step", step, "--folder", str(folder)]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    most = 0.0
    while process.poll() is None:
        most = max(most, _memory(process.pid))
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{step}: ended with {process.returncode}")
    return seconds, most


def _memory(pid: int) -> float:
    """Return the proportional set size of a process and its children, in MB: pages that they share count once."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1000
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):  # it has ended
        return total
    return total + sum(_memory(int(child)) for child in children)


if __name__ == "__main__":
    main()
