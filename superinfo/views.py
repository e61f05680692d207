"""One image to two augmented views, with the parameters drawn for each (SimCLR, arXiv 2002.05709, appendix A).

Everything works on uint8 pixels; only the last step makes floats, so that a data loader can ship bytes. OpenCV does
it all except shrinking with antialiasing, for which it has no filter and torch has a fast one.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

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


def _one_for_each_view(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value, value
    return tuple(value) if isinstance(value, list) else value  # behind a validator, strictness knows no JSON lists


def _probable(chances: tuple[float, float]) -> tuple[float, float]:
    if not all(0 <= chance <= 1 for chance in chances):
        raise ValueError("must be a probability, or one for each of the two views")
    return chances


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
Chances = Annotated[tuple[float, float], BeforeValidator(_one_for_each_view), AfterValidator(_probable)]
"""Probabilities in the first and in the second view; a single number stands for both."""


class ViewSpec(Spec):
    """The distribution of views. Defaults are SimCLR's at jitter strength 1.

    BYOL's (arXiv 2006.07733, appendix B) are `brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1,
    blur: [1.0, 0.1], solarize: [0.0, 0.2]`.
    """

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
    blur: Chances = (0.5, 0.5)
    blur_sigma: Range = (0.1, 2.0)
    """Width of the Gaussian in pixels; its kernel is a tenth of the view wide, as SimCLR's, and 3 pixels at least."""
    solarize: Chances = (0.0, 0.0)


@dataclass(frozen=True)
class Views:
    """Two views of one image: normalised floats `(3, S, S)`, channels last in memory; parameters as in PARAMETERS."""

    v1: Floats
    v2: Floats
    parameters1: Floats
    parameters2: Floats


class TwoViews:
    """Draws two views of an image.

    `image` is an RGB uint8 array `(H, W, 3)` or the bytes of an image file. The generator decides everything:
    `view_generator(seed, epoch, index)` makes a view independent of worker count, order and resume.
    """

    def __init__(
        self, spec: ViewSpec, size: int, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        self.spec, self.size = spec, size
        self._normalising = np.column_stack([np.diag(1 / (255 * np.array(std))), -np.array(mean) / std])

    def __call__(self, image: Pixels | bytes, generator: np.random.Generator) -> Views:
        """Return both views, normalised by mean and std. Raises UserError if the bytes are no whole image."""
        (v1, p1), (v2, p2) = self.pixels(image, generator)
        return Views(self._normalise(v1), self._normalise(v2), p1, p2)

    def pixels(
        self, image: Pixels | bytes, generator: np.random.Generator
    ) -> tuple[tuple[Pixels, Floats], tuple[Pixels, Floats]]:
        """Return both views as RGB uint8 `(S, S, 3)`, each with its parameters."""
        if isinstance(image, bytes):
            image = decode(image)
        first = draw_view(image, self.spec, 0, self.size, generator)
        return first, draw_view(image, self.spec, 1, self.size, generator)

    def _normalise(self, view: Pixels) -> Floats:
        # The pixels stay where they are: moving the channels to the front would cost more than normalising does.
        return np.asarray(cv2.transform(view.astype(np.float32), self._normalising), np.float32).transpose(2, 0, 1)


def view_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one image in one epoch; cheap, and independent of every other."""
    # As an explicit uint64: NumPy makes floats of a list with one number above 2^63, and epochs would fall together.
    return np.random.Generator(np.random.Philox(key=np.array([(seed << 32) + epoch, index], np.uint64)))


_MARKER = re.compile(rb"\xff(?:[\x01\xd0-\xd7]?\xff)*+[^\x00\xff]")
"""Of a JPEG's segment, after any number of 0xFF that fill and of markers without one (ITU-T T.81, B.1.1)."""


def decode(data: bytes) -> Pixels:
    """Decode an image file's bytes to RGB uint8 `(H, W, 3)`, upright as its EXIF orientation says.

    Grey and CMYK become RGB, 16 bits the upper 8. An alpha channel is dropped (from PNG and WebP; TIFFs are composed
    on black). Raises UserError if the bytes are no image, or only a part of one.
    """
    if _is_cut_short(data):
        raise UserError("not a readable image, cut short; fetch it again or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:  # more than 2^30 pixels
        image = None
    if image is None:
        raise UserError("not a readable image; remove or replace it")
    return np.asarray(image, np.uint8)


def _is_cut_short(data: bytes) -> bool:
    """Tell whether a JPEG's scan has no end marker: cut off, or filled up with zeros, which OpenCV lets pass."""
    if not data.startswith(b"\xff\xd8"):
        return False
    scan = 2  # Segment by segment, as a thumbnail in one of them has an end of its own.
    while (marker := _MARKER.match(data, scan)) and marker[0][-1:] != b"\xda":
        scan = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return data.rfind(b"\xff\xd9", scan) < 0


def draw_view(
    image: Pixels, spec: ViewSpec, which: Literal[0, 1], size: int, generator: np.random.Generator
) -> tuple[Pixels, Floats]:
    """Draw the first (0) or second (1) view of an image: its pixels `(size, size, 3)` and its parameters."""
    # All numbers are drawn whether used or not, so that one probability does not shift the others' stream.
    crop, chance, strength, rank, breadth = _draw_numbers(generator, 22, 5, 4, 4, 1)
    height, width = image.shape[:2]
    x, y, w, h = _place_crop(height, width, spec, crop)
    parameters = [x / width, y / height, w / width, h / height, 0, 1, 1, 1, 0, 0, 0, 0]
    view: cv2.typing.MatLike = _resize(image[y : y + h, x : x + w], size, size)
    if chance[0] < spec.flip:
        view = cv2.flip(view, 1)
        parameters[4] = 1
    if chance[1] < spec.jitter:
        spread = (spec.brightness, spec.contrast, spec.saturation, spec.hue)
        changes = [most * (2 * number - 1) for most, number in zip(spread, strength, strict=True)]
        factors = [*(max(1 + change, 0) for change in changes[:3]), changes[3]]
        view = _jitter(view, factors, sorted(range(4), key=rank.__getitem__))
        parameters[5:9] = factors
    if chance[2] < spec.grayscale:
        view = cv2.transform(view, _GREY)
        parameters[9] = 1
    if chance[3] < spec.blur[which]:
        sigma = _between(spec.blur_sigma, breadth[0])
        view = _blur(view, sigma)
        parameters[10] = sigma
    if chance[4] < spec.solarize[which]:
        view = np.minimum(view, 255 - view)  # v < 128 exactly where v <= 255 - v
        parameters[11] = 1
    return np.asarray(view, np.uint8), np.array(parameters, np.float32)


def _draw_numbers(generator: np.random.Generator, *counts: int) -> Iterator[list[float]]:
    """Draw lists of numbers in [0, 1) in one call of the generator: on small images a call for each would show."""
    numbers = iter(generator.random(sum(counts)).tolist())
    return (list(islice(numbers, count)) for count in counts)


def _between(bounds: tuple[float, float], number: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * number


def _place_crop(height: int, width: int, spec: ViewSpec, numbers: list[float]) -> tuple[int, int, int, int]:
    """Random area and aspect ratio, ten tries, else the largest centred crop (Inception's; torchvision's defaults)."""
    across, down, *tries = numbers
    logs = math.log(spec.crop_ratio[0]), math.log(spec.crop_ratio[1])
    for share, shape in zip(tries[::2], tries[1::2], strict=True):
        area, ratio = _between(spec.crop_scale, share) * height * width, math.exp(_between(logs, shape))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 1 <= w <= width and 1 <= h <= height:
            return int(across * (width - w + 1)), int(down * (height - h + 1)), w, h
    ratio = min(max(width / height, spec.crop_ratio[0]), spec.crop_ratio[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (width - w) // 2, (height - h) // 2, w, h


def _resize(image: Pixels, width: int, height: int) -> Pixels:
    """Resize bilinearly with antialiasing: Pillow's filter, which torchvision's crops use.

    OpenCV's own ways of shrinking differ: INTER_AREA leaves more fine detail, INTER_LINEAR aliases.
    """
    if width >= image.shape[1] and height >= image.shape[0]:  # where nothing shrinks, bilinear is bilinear
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    # This order of axes is channels last in memory, for which torch has its fast kernel. It warns of read-only arrays.
    planes = torch.from_numpy(np.require(image, requirements="W"))[None].permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


# Matrices of colour `(3, 4)`: what each channel gets of red, green, blue and 1. cv2.transform rounds and clips.
_SAME = np.eye(3, 4)
_GREY = np.array([[0.299, 0.587, 0.114, 0]] * 3)
_LIGHT = np.array([[0, 0, 0, 1.0]] * 3)


def _jitter(view: cv2.typing.MatLike, factors: list[float], order: list[int]) -> cv2.typing.MatLike:
    """Change brightness, contrast, saturation and hue in the drawn order, as torchvision's ColorJitter does."""
    brightness, contrast, saturation, hue = factors
    for operation in order:
        if operation == 0:
            view = cv2.transform(view, brightness * _SAME)
        elif operation == 1:
            mean = round(_GREY[0] @ cv2.mean(view))
            view = cv2.transform(view, contrast * _SAME + ((1 - contrast) * mean) * _LIGHT)
        elif operation == 2:
            view = cv2.transform(view, saturation * _SAME + (1 - saturation) * _GREY)
        elif hue:
            view = _turn_hue(view, hue)
    return view


def _turn_hue(view: cv2.typing.MatLike, turns: float) -> cv2.typing.MatLike:
    hsv = cv2.cvtColor(view, cv2.COLOR_RGB2HSV_FULL)
    # Row by row, as adding to every third byte alone is three times slower; uint8 wraps as hue does.
    hsv.reshape(len(hsv), -1)[:] += np.tile(np.array([round(turns * 256) % 256, 0, 0], np.uint8), hsv.shape[1])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _blur(view: cv2.typing.MatLike, sigma: float) -> cv2.typing.MatLike:
    """Blur by a Gaussian, cut off where its kernel ends and at 3 sigma, beyond which lies less than 1 part in 900."""
    radius = min(max(1, len(view) // 20), math.ceil(3 * sigma))
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)
    return cv2.sepFilter2D(view, -1, kernel, kernel)


def centre_view(image: Pixels, size: int) -> Pixels:
    """Return an image `(H, W, 3)` as evaluation sees it: its shorter side `size` pixels, then the central square."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    w, h = max(size, round(width * scale)), max(size, round(height * scale))
    x, y = (w - size) // 2, (h - size) // 2
    return _resize(image, w, h)[y : y + size, x : x + size]


def squeezed_view(image: Pixels, size: int) -> Pixels:
    """Return the whole of an image `(H, W, 3)`, its sides resized to `size` pixels each."""
    return _resize(image, size, size)
