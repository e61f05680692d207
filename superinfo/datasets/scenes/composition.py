"""One scene: several objects that hide each other, leave the image or crowd."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superinfo.datasets.scenes.paint import Image, Paint, draw_paint, render_paint, shine_light
from superinfo.datasets.scenes.polygons import Box, bounding_box, trace_polygons
from superinfo.datasets.scenes.shapes import SUBPIXELS, Outline, draw_outline, fill_outline
from superinfo.datasets.scenes.world import (
    BACKGROUND_PERIOD,
    OBJECT_PERIOD,
    ObjectFactors,
    World,
    composite,
    coverage,
    object_factors,
    stream,
)

MINIMUM_VISIBLE = 0.35
"""Of each object at least this fraction is neither hidden by others nor outside the image."""

CROWD_PROBABILITY = 0.1

_SCALE = (0.2, 0.42)
_CENTRE = (0.08, 0.92)
_CROWD_SCALE = (0.045, 0.07)
_CROWD_CENTRE = (0.35, 0.65)
_CROWD_MEMBERS = (10, 20)
_CROWD_SPACING = 1.5
_SHRINK = 0.95
"""Each place that is refused makes the next try so much smaller, so that one is found in the end."""


@dataclass(frozen=True)
class Instance:
    """The visible part of one object, or of a crowd of tiny objects of one class.

    `mask` is `(S, S)`, `area` in square pixels, `polygons` flat x, y lists and `bbox` x, y, width, height in
    pixels. `occluded` is the hidden fraction of what lies inside the image, `truncated` the fraction outside.
    For a crowd, `mask` is every pixel that a member touches, there are no polygons, and the factors hold the
    scale of a member and the centre of the crowd.
    """

    class_name: str
    label: int
    iscrowd: bool
    mask: NDArray[np.bool_]
    area: float
    polygons: list[list[float]]
    bbox: Box
    occluded: float
    truncated: float
    factors: ObjectFactors


@dataclass(frozen=True)
class Scene:
    """An image `(S, S, 3)` uint8 RGB and what is visible on it, from back to front."""

    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class _Layer:
    """What is painted at once: its mask inside the image `(4S, 4S)` and its whole area in subpixels."""

    mask: NDArray[np.uint8]
    whole: float
    paint: Paint
    factors: ObjectFactors
    iscrowd: bool


def draw_scene(world: World, split: str, index: int, size: int, min_objects: int = 2, max_objects: int = 6) -> Scene:
    """Draw image `index` of a split: `min_objects` to `max_objects` objects, sometimes before a crowd."""
    labels = stream(world, "scene labels", split, index)
    rng = stream(world, "scene appearance", split, index)
    places = stream(world, "scene places", split, index)
    outlines = stream(world, "scene outlines", split, index)
    background = draw_paint(rng, BACKGROUND_PERIOD)
    # Who owns each subpixel: 0 the background, n the n-th layer.
    owner = np.zeros((size * SUBPIXELS, size * SUBPIXELS), np.uint8)
    layers: list[_Layer] = []
    seen: list[int] = []
    crowds = int(rng.uniform() < CROWD_PROBABILITY)
    for order in range(crowds + int(rng.integers(min_objects, max_objects + 1))):
        label = int(labels.integers(len(world.classes)))
        paint = draw_paint(rng, OBJECT_PERIOD, against=background)
        draw = _draw_crowd if order < crowds else _draw_single
        outline = draw_outline(world.classes[label], outlines)
        shrink = 1.0
        while True:
            mask, whole, place = draw(outline, owner.shape[0], shrink, places)
            left = _seen_after(mask, owner, seen)
            wholes = [*(layer.whole for layer in layers), whole]
            if all(map(_is_visible, left, wholes)):
                break
            shrink *= _SHRINK
        seen = left
        factors = object_factors(world, label, paint, background, place)
        layers.append(_Layer(mask, whole, paint, factors, order < crowds))
        np.copyto(owner, len(layers), where=mask.view(np.bool_))
    image = _paint_layers(background, layers, size)
    instances = tuple(_instance(layer, owner == order) for order, layer in enumerate(layers, 1))
    return Scene(shine_light(image, rng), instances)


def _draw_single(
    outline: Outline, grid: int, shrink: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], float, tuple[float, float, float, float]]:
    """Draw one object on a grid `(4S, 4S)`: mask, whole area in subpixels, (scale, rotation, x, y)."""
    scale, rotation = rng.uniform(*_SCALE) * shrink, rng.uniform(0, 360)
    x, y = rng.uniform(*_CENTRE, 2)
    mask = np.zeros((grid, grid), np.uint8)
    size = grid / SUBPIXELS
    fill_outline(mask, outline, (x * size, y * size), scale * size, rotation)
    inside = float(np.count_nonzero(mask))
    is_cut = mask[[0, -1]].any() or mask[:, [0, -1]].any()
    return mask, max((scale * grid) ** 2, inside) if is_cut else inside, (scale, rotation, x, y)


def _draw_crowd(
    outline: Outline, grid: int, shrink: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], float, tuple[float, float, float, float]]:
    """Draw a crowd that points one way, on a jittered lattice; returns what `_draw_single` does."""
    scale, rotation = rng.uniform(*_CROWD_SCALE) * shrink, rng.uniform(0, 360)
    x, y = rng.uniform(*_CROWD_CENTRE, 2)
    lattice = np.stack(np.meshgrid(np.arange(-4, 5), np.arange(-4, 5)), axis=-1).reshape(-1, 2)
    members = lattice + rng.uniform(-0.2, 0.2, lattice.shape) + rng.uniform(-0.5, 0.5, 2)
    nearest = np.argsort(np.linalg.norm(members, axis=1))[: rng.integers(*_CROWD_MEMBERS, endpoint=True)]
    mask = np.zeros((grid, grid), np.uint8)
    size = grid / SUBPIXELS
    for across, down in members[nearest] * _CROWD_SPACING * scale:
        fill_outline(mask, outline, ((x + across) * size, (y + down) * size), scale * size, rotation)
    return mask, float(np.count_nonzero(mask)), (scale, rotation, x, y)


def _seen_after(mask: NDArray[np.uint8], owner: NDArray[np.uint8], seen: list[int]) -> list[int]:
    """Count the subpixels of each layer that are seen, from back to front, once a new one lies on top."""
    hidden = np.bincount(owner[mask.view(np.bool_)], minlength=len(seen) + 1)[1:]
    return [
        *(before - int(lost) for before, lost in zip(seen, hidden, strict=True)),
        int(np.count_nonzero(mask)),
    ]


def _is_visible(seen: int, whole: float) -> bool:
    return seen > 0 and seen >= MINIMUM_VISIBLE * whole


def _paint_layers(background: Paint, layers: list[_Layer], size: int) -> Image:
    image = render_paint(background, size, (size / 2, size / 2), size)
    for layer in layers:
        centre = (layer.factors.x * size, layer.factors.y * size)
        painted = render_paint(layer.paint, size, centre, layer.factors.scale * size)
        composite(image, painted, coverage(layer.mask))
    return image


def _instance(layer: _Layer, visible: NDArray[np.bool_]) -> Instance:
    mask = visible.view(np.uint8)
    part = coverage(mask)
    seen, inside = np.count_nonzero(mask), np.count_nonzero(layer.mask)
    # A pixel that is just half covered goes by its centre, as with COCO's way to fill polygons.
    most = (part > 0.5) | ((part == 0.5) & visible[1::SUBPIXELS, 1::SUBPIXELS])
    region = part > 0 if layer.iscrowd else most
    polygons, box = ([], bounding_box(mask)) if layer.iscrowd else trace_polygons(mask)
    return Instance(
        class_name=layer.factors.class_name,
        label=layer.factors.label,
        iscrowd=layer.iscrowd,
        mask=region,
        area=float(region.sum()) if layer.iscrowd else seen / SUBPIXELS**2,
        polygons=polygons,
        bbox=box,
        occluded=1 - seen / inside,
        truncated=1 - inside / layer.whole,
        factors=layer.factors,
    )
