"""What a set's images are, told by their stored bytes: the key of cached features, and images that two sets share."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superinfo.datasets.images import Files, ImageSet
from superinfo.errors import UserError
from superinfo.files import write_atomically
from superinfo.progress import progress

Digests = NDArray[np.uint8]
"""One for each image, `(N, 16)`; zeros where it cannot be read."""
SIZE = 16
REPORTED = 1000


def digests(images: ImageSet, title: str, cache: Path) -> Digests:
    """Return the BLAKE2b digest of each image's stored bytes.

    Those of files are kept below `cache` and read anew where a path, size or time of change differs. A file that could
    not be read is tried again, as it may be readable now.
    """
    if not isinstance(images, Files):
        return _read(images, range(len(images)), title)
    path = cache / f"digests-{_signature(images)}.npy"
    found: Digests = np.load(path) if path.exists() else np.zeros((len(images), SIZE), np.uint8)
    unread = np.flatnonzero(~found.any(axis=1))
    if unread.size:
        found[unread] = _read(images, unread, title)
        if found[unread].any():
            write_atomically(path, lambda file: np.save(file, found))
    return found


def shared(test: Digests, train: Digests) -> NDArray[np.int64]:
    """Return the rows of `test` whose image is in `train` too."""
    seen = set(map(bytes, train)) - {bytes(SIZE)}
    return np.array([row for row, digest in enumerate(map(bytes, test)) if digest in seen], np.int64)


def _read(images: ImageSet, indices: Sequence[int] | NDArray[np.int64], title: str) -> Digests:
    found = np.zeros((len(indices), SIZE), np.uint8)
    with progress(f"{title}: hashing", len(indices), "images") as advance:
        for row, index in enumerate(indices):
            found[row] = np.frombuffer(_digest(images, int(index)), np.uint8)
            if (row + 1) % REPORTED == 0 or row + 1 == len(indices):
                advance(row % REPORTED + 1, "")
    return found


def _digest(images: ImageSet, index: int) -> bytes:
    try:
        return hashlib.blake2b(images.content(index), digest_size=SIZE).digest()
    except UserError:  # told when its features are asked for
        return bytes(SIZE)


def _signature(files: Files) -> str:
    digest = hashlib.sha256()
    for path in files.paths:
        try:
            found = os.stat(path)
            state = (found.st_size, found.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        digest.update(json.dumps([path, *state]).encode())
    return digest.hexdigest()[:16]
