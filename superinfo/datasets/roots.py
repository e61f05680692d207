"""What lies in a data root, and whether it is whole: `superinfo inspect` of a folder of sets."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Literal

from superinfo.artifacts import CONVERSION
from superinfo.datasets.images import ImageFiles
from superinfo.datasets.trees import TREES, Part, Tree
from superinfo.errors import UserError
from superinfo.listing import listed
from superinfo.spec import Spec

SPLITS = ("train", "trainval", "val", "valid", "validation", "test")
"""Folders that hold a split where images are sorted by it, and not a class."""


class FoundPart(Spec):
    """Files of a set that have one purpose."""

    where: str
    """Below the data root; `*` is any name."""
    expected: int | None
    """Files that their authors publish; None where nobody says."""
    found: int
    classes: int | None = None
    """Folders that hold them, where a folder is a class."""
    bytes: int
    problem: str | None = None
    """What is missing or broken; None if nothing is."""


class FoundSet(Spec):
    """A set in a data root."""

    name: str
    title: str
    whole: bool | None
    """None where nobody says how much there is."""
    bytes: int
    parts: list[FoundPart]
    source: str | None
    """Where its authors have it."""
    use: str
    """The recipe's field, and the variables that may stand for it."""
    recipes: list[str]
    """Commands that read it."""


class DataRoot(Spec):
    """A folder that recipes take as `data.root`."""

    kind: Literal["data root"] = "data root"
    folder: str
    sets: list[FoundSet]


def inspect_root(folder: Path) -> DataRoot:
    """Return the sets in a data root; the folder of a standard set itself stands for the root above it.

    Where there is none, every folder of images counts, a class being a folder in it. Raises UserError if there are no
    images either.
    """
    folder = folder.absolute()
    for root in (folder, folder.parent, folder.parent.parent):
        if trees := [tree for tree in TREES.values() if _holds(root, tree, folder)]:
            return DataRoot(folder=str(root), sets=[_standard(root, tree) for tree in trees])
    return DataRoot(folder=str(folder), sets=list(_folders_of_images(folder)))


def render(found: DataRoot) -> str:
    """Return a listing for people."""
    return listed(_rows(found))


def _rows(found: DataRoot) -> Iterator[tuple[str, str]]:
    yield "data root", found.folder
    for each in found.sets:
        told = {True: "whole, ", False: "NOT WHOLE, ", None: ""}[each.whole]
        yield each.title, f"{told}{_size(each.bytes)}"
        for part in each.parts:
            yield f"  {part.where}", part.problem or _counted(part)
        if each.source and not each.whole:
            yield "  from", each.source
        yield "  used by", each.use
        if each.recipes:
            yield "  as in", f"superinfo {each.recipes[0]}"


def _holds(root: Path, tree: Tree, asked: Path) -> bool:
    """Whether a set is below a root, its folder being the one that was asked about, or in it."""
    names = asked.relative_to(root).parts
    return (root / (tree.mark or tree.folder)).exists() and PurePath(tree.folder).parts[: len(names)] == names


def _standard(root: Path, tree: Tree) -> FoundSet:
    parts = [_part(root, part) for part in tree.parts]
    return FoundSet(
        name=tree.name,
        title=tree.title,
        whole=not any(part.problem for part in parts),
        bytes=sum(part.bytes for part in parts),
        parts=parts,
        source=tree.source,
        use=_use(root, tree.variables),
        recipes=list(tree.recipes),
    )


def _part(root: Path, part: Part) -> FoundPart:
    found, size = 0, 0
    for path in root.glob(part.pattern):
        found += 1
        size += path.stat().st_size
    problem = None
    if found < part.count:
        problem = f"{part.count - found:,} of {part.count:,} files are missing" if part.count > 1 else "is missing"
    elif part.size is not None and size != part.size:
        problem = f"has {size:,} bytes instead of {part.size:,}; download it again"
    return FoundPart(where=part.pattern, expected=part.count, found=found, bytes=size, problem=problem)


def _folders_of_images(folder: Path) -> Iterator[FoundSet]:
    """Yield the folder itself, or each set in it that has its splits in folders."""
    sorted_by_split = [place for place in (folder, *_children(folder)) if _splits(place)]
    for place in sorted_by_split or [folder]:
        parts = [_images(folder, place / split) for split in _splits(place) or [""]]
        if not any(part.found for part in parts):
            remedy = f"docs/reproduce.md shows what the standard sets look like; converted weights have a {CONVERSION}"
            raise UserError(f"{place}: no set that is known, and no images below this folder; {remedy}")
        subfolder = parts[0].where.rstrip("/*")
        fields = f"data.name=NAME{f' --set data.subfolder={subfolder}' if subfolder else ''}"
        yield FoundSet(
            name="folder",
            title=f"{place.name}, a folder of images",
            whole=None,
            bytes=sum(part.bytes for part in parts),
            parts=parts,
            source=None,
            use=f"{_use(folder, ('SUPERINFO_DATA',))}; and --set {fields}, where data.kind is folder",
            recipes=[],
        )


def _images(root: Path, place: Path) -> FoundPart:
    where = "/".join([*place.relative_to(root).parts, "*"])
    try:
        images = ImageFiles(place)
    except UserError:
        return FoundPart(where=where, expected=None, found=0, bytes=0, problem="no images")
    return FoundPart(
        where=where,
        expected=None,
        found=len(images),
        classes=len(images.classes),
        bytes=sum(os.stat(path).st_size for path in images.paths),
    )


def _children(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _splits(folder: Path) -> list[str]:
    return [name for name in SPLITS if (folder / name).is_dir()]


def _use(root: Path, variables: Sequence[str]) -> str:
    return f"--set data.root={root}, or {' or '.join(f'{name}={root}' for name in variables)}"


def _counted(part: FoundPart) -> str:
    files = _number(part.found, "file", "files")
    classes = f" in {_number(part.classes, 'class', 'classes')}" if part.classes else ""
    beyond = part.found - part.expected if part.expected is not None else 0
    more = f", {beyond:,} more than published" if beyond else ""
    return f"{files}{classes}{more}, {_size(part.bytes)}"


def _number(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
