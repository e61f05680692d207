"""Image sets to pretrain and probe on: the generated `scenes` objects, any folder of images, the standard sets."""

import csv
import os
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD
from superinfo.custom import CustomSpec
from superinfo.datasets.scenes import SHAPES, VERSION, World, write_objects
from superinfo.errors import UserError
from superinfo.files import exclusive
from superinfo.progress import progress
from superinfo.spec import NotIdentity, Spec, identity_hash
from superinfo.views import Pixels, decode

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}


Positive = Annotated[float, Field(gt=0)]


Labels = NDArray[np.int64]
"""One number for each image, `(N,)`."""


@runtime_checkable
class ImageSet(Protocol):
    """Images by index, and their labels."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pixels:
        """Return an image as RGB uint8 `(H, W, 3)`. Raises UserError, naming the file, if it cannot be read."""

    def content(self, index: int) -> bytes:
        """Return the bytes that an image is made of, as they are stored. Raises UserError if they cannot be read."""

    @property
    def labels(self) -> Labels:
        """Return each image's class, an index into `classes`, or -1 where it has none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""


class ImagesSpec(Spec):
    """What every image set has."""

    root: Annotated[Path | None, NotIdentity] = None
    """Where the files lie; default `$SUPERINFO_DATA`. `scenes` are generated, under the runs folder."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[Positive, Positive, Positive] = IMAGENET_STD


class ScenesObjects(ImagesSpec):
    """Generated images of one object each."""

    kind: Literal["scenes"]
    version: Literal[1] = VERSION
    """Of the generator: its images change with it, and so do the hashes of runs on them."""
    split: Literal["train", "val", "test"] = "train"
    count: int = Field(default=10_000, ge=1)
    size: int = Field(default=64, ge=16)
    classes: tuple[str, ...] = SHAPES
    world_seed: int = Field(default=0, ge=0)

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return f"scenes objects ({self.count:,})"


class Folder(ImagesSpec):
    """A folder of images, at any depth; what lies in a sub-folder is that class (ImageFolder layout)."""

    kind: Literal["folder"]
    name: str
    """The set's name: it stands for the images in hashes and tables, as their place does not."""
    subfolder: Annotated[str, NotIdentity] = ""
    """Where below the root the images lie: `train`, where a set has its splits in one root."""

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return self.name


SPLITS: dict[str, tuple[str, ...]] = {
    "cifar10": ("train", "test"),
    "cifar100": ("train", "test"),
    "stl10": ("train", "test", "unlabeled", "train+unlabeled"),
    "mnist": ("train", "test"),
    "fashionmnist": ("train", "test"),
    "dtd": ("train", "val", "train+val", "test"),
    "flowers102": ("train", "val", "train+val", "test"),
    "aircraft": ("train", "val", "train+val", "test"),
    "gtsrb": ("train", "test"),
    "cub": ("train", "test"),
}
"""The standard sets, each with the splits that its authors publish; of DTD's ten the first."""


class Standard(ImagesSpec):
    """A set with published splits: one that torchvision knows, or CUB-200-2011."""

    kind: Literal[
        "cifar10", "cifar100", "stl10", "mnist", "fashionmnist", "dtd", "flowers102", "aircraft", "gtsrb", "cub"
    ]
    split: Literal["train", "test", "unlabeled", "train+unlabeled", "val", "train+val"] = "train"
    download: Annotated[bool, NotIdentity] = False

    @model_validator(mode="after")
    def _split_is_published(self) -> Self:
        *splits, last = SPLITS[self.kind]
        if self.split not in SPLITS[self.kind]:
            raise ValueError(f"split must be {', '.join(splits)} or {last} for {self.kind}")
        return self

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return f"{self.kind} {self.split}"


class CustomImages(CustomSpec, ImagesSpec):
    """A set of the user's own: a function that is called with the data root and its settings, and returns an ImageSet.

    `ListedFiles` and `InMemory` are two of them.
    """

    name: str
    """Of the set, with its split: it stands for the images in hashes and tables."""

    @model_validator(mode="after")
    def _is_a_function(self) -> Self:
        return self.checked()

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return self.name


Images = ScenesObjects | Folder | Standard | CustomImages
AnyImages = Annotated[Images, Field(discriminator="kind")]


def open_images(spec: Images, cache: Path, field: str = "data") -> ImageSet:
    """Open an image set; `scenes` are generated below `cache` if they are not there yet.

    Raises UserError, with the recipe's `field` in it, if the folder is missing or holds no images.
    """
    if isinstance(spec, ScenesObjects):
        return _generated_objects(spec, cache)
    root = data_root(spec.root, f"{field}.root")
    if isinstance(spec, Folder):
        return ImageFiles(_below(root, spec.subfolder, f"{field}.subfolder"))
    if isinstance(spec, CustomImages):
        return _own(spec, root)
    from superinfo.datasets.standard import open_standard

    return open_standard(spec, root, field)


def find_images(spec: Images, field: str = "data") -> None:
    """Raise UserError, as `open_images` does, if an image set is not where its recipe says, without reading it."""
    if isinstance(spec, ScenesObjects):
        return
    root = data_root(spec.root, f"{field}.root")
    if isinstance(spec, Folder):
        _below(root, spec.subfolder, f"{field}.subfolder")
    elif isinstance(spec, Standard) and not spec.download:
        from superinfo.datasets.standard import find_standard

        find_standard(spec, root, field)


def data_root(root: Path | None, field: str) -> Path:
    """Return the data folder: the recipe's, or `$SUPERINFO_DATA`. Raises UserError if neither exists."""
    named = root or (Path(os.environ["SUPERINFO_DATA"]) if os.environ.get("SUPERINFO_DATA") else None)
    if named is None:
        raise UserError(f"{field} is not given; set it in the recipe, by --set {field}=DIR, or as SUPERINFO_DATA")
    if not named.is_dir():
        raise UserError(f"{named}: no such folder; correct {field} or SUPERINFO_DATA")
    return named


def _below(root: Path, subfolder: str, field: str) -> Path:
    if not (root / subfolder).is_dir():
        raise UserError(f"{root / subfolder}: no such folder; correct {field}, or the root above it")
    return root / subfolder


def _own(spec: CustomImages, root: Path) -> ImageSet:
    images = spec.called(root)
    if not isinstance(images, ImageSet):
        raise UserError(f"{spec.target}: returns {type(images).__name__}, not an ImageSet; return ListedFiles, say")
    if len(images.labels) != len(images):
        raise UserError(f"{spec.target}: {len(images)} images and {len(images.labels)} labels; give each one, or -1")
    return images


class InMemory:
    """Images of one size in an array `(N, H, W, 3)`, RGB uint8; memory-mapped arrays stay on disk."""

    def __init__(self, images: Pixels, labels: Labels, classes: tuple[str, ...]) -> None:
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Pixels:
        return np.asarray(self.images[index])

    def content(self, index: int) -> bytes:
        """Return the bytes of an image's pixels."""
        content: bytes = self.images[index].tobytes()
        return content


class Files:
    """Image files by path; what is in them is read when it is asked for."""

    paths: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        content = self.content(index)
        try:
            return decode(content)
        except UserError as error:
            raise UserError(f"{self.paths[index]}: {error}") from None

    def content(self, index: int) -> bytes:
        """Return the bytes of a file. Raises UserError, naming it, if it cannot be read."""
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise UserError(f"{self.paths[index]}: {error.strerror}") from None


def _files_below(folder: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield every file below a folder; a link that leads back to a folder above it is not followed."""
    try:
        place = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError:  # not there, or not ours to read
        return
    here = (place.st_dev, place.st_ino)
    if here in above:
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself, or to where we may not look
            continue
        if is_folder:
            yield from _files_below(entry.path, above | {here})
        else:
            yield entry.path


class ListedFiles(Files):
    """Image files with the labels that a list gives them."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], classes: Sequence[str]) -> None:
        self.paths = [str(path) for path in paths]
        self.labels: Labels = np.array(labels, np.int64)
        self.classes = tuple(classes)


class ImageFiles(Files):
    """Every image file below a folder, in path order; its class is the first folder on the way to it, if any."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(
            path
            for path in _files_below(str(root))
            if os.path.splitext(path)[1].lower() in EXTENSIONS and not os.path.basename(path).startswith(".")
        )
        if not self.paths:
            raise UserError(f"{root}: no images below this folder; expected {', '.join(sorted(EXTENSIONS))}")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the folders directly below the root that hold images, sorted."""
        return tuple(sorted(set(self._class_names()) - {""}))

    @cached_property
    def labels(self) -> Labels:
        """Return each image's class; -1 where it lies directly in the root."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers.get(name, -1) for name in self._class_names()], np.int64)

    def _class_names(self) -> Iterator[str]:
        start = len(os.path.join(self.root, ""))
        return (path[start:].rpartition(os.sep)[0].partition(os.sep)[0] for path in self.paths)


def scenes_factors(spec: ScenesObjects, cache: Path) -> list[dict[str, str]]:
    """Return the generative factors of each image, as `ObjectFactors` names them, with `class` for the class's name."""
    with (_generated_folder(spec, cache) / "factors.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _generated_objects(spec: ScenesObjects, cache: Path) -> InMemory:
    images: Pixels = np.load(_generated_folder(spec, cache) / "images.npy", mmap_mode="r")
    labels = np.array([spec.classes.index(row["class"]) for row in scenes_factors(spec, cache)], np.int64)
    return InMemory(images, labels, spec.classes)


def _generated_folder(spec: ScenesObjects, cache: Path) -> Path:
    folder = cache / f"scenes-objects-{spec.size}px-{spec.count}-{identity_hash(spec)[:8]}"
    with exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        if not (folder / spec.split).is_dir():
            world = World(classes=spec.classes, seed=spec.world_seed)
            with progress("scenes objects", spec.count, "images") as advance:
                report = partial(advance, note="")
                write_objects(folder, world, spec.split, spec.count, spec.size, len(os.sched_getaffinity(0)), report)
    return folder / spec.split
