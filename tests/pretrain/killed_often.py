"""Train a recipe in a process that is killed again and again at random steps, and once undisturbed.

Standard input: the recipe, as JSON. Prints the number of kills and both encoders' tensor hashes. Every attempt
uses another number of workers. One process imports everything and forks, as importing takes longest.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from pretrain.engine import pretrain
from pretrain.recipe import PretrainRecipe, checkpoint_path
from superinfo.artifacts import load_checkpoint, tensors_sha256

KILLS = 10
STEPS_BETWEEN = 6


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    draw = random.Random(0)
    fields = json.load(sys.stdin)
    killed, whole = (
        checkpoint_path(PretrainRecipe.parse(fields, "test"), 0, folder / runs) for runs in ("killed", "whole")
    )
    kills = attempts = 0
    while not killed.exists():
        child = start(fields | {"workers": attempts % 3}, folder / "killed")
        if kills < KILLS:
            kills += kill_later(child, killed.parent, draw)
        else:
            os.waitpid(child, 0)
        attempts += 1
        assert attempts < 3 * KILLS
    os.waitpid(start(fields, folder / "whole"), 0)
    print(json.dumps([kills, *(tensors_sha256(load_checkpoint(path)[1]) for path in (killed, whole))]))


def start(fields: dict[str, object], runs: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            pretrain(PretrainRecipe.parse(fields, "test"), 0, runs, "cpu")
        finally:
            os._exit(0)
    return child


def kill_later(child: int, folder: Path, draw: random.Random) -> int:
    """Kill a run some random steps and milliseconds after it took up work; return whether that interrupted it."""
    target = steps(folder) + draw.randrange(1, STEPS_BETWEEN)
    while steps(folder) < target:
        if os.waitpid(child, os.WNOHANG)[0]:
            return 0
        time.sleep(0.002)
    time.sleep(draw.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    return int(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL)


def steps(folder: Path) -> int:
    log = folder / "metrics.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


if __name__ == "__main__":
    main()
