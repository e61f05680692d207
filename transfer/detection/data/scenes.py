"""Generated scenes, kept below the runs folder."""

import os
from functools import partial
from pathlib import Path

from superinfo.datasets.scenes import World, write_scenes
from superinfo.files import exclusive
from superinfo.progress import progress
from superinfo.spec import identity_hash
from transfer.detection.annotations import Annotations
from transfer.detection.data.coco import read_coco
from transfer.recipe import ScenesSet


def read_scenes(data: ScenesSet, cache: Path) -> tuple[Annotations, Annotations]:
    """Return the training and test split, generated below `cache` if they are not there yet."""
    folder = _generated(data, cache)
    train, test = (
        read_coco(folder / "annotations" / f"instances_{split}.json", folder / "JPEGImages")
        for split in ("train", data.test_split)
    )
    return train, test


def _generated(data: ScenesSet, cache: Path) -> Path:
    folder = cache / f"scenes-{data.size}px-{data.train}-{data.test}-{identity_hash(data)[:8]}"
    with exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        if not folder.is_dir():
            counts = {"train": data.train, data.test_split: data.test}
            world = World(classes=data.classes, seed=data.world_seed)
            with progress("scenes", sum(counts.values()), "images") as advance:
                write_scenes(
                    folder,
                    world,
                    counts,
                    data.size,
                    *data.objects,
                    len(os.sched_getaffinity(0)),
                    partial(advance, note=""),
                )
    return folder
