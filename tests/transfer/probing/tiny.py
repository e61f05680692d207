"""Images and recipes so small that a test probes an encoder on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from superinfo.artifacts import EncoderSpec
from superinfo.views import Pixels
from transfer.probing.recipe import ProbeRecipe

SIDE = 16
COLOURS = {"blue": (40, 40, 220), "green": (40, 220, 40), "red": (220, 40, 40)}
ENCODER: dict[str, Any] = {"arch": "resnet18", "stem": "stl", "width": 0.125}
SPEC = EncoderSpec.parse(ENCODER, "test")


def picture(colour: tuple[int, int, int], number: int, side: int = SIDE) -> Pixels:
    """Return a noisy picture of one colour."""
    noise = np.random.default_rng([*colour, number]).normal(0, 30, (side, side, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def write_folder(root: Path, per_class: int, first: int = 0, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Write an ImageFolder, the pictures of each class numbered from `first`; return it."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(first, first + per_class):
            pixels = picture(COLOURS[name], number)
            assert cv2.imwrite(str(root / name / f"{number:03d}.png"), pixels[..., ::-1])
    return root


def folders(root: Path, train: int = 12, test: int = 6) -> dict[str, Any]:
    """Write a training and a test set of three colours; return the recipe's `data`."""
    write_folder(root / "train", train)
    write_folder(root / "test", test, first=1000)
    return data(root)


def data(root: Path, **changes: Any) -> dict[str, Any]:
    """Return the recipe's `data` for the folders `train` and `test` below a root."""
    sets = {name: {"kind": "folder", "name": f"colours {name}", "subfolder": name} for name in ("train", "test")}
    return {"name": "colours", "root": str(root), **sets, **changes}


def recipe(data: Mapping[str, Any], task: Mapping[str, Any], **changes: Any) -> ProbeRecipe:
    """Return a recipe for images of 16 pixels and the smallest encoder."""
    fields = {"name": "tiny", "protocol": "test", "data": data, "task": task, "input_size": SIDE, "encoder": ENCODER}
    return ProbeRecipe.parse(fields | changes, "test")
