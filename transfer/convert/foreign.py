"""Files that are taken for checkpoints, known by their first bytes."""

import re

_UNPACK = "unpack it and name the file inside"
_FOREIGN = {
    rb"version https://git-lfs": "a pointer of git-lfs, which stands for a file; `git lfs pull` gets that",
    rb"\x1f\x8b": f"compressed by gzip; {_UNPACK}",
    rb"BZh\d": f"compressed by bzip2; {_UNPACK}",
    rb"\xfd7zXZ": f"compressed by xz; {_UNPACK}",
    rb"\x28\xb5\x2f\xfd": f"compressed by zstd; {_UNPACK}",
    rb"7z\xbc\xaf": f"a 7z archive; {_UNPACK}",
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP": "an image, not a checkpoint; correct the path",
    rb"\s*(?i:<!doctype html|<html)": "a web page, not the file that it offers; download that",
}
"""What a file is and what helps, by a pattern of its beginning."""


def known_otherwise(data: memoryview) -> str | None:
    """Return what a file is that is no checkpoint, and what helps; None if that is not known."""
    beginning = bytes(data[:100])
    return next((told for pattern, told in _FOREIGN.items() if re.match(pattern, beginning, re.DOTALL)), None)
