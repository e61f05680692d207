"""Where detection sets lie, and whether they are there, without reading them."""

import os
from collections.abc import Iterator
from pathlib import Path

from superinfo.datasets.images import data_root
from superinfo.errors import UserError
from transfer.recipe import AnyDetectionSet, CityscapesSet, CocoSet, FoundSet, LvisSet, ScenesSet, VocSet


def detection_root(data: FoundSet) -> Path:
    """Return the data folder: the recipe's, `$DETECTRON2_DATASETS` or `$SUPERINFO_DATA`.

    Raises UserError if none of them is there.
    """
    named = os.environ.get("DETECTRON2_DATASETS")
    if data.root is None and named:
        if not Path(named).is_dir():
            raise UserError(f"{named}: no such folder; correct DETECTRON2_DATASETS, or give data.root")
        return Path(named)
    return data_root(data.root, "data.root")


def find_detection_set(data: AnyDetectionSet) -> None:
    """Raise UserError, naming the first place that is missing, if a set is not where its recipe says.

    `scenes` are generated, and never missing.
    """
    if isinstance(data, ScenesSet):
        return
    root = detection_root(data)
    for place in _places(data):
        if not (root / place).exists():
            raise UserError(f"{root / place}: not there; {data.name} needs it, correct data.root or the folder")


def _places(data: FoundSet) -> Iterator[Path]:
    match data:
        case CocoSet() | LvisSet():
            for images in (data.train, data.test):
                yield from (images.json_file, images.images)
        case VocSet():
            for lists in (*data.train, data.test):
                yield from (Path(lists.folder, name) for name in ("JPEGImages", "Annotations"))
                yield Path(lists.folder, "ImageSets", "Main", f"{lists.split}.txt")
        case CityscapesSet():
            for split in (data.train, data.test):
                yield from (data.folder / kind / split for kind in ("leftImg8bit", "gtFine"))
