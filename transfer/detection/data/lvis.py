"""LVIS v1 (Gupta et al. 2019, arXiv 1908.03195): COCO's photos, 1203 classes, of which each image has a few judged."""

from pathlib import Path
from typing import Any

from transfer.detection.annotations import Annotations
from transfer.detection.data.coco import read_json


def read_lvis(json_file: Path, images: Path) -> Annotations:
    """Return a json of LVIS v1, whose images say in `coco_url` in which of COCO's folders below `images` they are.

    Raises UserError if it is missing or no such json.
    """
    coco = read_json(json_file)
    coco["images"] = [_with_file_name(entry) for entry in coco["images"]]
    return Annotations(json_file.stem, json_file, images, coco, "lvis")


def _with_file_name(entry: Any) -> Any:
    url = entry.get("coco_url") if isinstance(entry, dict) else None
    return entry | {"file_name": "/".join(url.split("/")[-2:])} if isinstance(url, str) else entry
