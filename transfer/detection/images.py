"""Images to predict on: found below what a user names, and seen to be readable before anything is computed."""

import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from detectron2.data.detection_utils import read_image
from detectron2.data.transforms import ResizeShortestEdge
from numpy.typing import NDArray
from PIL import Image

from superinfo.datasets.images import ImageFiles
from superinfo.errors import UserError
from superinfo.progress import progress


def find_images(named: Iterable[Path]) -> list[Path]:
    """Return the files that are named and the image files below folders that are, each once, in the order of naming.

    Raises UserError for a name that is neither, and for a folder without images.
    """
    found: dict[str, Path] = {}
    for path in named:
        if not path.exists():
            raise UserError(f"{path}: no such image or folder")
        for file in ImageFiles(path).paths if path.is_dir() else (path,):
            found.setdefault(os.path.abspath(file), Path(file))
    return list(found.values())


def check_images(files: list[Path], resize: ResizeShortestEdge) -> None:
    """Decode every image. Raises UserError if any cannot be, with their number, the first one and what is amiss."""
    threads = min(len(os.sched_getaffinity(0)), len(files))
    with (
        ThreadPoolExecutor(threads) as pool,
        warnings.catch_warnings(action="ignore"),  # of odd palettes and large images, which are no hindrance
        progress("check", len(files), "images") as advance,
    ):
        faults = []
        for file, fault in zip(files, pool.map(partial(_fault, resize=resize), files), strict=True):
            advance(1, "")
            if fault:
                faults.append(f"{file}: {fault}")
    if faults:
        raise UserError(f"{len(faults):,} of {len(files):,} images cannot be used, first {faults[0]}; leave them out")


def read_pixels(file: Path, channel_order: str) -> NDArray[np.uint8]:
    """Return an image `(H, W, 3)`, RGB or BGR, upright as its EXIF orientation says, as Detectron2 reads it.

    Raises UserError, naming the file, if it cannot be read.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return np.asarray(read_image(str(file), format=channel_order), np.uint8)
    except Exception as error:  # Pillow raises whatever the broken bytes lead it into
        raise UserError(f"{file}: {_reason(error)}") from None


def _fault(file: Path, resize: ResizeShortestEdge) -> str | None:
    """Say why an image cannot be used, if so."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                return f"of more than 8 bits a pixel (mode {image.mode}), which Detectron2 cuts off; convert it to 8"
        height, width = read_image(str(file), format="RGB").shape[:2]
    except Exception as error:  # Pillow raises whatever the broken bytes lead it into
        return _reason(error)
    transform = resize.get_transform(np.empty((height, width)))
    if min(getattr(transform, "new_h", 1), getattr(transform, "new_w", 1)) < 1:
        return f"too narrow ({width}x{height}): nothing is left at the detector's size"
    return None


def _reason(error: Exception) -> str:
    said = str(error.args[-1] if isinstance(error, OSError) and error.args else error)
    return f"not a readable image ({' '.join(said.split())[:120]})"
