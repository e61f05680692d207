"""From a recipe's data to two splits that are checked and that Detectron2 knows."""

import gc
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from superinfo.errors import UserError
from superinfo.processes import is_main_process
from superinfo.progress import say
from transfer.detection.annotations import Annotations
from transfer.detection.data.check import check
from transfer.detection.data.cityscapes import read_cityscapes
from transfer.detection.data.coco import read_coco
from transfer.detection.data.loading import Needs, as_detectron2, keypoint_names, metadata
from transfer.detection.data.lvis import read_lvis
from transfer.detection.data.overlap import seen_in_training
from transfer.detection.data.scenes import read_scenes
from transfer.detection.data.voc import read_voc
from transfer.recipe import AnyDetectionSet, CocoSet, LvisSet, ScenesSet, VocSet
from transfer.roots import detection_root


@dataclass(frozen=True)
class RegisteredSplit:
    """A split that Detectron2 knows."""

    name: str
    annotations: Annotations

    @property
    def images(self) -> int:
        """Return how many there are."""
        return len(self.annotations.coco["images"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of the detector's outputs."""
        return self.annotations.classes

    def forget_objects(self) -> None:
        """Free the objects, in every process gigabytes of a large set, once Detectron2 has read them."""
        DatasetCatalog.pop(self.name)
        self.annotations.coco["annotations"] = []


@dataclass(frozen=True)
class Splits:
    """What a detector is trained and evaluated on, and what its record has to say of that."""

    train: RegisteredSplit
    test: RegisteredSplit
    notes: list[str]


def register(data: AnyDetectionSet, runs: Path, needs: Needs) -> Splits:
    """Read and check both splits and make them known to Detectron2; `scenes` are generated if need be.

    The first process says on stderr what is legal but worth knowing. Raises UserError, naming file, count and first
    example, if anything is amiss with a split, if their classes differ, and if too many test images are trained on.
    """
    train, test = _read(data, runs / "data")
    for split, needed in ((train, needs), (test, replace(needs, metric=test.metric))):
        for note in check(split, needed):
            if is_main_process():
                say(note)
    if train.classes != test.classes:
        told = f"{test.source}: categories differ from those of {train.source}: {_difference(train, test)}"
        raise UserError(f"{told}; make them the same")
    if needs.keypoints and keypoint_names(train) != keypoint_names(test):
        raise UserError(f"{test.source}: keypoints differ from those of {train.source}; name the same ones")
    notes = seen_in_training(train, test, data.max_seen, runs / "data")
    gc.freeze()  # annotations stay to the end: no use in looking through millions of objects for garbage
    return Splits(_register("train", train, needs), _register("test", test, needs), notes)


def _read(data: AnyDetectionSet, cache: Path) -> tuple[Annotations, Annotations]:
    if isinstance(data, ScenesSet):
        return read_scenes(data, cache)
    root = detection_root(data)
    if isinstance(data, CocoSet):
        train, test = (
            read_coco(root / split.json_file, root / split.images, split.share, split.share_seed)
            for split in (data.train, data.test)
        )
    elif isinstance(data, VocSet):
        assert data.metric is not None
        train, test = (read_voc(root, lists, data.classes, data.metric) for lists in (data.train, (data.test,)))
    elif isinstance(data, LvisSet):
        train, test = (read_lvis(root / split.json_file, root / split.images) for split in (data.train, data.test))
    else:
        train, test = (read_cityscapes(root / data.folder, split, cache) for split in (data.train, data.test))
    return train, test


def _difference(train: Annotations, test: Annotations) -> str:
    for one, other, where in ((train, test, "training"), (test, train, "test")):
        if alone := [name for name in one.classes if name not in other.classes]:
            return f"{alone[0]!r} is only in the {where} set"
    return "they are in another order of ids"


def _register(role: str, annotations: Annotations, needs: Needs) -> RegisteredSplit:
    """Register a split under a name of its own, in place of what an earlier run in this process left there."""
    name = f"{role} {annotations.title} {annotations.source.resolve()}"
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.pop(name, None)
    DatasetCatalog.register(name, partial(as_detectron2, annotations, needs))
    MetadataCatalog.get(name).set(**metadata(annotations, needs))
    return RegisteredSplit(name, annotations)
