"""COCO jsons, and a share of their images for training with few labels."""

import gc
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations

PARTS = ("images", "annotations", "categories")


def read_coco(json_file: Path, images: Path, share: float = 1, share_seed: int = 0) -> Annotations:
    """Return a COCO json, with a share of its images if not with all.

    Raises UserError if it is missing or no json with lists of images, annotations and categories. What is in those
    lists is for `check` to judge.
    """
    whole = Annotations(json_file.stem.removeprefix("instances_"), json_file, images, read_json(json_file), "coco")
    return whole if share == 1 else _draw_share(whole, share, share_seed)


def read_json(json_file: Path) -> dict[str, Any]:
    """Parse a json with lists of images, annotations and categories. Raises UserError if it is none."""
    if not json_file.is_file():
        raise UserError(f"{json_file}: no such file; correct data.root or the split's json_file")
    collecting = gc.isenabled()
    gc.disable()  # parsing makes millions of objects, none of them garbage: looking for it takes half of the time
    try:
        coco = json.loads(json_file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{json_file}: not a json: {error}; write it anew, or download it again") from None
    except OSError as error:
        raise UserError(f"{json_file}: {error.strerror}; make it readable") from None
    finally:
        if collecting:
            gc.enable()
    lacking = [part for part in PARTS if not isinstance(coco, dict) or not isinstance(coco.get(part), list)]
    if lacking:
        raise UserError(f"{json_file}: not a COCO json: no list of {', '.join(lacking)}; name an instances json")
    return coco  # type: ignore[no-any-return]  # a dict, as was just seen


def _draw_share(whole: Annotations, share: float, seed: int) -> Annotations:
    """Keep the images whose ids hash lowest, so that a smaller share is part of a larger one.

    Entries that have no id are kept, for `check` to name.
    """
    entries, objects = whole.coco["images"], whole.coco["annotations"]
    ids = [key for entry in entries if isinstance(key := _get(entry, "id"), int)]
    order = sorted(ids, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    left_out = set(order[max(1, round(share * len(order))) :])
    part = whole.coco | {
        "images": [entry for entry in entries if not _is_among(_get(entry, "id"), left_out)],
        "annotations": [each for each in objects if not _is_among(_get(each, "image_id"), left_out)],
    }
    draw = f", draw {seed}" if seed else ""
    return replace(whole, title=f"{whole.title} ({100 * share:g} %{draw})", coco=part)


def _get(entry: object, key: str) -> object:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_among(key: object, ids: set[int]) -> bool:
    return isinstance(key, int) and key in ids
