"""Views: repeatable, described by their parameters, and as torchvision would have changed them."""

import io
import math
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import functional as tv

from superinfo.errors import UserError
from superinfo.views import (
    PARAMETERS,
    Pixels,
    TwoViews,
    ViewSpec,
    decode,
    draw_view,
    squeezed_view,
    view_generator,
)

PLAIN: dict[str, Any] = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.0,
    "jitter": 0.0,
    "grayscale": 0.0,
    "blur": (0.0, 0.0),
    "solarize": (0.0, 0.0),
}
NO_CHANGE: dict[str, Any] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
ADJUST: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": tv.adjust_brightness,
    "contrast": tv.adjust_contrast,
    "saturation": tv.adjust_saturation,
    "hue": tv.adjust_hue,
}
ALL_OF_IT = ViewSpec(flip=0.5, solarize=(0.3, 0.3))


def picture(height: int = 64, width: int = 64) -> Pixels:
    """Return a smooth picture with all hues, many saturations and both ends of the range."""
    y, x = np.mgrid[:height, :width] / (max(height, width) - 1)
    channels = [np.sin(5 * x + 3 * y + phase) * (0.3 + 0.7 * y) for phase in (0, 2.1, 4.2)]
    return np.asarray(np.clip(127.5 + 140 * np.stack(channels, axis=-1), 0, 255), np.uint8)


@cache
def texture() -> Pixels:
    """Return noise with detail of all sizes and colours that go together, as photographs have."""
    noise = np.random.default_rng(7)
    image = np.full((96, 128, 3), 110.0)
    for width, grey, colour in ((0.5, 12, 5), (1.5, 15, 8), (6, 30, 20), (20, 25, 20)):
        for strength, channels in ((grey, 1), (colour, 3)):
            layer = cv2.GaussianBlur(noise.normal(size=(96, 128, channels)), (0, 0), width).reshape(96, 128, channels)
            image += layer * strength / layer.std()
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def view_of(image: Pixels, size: int = 64, index: int = 0, **changes: Any) -> tuple[Pixels, dict[str, float]]:
    """Draw a view with nothing but the changes asked for; return it with its parameters by name."""
    spec = ViewSpec.parse(PLAIN | changes, "test")
    view, parameters = draw_view(image, spec, 0, size, view_generator(0, 0, index))
    return view, dict(zip(PARAMETERS, parameters.tolist(), strict=True))


def difference(a: Any, b: Any) -> NDArray[np.float64]:
    return np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))


def test_a_view_depends_on_seed_epoch_and_index_alone() -> None:
    two = TwoViews(ALL_OF_IT, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    first = two(picture(), view_generator(1, 2, 3))
    np.random.default_rng().random(5)
    again = two(picture(), view_generator(1, 2, 3))
    for name in ("v1", "v2", "parameters1", "parameters2"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    for key in ((0, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3), (3, 2, 1)):
        other = two(picture(), view_generator(*key))
        assert not np.array_equal(first.parameters1, other.parameters1), key
        assert not np.array_equal(first.v1, other.v1), key


def test_every_seed_and_epoch_has_views_of_its_own() -> None:
    keys = [(s, e, i) for s in (0, 1, 2**31, 2**32 - 1) for e in (0, 1, 1000) for i in (0, 1, 10**7)]
    assert len({view_generator(*key).random() for key in keys}) == len(keys)


def test_the_two_views_of_an_image_are_drawn_apart() -> None:
    pairs = [TwoViews(ALL_OF_IT, 8, (0, 0, 0), (1, 1, 1))(picture(), view_generator(0, 0, i)) for i in range(400)]
    one, other = (np.array([getattr(pair, name) for pair in pairs]) for name in ("parameters1", "parameters2"))
    for k, name in enumerate(PARAMETERS):
        assert abs(np.corrcoef(one[:, k], other[:, k])[0, 1]) < 4 / math.sqrt(len(pairs)), name


@pytest.mark.parametrize("name", ["flip", "jitter", "grayscale", "blur", "solarize"])
def test_one_probability_does_not_change_what_else_is_drawn(name: str) -> None:
    certain = dict.fromkeys(["flip", "jitter", "grayscale", "blur", "solarize"], 1.0)
    shown = {"jitter": list(ADJUST), "blur": ["blur_sigma"]}.get(name, [name])
    for index in range(5):
        with_it, without_it = (
            view_of(picture(), 16, index, **(certain | {name: chance, "crop_scale": (0.1, 1.0)}))[1]
            for chance in (1.0, 0.0)
        )
        assert {key for key in PARAMETERS if with_it[key] != without_it[key]} == set(shown)


def test_changes_come_and_go_apart_from_each_other() -> None:
    half = dict.fromkeys(["flip", "jitter", "grayscale", "blur", "solarize"], 0.5)
    drawn = [view_of(picture(8, 8), 4, index, **half)[1] for index in range(400)]
    names = ("flip", "brightness", "grayscale", "blur_sigma", "solarize")
    happened = np.array([[p[name] != (name == "brightness") for name in names] for p in drawn])
    correlations = np.corrcoef(happened.T) - np.eye(len(names))
    assert np.abs(correlations).max() < 4 / math.sqrt(len(drawn))


def test_with_everything_off_the_view_is_the_image_resized() -> None:
    image = picture()
    view, parameters = view_of(image, 64)
    assert np.array_equal(view, image)
    assert list(parameters.values()) == [0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0]
    for size in (16, 32, 50, 100, 128):
        assert difference(view_of(image, size)[0], tv.resize(Image.fromarray(image), [size, size])).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(256, 256), (120, 250), (250, 120)])
@pytest.mark.parametrize("size", [16, 150])
def test_the_crops_parameters_say_where_in_the_image_each_pixel_comes_from(height: int, width: int, size: int) -> None:
    y, x = np.mgrid[:height, :width]
    places = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    for index in range(20):
        spec = {"crop_scale": (0.1, 1.0), "crop_ratio": (0.5, 2.0), "flip": index % 2}
        view, p = view_of(places, size, index, **spec)
        steps = (np.arange(size) + 0.5) / size
        columns = (p["crop_x"] + steps * p["crop_width"]) * width - 0.5
        rows = (p["crop_y"] + steps * p["crop_height"]) * height - 0.5
        columns = columns[::-1] if p["flip"] else columns
        # The outermost pixels, where the antialiasing filter is cut, lie a little further in.
        assert difference(view[:, 1:-1, 0], columns[None, 1:-1]).max() < 1.1
        assert difference(view[1:-1, :, 1], rows[1:-1, None]).max() < 1.1
        assert p["crop_x"] + p["crop_width"] <= 1 + 1e-6
        assert p["crop_y"] + p["crop_height"] <= 1 + 1e-6


def test_crops_have_the_area_and_the_shape_asked_for() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    areas, ratios = [], []
    for index in range(2500):
        _, p = view_of(image, 4, index, crop_scale=(0.2, 0.5), crop_ratio=(0.75, 4 / 3))
        areas.append(p["crop_width"] * p["crop_height"])
        ratios.append(p["crop_width"] * 300 / (p["crop_height"] * 200))
    assert 0.2 * 0.98 < min(areas) < 0.21
    assert 0.49 < max(areas) < 0.5 * 1.02
    assert np.mean(areas) == pytest.approx(0.35, abs=4 * 0.3 / math.sqrt(12 * 2500))
    assert 0.75 * 0.98 < min(ratios) < 0.78
    assert 1.3 < max(ratios) < 4 / 3 * 1.02
    assert np.mean(np.log(ratios)) == pytest.approx(0, abs=4 * 2 * math.log(4 / 3) / math.sqrt(12 * 2500))


def test_where_no_crop_fits_the_largest_one_in_the_middle_is_taken() -> None:
    _, p = view_of(picture(60, 600), 8, crop_scale=(1.0, 1.0), crop_ratio=(0.75, 4 / 3))
    assert [p["crop_x"] * 600, p["crop_y"] * 60, p["crop_width"] * 600, p["crop_height"] * 60] == pytest.approx(
        [260, 0, 80, 60], abs=1e-3
    )


def test_a_flipped_view_is_the_mirror_image() -> None:
    view, parameters = view_of(picture(), flip=1.0)
    assert parameters["flip"] == 1
    assert np.array_equal(view, picture()[:, ::-1])


@pytest.mark.parametrize("name", ADJUST)
def test_a_change_of_colour_is_torchvisions_with_the_factor_stated(name: str) -> None:
    strength = 0.5 if name == "hue" else 0.9
    factors = []
    for index in range(40):
        view, parameters = view_of(picture(), index=index, jitter=1.0, **(NO_CHANGE | {name: strength}))
        apart = difference(view, ADJUST[name](Image.fromarray(picture()), parameters[name]))
        assert apart.mean() < 6 if name == "hue" else apart.max() <= 2
        factors.append(parameters[name] - (name != "hue"))
        assert [parameters[other] for other in ADJUST if other != name] == [
            0 if other == "hue" else 1 for other in ADJUST if other != name
        ]
    assert min(factors) < -0.8 * strength
    assert max(factors) > 0.8 * strength
    assert max(map(abs, factors)) <= strength


def test_the_four_changes_of_colour_come_in_an_order_that_varies() -> None:
    image = picture()
    results = set()
    for index in range(30):
        view, p = view_of(image, index=index, jitter=1.0, brightness=0.9, contrast=0.9, saturation=0.0, hue=0.0)
        brighter_first = tv.adjust_contrast(
            tv.adjust_brightness(Image.fromarray(image), p["brightness"]), p["contrast"]
        )
        sharper_first = tv.adjust_brightness(tv.adjust_contrast(Image.fromarray(image), p["contrast"]), p["brightness"])
        apart = [difference(view, other).max() for other in (brighter_first, sharper_first)]
        assert min(apart) <= 4
        if max(apart) > 10:
            results.add(int(np.argmin(apart)))
    assert results == {0, 1}


def test_a_grayscale_view_has_the_brightness_of_the_image_in_every_channel() -> None:
    view, parameters = view_of(picture(), grayscale=1.0)
    assert parameters["grayscale"] == 1
    assert (view == view[..., :1]).all()
    assert difference(view, tv.to_grayscale(Image.fromarray(picture()), 3)).max() <= 1


def test_a_blurred_view_is_the_image_under_a_gaussian_of_the_width_stated() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for index in range(10):
        view, parameters = view_of(noise, index=index, blur=1.0)
        sigma = parameters["blur_sigma"]
        assert 0.1 <= sigma <= 2.0
        blurred = tv.gaussian_blur(torch.from_numpy(noise).permute(2, 0, 1), [7, 7], [sigma, sigma]).permute(1, 2, 0)
        assert difference(view, blurred).max() <= 2
    assert view_of(noise)[1]["blur_sigma"] == 0


def test_a_solarized_view_has_its_bright_half_inverted() -> None:
    view, parameters = view_of(picture(), solarize=1.0)
    assert parameters["solarize"] == 1
    assert np.array_equal(view, np.asarray(tv.solarize(Image.fromarray(picture()), 128)))


def adjust(name: str) -> "Peer":
    return lambda image, p: ADJUST[name](image, p[name])


Peer = Callable[[Image.Image, dict[str, float]], Image.Image]
PEERS: dict[str, tuple[dict[str, Any], Peer]] = {
    "brightness": ({"jitter": 1.0} | NO_CHANGE | {"brightness": 0.8}, adjust("brightness")),
    "contrast": ({"jitter": 1.0} | NO_CHANGE | {"contrast": 0.8}, adjust("contrast")),
    "saturation": ({"jitter": 1.0} | NO_CHANGE | {"saturation": 0.8}, adjust("saturation")),
    "hue": ({"jitter": 1.0} | NO_CHANGE | {"hue": 0.2}, adjust("hue")),
    "grayscale": ({"grayscale": 1.0}, lambda image, _: tv.to_grayscale(image, 3)),
    "blur": ({"blur": 1.0}, lambda image, p: tv.gaussian_blur(image, [23, 23], [p["blur_sigma"]] * 2)),
    "solarize": ({"solarize": 1.0}, lambda image, _: tv.solarize(image, 128)),
}
"""Each change alone: how to force it, and torchvision's way with the parameters drawn."""


def statistics(view: Any, image: Pixels) -> dict[str, NDArray[np.float64]]:
    """Return what a change of pixels shows in: per channel mean, spread, fine detail and change."""
    pixels = np.asarray(view, np.float64)
    return {
        "mean": pixels.mean(axis=(0, 1)),
        "std": pixels.std(axis=(0, 1)),
        "detail": np.abs(np.diff(pixels, axis=0)).mean(axis=(0, 1)) + np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 1)),
        "change": difference(pixels, image).mean(axis=(0, 1)),
    }


def average(samples: list[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.mean([sample[name] for sample in samples], axis=0) for name in samples[0]}


@pytest.mark.parametrize("name", PEERS)
def test_each_change_alone_has_the_statistics_of_torchvisions(name: str) -> None:
    changes, peer = PEERS[name]
    for photo in (picture(224, 224), cv2.resize(texture(), (224, 224))):
        image = np.asarray(photo, np.uint8)
        drawn = [view_of(image, 224, index, **changes) for index in range(12)]
        ours = average([statistics(view, image) for view, _ in drawn])
        theirs = average([statistics(peer(Image.fromarray(image), p), image) for _, p in drawn])
        # Pillow cuts off where OpenCV rounds: half a level.
        for what in ours:
            np.testing.assert_allclose(ours[what], theirs[what], atol=0.7, rtol=0.01, err_msg=f"{name} {what}")


@pytest.mark.parametrize(
    ("height", "width"), [(40, 50), (64, 64), (70, 80), (96, 120), (130, 128), (200, 280), (300, 400), (50, 150)]
)
def test_a_crop_has_the_detail_of_torchvisions_at_every_scale(height: int, width: int) -> None:
    image = np.asarray(cv2.resize(texture(), (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)
    for index in range(5):
        view, p = view_of(image, 64, index, crop_scale=(0.3, 1.0), crop_ratio=(0.5, 2.0))
        top, left, h, w = (
            round(p[f"crop_{side}"] * length)
            for side, length in (("y", height), ("x", width), ("height", height), ("width", width))
        )
        expected = tv.resized_crop(Image.fromarray(image), top, left, h, w, [64, 64])
        assert difference(view, expected).max() <= 1


def kolmogorov_distance(a: Any, b: Any) -> float:
    """Return the largest distance of two samples' distribution functions, in units of what 1 in 1,000 exceeds."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    apart = np.abs(np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)).max()
    return float(apart / (1.95 * math.sqrt(1 / len(a) + 1 / len(b))))


def test_crops_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    height, width, draws = 300, 400, 1500
    image = np.zeros((height, width, 3), np.uint8)
    crop = transforms.RandomResizedCrop(4)
    theirs = np.array([crop.get_params(Image.fromarray(image), crop.scale, crop.ratio) for _ in range(draws)], float)
    found = [view_of(image, 4, index, crop_scale=(0.08, 1.0), crop_ratio=(0.75, 4 / 3))[1] for index in range(draws)]
    names = ("crop_y", "crop_x", "crop_height", "crop_width")
    ours = np.array([[p[name] for name in names] for p in found]) * (height, width, height, width)
    for ours_drawn, theirs_drawn in zip(_facts(np.rint(ours)), _facts(theirs), strict=True):
        assert kolmogorov_distance(ours_drawn, theirs_drawn) < 1


def _facts(crops: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return area, shape and all four edges of crops given as top, left, height and width `(N, 4)`."""
    top, left, height, width = crops.T
    return [height * width, width / height, top, left, top + height, left + width]


def test_factors_and_widths_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    draws, image = 1500, picture(8, 8)
    jitter = transforms.ColorJitter(0.4, 0.5, 0.8, 0.2)
    blur = transforms.GaussianBlur(23, (0.1, 2.0))
    parameters = [
        [*jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue), blur.get_params(0.1, 2)]
        for _ in range(draws)
    ]
    strengths = {"brightness": 0.4, "contrast": 0.5, "saturation": 0.8, "hue": 0.2}
    found = [view_of(image, 4, index, jitter=1.0, blur=1.0, **strengths)[1] for index in range(draws)]
    for column, name in enumerate((*strengths, "blur_sigma"), 1):
        theirs, ours = ([p[column] for p in parameters], [p[name] for p in found])
        assert kolmogorov_distance(ours, theirs) < 1, name


def test_the_whole_pipeline_has_the_mean_and_the_spread_of_torchvisions() -> None:
    torch.manual_seed(0)
    image, draws, size = texture(), 500, 32
    spec = ViewSpec(solarize=(0.2, 0.2))
    peer = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.GaussianBlur(3, (0.1, 2.0))], p=0.5),
            transforms.RandomSolarize(128, 0.2),
        ]
    )
    middle = np.full((size, size, 3), 128, np.uint8)
    ours = [statistics(draw_view(image, spec, 0, size, view_generator(0, 0, i))[0], middle) for i in range(draws)]
    theirs = [statistics(peer(Image.fromarray(image)), middle) for _ in range(draws)]
    for what in ours[0]:
        one, other = (np.array([sample[what] for sample in samples]) for samples in (ours, theirs))
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / draws)
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all(), what
        np.testing.assert_allclose(one.std(axis=0), other.std(axis=0), rtol=0.15, err_msg=what)


def test_the_two_views_may_be_blurred_and_solarized_differently() -> None:
    two = TwoViews(ViewSpec.parse({"blur": [1.0, 0.0], "solarize": [0, 1]}, "r"), 8, (0, 0, 0), (1, 1, 1))
    for index in range(20):
        views = two(picture(16, 16), view_generator(0, 0, index))
        one, other = (dict(zip(PARAMETERS, p, strict=True)) for p in (views.parameters1, views.parameters2))
        assert one["blur_sigma"] > 0 == other["blur_sigma"]
        assert other["solarize"] > 0 == one["solarize"]


def test_one_number_stands_for_both_views() -> None:
    assert ViewSpec.parse({"blur": 0.2, "solarize": 0}, "recipe") == ViewSpec(blur=(0.2, 0.2), solarize=(0.0, 0.0))
    assert ViewSpec.parse(ViewSpec().model_dump(mode="json"), "recipe") == ViewSpec()


@pytest.mark.parametrize("name", ["flip", "jitter", "grayscale", "blur", "solarize"])
def test_a_change_happens_as_often_as_its_probability_says(name: str) -> None:
    draws, probability, image = 2000, 0.3, picture(8, 8)
    shown = {"jitter": "brightness", "blur": "blur_sigma"}.get(name, name)
    off = view_of(image, 4)[1][shown]
    happened = sum(view_of(image, 4, index, **{name: probability})[1][shown] != off for index in range(draws))
    assert abs(happened - draws * probability) < 4 * math.sqrt(draws * probability * (1 - probability))


def test_the_bytes_of_an_image_file_give_the_views_of_its_pixels() -> None:
    two = TwoViews(ALL_OF_IT, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    bgr = np.ascontiguousarray(picture()[..., ::-1])
    png, jpeg = (cv2.imencode(kind, bgr)[1].tobytes() for kind in (".png", ".jpg"))
    from_pixels = two(picture(), view_generator(0, 0, 0))
    from_png, from_jpeg = two(png, view_generator(0, 0, 0)), two(jpeg, view_generator(0, 0, 0))
    assert np.array_equal(from_png.v1, from_pixels.v1)
    assert np.array_equal(from_png.v2, from_pixels.v2)
    assert np.array_equal(from_jpeg.parameters1, from_pixels.parameters1)
    assert 0 < difference(from_jpeg.v1, from_pixels.v1).mean() < 0.1


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def separated(image: Pixels) -> Image.Image:
    """Return an image in CMYK with as much black as there can be."""
    inks = 255 - image
    black = inks.min(axis=2, keepdims=True)
    return Image.frombytes("CMYK", (image.shape[1], image.shape[0]), np.dstack([inks - black, black]).tobytes())


@pytest.mark.parametrize(
    ("mode", "kinds"),
    {
        "1": ["PNG", "TIFF"],
        "L": ["PNG", "TIFF", "JPEG"],
        "P": ["PNG", "TIFF"],
        "LA": ["PNG"],
        "RGBA": ["PNG", "WEBP"],
        "transparent P": ["PNG"],
        "CMYK": ["TIFF", "JPEG"],
    }.items(),
)
def test_images_of_every_mode_are_read_as_pillow_reads_them(mode: str, kinds: list[str]) -> None:
    colour, grey = Image.fromarray(picture(60, 90)), Image.fromarray(picture(60, 90)[..., 0])
    opacity = Image.fromarray(picture(60, 90)[..., 1])
    transparent, transparent_grey = colour.copy(), grey.copy()
    transparent.putalpha(opacity)
    transparent_grey.putalpha(opacity)
    images = {
        "1": grey.convert("1"),
        "L": grey,
        "P": colour.quantize(16),
        "LA": transparent_grey,
        "RGBA": transparent,
        "transparent P": colour.quantize(16),
        "CMYK": separated(picture(60, 90)),
    }
    for kind in kinds:
        options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        if mode == "transparent P":
            options = {"transparency": 3}
        data = encoded(images[mode], kind, **options)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert difference(decode(data), expected).max() <= (2 if mode == "CMYK" else 0), kind


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_of_16_bits_the_upper_8_are_read(suffix: str) -> None:
    for image in (picture(), picture()[..., :1]):
        deep = np.ascontiguousarray(image[..., ::-1]).astype(np.uint16) * 256 + 77
        found = decode(cv2.imencode(suffix, deep)[1].tobytes())
        assert difference(found, image).max() <= 1
        assert (found == image).mean() > 0.6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_orientation_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(picture(60, 90)), "JPEG", exif=exif)
    assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def jpeg_with_thumbnail() -> bytes:
    """Return a JPEG with another, whole one in its header, as cameras write them."""
    thumbnail, jpeg = (encoded(Image.fromarray(picture(side, side)), "JPEG") for side in (16, 64))
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail + jpeg[2:]


def huge_png() -> bytes:
    """Return a small PNG that claims to have 3.6 billion pixels."""
    contents = {b"IHDR": struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(bytes(99))}
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in contents.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["nothing", "garbage", "text", "half a PNG", "a start of a JPEG", "a huge PNG"])
def test_bytes_that_are_no_image_are_refused(kind: str) -> None:
    png = encoded(Image.fromarray(picture()), "PNG")
    data = {
        "nothing": b"",
        "garbage": bytes(range(256)) * 4,
        "text": b"<html>404</html>",
        "half a PNG": png[: len(png) // 2],
        "a start of a JPEG": b"\xff\xd8",
        "a huge PNG": huge_png(),
    }
    two = TwoViews(ALL_OF_IT, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    with pytest.raises(UserError, match="not a readable image"):
        two(data[kind], view_generator(0, 0, 0))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2, 3, 20, 500, 1000])
def test_a_jpeg_that_is_cut_short_is_refused(lost: int, progressive: bool) -> None:
    plain = encoded(Image.fromarray(picture()), "JPEG", quality=95, progressive=progressive)
    for jpeg in (plain, jpeg_with_thumbnail()):
        assert decode(jpeg).shape == (64, 64, 3)
        assert decode(jpeg + b"\0\xff\xda what some cameras put behind it").shape == (64, 64, 3)
        for filling in (b"", b"\0" * lost):  # what a download leaves that reserved the file's space
            with pytest.raises(UserError, match="cut short"):
                decode(jpeg[:-lost] + filling)


@pytest.mark.parametrize("segment", [b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"])
@pytest.mark.parametrize("added", [b"\xff", b"\xff" * 300, b"\xff\x01", b"\xff\xd0", b"\xff\0"])
def test_a_jpeg_may_have_bytes_that_fill_and_lone_markers_between_its_segments(segment: bytes, added: bytes) -> None:
    """As ITU-T T.81 allows (B.1.1), and as OpenCV skips them, with what is no marker; cut short, it is refused."""
    jpeg = jpeg_with_thumbnail()
    place = jpeg.index(segment, jpeg.index(b"\xff\xd9"))  # behind the thumbnail
    filled = jpeg[:place] + added + jpeg[place:]
    assert np.array_equal(decode(filled), decode(jpeg))
    with pytest.raises(UserError, match="cut short"):
        decode(filled[:-20])


def test_views_are_floats_normalised_by_channel() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    two = TwoViews(ViewSpec(**PLAIN), 32, mean, std)
    image = np.full((50, 70, 3), (255, 51, 0), np.uint8)
    views = two(image, view_generator(0, 0, 0))
    for view in (views.v1, views.v2):
        assert view.shape == (3, 32, 32)
        assert view.dtype == np.float32
        assert view.transpose(1, 2, 0).flags.c_contiguous
        np.testing.assert_allclose(view, np.full((32, 32, 3), (1.8, 0.0, -2.4)).transpose(2, 0, 1), atol=1e-6)
    upright = TwoViews(ViewSpec(**PLAIN), 64, (0, 0, 0), (1, 1, 1))(picture(), view_generator(0, 0, 0)).v1
    np.testing.assert_allclose(upright, np.moveaxis(picture(), -1, 0) / 255, atol=1e-6)
    assert views.parameters1.shape == views.parameters2.shape == (len(PARAMETERS),)


def test_a_single_pixel_is_an_image() -> None:
    view, _ = draw_view(
        np.full((1, 1, 3), 7, np.uint8), ViewSpec(**(PLAIN | {"crop_scale": (0.1, 1)})), 0, 16, view_generator(0, 0, 0)
    )
    assert (view == 7).all()
    assert view.shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_scale", [1.0, 0.2]),
        ("crop_scale", [0.0, 1.0]),
        ("crop_scale", [8, 100]),
        ("crop_ratio", [1.5, 0.5]),
        ("crop_ratio", [0.0, 1.0]),
        ("blur_sigma", [2.0, 0.1]),
        ("blur_sigma", [0.0, 0.0]),
        ("flip", 1.5),
        ("hue", 0.6),
        ("blur", 1.5),
        ("blur", [0.5, -0.1]),
        ("blur", [0.5]),
        ("solarize", [0.1, 0.1, 0.1]),
        ("solarize", "often"),
        ("brightness", -0.1),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused_naming_the_field(field: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^recipe: `{field}\b"):
        ViewSpec.parse({field: value}, "recipe")


@pytest.mark.parametrize("shape", [(48, 80), (80, 48), (12, 9), (32, 32)])
def test_a_squeezed_view_is_the_whole_image_as_pillow_resizes_it(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    found = squeezed_view(image, 32)
    assert found.shape == (32, 32, 3)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
