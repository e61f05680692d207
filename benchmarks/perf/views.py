"""Speed of the two-view pipeline, from JPEG bytes to two normalised 224 px views, beside lightly's and decoding alone.

    python -m benchmarks.perf.views [--images FOLDER]

One thread. Without a folder of JPEGs, it draws scenes with grain as large and as heavy as ImageNet's photos.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from lightly.transforms import SimCLRTransform
from PIL import Image

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD
from superinfo.datasets.scenes import World, draw_scene
from superinfo.errors import UserError
from superinfo.views import TwoViews, ViewSpec, decode, view_generator

COUNT, WIDTH, HEIGHT, SIZE = 96, 500, 375, 224
ROUNDS = 8
LIMIT = 4.0
"""What the ratio must reach at least."""
Pipeline = Callable[[bytes, int], object]
"""Runs on the bytes of a JPEG with the random numbers of its index."""


def main() -> None:
    """Time all pipelines over the same bytes, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help=f"folder with JPEGs, of which the first {COUNT} are used")
    folder = parser.parse_args().images
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    files = _read(folder) if folder else [_photo(index) for index in range(COUNT)]
    what = f"JPEGs from {folder}" if folder else f"generated {WIDTH}x{HEIGHT} scenes with grain as JPEGs of quality 90"
    print(f"{len(files)} {what}, {statistics.mean(map(len, files)) / 1000:.0f} kB each, to two {SIZE} px views")
    print(f"one thread; the fastest of {ROUNDS} rounds for each image, summed over images")

    ours = TwoViews(ViewSpec(), SIZE, IMAGENET_MEAN, IMAGENET_STD)
    lightly = SimCLRTransform(input_size=SIZE, normalize={"mean": IMAGENET_MEAN, "std": IMAGENET_STD})

    def run_lightly(data: bytes, index: int) -> object:
        torch.manual_seed(index)
        np.random.seed(index)
        return lightly(Image.open(io.BytesIO(data)).convert("RGB"))

    pipelines: dict[str, Pipeline] = {
        "ours": lambda data, index: ours(data, view_generator(0, 0, index)),
        "lightly": run_lightly,
        "decode": lambda data, _: decode(data),
    }
    fastest = _time(pipelines, files)
    titles = {"ours": "superinfo TwoViews", "lightly": "lightly SimCLRTransform", "decode": "limit: decoding alone"}
    print(f"{'':<26}{'ms/image':>10}{'images/s':>10}")
    for name, title in titles.items():
        print(f"{title:<26}{fastest[name]:>10.2f}{1000 / fastest[name]:>10.0f}")
    ratio = fastest["lightly"] / fastest["ours"]
    print(f"{'lightly / superinfo':<26}{ratio:>10.2f}   (at least {LIMIT:g})")
    result = {"name": "views", "ratio": round(ratio, 2), "limit": LIMIT}
    result |= {f"{name}_ms": round(ms, 3) for name, ms in fastest.items()}
    result |= {f"{name}_images_per_second": round(1000 / ms, 1) for name, ms in fastest.items()}
    print(json.dumps(result))


def _time(pipelines: dict[str, Pipeline], files: list[bytes]) -> dict[str, float]:
    """Return milliseconds per image: the mean over images of the fastest round, each with the same random numbers.

    Pipelines take turns at each image, so that what disturbs the machine disturbs all of them.
    """
    seconds = {name: np.empty((ROUNDS, len(files))) for name in pipelines}
    for turn in range(ROUNDS):
        for index, data in enumerate(files):
            for name, run in pipelines.items():
                start = time.perf_counter()
                run(data, index)
                seconds[name][turn, index] = time.perf_counter() - start
    return {name: float(1000 * times.min(axis=0).mean()) for name, times in seconds.items()}


def _read(folder: Path) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    if not paths:
        raise UserError(f"{folder}: no JPEGs below this folder; name another by --images")
    return [path.read_bytes() for path in paths[:COUNT]]


def _photo(index: int) -> bytes:
    """Return a JPEG as heavy as a photo: a scene under grain of two sizes, as surfaces and a sensor have."""
    grain = np.random.default_rng(index)
    image = draw_scene(World(), "train", index, WIDTH, 2, 6).image[:HEIGHT].astype(np.float32)
    for strength, width in ((20, 1.5), (8, 0.6)):
        noise = cv2.GaussianBlur(grain.normal(size=image.shape).astype(np.float32), (0, 0), width)
        image += noise * (strength / noise.std())
    pixels = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    encoded, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert encoded
    return jpeg.tobytes()


if __name__ == "__main__":
    main()
