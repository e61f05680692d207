"""One image to two augmented views, with the parameters drawn for each (SimCLR, arXiv 2002.05709, appendix A).

Everything works on uint8 pixels with OpenCV; only the last step makes floats, so that a data loader can ship bytes.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from superinfo.errors import UserError
from superinfo.spec import Spec

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

PARAMETERS = (
    "crop_x",
    "crop_y",
    "crop_width",
    "crop_height",
    "flip",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "blur_sigma",
    "solarize",
)
"""Names of a view's parameters, in order.

The crop is in units of the image's sides, colour in factors and for hue in turns, blur in pixels.
"""


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 < bounds[0] <= bounds[1]:
        raise ValueError("must be two numbers above 0, the smaller first")
    return bounds


def _at_most_one(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[1] > 1:
        raise ValueError("must be shares of the image's area, at most 1")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]


class ViewSpec(Spec):
    """The distribution of views. Defaults are SimCLR's at jitter strength 1."""

    crop_scale: Annotated[Range, AfterValidator(_at_most_one)] = (0.08, 1.0)
    """Range of the crop's share of the image's area."""
    crop_ratio: Range = (0.75, 4 / 3)
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=0.8, ge=0, le=1)
    """Probability of the four colour changes below."""
    brightness: float = Field(default=0.8, ge=0)
    contrast: float = Field(default=0.8, ge=0)
    saturation: float = Field(default=0.8, ge=0)
    hue: float = Field(default=0.2, ge=0, le=0.5)
    grayscale: float = Field(default=0.2, ge=0, le=1)
    blur: float = Field(default=0.5, ge=0, le=1)
    blur_sigma: Range = (0.1, 2.0)
    solarize: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class Views:
    """Two views of one image: normalised floats `(3, S, S)`, and per view its parameters, see PARAMETERS."""

    v1: Floats
    v2: Floats
    parameters1: Floats
    parameters2: Floats


class TwoViews:
    """Draws two views of an image.

    `image` is an RGB uint8 array `(H, W, 3)` or the bytes of a JPEG or PNG. The generator decides everything:
    `view_generator(seed, epoch, index)` makes a view independent of worker count, order and resume.
    """

    def __init__(
        self, spec: ViewSpec, size: int, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        self.spec, self.size = spec, size
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    def __call__(self, image: Pixels | bytes, generator: np.random.Generator) -> Views:
        """Return both views, normalised by mean and std. Raises UserError if the bytes are no image."""
        (v1, p1), (v2, p2) = self.pixels(image, generator)
        return Views(self._normalise(v1), self._normalise(v2), p1, p2)

    def pixels(
        self, image: Pixels | bytes, generator: np.random.Generator
    ) -> tuple[tuple[Pixels, Floats], tuple[Pixels, Floats]]:
        """Return both views as RGB uint8 `(S, S, 3)`, each with its parameters."""
        if isinstance(image, bytes):
            image = decode(image)
        return draw_view(image, self.spec, self.size, generator), draw_view(image, self.spec, self.size, generator)

    def _normalise(self, view: Pixels) -> Floats:
        scaled = (view.astype(np.float32) / 255 - self.mean) / self.std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def view_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one image in one epoch; cheap, and independent of every other."""
    # As an explicit uint64: NumPy makes floats of a list with one number above 2^63, and epochs would fall together.
    return np.random.Generator(np.random.Philox(key=np.array([(seed << 32) + epoch, index], np.uint64)))


def decode(data: bytes) -> Pixels:
    """Decode an image file's bytes to RGB uint8 `(H, W, 3)`. Raises UserError if they are none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise UserError("not a readable image; remove or replace it")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def draw_view(image: Pixels, spec: ViewSpec, size: int, generator: np.random.Generator) -> tuple[Pixels, Floats]:
    """Draw one view `(size, size, 3)` and its parameters."""
    parameters = np.array([0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0], np.float32)
    height, width = image.shape[:2]
    x, y, w, h = _draw_crop(height, width, spec, generator)
    parameters[:4] = x / width, y / height, w / width, h / height
    interpolation = cv2.INTER_AREA if w > size and h > size else cv2.INTER_LINEAR
    view = cv2.resize(image[y : y + h, x : x + w], (size, size), interpolation=interpolation)
    # All numbers are drawn whether used or not, so that one probability does not shift the others' stream.
    chance = generator.random(5)
    factors = generator.uniform(-1, 1, 4) * (spec.brightness, spec.contrast, spec.saturation, spec.hue)
    order, sigma = generator.permutation(4), generator.uniform(*spec.blur_sigma)
    if chance[0] < spec.flip:
        view = cv2.flip(view, 1)
        parameters[4] = 1
    if chance[1] < spec.jitter:
        factors[:3] = np.maximum(1 + factors[:3], 0)
        view = _jitter(view, factors, order)
        parameters[5:9] = factors
    if chance[2] < spec.grayscale:
        view = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        parameters[9] = 1
    if chance[3] < spec.blur:
        kernel = max(3, int(0.1 * size) | 1)
        view = cv2.GaussianBlur(view, (kernel, kernel), sigma)
        parameters[10] = sigma
    if chance[4] < spec.solarize:
        view = np.where(view < 128, view, 255 - view)
        parameters[11] = 1
    return np.asarray(view, np.uint8), parameters


def _draw_crop(height: int, width: int, spec: ViewSpec, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Random area and aspect ratio, ten tries, else the largest centred crop (Inception's; torchvision's defaults)."""
    areas = generator.uniform(*spec.crop_scale, 10) * height * width
    ratios = np.exp(generator.uniform(math.log(spec.crop_ratio[0]), math.log(spec.crop_ratio[1]), 10))
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    place = generator.random(2)
    fits = np.flatnonzero((widths >= 1) & (heights >= 1) & (widths <= width) & (heights <= height))
    if fits.size:
        w, h = int(widths[fits[0]]), int(heights[fits[0]])
        return int(place[0] * (width - w + 1)), int(place[1] * (height - h + 1)), w, h
    ratio = min(max(width / height, spec.crop_ratio[0]), spec.crop_ratio[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (width - w) // 2, (height - h) // 2, w, h


_LEVELS = np.arange(256, dtype=np.float32)


def _jitter(view: cv2.typing.MatLike, factors: NDArray[np.float64], order: NDArray[np.int64]) -> Pixels:
    """Change brightness, contrast, saturation and hue in the drawn order, as torchvision's ColorJitter does."""
    brightness, contrast, saturation, hue = factors
    out: cv2.typing.MatLike = view
    for operation in order:
        if operation == 0:
            out = cv2.LUT(out, _table(_LEVELS * brightness))
        elif operation == 1:
            mean = round(cv2.mean(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY))[0])
            out = cv2.LUT(out, _table(_LEVELS * contrast + mean * (1 - contrast)))
        elif operation == 2:
            gray = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            out = cv2.addWeighted(out, saturation, gray, 1 - saturation, 0)
        elif hue:
            hsv = cv2.cvtColor(out, cv2.COLOR_RGB2HSV_FULL)
            hsv[..., 0] += np.uint8(round(hue * 256) % 256)
            out = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return np.asarray(out, np.uint8)


def _table(values: NDArray[np.floating]) -> Pixels:
    table: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return table


def centre_view(image: Pixels, size: int) -> Pixels:
    """Return an image `(H, W, 3)` as evaluation sees it: its shorter side `size` pixels, then the central square."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    w, h = max(size, round(width * scale)), max(size, round(height * scale))
    resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = (w - size) // 2, (h - size) // 2
    return np.asarray(resized[y : y + size, x : x + size], np.uint8)
