"""The classes: outlines that vary within a class and have the same area in all of them."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Outline = tuple[Points, ...]
"""Closed contours `(P, 2)` in object sides, the outer one first, then its holes."""

SUBPIXELS = 4
"""Masks are drawn on a grid this many times finer than the image, along each axis."""

_FIXED_POINT_BITS = 4
_FILL_MARGIN = 0.5
"""cv2.fillPoly also fills the subpixels that the border touches: half a subpixel more on each side."""


def draw_outline(name: str, rng: np.random.Generator) -> Outline:
    """Draw one member of a class, stretched a little, with its centroid at the origin and an area of 1."""
    contours = _DRAW[name](rng)
    stretch, axis = np.exp(rng.uniform(0, 0.18)), rng.uniform(0, np.pi)
    turn = rotation_matrix(axis)
    affine = turn @ np.diag([stretch, 1 / stretch]) @ turn.T
    contours = tuple(points @ affine.T for points in contours)
    area, centre = _area_and_centroid(contours)
    return tuple((points - centre) / math.sqrt(area) for points in contours)


def fill_outline(
    canvas: NDArray[np.uint8], outline: Outline, centre: tuple[float, float], side: float, rotation: float
) -> None:
    """Set to 1 the subpixels of `canvas` `(4S, 4S)` inside the outline; `centre` (x, y) and `side` in pixels.

    `side` is the square root of the filled area; `rotation` is in degrees, clockwise on the picture.
    """
    perimeter = sum(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum() for points in outline)
    margin = perimeter * _FILL_MARGIN
    target = side * SUBPIXELS
    scale = (np.sqrt(margin**2 + 4 * target**2) - margin) / 2  # scale^2 + margin * scale = target^2
    matrix = scale * rotation_matrix(np.deg2rad(rotation)).T
    offset = np.asarray(centre) * SUBPIXELS - 0.5
    fixed = [np.rint((points @ matrix + offset) * 2**_FIXED_POINT_BITS).astype(np.int32) for points in outline]
    cv2.fillPoly(canvas, fixed, (1,), shift=_FIXED_POINT_BITS)


def rotation_matrix(radians: float) -> Points:
    """Return the `(2, 2)` matrix that turns column vectors by `radians`."""
    cos, sin = np.cos(radians), np.sin(radians)
    return np.array([[cos, -sin], [sin, cos]])


def _area_and_centroid(contours: Outline) -> tuple[float, Points]:
    """Return the area without holes and the centroid `(2,)` of the region."""
    area, moment = 0.0, np.zeros(2, np.float64)
    for order, points in enumerate(contours):
        following = np.roll(points, -1, axis=0)
        cross = points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]
        signed = float(cross.sum()) / 2
        sign = math.copysign(1, signed) * (1 if order == 0 else -1)
        area += sign * signed
        moment = moment + sign * ((points + following) * cross[:, None]).sum(axis=0) / 6
    return area, moment / area


def _polar(radii: Points, angles: Points) -> Points:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _turns(count: int) -> Points:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _jitter(points: Points, amount: float, rng: np.random.Generator) -> Points:
    return points + rng.uniform(-amount, amount, points.shape)


def _round(rng: np.random.Generator) -> Points:
    """Draw a circle of radius 1 whose radius wavers by a few percent."""
    angles = _turns(64)
    radii = np.ones(64)
    for harmonic in (2, 3):
        radii += rng.uniform(0, 0.03) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    return _polar(radii, angles)


def _regular(corners: int, amount: float, rng: np.random.Generator) -> Points:
    return _jitter(_polar(np.ones(corners), _turns(corners)), amount, rng)


def _disk(rng: np.random.Generator) -> Outline:
    return (_round(rng),)


def _triangle(rng: np.random.Generator) -> Outline:
    return (_regular(3, 0.12, rng),)


def _ring(rng: np.random.Generator) -> Outline:
    hole = _round(rng) * rng.uniform(0.45, 0.65) + rng.uniform(-0.06, 0.06, 2)
    return (_round(rng), hole)


def _star(rng: np.random.Generator) -> Outline:
    points = int(rng.integers(5, 8))
    radii = np.tile([1.0, rng.uniform(0.38, 0.5)], points)
    return (_jitter(_polar(radii, _turns(2 * points)), 0.03, rng),)


def _cross(rng: np.random.Generator) -> Outline:
    a, b = rng.uniform(0.22, 0.36, 2)
    corners = [(b, -1), (b, -a), (1, -a), (1, a), (b, a), (b, 1)]
    corners += [(-x, -y) for x, y in corners]
    return (_jitter(np.array(corners), 0.03, rng),)


def _crescent(rng: np.random.Generator) -> Outline:
    """Cut a circle out of the unit circle and go along both arcs between the horns."""
    shift, radius = rng.uniform(0.45, 0.6), rng.uniform(0.7, 0.85)
    horn = (1 + shift**2 - radius**2) / (2 * shift)
    outer = np.arccos(horn)
    inner = np.arccos((horn - shift) / radius)
    along = _polar(np.ones(48), np.linspace(outer, 2 * np.pi - outer, 48))
    back = _polar(np.full(48, radius), np.linspace(2 * np.pi - inner, inner, 48))
    return (np.concatenate([along, back + np.array([shift, 0.0])]),)


def _square(rng: np.random.Generator) -> Outline:
    return (_regular(4, 0.08, rng),)


def _heart(rng: np.random.Generator) -> Outline:
    t = _turns(64)
    x = 16 * np.sin(t) ** 3 * rng.uniform(0.9, 1.1)
    notch = rng.uniform(4.5, 6.5)
    y = -(13 * np.cos(t) - notch * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y], axis=1),)


def _arrow(rng: np.random.Generator) -> Outline:
    shaft, head, neck = rng.uniform(0.16, 0.26), rng.uniform(0.55, 0.75), rng.uniform(-0.1, 0.25)
    corners = [(-1, -shaft), (neck, -shaft), (neck, -head), (1, 0), (neck, head), (neck, shaft), (-1, shaft)]
    return (_jitter(np.array(corners), 0.03, rng),)


def _gear(rng: np.random.Generator) -> Outline:
    teeth, root = int(rng.integers(8, 12)), rng.uniform(0.7, 0.8)
    step = 2 * np.pi / teeth
    angles = (_turns(teeth)[:, None] + step * np.array([0.0, 0.07, 0.43, 0.5])).ravel()
    return (_polar(np.tile([root, 1.0, 1.0, root], teeth), angles),)


def _ell(rng: np.random.Generator) -> Outline:
    width, height = rng.uniform(1.2, 1.8, 2)
    across, up = rng.uniform(0.4, 0.6, 2)
    corners = [(0, 0), (width, 0), (width, across), (up, across), (up, height), (0, height)]
    return (_jitter(np.array(corners), 0.03, rng),)


def _pentagon(rng: np.random.Generator) -> Outline:
    return (_regular(5, 0.06, rng),)


_DRAW: dict[str, Callable[[np.random.Generator], Outline]] = {
    "disk": _disk,
    "triangle": _triangle,
    "ring": _ring,
    "cross": _cross,
    "crescent": _crescent,
    "arrow": _arrow,
    "star": _star,
    "square": _square,
    "heart": _heart,
    "gear": _gear,
    "ell": _ell,
    "pentagon": _pentagon,
}

SHAPES: tuple[str, ...] = tuple(_DRAW)
"""All classes; the first six are mutually the easiest to tell apart."""
