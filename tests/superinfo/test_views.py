"""Views: repeatable, described by their parameters, and as torchvision would have changed them."""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional as tv

from superinfo.errors import UserError
from superinfo.views import PARAMETERS, Pixels, TwoViews, ViewSpec, decode, draw_view, view_generator

PLAIN: dict[str, Any] = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.0,
    "jitter": 0.0,
    "grayscale": 0.0,
    "blur": 0.0,
    "solarize": 0.0,
}
NO_CHANGE: dict[str, Any] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
ADJUST: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": tv.adjust_brightness,
    "contrast": tv.adjust_contrast,
    "saturation": tv.adjust_saturation,
    "hue": tv.adjust_hue,
}
ALL_OF_IT = ViewSpec(flip=0.5, solarize=0.3)


def picture(height: int = 64, width: int = 64) -> Pixels:
    """Return a smooth picture with all hues, many saturations and both ends of the range."""
    y, x = np.mgrid[:height, :width] / (max(height, width) - 1)
    channels = [np.sin(5 * x + 3 * y + phase) * (0.3 + 0.7 * y) for phase in (0, 2.1, 4.2)]
    return np.asarray(np.clip(127.5 + 140 * np.stack(channels, axis=-1), 0, 255), np.uint8)


def view_of(image: Pixels, size: int = 64, index: int = 0, **changes: Any) -> tuple[Pixels, dict[str, float]]:
    """Draw a view with nothing but the changes asked for; return it with its parameters by name."""
    view, parameters = draw_view(image, ViewSpec(**(PLAIN | changes)), 0, size, view_generator(0, 0, index))
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
    halved = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert difference(view_of(image, 32)[0], halved).max() <= 0.5
    doubled = tv.resize(torch.from_numpy(image).permute(2, 0, 1).float(), [128, 128]).permute(1, 2, 0)
    assert difference(view_of(image, 128)[0], doubled).max() <= 1


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
        assert difference(view[..., 0], columns[None, :]).max() < 1.1
        assert difference(view[..., 1], rows[:, None]).max() < 1.1
        assert p["crop_x"] + p["crop_width"] <= 1 + 1e-6
        assert p["crop_y"] + p["crop_height"] <= 1 + 1e-6


def test_crops_have_the_area_and_the_shape_asked_for() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    areas, ratios = [], []
    for index in range(500):
        _, p = view_of(image, 4, index, crop_scale=(0.2, 0.5), crop_ratio=(0.75, 4 / 3))
        areas.append(p["crop_width"] * p["crop_height"])
        ratios.append(p["crop_width"] * 300 / (p["crop_height"] * 200))
    assert 0.2 * 0.98 < min(areas) < 0.21
    assert 0.49 < max(areas) < 0.5 * 1.02
    assert np.mean(areas) == pytest.approx(0.35, abs=4 * 0.3 / math.sqrt(12 * 500))
    assert 0.75 * 0.98 < min(ratios) < 0.78
    assert 1.3 < max(ratios) < 4 / 3 * 1.02
    assert np.mean(np.log(ratios)) == pytest.approx(0, abs=4 * 2 * math.log(4 / 3) / math.sqrt(12 * 500))


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


def test_grey_transparent_and_deep_images_are_read_as_rgb_bytes() -> None:
    image = picture()[..., 0]
    grey, deep = (decode(cv2.imencode(".png", kind)[1].tobytes()) for kind in (image, image.astype(np.uint16) * 257))
    assert np.array_equal(grey, np.stack([image] * 3, axis=-1))
    assert np.array_equal(deep, grey)
    transparent = np.dstack([picture()[..., ::-1], image])
    assert np.array_equal(decode(cv2.imencode(".png", transparent)[1].tobytes()), picture())


@pytest.mark.parametrize("kind", ["nothing", "garbage", "text", "half a PNG", "half a JPEG"])
def test_bytes_that_are_no_image_are_refused(kind: str) -> None:
    png, jpeg = (cv2.imencode(suffix, picture())[1].tobytes() for suffix in (".png", ".jpg"))
    data = {
        "nothing": b"",
        "garbage": bytes(range(256)) * 4,
        "text": b"<html>404</html>",
        "half a PNG": png[: len(png) // 2],
        "half a JPEG": jpeg[: len(jpeg) // 2],
    }
    two = TwoViews(ALL_OF_IT, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    with pytest.raises(UserError, match="not a readable image"):
        two(data[kind], view_generator(0, 0, 0))


def test_views_are_floats_normalised_by_channel() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    two = TwoViews(ViewSpec(**PLAIN), 32, mean, std)
    image = np.full((50, 70, 3), (255, 51, 0), np.uint8)
    views = two(image, view_generator(0, 0, 0))
    for view in (views.v1, views.v2):
        assert view.shape == (3, 32, 32)
        assert view.dtype == np.float32
        assert view.flags.c_contiguous
        np.testing.assert_allclose(view.mean(axis=(1, 2)), [1.8, 0.0, -2.4], atol=1e-6)
    upright = TwoViews(ViewSpec(**PLAIN), 64, (0, 0, 0), (1, 1, 1))(picture(), view_generator(0, 0, 0)).v1
    np.testing.assert_allclose(upright, np.moveaxis(picture(), -1, 0) / 255, atol=1e-6)
    assert views.parameters1.shape == views.parameters2.shape == (len(PARAMETERS),)


def test_a_single_pixel_is_an_image() -> None:
    view, _ = draw_view(
        np.full((1, 1, 3), 7, np.uint8), ViewSpec(**(PLAIN | {"crop_scale": (0.1, 1)})), 16, view_generator(0, 0, 0)
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
        ("brightness", -0.1),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused_naming_the_field(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^recipe: `{field}` "):
        ViewSpec.parse({field: value}, "recipe")
