"""From visible masks to COCO segmentations and boxes."""

from itertools import pairwise
from typing import Any, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from superinfo.datasets.scenes.shapes import SUBPIXELS

Contour = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

_TOLERANCE = 1.0
_SMALLEST_PART = 0.25
"""Parts and holes of a smaller area, in square pixels, are left out."""


class RunLengths(TypedDict):
    """COCO's uncompressed run-length encoding: runs of zeros and ones in turn, down the columns."""

    counts: list[int]
    size: list[int]


def trace_polygons(mask: NDArray[np.uint8]) -> tuple[list[list[float]], Box]:
    """Return COCO polygons, flat x, y lists in pixels, of a visible mask `(4S, 4S)`, and their box.

    Each part gets one polygon. A hole is joined to the border of its part by a slit of no width, as COCO's
    polygons know no holes.
    """
    left, top, across, down = cv2.boundingRect(mask)
    corner = np.array([left, top])
    # A contour runs through the centres of the border's elements. With each subpixel doubled, centres n and
    # n + 1 halve, rounded up, to the edges of the subpixel.
    doubled = mask[top : top + down, left : left + across].repeat(2, axis=0).repeat(2, axis=1)
    found, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    edges = [(np.asarray(points, np.int32).reshape(-1, 2) + 1) // 2 + corner for points in found]
    contours = [_simplify(points) for points in edges]
    parents = hierarchy[0, :, 3]
    large = [order for order, contour in enumerate(contours) if _is_large(contour)]
    parts = [order for order in large if parents[order] < 0]
    if not parts:
        x, y, width, height = box = bounding_box(mask)
        return [[x, y, x + width, y, x + width, y + height, x, y + height]], box
    polygons = [
        _cut_slits(contours[part], [contours[hole] for hole in large if parents[hole] == part]) for part in parts
    ]
    points = np.concatenate([edges[part] for part in parts]) / SUBPIXELS
    (x, y), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return [polygon.ravel().tolist() for polygon in polygons], (x, y, right - x, bottom - y)


def bounding_box(mask: NDArray[np.uint8]) -> Box:
    """Return the tight box of a mask `(4S, 4S)` that is not empty."""
    x, y, width, height = cv2.boundingRect(mask)
    return x / SUBPIXELS, y / SUBPIXELS, width / SUBPIXELS, height / SUBPIXELS


def encode_runs(mask: NDArray[np.bool_]) -> RunLengths:
    """Return the run lengths of a mask `(S, S)`."""
    flat = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    counts = [end - start for start, end in pairwise(edges)]
    return {"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)}


def _simplify(points: NDArray[Any]) -> Contour:
    """Drop points that change little, and go from subpixels to pixels."""
    kept = cv2.approxPolyDP(points.astype(np.int32), _TOLERANCE, closed=True).reshape(-1, 2)
    return kept.astype(np.float64) / SUBPIXELS


def _is_large(contour: Contour) -> bool:
    return len(contour) >= 3 and cv2.contourArea(contour.astype(np.float32)) >= _SMALLEST_PART


def _cut_slits(outer: Contour, holes: list[Contour]) -> Contour:
    """Join each hole, the nearest first, to the border: along the slit, around the hole and back."""
    remaining = list(holes)
    while remaining:
        distances = [np.linalg.norm(outer[:, None] - hole[None], axis=2) for hole in remaining]
        nearest = int(np.argmin([distance.min() for distance in distances]))
        i, j = np.unravel_index(np.argmin(distances[nearest]), distances[nearest].shape)
        hole = np.roll(remaining.pop(nearest), -int(j), axis=0)
        outer = np.concatenate([outer[: i + 1], hole, hole[:1], outer[i:]])
    return outer
