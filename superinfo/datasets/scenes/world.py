"""The world that both splits show, and one object of it in an image."""

import hashlib
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from superinfo.datasets.scenes.paint import Image, Paint, contrast, draw_paint, render_paint, shine_light
from superinfo.datasets.scenes.shapes import SHAPES, SUBPIXELS, draw_outline, fill_outline
from superinfo.errors import UserError

VERSION: Final = 1
"""Of the generator; a change that alters any image raises it."""

OBJECT_PERIOD = (0.2, 0.5)
BACKGROUND_PERIOD = (0.09, 0.2)
"""Periods of the textures, in object sides and in image sides."""

_SCALE = (0.28, 0.52)
_REACH = 0.85
"""The centre stays so many object sides inside the image: even a crescent then loses only its horns."""


@dataclass(frozen=True)
class World:
    """What is generated: the classes, in label order, and the seed of all streams.

    Raises `UserError` for a class that is unknown or named twice, for no class, and for a negative seed.
    """

    classes: tuple[str, ...] = SHAPES
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in SHAPES]
        if unknown:
            raise UserError(f"scenes: unknown class {unknown[0]!r}: choose from {', '.join(SHAPES)}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise UserError(f"scenes: classes {list(self.classes)}: name at least one class, and each only once")
        if self.seed < 0:
            raise UserError(f"scenes: seed {self.seed} is negative: use 0 or more")


@dataclass(frozen=True)
class ObjectFactors:
    """What generated one object: `class_name` and `label` are the task, all else is nuisance.

    Hues and rotation are in degrees [0, 360), saturations and values in [0, 1]. `scale` is the square root
    of the object's whole area and `x`, `y` its centroid, all in image sides. `contrast` is the CIE 1976
    difference of the mean colours of object and background.
    """

    class_name: str
    label: int
    hue: float
    saturation: float
    value: float
    texture: str
    background_hue: float
    background_saturation: float
    background_value: float
    background_texture: str
    scale: float
    rotation: float
    x: float
    y: float
    contrast: float


def draw_object(world: World, split: str, index: int, size: int) -> tuple[NDArray[np.uint8], ObjectFactors]:
    """Draw image `index` of a split: one object, at least 85% of it inside; `(size, size, 3)` uint8 RGB.

    The class has its own stream, so that all nuisances are the same whatever the class.
    """
    label = int(stream(world, "object label", split, index).integers(len(world.classes)))
    rng = stream(world, "object appearance", split, index)
    background = draw_paint(rng, BACKGROUND_PERIOD)
    paint = draw_paint(rng, OBJECT_PERIOD, against=background)
    scale, rotation = rng.uniform(*_SCALE), rng.uniform(0, 360)
    freedom = 0.5 - _REACH * scale
    x, y = 0.5 + freedom * rng.uniform(-1, 1, 2)
    factors = object_factors(world, label, paint, background, (scale, rotation, x, y))

    outline = draw_outline(world.classes[label], stream(world, "object outline", split, index))
    mask = np.zeros((size * SUBPIXELS, size * SUBPIXELS), np.uint8)
    centre = (x * size, y * size)
    fill_outline(mask, outline, centre, scale * size, rotation)
    image = render_paint(background, size, (size / 2, size / 2), size)
    composite(image, render_paint(paint, size, centre, scale * size), coverage(mask))
    return shine_light(image, rng), factors


def stream(world: World, part: str, split: str, index: int) -> np.random.Generator:
    """Return the generator of one part of one image, independent of all other parts, splits and images."""
    digest = hashlib.sha256(f"{part}/{split}".encode()).digest()[:16]
    words = (int(word) for word in np.frombuffer(digest, "<u4"))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(world.seed, spawn_key=(*words, index))))


def object_factors(
    world: World, label: int, paint: Paint, background: Paint, place: tuple[float, float, float, float]
) -> ObjectFactors:
    """Gather the factors of an object; `place` is its scale, rotation, x and y."""
    scale, rotation, x, y = place
    return ObjectFactors(
        class_name=world.classes[label],
        label=label,
        hue=paint.hue,
        saturation=paint.saturation,
        value=paint.value,
        texture=paint.texture,
        background_hue=background.hue,
        background_saturation=background.saturation,
        background_value=background.value,
        background_texture=background.texture,
        scale=scale,
        rotation=rotation,
        x=float(x),
        y=float(y),
        contrast=contrast(paint, background),
    )


def coverage(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average a mask `(4S, 4S)` of zeros and ones over each pixel: `(S, S)` in [0, 1]."""
    size = mask.shape[0] // SUBPIXELS
    # Multiples of 15: the averages of 16 subpixels are whole numbers.
    levels = cv2.resize(mask * np.uint8(240), (size, size), interpolation=cv2.INTER_AREA)
    return levels.astype(np.float32) / np.float32(240)


def composite(image: Image, over: Image, alpha: NDArray[np.float32]) -> None:
    """Lay `over` on `image`, in place, by the coverage `alpha` `(S, S)`."""
    image += alpha[..., None] * (over - image)
