"""Frozen features of an image set: extracted once, kept by what they depend on, read as memory-mapped arrays."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from superinfo.datasets.images import Labels
from superinfo.device import enough_memory
from superinfo.errors import UserError
from superinfo.files import exclusive, new_folder, remove_folder
from superinfo.processes import Agreement
from superinfo.progress import progress, say
from superinfo.spec import identity
from superinfo.views import PARAMETERS, Pixels, TwoViews, ViewSpec, view_generator
from superinfo.workers import loaded, start_worker, workers_for
from transfer.probing.encoder import Subject
from transfer.probing.labelled import Floats
from transfer.probing.pixels import evaluated, normalisation, normalised
from transfer.probing.recipe import ProbeRecipe
from transfer.probing.splits import Indices, Split

FORMAT = "superinfo.features/1"
TOLD = 5
"""Unreadable images that are named; more are only counted."""
Shown = tuple[Pixels, Floats]
"""What is shown of an image: k pictures `(k, S, S, 3)`, and the parameters drawn for each, `(k, P)`."""
Show = Callable[[Pixels, int], Shown]
"""Of an image and its index. Workers that are not forked get it pickled."""


@dataclass(frozen=True)
class Features:
    """Features of those images of a split that can be read."""

    values: Floats
    """`(n, D)`, or `(n, 2, D)` of two views of each image."""
    labels: Labels
    """`(n,)`."""
    indices: Indices
    """Into the image set, `(n,)`."""
    parameters: Floats
    """Of two views, `(n, 2, P)` as in `superinfo.views.PARAMETERS`; `(n, 0)` of images shown whole."""


class FeatureStore:
    """The features of one frozen encoder, extracted where they are asked for the first time."""

    def __init__(self, subject: Subject, recipe: ProbeRecipe, folder: Path, device: torch.device) -> None:
        self.subject, self.recipe, self.folder, self.device = subject, recipe, folder, device
        self.mean, self.std = normalisation(subject, recipe)
        self.notes: list[str] = []
        """What records say of images that could not be read."""

    def of(self, split: Split) -> Features:
        """Return the features of a split's images, each shown whole, in evaluation mode.

        They are extracted anew once an image can be read that could not be. Raises UserError if too many images cannot
        be read, if features are not finite, or if the GPU's memory does not suffice.
        """
        recipe = self.recipe
        found = self._kept(split, [recipe.input_size, recipe.transform], 1, partial(_show_whole, recipe))
        return Features(found.values[:, 0], found.labels, found.indices, found.parameters[:, 0])

    def of_views(self, split: Split, views: ViewSpec, seed: int) -> Features:
        """Return the features of two views of each image with the parameters drawn for them; raises as `of` does."""
        size = self.recipe.input_size
        pair = TwoViews(views, size, self.mean, self.std)
        return self._kept(split, [size, identity(views), seed], 2, partial(_show_views, pair, seed))

    def _kept(self, split: Split, shape: list[Any], pictures: int, show: Show) -> Features:
        key = [FORMAT, self.subject.tensors_sha256, split.data_hash, self.mean, self.std, *shape]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
        path = self.folder / name
        with exclusive(self.folder / f".{name}.lock", wait=True):
            if path.is_dir() and _more_readable(split, np.load(path / "readable.npy")):
                remove_folder(path)
            if not path.is_dir():
                with self._enough_memory(split):
                    self._extract(split, pictures, show, path)
            readable = np.load(path / "readable.npy")
            values, parameters = (np.load(path / f"{part}.npy", mmap_mode="r") for part in ("values", "parameters"))
        self._check_readable(split, readable)
        unreadable = int((~readable).sum())
        note = f"{unreadable:,} of the {len(readable):,} images of {split.field} cannot be read and are left out"
        if unreadable and note not in self.notes:
            self.notes.append(note)
        if not readable.all():
            values, parameters = values[readable], parameters[readable]
        indices = split.indices[readable]
        return Features(values, split.images.labels[indices], indices, parameters)

    def _enough_memory(self, split: Split) -> AbstractContextManager[None]:
        images = min(self.recipe.batch_size, len(split.indices))
        remedy = f"--set batch_size={images // 2}" if images > 1 else "use --device cpu"
        return enough_memory(f"{split.field}: features of {images} images at once", f"{remedy}, or a GPU with more")

    @torch.no_grad()
    def _extract(self, split: Split, pictures: int, show: Show, path: Path) -> None:
        encoder = self.subject.encoder.to(self.device)
        count = len(split.indices)
        readable, finite = np.zeros(count, bool), np.ones(count, bool)
        with new_folder(path) as folder, self._shown(split, show) as batches:
            values = np.lib.format.open_memmap(
                folder / "values.npy", "w+", np.float32, (count, pictures, encoder.feature_dim)
            )
            parameters = np.zeros((count, pictures, len(PARAMETERS) if pictures > 1 else 0), np.float32)
            for rows, pixels, drawn in batches:
                flat = torch.from_numpy(pixels).flatten(0, 1).to(self.device)
                found = encoder(normalised(flat, self.mean, self.std)).cpu().numpy()
                values[rows] = found.reshape(len(rows), pictures, -1)
                finite[rows] = np.isfinite(values[rows]).all(axis=(1, 2))
                parameters[rows], readable[rows] = drawn, True
            self._check_readable(split, readable)
            _check_finite(split, finite)
            values.flush()
            np.save(folder / "parameters.npy", parameters)
            np.save(folder / "readable.npy", readable)

    @contextmanager
    def _shown(self, split: Split, show: Show) -> Iterator[Iterator[tuple[Indices, Pixels, Floats]]]:
        """Within the context, an iterator over rows of a split with their pictures; unreadable ones are told."""
        cv2.setNumThreads(0)
        loader: DataLoader[Any] = DataLoader(
            _ShownImages(split, show),
            batch_size=self.recipe.batch_size,
            num_workers=workers_for(self.recipe.workers, Agreement()),
            collate_fn=list,
            worker_init_fn=start_worker,
        )
        title = f"{split.field}: features"
        with loaded(loader) as shown_images, progress(title, len(split.indices), "images") as advance:

            def batches() -> Iterator[tuple[Indices, Pixels, Floats]]:
                unreadable = 0
                for batch in shown_images:
                    for reason in (shown for _, shown in batch if isinstance(shown, str)):
                        unreadable += 1
                        if unreadable <= TOLD:
                            say(f"{reason}; left out{'; more are only counted' if unreadable == TOLD else ''}")
                    if good := [(row, *shown) for row, shown in batch if not isinstance(shown, str)]:
                        rows, pixels, drawn = zip(*good, strict=True)
                        yield np.array(rows), np.stack(pixels), np.stack(drawn)
                    advance(len(batch), f"{unreadable} unreadable" if unreadable else "")

            yield batches()

    def _check_readable(self, split: Split, readable: NDArray[np.bool_]) -> None:
        bad = np.flatnonzero(~readable)
        most = self.recipe.max_unreadable
        if len(bad) > most * len(readable) or len(bad) == len(readable):
            what = f"{len(bad):,} of {len(readable):,} images cannot be read, more than max_unreadable ({most:g})"
            first = _fault(split, bad[0]) or f"number {split.indices[bad[0]]}, which can be read now: try again"
            raise UserError(f"{split.field}: {what}; mend or remove them, the first is {first}")


class _ShownImages(Dataset[tuple[int, Shown | str]]):
    """Rows of a split, each with what is shown of its image, or with why it cannot be read."""

    def __init__(self, split: Split, show: Show) -> None:
        self.split, self.show = split, show

    def __len__(self) -> int:
        return len(self.split.indices)

    def __getitem__(self, row: int) -> tuple[int, Shown | str]:
        index = int(self.split.indices[row])
        try:
            return row, self.show(self.split.images[index], index)
        except UserError as error:
            return row, str(error)


def _show_whole(recipe: ProbeRecipe, image: Pixels, _: int) -> Shown:
    return evaluated(image, recipe)[None], np.zeros((1, 0), np.float32)


def _show_views(pair: TwoViews, seed: int, image: Pixels, index: int) -> Shown:
    (v1, p1), (v2, p2) = pair.pixels(image, view_generator(seed, 0, index))
    return np.stack([v1, v2]), np.stack([p1, p2])


def _more_readable(split: Split, readable: NDArray[np.bool_]) -> bool:
    """Whether an image that could not be read can be now, as after an error of its disk."""
    return any(_fault(split, int(row)) is None for row in np.flatnonzero(~readable))


def _fault(split: Split, row: int) -> str | None:
    """Return why an image cannot be read; None if it can be."""
    try:
        split.images[int(split.indices[row])]
    except UserError as error:
        return str(error)
    return None


def _check_finite(split: Split, finite: NDArray[np.bool_]) -> None:
    bad = np.flatnonzero(~finite)
    if bad.size:
        what = f"features of {len(bad):,} of {len(finite):,} images are not finite"
        remedy = "the encoder diverged, or mean and std are not its own"
        raise UserError(f"{split.field}: {what}, the first is number {split.indices[bad[0]]}; {remedy}")
