"""The training state of an unfinished run: the last two are kept, and one that is broken gives way to the other."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from superinfo.errors import UserError
from superinfo.files import write_bytes
from superinfo.progress import say

PATTERN = "training-*.state"
BROKEN = ".broken"
ASIDE = ".aside"
KEPT = 2
_DIGEST = hashlib.sha256().digest_size


def save_state(folder: Path, step: int, state: Mapping[str, Any], recipe_hash: str) -> None:
    """Write the state after `step` steps, atomically and with its hash before it, and remove all but the last two."""
    buffer = io.BytesIO()
    torch.save({**state, "step": step, "recipe_hash": recipe_hash}, buffer)
    data = buffer.getvalue()
    write_bytes(folder / f"training-{step:09d}.state", hashlib.sha256(data).digest() + data)
    for old in sorted(folder.glob(PATTERN))[:-KEPT]:
        old.unlink()


def newest_state(folder: Path, recipe_hash: str) -> Path | None:
    """Return the newest whole state of a folder, None if there is none.

    A broken one is put aside with a warning. Raises UserError if all are broken, or if the state is of another recipe.
    """
    for path in sorted(folder.glob(PATTERN), reverse=True):
        state = _whole(path)
        if state is None:
            path.rename(path.with_name(path.name + BROKEN))
            say(f"{path}: broken training state, put aside as {path.name}{BROKEN}")
            continue
        if state["recipe_hash"] != recipe_hash:
            raise UserError(
                f"{path}: state of another recipe ({state['recipe_hash'][:8]}, not {recipe_hash[:8]}); "
                "move it out of this run's folder"
            )
        return path
    if any(folder.glob(PATTERN + BROKEN)):
        raise UserError(f"{folder}: no whole training state left; delete {PATTERN}{BROKEN} to start this run anew")
    return None


def read_state(path: Path) -> dict[str, Any]:
    """Read a state that another process found whole. Raises UserError if this machine does not see it."""
    state = _whole(path) if path.exists() else None
    if state is None:
        raise UserError(f"{path}: not seen from this machine; put --runs where all machines of a run see it")
    return state


def put_states_aside(folder: Path) -> None:
    """Rename the states of a run that starts anew; they stay to its end, and renamed back it goes on from them."""
    for path in folder.glob(PATTERN):
        path.rename(path.with_name(path.name + ASIDE))


def remove_states(folder: Path) -> None:
    """Remove the states of a run that is done."""
    for ending in ("", BROKEN, ASIDE):
        for path in folder.glob(PATTERN + ending):
            path.unlink()


def _whole(path: Path) -> dict[str, Any] | None:
    data = path.read_bytes()
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data[_DIGEST:]), map_location="cpu", weights_only=True)
    return state
