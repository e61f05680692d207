"""Test images that are trained on too, told by the content of their files."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from superinfo.errors import UserError
from superinfo.files import file_sha256, write_bytes
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
    states = [_states(split) for split in (train, test)]
    sizes = [{size for size, _ in split.values()} for split in states]
    both = sizes[0] & sizes[1]
    candidates = [{path: state for path, state in split.items() if state[0] in both} for split in states]
    digests = _digests(candidates[0] | candidates[1], cache)
    trained = {digests[path]: path for path in reversed(candidates[0])}
    seen = [path for path in candidates[1] if digests[path] in trained]
    if not seen:
        return []
    told = f"{len(seen):,} of the {len(test.coco['images']):,} test images are trained on too"
    if len(seen) > most * len(test.coco["images"]):
        raise UserError(
            f"{test.source}: {told}, first {seen[0]} ({trained[digests[seen[0]]]}); take them out of one split, "
            f"or raise data.max_seen ({most:g}) if they are published so"
        )
    return [told]


def _states(split: Annotations) -> dict[str, State]:
    """Return each image file's state, by path. Files that cannot be read are told when they are loaded."""
    found = {}
    for entry in split.coco["images"]:
        path = os.path.abspath(os.path.join(split.images, entry["file_name"]))
        try:
            state = os.stat(path)
        except OSError:
            continue
        found[path] = (state.st_size, state.st_mtime_ns)
    return found


def _digests(states: dict[str, State], cache: Path) -> dict[str, str]:
    if not states:
        return {}
    listed = sorted((path, *state) for path, state in states.items())
    kept = cache / f"image-hashes-{hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:24]}.json"
    if not kept.exists():
        write_bytes(kept, json.dumps(_read(list(states))).encode())
    by_path: dict[str, str] = json.loads(kept.read_bytes())
    return by_path


def _read(paths: Sequence[str]) -> dict[str, str]:
    if len(paths) < SHOWN:
        return {path: _digest(path) for path in paths}
    found = {}
    with progress("images of sizes found in both splits: hashing", len(paths), "files") as advance:
        for number, path in enumerate(paths, 1):
            found[path] = _digest(path)
            if number % REPORTED == 0 or number == len(paths):
                advance((number - 1) % REPORTED + 1, "")
    return found


def _digest(path: str) -> str:
    try:
        return file_sha256(Path(path))
    except OSError:
        return f"unreadable {path}"
