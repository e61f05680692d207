"""Training batches: the same whatever the workers, the processes and the place where a run resumes."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader

from superinfo.artifacts import Pixels
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection.config import build_config, protocol_config, read_needs
from transfer.detection.data import register
from transfer.detection.loader import (
    Place,
    TrainingImages,
    build_test_loader,
    build_train_loader,
    group_by_shape,
    repeats,
    stream,
)
from transfer.detection.mapper import Mapper
from transfer.overlay import encoder_overlay


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> CfgNode:
    folder = tmp_path_factory.mktemp("runs")
    recipe = tiny_detector({"INPUT.MIN_SIZE_TRAIN": [48, 56, 64, 72], "SOLVER.IMS_PER_BATCH": 4})
    splits = register(recipe.data, folder, read_needs(recipe))
    overlay = encoder_overlay(recipe.encoder, Pixels(mean=recipe.mean, std=recipe.std))
    return build_config(protocol_config(recipe, overlay), recipe, None, splits, 3, torch.device("cpu"), folder)


@pytest.fixture(scope="module")
def images(cfg: CfgNode) -> TrainingImages:
    return TrainingImages.read(cfg)


def seen(batches: Iterator[Any], count: int) -> list[list[tuple[str, tuple[int, ...], float]]]:
    return [
        [(image["file_name"], tuple(image["image"].shape), float(image["image"].float().mean())) for image in batch]
        for batch in islice(batches, count)
    ]


def test_batches_are_alike_with_workers_and_after_a_resume(cfg: CfgNode, images: TrainingImages) -> None:
    whole = seen(iter(build_train_loader(cfg, images, 0)), 7)
    assert len({shape for batch in whole for _, shape, _ in batch}) > 1, "images are scaled at random"
    assert seen(iter(build_train_loader(cfg, images, 4)), 3) == whole[4:]
    assert seen(iter(build_train_loader(cfg, images, 2, workers=2)), 3) == whole[2:5]


@pytest.mark.parametrize("workers", [0, 2])
def test_test_images_are_those_of_detectron2s_loader(cfg: CfgNode, workers: int) -> None:
    (name,) = cfg.DATASETS.TEST
    peer = build_detection_test_loader(cfg, name, mapper=Mapper(cfg, is_train=False))
    ours = build_test_loader(cfg, workers)
    assert len(ours) == len(peer) == 6
    for (image,), (expected,) in zip(ours, peer, strict=True):
        assert image.keys() == expected.keys()
        assert torch.equal(image.pop("image"), expected.pop("image"))
        assert image == expected


def test_processes_share_out_the_stream_of_one(cfg: CfgNode, images: TrainingImages) -> None:
    alone = [image for batch in seen(iter(build_train_loader(cfg, images, 0)), 3) for image in batch]
    shares = [[i for b in seen(iter(build_train_loader(cfg, images, 0, rank, 2)), 3) for i in b] for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(alone)
    assert not set(shares[0]) & set(shares[1])


def test_every_pass_takes_each_image_once_in_another_order() -> None:
    places = list(islice(stream(np.ones(10), 0), 30))
    assert [place.position for place in places] == list(range(30))
    passes = [[place.image for place in places[i : i + 10]] for i in (0, 10, 20)]
    assert all(sorted(images) == list(range(10)) for images in passes)
    assert passes[0] != passes[1] != passes[2]


def test_an_image_is_repeated_as_often_as_its_factor_says_on_average() -> None:
    factors = np.array([1.0, 2.0, 1.5])
    counts = Counter(place.image for place in islice(stream(factors, 0), 4500))
    assert counts[0] == pytest.approx(1000, abs=15)
    assert counts[1] == pytest.approx(2000, abs=15)
    assert counts[2] == pytest.approx(1500, abs=50)


def test_rare_classes_are_repeated_by_the_rule_of_lvis(cfg: CfgNode) -> None:
    changed = cfg.clone()
    changed.defrost()
    changed.DATALOADER.SAMPLER_TRAIN, changed.DATALOADER.REPEAT_THRESHOLD = "RepeatFactorTrainingSampler", 0.5
    images = [{"annotations": [{"category_id": 0}]} for _ in range(7)] + [{"annotations": [{"category_id": 1}]}]
    assert repeats(changed, images).tolist() == pytest.approx([1.0] * 7 + [2.0])  # sqrt(0.5 / (1 / 8))


def test_a_batch_is_all_wide_or_all_not_and_no_image_is_lost() -> None:
    wide = np.arange(9) % 3 == 0
    places = [Place(i, i % 9) for i in range(90)]
    batches = list(group_by_shape(iter(places), wide, 4))
    assert all(len({bool(wide[place.image]) for place in batch}) == 1 for batch in batches)
    assert len(batches) == 7 + 15
    taken = [place for batch in batches for place in batch]
    assert len(set(taken)) == len(taken)
