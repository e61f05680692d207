"""The command line that repeats a run, which its record or manifest holds."""

import shlex
from collections.abc import Sequence
from pathlib import Path

RUNS = Path("runs")
"""Where runs lie if nothing else is said."""


def command_line(
    verb: str, recipe: str, inputs: Sequence[str], seed: int, runs: Path, overrides: Sequence[str] = ()
) -> str:
    """Return what to type where the run was started: all that its figures depend on, quoted for a shell.

    `inputs` are the verb's further options: `--weights DIR`, `--checkpoint FILE`. Devices are the machine's own.
    """
    elsewhere = [] if runs == RUNS else ["--runs", str(runs)]
    changes = [part for override in overrides for part in ("--set", override)]
    return shlex.join(["superinfo", verb, recipe, *inputs, "--seed", str(seed), *elsewhere, *changes])
