"""Masks as COCO has them: polygons, or run lengths down the columns, compressed to a text or not."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST = 6
"""Numbers in a polygon of three points; Detectron2 leaves out shorter ones, and those that lack a y."""


class WrongMask(ValueError):
    """A mask that cannot be read; the message says why."""


def has_area(segmentation: object, height: int, width: int) -> bool:
    """Say whether a mask covers anything. Raises WrongMask if it is none, or not one of an image of that size."""
    if isinstance(segmentation, dict):
        return _runs_have_area(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise WrongMask("neither polygons nor run lengths")
    covers = False
    for polygon in segmentation:
        if not isinstance(polygon, list):
            raise WrongMask("polygons must be lists of x, y, x, y, ...")
        if not are_finite(polygon):
            raise WrongMask("coordinates must be finite numbers")
        if not covers and is_polygon(polygon):
            xs, ys = polygon[::2], polygon[1::2]
            covers = min(xs) < max(xs) and min(ys) < max(ys)
    return covers


def is_polygon(polygon: list[float]) -> bool:
    """Say whether these are the coordinates of three points or more."""
    return len(polygon) >= SHORTEST and len(polygon) % 2 == 0


def are_finite(numbers: list[Any]) -> bool:
    """Say whether all are numbers, none infinite or NaN."""
    try:
        return math.isfinite(sum(numbers))  # one that is not makes the sum so
    except (TypeError, OverflowError):
        return False


def read_runs(counts: str | bytes) -> NDArray[np.int64]:
    """Return the run lengths in COCO's compressed text.

    A number has five bits in each character, the lowest first, with a sign; from the fourth on it is the difference
    to the number before the last (cocoapi, maskApi.c, rleFrString). Raises WrongMask for a text that ends within one.
    """
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise WrongMask("run lengths must be ASCII") from None
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        raise WrongMask("run lengths are no compressed text")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 8:
        raise WrongMask("run lengths are no compressed text")
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((codes & 31) << (5 * place), first)
    numbers -= np.where(codes[last] & 16, np.int64(1) << (5 * (last - first + 1)), 0)
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return numbers


def _runs_have_area(runs: dict[str, Any], height: int, width: int) -> bool:
    counts = runs.get("counts")
    if runs.get("size") != [height, width]:
        raise WrongMask("run lengths must be of the size of the image, [height, width]")
    if isinstance(counts, (str, bytes)):
        lengths = read_runs(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts) and are_finite(counts):
        lengths = np.array(counts, dtype=np.float64)  # any whole number fits
    else:
        raise WrongMask("run lengths must be whole numbers or a compressed text")
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise WrongMask("run lengths must add up to the pixels of the image")
    return bool(lengths[1::2].any())
