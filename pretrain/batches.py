"""Batches of two views, as a pure function of (seed, step): resuming and worker count change nothing."""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pretrain.unreadable import Unreadable
from superinfo.datasets.images import ImageSet
from superinfo.errors import UserError
from superinfo.views import Pixels, TwoViews, view_generator
from superinfo.workers import loaded, start_worker

Position = tuple[int, int]
"""Epoch and index of an image."""
PIECE = 256
"""Most images that a worker makes at a time."""


@dataclass
class Batch:
    """Both views of some images, uint8 `(b, 2, S, S, 3)`, and what could not be read on the way."""

    views: Tensor
    unreadable: Unreadable

    def pin_memory(self) -> "Batch":
        """Lay the views where a GPU fetches them without waiting; the loader calls it by this name."""
        return Batch(self.views.pin_memory(), self.unreadable)


class TwoViewImages(Dataset[tuple[Pixels, Unreadable]]):
    """Both views of an image in an epoch, uint8 `(2, S, S, 3)`; an unreadable image gives its place to the next one."""

    def __init__(self, images: ImageSet, views: TwoViews, seed: int) -> None:
        self.images, self.views, self.seed = images, views, seed

    def __getitem__(self, position: Position) -> tuple[Pixels, Unreadable]:
        epoch, index = position
        unreadable: Unreadable = {}
        for candidate in itertools.chain(range(index, len(self.images)), range(index)):
            try:
                image = self.images[candidate]
            except UserError as error:
                unreadable[candidate] = str(error)
            else:
                (v1, _), (v2, _) = self.views.pixels(image, view_generator(self.seed, epoch, index))
                return np.stack([v1, v2]), unreadable
        raise UserError(f"none of the {len(self.images)} images can be read; the first: {unreadable[0]}")


class Batches:
    """The batches from `first_step` on: each epoch a permutation of the images, its incomplete batch left out.

    Of each batch, process `rank` of `world` gets its share, consecutive rows, in `pieces` one after the other: workers
    make a large batch together, and wait with little of it in memory.
    """

    def __init__(
        self, images: int, batch_size: int, epochs: int, seed: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.images, self.batch_size, self.epochs, self.seed = images, batch_size, epochs, seed
        self.first_step, self.rank, self.share = first_step, rank, batch_size // world
        self.pieces = math.ceil(self.share / PIECE)
        self.steps_per_epoch = images // batch_size
        if not self.steps_per_epoch:
            raise UserError(f"batch_size {batch_size} is more than the {images} images; lower it")

    def __len__(self) -> int:
        return (self.epochs * self.steps_per_epoch - self.first_step) * self.pieces

    def __iter__(self) -> Iterator[list[Position]]:
        for epoch in range(self.first_step // self.steps_per_epoch, self.epochs):
            order = permutation(self.images, self.seed, epoch)
            first = max(0, self.first_step - epoch * self.steps_per_epoch)
            for i in range(first, self.steps_per_epoch):
                start = i * self.batch_size + self.rank * self.share
                mine = order[start : start + self.share]
                for piece in range(0, self.share, PIECE):
                    yield [(epoch, int(index)) for index in mine[piece : piece + PIECE]]


def permutation(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the images in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(images)


@contextmanager
def load_batches(dataset: TwoViewImages, batches: Batches, workers: int, pin: bool) -> Iterator[Iterator[Batch]]:
    """Within the context, an iterator over batches; its workers end with the context."""
    cv2.setNumThreads(0)
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stack,
        pin_memory=pin and batches.pieces == 1,  # else once they are joined
        worker_init_fn=start_worker,
    )
    with loaded(loader) as pieces:
        yield _joined(pieces, batches.pieces, pin)


def to_views(batch: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Turn uint8 `(b, 2, S, S, 3)` into two batches of normalised views `(b, 3, S, S)`, channels last in memory."""
    v1, v2 = (
        (batch[:, view].permute(0, 3, 1, 2).float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1) for view in (0, 1)
    )
    return v1, v2


def _joined(iterator: Iterator[Batch], pieces: int, pin: bool) -> Iterator[Batch]:
    while batch := list(itertools.islice(iterator, pieces)):
        if pieces == 1:
            yield batch[0]
            continue
        images = sum(len(piece.views) for piece in batch)
        views = torch.empty(images, *batch[0].views.shape[1:], dtype=torch.uint8, pin_memory=pin)
        torch.cat([piece.views for piece in batch], out=views)
        yield Batch(views, {index: reason for piece in batch for index, reason in piece.unreadable.items()})


def _stack(samples: list[tuple[Pixels, Unreadable]]) -> Batch:
    unreadable = {index: reason for _, found in samples for index, reason in found.items()}
    return Batch(torch.from_numpy(np.stack([views for views, _ in samples])), unreadable)
