"""The standard sets as their authors publish them: read by torchvision, CUB-200-2011 by its lists."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from superinfo.datasets.images import ImageSet, InMemory, ListedFiles, Standard
from superinfo.datasets.trees import TREES
from superinfo.errors import UserError

Source = Callable[..., Any]
CLASSES = {
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
    "stl10": datasets.STL10,
    "mnist": datasets.MNIST,
    "fashionmnist": datasets.FashionMNIST,
    "dtd": datasets.DTD,
    "flowers102": datasets.Flowers102,
    "aircraft": datasets.FGVCAircraft,
    "gtsrb": datasets.GTSRB,
}
GTSRB_CLASSES = tuple(f"{number:02d}" for number in range(43))


def open_standard(spec: Standard, root: Path, field: str) -> ImageSet:
    """Open a split of a standard set below `root`; download it first where the recipe asks for that.

    Raises UserError, with the recipe's `field` in it, if the set is not there or not whole.
    """
    if spec.kind == "cub":
        return _cub(spec, root, field)
    try:
        return READERS.get(spec.kind, _array)(CLASSES[spec.kind], spec, root)
    except RuntimeError:
        raise _absent(spec, root, field) from None
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise UserError(f"{spec.kind}: its label files need the package {package}; pip install {package}") from None
    except OSError as error:
        raise UserError(f"{root}: {' '.join(str(error).split())}; correct {field}.root") from None


def find_standard(spec: Standard, root: Path, field: str) -> None:
    """Raise UserError, as `open_standard` does, if a set is not there, or a part of it is not."""
    tree = TREES[spec.kind]
    if not (root / tree.folder).is_dir():
        raise _absent(spec, root, field)
    if missing := tree.missing(root):
        raise UserError(f"{root}: {spec.kind} lacks {missing[0]}; `superinfo inspect {root}` tells more")


def _absent(spec: Standard, root: Path, field: str) -> UserError:
    wanted = f"the folder {TREES[spec.kind].folder} of its authors' archive, whole"
    return UserError(f"{root}: no {spec.kind} here; expected {wanted}, or set {field}.download=true")


def _array(source: Source, spec: Standard, root: Path) -> InMemory:
    """CIFAR, MNIST, FashionMNIST; grey becomes RGB."""
    found = source(root=root, train=spec.split == "train", download=spec.download)
    images = np.asarray(found.data)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    return InMemory(images, np.asarray(found.targets).astype(np.int64), tuple(found.classes))


def _stl10(source: Source, spec: Standard, root: Path) -> InMemory:
    found = source(root=root, split=spec.split, download=spec.download)
    # Torchvision reads the names only where their file lies, and checks the images alone.
    return InMemory(
        np.ascontiguousarray(found.data.transpose(0, 2, 3, 1)),
        found.labels.astype(np.int64),
        tuple(getattr(found, "classes", ())),
    )


def _files(source: Source, spec: Standard, root: Path) -> ListedFiles:
    """DTD, Flowers102, Aircraft; a sum of splits is one after the other."""
    parts = [source(root=root, split=split, download=spec.download) for split in spec.split.split("+")]
    paths = [Path(path) for part in parts for path in part._image_files]
    labels = [label for part in parts for label in part._labels]
    return ListedFiles(paths, labels, parts[0].classes)


def _gtsrb(source: Source, spec: Standard, root: Path) -> ListedFiles:
    found = source(root=root, split=spec.split, download=spec.download)
    paths, labels = zip(*sorted(found._samples), strict=True)
    return ListedFiles([Path(path) for path in paths], labels, GTSRB_CLASSES)


READERS: dict[str, Callable[[Source, Standard, Path], ImageSet]] = {
    "stl10": _stl10,
    "dtd": _files,
    "flowers102": _files,
    "aircraft": _files,
    "gtsrb": _gtsrb,
}
"""Of the sets that are no single array."""


def _cub(spec: Standard, root: Path, field: str) -> ListedFiles:
    """CUB-200-2011 (Wah et al. 2011): images.txt, image_class_labels.txt, train_test_split.txt and classes.txt."""
    folder = root / TREES["cub"].folder
    if spec.download:
        raise UserError(f"{field}.download: CUB is not one that torchvision downloads; unpack its archive below {root}")
    if not (folder / "images.txt").is_file():
        raise UserError(f"{root}: no cub here; expected the folder {folder.name} of its authors' archive, whole")
    images, labels, is_train = (
        _column(folder / name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    chosen = [number for number, flag in is_train.items() if (flag == "1") == (spec.split == "train")]
    return ListedFiles(
        [folder / "images" / images[number] for number in chosen],
        [int(labels[number]) - 1 for number in chosen],
        list(_column(folder / "classes.txt").values()),
    )


def _column(path: Path) -> dict[str, str]:
    """Read a file of lines `number value`."""
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines()
        return dict(line.split(" ", 1) for line in lines if line)
    except (OSError, ValueError):
        raise UserError(f"{path}: missing, or not of lines `number value`; unpack the archive anew") from None
