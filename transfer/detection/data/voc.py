"""Folders in the layout of Pascal VOC's devkit (Everingham et al. 2015): lists of images, and an XML for each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from superinfo.datasets.images import EXTENSIONS
from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.recipe import VocSplit

Element = ElementTree.Element


def read_voc(
    root: Path, splits: Sequence[VocSplit], classes: tuple[str, ...], metric: Literal["2007", "2012"]
) -> Annotations:
    """Return the images of one or more lists, numbered from 0 in their order, and their objects, `difficult` or not.

    Boxes are as Detectron2 has them: VOC's pixels are counted from 1 and both ends are included, so that 1 is taken
    from the first ones. Raises UserError, naming the file, for a list or XML that is missing or broken, and for an
    object of none of the classes.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    entries: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for split in splits:
        folder = root / split.folder
        suffixes = _suffixes(folder / "JPEGImages")
        for name in _listed(folder / "ImageSets" / "Main" / f"{split.split}.txt"):
            path = folder / "Annotations" / f"{name}.xml"
            entry, found = _read_xml(path, numbers)
            image = Path(split.folder, "JPEGImages", name + suffixes.get(name, ".jpg"))
            for each in found:
                objects.append({"id": len(objects) + 1, "image_id": len(entries), **each})
            entries.append({"id": len(entries), "file_name": str(image), **entry})
    return Annotations(
        title=" + ".join(split.title for split in splits),
        source=root / splits[0].folder / "ImageSets" / "Main" / f"{splits[0].split}.txt",
        images=root,
        coco={
            "images": entries,
            "annotations": objects,
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        },
        metric="voc2007" if metric == "2007" else "voc2012",
    )


def _listed(path: Path) -> list[str]:
    """Return the names in a list; the flags that VOC's lists of one class have after them are left."""
    try:
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct data.root, or the split and its folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list ({error}); give one name of an image a line") from None


def _suffixes(images: Path) -> dict[str, str]:
    """Return what follows the name of each image file: `.jpg` where there is one, else `.png` or another."""
    try:
        found = (os.path.splitext(name) for name in sorted(os.listdir(images)))
    except OSError:
        return {}  # `check` names the folder
    images_alone = (pair for pair in found if pair[1].lower() in EXTENSIONS)
    return dict(sorted(images_alone, key=lambda pair: pair[1] == ".jpg"))  # the last one of a name stays


def _read_xml(path: Path, numbers: dict[str, int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an image's size and its objects."""
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; add it, or take the image out of the list") from None
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: of its encoding
        raise UserError(f"{path}: not a readable XML ({error}); write it anew") from None
    try:
        size = {key: _whole(root, f"size/{key}") for key in ("width", "height")}
        return size, [_read_object(each, numbers) for each in root.iterfind("object")]
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _read_object(element: Element, numbers: dict[str, int]) -> dict[str, Any]:
    name = (element.findtext("name") or "").strip()
    if name not in numbers:
        raise ValueError(f"an object of class {name!r}, which data.classes lacks; add it there, or correct it here")
    x0, y0, x1, y1 = (_number(element, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
    x0, y0 = x0 - 1, y0 - 1
    return {
        "category_id": numbers[name],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "difficult": _whole(element, "difficult") if element.find("difficult") is not None else 0,
    }


def _number(element: Element, place: str) -> float:
    text = element.findtext(place)
    if text is None:
        raise ValueError(f"<{element.tag}> has no {place}; add it")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{place} of <{element.tag}> is {text.strip()!r}; make it a number") from None


def _whole(element: Element, place: str) -> int:
    number = _number(element, place)
    if not number.is_integer():
        raise ValueError(f"{place} of <{element.tag}> is {number:g}; make it a whole number")
    return int(number)
