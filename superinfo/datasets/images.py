"""Image sets to pretrain and probe on: the generated `scenes` objects, any folder of images, CIFAR and STL-10."""

import csv
import os
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD
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


class ImageSet(Protocol):
    """Images by index, and their labels."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pixels:
        """Return an image as RGB uint8 `(H, W, 3)`. Raises UserError, naming the file, if it cannot be read."""

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

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return self.name


class Standard(ImagesSpec):
    """A set that torchvision knows."""

    kind: Literal["cifar10", "cifar100", "stl10"]
    split: Literal["train", "test", "unlabeled", "train+unlabeled"] = "train"
    download: Annotated[bool, NotIdentity] = False

    @model_validator(mode="after")
    def _unlabeled_is_stl10(self) -> Self:
        if "unlabeled" in self.split and self.kind != "stl10":
            raise ValueError(f"split must be train or test for {self.kind}")
        return self

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return f"{self.kind} {self.split}"


AnyImages = Annotated[ScenesObjects | Folder | Standard, Field(discriminator="kind")]


def open_images(spec: ScenesObjects | Folder | Standard, cache: Path, field: str = "data") -> ImageSet:
    """Open an image set; `scenes` are generated below `cache` if they are not there yet.

    Raises UserError, with the recipe's `field` in it, if the folder is missing or holds no images.
    """
    if isinstance(spec, ScenesObjects):
        return _generated_objects(spec, cache)
    if isinstance(spec, Folder):
        return ImageFiles(data_root(spec.root, f"{field}.root"))
    return _standard(spec, field)


def data_root(root: Path | None, field: str) -> Path:
    """Return the data folder: the recipe's, or `$SUPERINFO_DATA`. Raises UserError if neither exists."""
    named = root or (Path(os.environ["SUPERINFO_DATA"]) if os.environ.get("SUPERINFO_DATA") else None)
    if named is None:
        raise UserError(f"{field} is not given; set it in the recipe, by --set {field}=DIR, or as SUPERINFO_DATA")
    if not named.is_dir():
        raise UserError(f"{named}: no such folder; correct {field} or SUPERINFO_DATA")
    return named


class InMemory:
    """Images of one size in an array `(N, H, W, 3)`, RGB uint8; memory-mapped arrays stay on disk."""

    def __init__(self, images: Pixels, labels: Labels, classes: tuple[str, ...]) -> None:
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Pixels:
        return np.asarray(self.images[index])


class ImageFiles:
    """Every image file below a folder, in path order; its class is the first folder on the way to it, if any."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(root, followlinks=True)
            for name in names
            if os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")
        )
        if not self.paths:
            raise UserError(f"{root}: no images below this folder; expected {', '.join(sorted(EXTENSIONS))}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        path = Path(self.paths[index])
        try:
            return decode(path.read_bytes())
        except (OSError, UserError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"{path}: {reason}") from None

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


def _generated_objects(spec: ScenesObjects, cache: Path) -> InMemory:
    folder = cache / f"scenes-objects-{spec.size}px-{spec.count}-{identity_hash(spec)[:8]}"
    with exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        if not (folder / spec.split).is_dir():
            world = World(classes=spec.classes, seed=spec.world_seed)
            with progress("scenes objects", spec.count, "images") as advance:
                report = partial(advance, note="")
                write_objects(folder, world, spec.split, spec.count, spec.size, len(os.sched_getaffinity(0)), report)
    images: Pixels = np.load(folder / spec.split / "images.npy", mmap_mode="r")
    with (folder / spec.split / "factors.csv").open(newline="") as file:
        rows = csv.reader(file)
        shape = next(rows).index("class")
        labels = np.array([spec.classes.index(row[shape]) for row in rows], np.int64)
    return InMemory(images, labels, spec.classes)


def _standard(spec: Standard, field: str) -> InMemory:
    from torchvision import datasets

    root = data_root(spec.root, f"{field}.root")
    source = {"stl10": datasets.STL10, "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[spec.kind]
    arguments: dict[str, Any] = {"root": root, "download": spec.download}
    try:
        if spec.kind == "stl10":
            stl10 = source(split=spec.split, **arguments)
            # Torchvision reads the names only where their file lies, and checks the images alone.
            return InMemory(
                np.ascontiguousarray(stl10.data.transpose(0, 2, 3, 1)),
                stl10.labels.astype(np.int64),
                tuple(getattr(stl10, "classes", ())),
            )
        cifar = source(train=spec.split == "train", **arguments)
        return InMemory(np.asarray(cifar.data), np.array(cifar.targets, np.int64), tuple(cifar.classes))
    except RuntimeError:
        wanted = f"the folder {source.base_folder} of its authors' archive, whole"
        raise UserError(f"{root}: no {spec.kind} here; expected {wanted}, or set {field}.download=true") from None
    except OSError as error:
        raise UserError(f"{root}: {' '.join(str(error).split())}; correct {field}.root") from None
