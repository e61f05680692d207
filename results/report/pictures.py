"""Pictures of predictions beside ground truth, small enough to be part of a page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

WIDTH = 760
"""Pixels shown."""
QUALITY = 68


@dataclass(frozen=True, slots=True)
class Picture:
    """A sheet of pictures of one run."""

    uri: str
    """With all its bytes."""
    width: int
    height: int


def read_picture(path: Path) -> Picture | None:
    """Return a sheet of pictures as WebP, at most WIDTH pixels wide; None if the file is missing or no picture."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow's readers raise
        return None
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return Picture(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)
