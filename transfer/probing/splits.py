"""The image sets of a probe, opened and checked against one another, and parts of them by class."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superinfo.datasets.images import (
    AnyImages,
    CustomImages,
    Folder,
    ImageSet,
    Labels,
    ScenesObjects,
    Standard,
    find_images,
    open_images,
)
from superinfo.errors import UserError
from transfer.probing.contents import Digests, digests, shared
from transfer.probing.recipe import ProbeData

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The images of a set that are used, by index."""

    field: str
    """Its name in the recipe: `data.train`."""
    images: ImageSet
    indices: Indices
    digests: Digests
    """Of those images."""

    @property
    def labels(self) -> Labels:
        """Return the class of each image that is used, `(n,)`."""
        return self.images.labels[self.indices]

    @property
    def data_hash(self) -> str:
        """Return the SHA-256 of which images are used, in order, by content and index."""
        return hashlib.sha256(self.indices.tobytes() + self.digests.tobytes()).hexdigest()

    def part(self, rows: Indices) -> "Split":
        """Return the split with only some of its rows."""
        return replace(self, indices=self.indices[rows], digests=self.digests[rows])


@dataclass(frozen=True)
class Splits:
    """All that a probe needs, and what its record has to say of them."""

    train: Split
    validation: Split | None
    test: Split
    notes: list[str]


def open_splits(data: ProbeData, runs: Path, *, labelled: bool) -> Splits:
    """Open a probe's image sets; those that need labels use labelled images alone.

    Raises UserError if one is empty, if their classes differ, if there are fewer than two, or if more of the test
    images are among those trained or chosen on than `data.max_seen` lets pass.
    """
    opened = {
        name: _open(data, spec, f"data.{name}", runs, labelled=labelled)
        for name, spec in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if spec is not None
    }
    train, validation, test = opened["train"], opened.get("validation"), opened["test"]
    if labelled:
        for other in opened.values():
            _check_classes(train, other)
        if len(found := np.unique(train.labels)) < 2:
            what = f"all {len(train.indices):,} images are of one class, number {found[0]}"
            raise UserError(f"data.train: {what}; give two classes or more")
    notes = [note for seen in (train, validation) if seen and (note := _seen(test, seen, data.max_seen))]
    if validation is not None:
        notes += [note for note in [_seen(validation, train, data.max_seen)] if note]
    return Splits(train, validation, test, notes)


def find_splits(data: ProbeData) -> None:
    """Raise UserError if one of a probe's image sets is not where its recipe says, without reading it."""
    for name, spec in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if spec is not None:
            find_images(_placed(data, spec), f"data.{name}")


def stratified(labels: Labels, share: float, seed: int | Sequence[int]) -> tuple[Indices, Indices]:
    """Draw `share` of each class, rounded, at least one image; return the rows drawn and the others, both sorted."""
    draw = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        drawn.append(rows[: max(1, round(share * len(rows)))])
    chosen = np.sort(np.concatenate(drawn))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def split_title(spec: AnyImages) -> str:
    """Return what a set's split is called in a record."""
    if isinstance(spec, CustomImages):
        return spec.name
    return spec.subfolder or spec.name if isinstance(spec, Folder) else spec.split


def _placed(data: ProbeData, spec: AnyImages) -> AnyImages:
    """Return an image set with the root and the leave to download that all sets of the probe have."""
    if isinstance(spec, ScenesObjects):
        return spec
    spec = spec.model_copy(update={"root": spec.root or data.root})
    if isinstance(spec, Standard):
        return spec.model_copy(update={"download": spec.download or data.download})
    return spec


def _open(data: ProbeData, spec: AnyImages, field: str, runs: Path, *, labelled: bool) -> Split:
    images = open_images(_placed(data, spec), runs / "data", field)
    indices = np.flatnonzero(images.labels >= 0) if labelled else np.arange(len(images))
    if not indices.size:
        what = "labels: put the images of each class in a folder of their own" if len(images) else "images"
        raise UserError(f"{field}: {spec.title} has no {what}")
    return Split(field, images, indices, digests(images, spec.title, runs / "features")[indices])


def _check_classes(train: Split, other: Split) -> None:
    known, found = train.images.classes, other.images.classes
    if known == found:
        return
    only = {"data.train": sorted(set(known) - set(found)), other.field: sorted(set(found) - set(known))}
    told = [f"{len(names)} only in {field}, as {names[0]!r}" for field, names in only.items() if names]
    raise UserError(f"{other.field}: other classes than data.train: {'; '.join(told) or 'in another order'}")


def _seen(test: Split, train: Split, most: float) -> str | None:
    """Return what the record says of images that are in both. Raises UserError if there are too many."""
    rows = shared(test.digests, train.digests)
    if not rows.size:
        return None
    told = f"{len(rows):,} of the {len(test.indices):,} images of {test.field} are in {train.field} too"
    if len(rows) > most * len(test.indices):
        first = f"the first is number {test.indices[rows[0]]}"
        raise UserError(f"{told}, {first}; remove them, or raise data.max_seen ({most:g}) if they are published so")
    return told
