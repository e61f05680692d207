"""How a region looks: colour and texture, light and sensor noise; nothing here knows the class."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""`(S, S, 3)` RGB in [0, 1]."""

TEXTURES: tuple[str, ...] = ("solid", "stripes", "checker", "dots", "gradient", "noise")

MINIMUM_CONTRAST = 30.0
"""CIE 1976 colour difference that the mean colours of an object and its background are to have."""

_TRIES = 64
"""Draws of a colour; then the most contrasting of them will do, as hues may leave no room for more."""

_SHORTEST_PERIOD = 4.0
_GRID = 16
_DOT_RADIUS = 0.37
"""In periods: dots cover 43%."""


@dataclass(frozen=True)
class Paint:
    """A colour (hue in degrees, saturation and value in [0, 1]) and a texture that varies its brightness."""

    hue: float
    saturation: float
    value: float
    texture: str
    period: float
    angle: float
    phase: tuple[float, float]
    depth: float
    grid: NDArray[np.float32]

    def rgb(self) -> NDArray[np.float32]:
        """Return the mean colour `(3,)`, RGB in [0, 1]."""
        return _hsv_to_rgb(self.hue, self.saturation, self.value)


def draw_paint(rng: np.random.Generator, period: tuple[float, float], against: Paint | None = None) -> Paint:
    """Draw a paint that contrasts with `against`; `period` is the range of its texture, in painted lengths.

    Hue, texture and its parameters are drawn once; saturation and value again until the contrast is enough.
    """
    hue = rng.uniform(0, 360)
    texture = TEXTURES[rng.integers(len(TEXTURES))]
    length, angle = rng.uniform(*period), rng.uniform(0, 2 * math.pi)
    phase = (rng.uniform(), rng.uniform())
    depth = rng.uniform(0.05, 0.18)
    grid = rng.uniform(-1, 1, (_GRID, _GRID)).astype(np.float32)
    best: Paint | None = None
    for _ in range(_TRIES):
        saturation, value = rng.uniform(0.25, 1.0), rng.uniform(0.3, 0.85)
        paint = Paint(hue, saturation, value, texture, length, angle, phase, depth, grid)
        if against is None or contrast(paint, against) >= MINIMUM_CONTRAST:
            return paint
        if best is None or contrast(paint, against) > contrast(best, against):
            best = paint
    assert best is not None
    return best


def contrast(one: Paint, other: Paint) -> float:
    """Return the CIE 1976 difference (Euclidean, in L*a*b*) of two paints' mean colours."""
    return colour_difference(one.rgb(), other.rgb())


def colour_difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the CIE 1976 difference of two RGB colours `(3,)` in [0, 1]."""
    lab = cv2.cvtColor(np.stack([one, other])[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def render_paint(paint: Paint, size: int, centre: tuple[float, float], length: float) -> Image:
    """Fill `(size, size)` pixels with a paint, its texture anchored at `centre` and scaled by `length`."""
    brightness = 1 + paint.depth * _texture(paint, size, centre, length)
    return brightness[..., None] * paint.rgb()


def shine_light(image: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Multiply by a mild linear light gradient, add sensor noise and round to uint8."""
    size = image.shape[0]
    angle, strength, deviation = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.3), rng.uniform(0.005, 0.025)
    x, y = _pixel_centres(size)
    slope = (math.cos(angle) * (x - size / 2) + math.sin(angle) * (y - size / 2)) / size
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    lit = image * (1 + strength * slope)[..., None] + deviation * noise
    levels: NDArray[np.uint8] = np.rint(np.clip(lit, 0, 1) * 255).astype(np.uint8)
    return levels


def _hsv_to_rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    k = (np.array([5.0, 3.0, 1.0]) + hue / 60) % 6
    rgb = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return rgb.astype(np.float32)


def _texture(paint: Paint, size: int, centre: tuple[float, float], length: float) -> NDArray[np.float32]:
    """Return the brightness pattern `(S, S)` in [-1, 1], with a mean near 0 and edges a pixel wide."""
    period = max(paint.period * length, _SHORTEST_PERIOD)
    x, y = _pixel_centres(size)
    cos, sin = math.cos(paint.angle), math.sin(paint.angle)
    u = cos * (x - centre[0]) + sin * (y - centre[1])
    v = cos * (y - centre[1]) - sin * (x - centre[0])
    across, along = u / period + paint.phase[0], v / period + paint.phase[1]
    pattern: NDArray[np.floating[Any]]
    match paint.texture:
        case "solid":
            pattern = np.zeros_like(u)
        case "stripes":
            pattern = period / math.pi * np.sin(2 * math.pi * across)
        case "checker":
            pattern = period / math.pi * np.sin(2 * math.pi * across) * np.sin(2 * math.pi * along)
        case "dots":
            distance = np.hypot(across - np.rint(across), along - np.rint(along))
            pattern = 2 * period * (_DOT_RADIUS - distance)
        case "gradient":
            pattern = 2 / length * u
        case "noise":
            cells = min(max(math.ceil(size / period), 2), _GRID)
            blotches = cv2.resize(paint.grid[:cells, :cells], (size, size), interpolation=cv2.INTER_CUBIC)
            pattern = 1.5 * np.asarray(blotches, np.float32)
    return np.asarray(np.clip(pattern, -1, 1), np.float32)


@lru_cache(maxsize=4)
def _pixel_centres(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    along = np.arange(size, dtype=np.float32) + np.float32(0.5)
    return along[None, :], along[:, None]
