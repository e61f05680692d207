"""What a set's images are, told by their stored bytes: the key of cached features, and images that two sets share."""

import hashlib
import json
import os
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

    Those of files are kept below `cache` and read anew where a path, size or time of change differs.
    """
    if not isinstance(images, Files):
        return _read(images, title)
    path = cache / f"digests-{_signature(images)}.npy"
    if not path.exists():
        found = _read(images, title)
        write_atomically(path, lambda file: np.save(file, found))
    kept: Digests = np.load(path)
    return kept


def shared(test: Digests, train: Digests) -> NDArray[np.int64]:
    """Return the rows of `test` whose image is in `train` too."""
    seen = set(map(bytes, train)) - {bytes(SIZE)}
    return np.array([row for row, digest in enumerate(map(bytes, test)) if digest in seen], np.int64)


def _read(images: ImageSet, title: str) -> Digests:
    found = np.zeros((len(images), SIZE), np.uint8)
    with progress(f"{title}: hashing", len(images), "images") as advance:
        for index in range(len(images)):
            found[index] = np.frombuffer(_digest(images, index), np.uint8)
            if (index + 1) % REPORTED == 0 or index + 1 == len(images):
                advance(index % REPORTED + 1, "")
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
