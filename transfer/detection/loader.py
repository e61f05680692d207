"""Training batches that depend on seed and iteration alone, whatever the workers, and wherever a killed run resumes.

Detectron2's own loader starts its stream anew and draws flips and scales from streams of its workers. This one knows
which image stands at which position of the stream, groups them by shape as Detectron2 does, and augments each with
random numbers keyed by its position. Workers of both loaders leave signals to the process that they read for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple, Self

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MapDataset, get_detection_dataset_dicts
from detectron2.data.build import trivial_batch_collator
from detectron2.data.common import DatasetFromList
from detectron2.data.samplers import InferenceSampler, RepeatFactorTrainingSampler
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from superinfo.workers import start_worker
from transfer.detection.mapper import Mapper

AUGMENT = 1
"""Tells the random numbers of augmentation from those of order."""


class Place(NamedTuple):
    """An image and its place in the endless stream of all processes."""

    position: int
    image: int


@dataclass(frozen=True)
class TrainingImages:
    """What loaders draw from, read once: Detectron2's dicts, packed into one array that workers share."""

    packed: DatasetFromList
    factors: NDArray[np.float64]
    """How often a pass takes each image, `(N,)`."""
    wide: NDArray[np.bool_]
    """Whether it is wider than high, `(N,)`."""

    @classmethod
    def read(cls, cfg: CfgNode) -> Self:
        """Return those of the config's training split that have something to learn from."""
        images = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN,
            filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
            min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
        )
        wide = np.array([image["width"] > image["height"] for image in images])
        return cls(DatasetFromList(images, copy=False), repeats(cfg, images), wide)


def build_train_loader(
    cfg: CfgNode, images: TrainingImages, first: int, rank: int = 0, processes: int = 1, workers: int | None = None
) -> DataLoader[Any]:
    """Return the loader of one process's share of each batch, from iteration `first` on."""
    share = cfg.SOLVER.IMS_PER_BATCH // processes
    mine = islice(stream(images.factors, cfg.SEED), rank, None, processes)
    wide = images.wide if cfg.DATALOADER.ASPECT_RATIO_GROUPING else np.zeros_like(images.wide)
    return DataLoader(
        Augmented(images.packed, Mapper(cfg, is_train=True), cfg.SEED),
        batch_sampler=islice(group_by_shape(mine, wide, share), first, None),
        num_workers=cfg.DATALOADER.NUM_WORKERS if workers is None else workers,
        collate_fn=trivial_batch_collator,
        worker_init_fn=start_worker,
    )


def build_test_loader(cfg: CfgNode, workers: int | None = None) -> DataLoader[Any]:
    """Return the loader of this process's part of the test images, one at a time, as Detectron2's own has them."""
    images = get_detection_dataset_dicts(cfg.DATASETS.TEST, filter_empty=False)
    return DataLoader(
        MapDataset(DatasetFromList(images, copy=False), Mapper(cfg, is_train=False)),
        batch_size=1,
        sampler=InferenceSampler(len(images)),
        num_workers=cfg.DATALOADER.NUM_WORKERS if workers is None else workers,
        collate_fn=trivial_batch_collator,
        worker_init_fn=start_worker,
    )


def stream(factors: NDArray[np.float64], seed: int) -> Iterator[Place]:
    """Yield places without end: each pass a fresh permutation, of each image as often as its factor says on average."""
    positions = count()
    for epoch in count():
        draw = np.random.default_rng([seed, epoch])
        times = factors.astype(np.int64)
        if (rest := factors - times).any():
            times = times + (draw.random(len(factors)) < rest)
        for image in draw.permutation(np.repeat(np.arange(len(factors)), times)).tolist():
            yield Place(next(positions), image)


def repeats(cfg: CfgNode, images: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Return how often a pass takes each image: once, or by the rarity of its classes (LVIS, arXiv 1908.03195)."""
    if cfg.DATALOADER.SAMPLER_TRAIN == "TrainingSampler":
        return np.ones(len(images))
    assert cfg.DATALOADER.SAMPLER_TRAIN == "RepeatFactorTrainingSampler"
    threshold = cfg.DATALOADER.REPEAT_THRESHOLD
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(images, threshold)
    return np.asarray(factors, np.float64)


def group_by_shape(places: Iterator[Place], wide: NDArray[np.bool_], size: int) -> Iterator[list[Place]]:
    """Yield batches of images that are all wide, or all not, so that little of a batch is padding."""
    waiting: dict[bool, list[Place]] = {True: [], False: []}
    for place in places:
        bucket = waiting[bool(wide[place.image])]
        bucket.append(place)
        if len(bucket) == size:
            yield bucket.copy()
            bucket.clear()


class Augmented(Dataset[Any]):
    """Images as the mapper makes them, with random numbers keyed by seed and position."""

    def __init__(self, images: DatasetFromList, mapper: Mapper, seed: int) -> None:
        self.images, self.mapper, self.seed = images, mapper, seed

    def __getitem__(self, place: Place) -> Any:
        """Read and augment one image."""
        state = np.random.SeedSequence([self.seed, AUGMENT, place.position]).generate_state(4)
        np.random.seed(state)
        return self.mapper(self.images[place.image])
