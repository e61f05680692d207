"""LVIS v1 (Gupta et al. 2019, arXiv 1908.03195): COCO's photos, 1203 classes, of which each image has a few judged."""

from pathlib import Path
from typing import Any

from transfer.detection.annotations import Annotations
from transfer.detection.data.coco import read_json
from transfer.detection.data.faults import Faults
from transfer.detection.scores.lvis import FREQUENCIES

JUDGED = ("neg_category_ids", "not_exhaustive_category_ids")
"""Of an image: classes that it is known not to hold, and those of which not all objects are annotated."""


def read_lvis(json_file: Path, images: Path) -> Annotations:
    """Return a json of LVIS v1, whose images say in `coco_url` in which of COCO's folders below `images` they are.

    Raises UserError if it is missing or no such json.
    """
    coco = read_json(json_file)
    coco["images"] = [_with_file_name(entry) for entry in coco["images"]]
    return Annotations(json_file.stem, json_file, images, coco, "lvis")


def check_judged(coco: dict[str, Any], categories: set[int], faults: Faults) -> None:
    """Add what LVIS's metric lacks: how frequent classes are, and which of them an image is judged on."""
    for entry in coco["categories"]:
        if isinstance(entry, dict) and entry.get("frequency") not in FREQUENCIES.values():
            what = "categories have no `frequency` of r, c or f, by which LVIS scores"
            faults.add(what, entry.get("name"), "add it, as LVIS v1 has it")
    for entry in coco["images"]:
        for field in JUDGED if isinstance(entry, dict) else ():
            if not _are_known(entry.get(field), categories):
                what = f"images have no `{field}` of categories in the file, by which LVIS scores"
                faults.add(what, f"image {entry.get('id')}, {entry.get('file_name')}", "add it, empty if there is none")


def _are_known(ids: Any, categories: set[int]) -> bool:
    return isinstance(ids, list) and all(type(key) is int and key in categories for key in ids)


def _with_file_name(entry: Any) -> Any:
    url = entry.get("coco_url") if isinstance(entry, dict) else None
    return entry | {"file_name": "/".join(url.split("/")[-2:])} if isinstance(url, str) else entry
