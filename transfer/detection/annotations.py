"""A split of a detection set in COCO's form, whatever it was written in: what loading, checking and scoring read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Metric = Literal["coco", "lvis", "voc2007", "voc2012", "cityscapes"]
"""Whose average precision is computed; VOC's two differ in how the curve is integrated."""


@dataclass(frozen=True)
class Annotations:
    """Images and objects of one split."""

    title: str
    """Of the split, for records: `val2017`."""
    source: Path
    """The file that errors name: a json, or VOC's list of images."""
    images: Path
    """The folder that each image's `file_name` is relative to."""
    coco: dict[str, Any]
    """`images`, `annotations` and `categories` as in a COCO json; VOC's objects also have `difficult`, LVIS's images
    `neg_category_ids` and `not_exhaustive_category_ids`."""
    metric: Metric

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the categories in the order of their ids, which is that of the detector's outputs."""
        return tuple(c["name"] for c in sorted(self.coco["categories"], key=lambda c: c["id"]))

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Return the categories' ids in that order."""
        return tuple(sorted(c["id"] for c in self.coco["categories"]))
