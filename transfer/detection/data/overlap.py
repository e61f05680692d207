"""Test images that are trained on too, told by the content of their files."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from superinfo.errors import UserError
from superinfo.files import exclusive, file_sha256, write_bytes
from superinfo.progress import progress
from transfer.detection.annotations import Annotations

REPORTED = 100
SHOWN = 5_000
"""Files from which on their hashing is worth a progress display."""

State = tuple[int, int]
"""A file's size and time of change."""


def seen_in_training(train: Annotations, test: Annotations, most: float, cache: Path) -> list[str]:
    """Return what a record has to say of test images that are trained on too: nothing where there are none.

    Files are compared by SHA-256, and only those whose size is found in both splits; hashes are kept below `cache`.
    Raises UserError if more than the share `most` of the test images are seen.
    """
    paths = [_paths(split) for split in (train, test)]
    states = [_states(split) for split in paths]
    sizes = [{size for size, _ in split.values()} for split in states]
    both = sizes[0] & sizes[1]
    candidates = {path: state for split in states for path, state in split.items() if state[0] in both}
    digests = _digests(candidates, cache)
    trained = {digests[path]: path for path in reversed(paths[0]) if path in digests}
    seen = [path for path in paths[1] if digests.get(path) in trained]
    if not seen:
        return []
    told = f"{len(seen):,} of the {len(paths[1]):,} test images are trained on too"
    if len(seen) > most * len(paths[1]):
        raise UserError(
            f"{test.source}: {told}, first {seen[0]} ({trained[digests[seen[0]]]}); take them out of one split, "
            f"or raise data.max_seen ({most:g}) if they are published so"
        )
    return [told]


def _paths(split: Annotations) -> list[str]:
    return [os.path.abspath(os.path.join(split.images, entry["file_name"])) for entry in split.coco["images"]]


def _states(paths: Sequence[str]) -> dict[str, State]:
    """Return each file's state. Files that cannot be read are told when they are loaded."""
    found = {}
    for path in paths:
        with suppress(OSError):
            state = os.stat(path)
            found[path] = (state.st_size, state.st_mtime_ns)
    return found


def _digests(states: dict[str, State], cache: Path) -> dict[str, str]:
    """Return the digests of the files that can be read. Only those are kept, as others may be readable later."""
    listed = sorted((path, *state) for path, state in states.items())
    kept = cache / f"image-hashes-{hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:24]}.json"
    with exclusive(kept.with_name(f".{kept.name}.lock"), wait=True):
        found: dict[str, str] = json.loads(kept.read_bytes()) if kept.exists() else {}
        if unread := [path for path in states if path not in found]:
            found |= _read(unread)
            write_bytes(kept, json.dumps(found).encode())
    return found


def _read(paths: Sequence[str]) -> dict[str, str]:
    """Return the digests of the files that can be read; reading many shows how far it is."""
    found: dict[str, str] = {}
    many = progress("images of sizes found in both splits: hashing", len(paths), "files")
    with many if len(paths) >= SHOWN else nullcontext(lambda *_: None) as advance:
        for number, path in enumerate(paths, 1):
            with suppress(OSError):
                found[path] = file_sha256(Path(path))
            if number % REPORTED == 0 or number == len(paths):
                advance((number - 1) % REPORTED + 1, "")
    return found
