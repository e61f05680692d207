"""Speed of generating objects of `scenes`, beside the limit of a minute for 10,000 on two cores."""

import json
import tempfile
import time
from pathlib import Path

from superinfo.datasets.scenes import World, write_objects

COUNT, SIZE, PROCESSES = 10_000, 64, 2
LIMIT_SECONDS = 60.0


def main() -> None:
    """Generate the objects in a temporary folder, print a table and one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_objects(Path(folder), World(), "train", COUNT, SIZE, PROCESSES)
        seconds = time.perf_counter() - start
    print(f"{COUNT:,} objects of {SIZE} px, {PROCESSES} processes")
    print(f"{'':<12}{'seconds':>10}{'images/s':>12}")
    print(f"{'measured':<12}{seconds:>10.1f}{COUNT / seconds:>12,.0f}")
    print(f"{'limit':<12}{LIMIT_SECONDS:>10.1f}{COUNT / LIMIT_SECONDS:>12,.0f}")
    result = {
        "name": "scenes",
        "seconds": round(seconds, 2),
        "images_per_second": round(COUNT / seconds, 1),
        "ratio": round(LIMIT_SECONDS / seconds, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
