"""What the folders of the standard sets hold, as their authors publish them: one table for all who need to know.

All sets fit into one data root, side by side: `$SUPERINFO_DATA`, and `$DETECTRON2_DATASETS` for detection.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Part:
    """Files of a set that have one purpose."""

    pattern: str
    """Below the data root; `*` is any name."""
    count: int = 1
    """How many files there are."""
    size: int | None = None
    """Bytes of each, where the format settles them."""


@dataclass(frozen=True)
class Tree:
    """A set's folder."""

    name: str
    """The `data.kind` of recipes, or what the folder is called."""
    title: str
    stage: Literal["images", "detection"]
    """Images to pretrain on and to probe, or boxes and masks to detect."""
    folder: str
    """Below the data root: that it is there shows the set."""
    parts: tuple[Part, ...]
    recipes: tuple[str, ...]
    """Commands that read it, without `superinfo`."""
    source: str
    """Where its authors have it."""
    note: str = ""
    """What to do after unpacking."""
    mark: str = ""
    """What shows the set where several share its folder."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that may name its data root, the first one set counts."""
        return ("SUPERINFO_DATA",) if self.stage == "images" else ("DETECTRON2_DATASETS", "SUPERINFO_DATA")

    def missing(self, root: Path) -> list[str]:
        """Return the parts of which no file is below a data root: a quick look that counts nothing."""
        return [part.pattern for part in self.parts if next(root.glob(part.pattern), None) is None]


def _below(folder: str, *names: str) -> tuple[Part, ...]:
    return tuple(Part(f"{folder}/{name}") for name in names)


def _idx(folder: str) -> tuple[Part, ...]:
    """Return the files of MNIST and of sets like it: a header of 4 bytes and 4 for each dimension, then a byte each."""
    return tuple(
        part
        for split, images in (("train", 60_000), ("t10k", 10_000))
        for part in (
            Part(f"{folder}/{split}-images-idx3-ubyte", size=16 + images * 28 * 28),
            Part(f"{folder}/{split}-labels-idx1-ubyte", size=8 + images),
        )
    )


def _voc(year: int, images: int, *splits: str) -> tuple[Part, ...]:
    folder = f"VOC{year}"
    return (
        Part(f"{folder}/JPEGImages/*.jpg", images),
        Part(f"{folder}/Annotations/*.xml", images),
        *_below(f"{folder}/ImageSets/Main", *(f"{split}.txt" for split in splits)),
    )


def _imagenet(folder: str, train: int, val: int) -> tuple[Part, ...]:
    return Part(f"{folder}/train/*/*.JPEG", train), Part(f"{folder}/val/*/*.JPEG", val)


def _probes(kind: str) -> tuple[str, ...]:
    return tuple(f"probe {probe}_{kind}" for probe in ("linear", "logistic", "knn"))


def _bases(data: str) -> tuple[str, ...]:
    return tuple(f"pretrain {base}_{data}_200e" for base in ("simclr", "moco", "byol", "barlow_twins"))


STL10_PIXELS = 96 * 96 * 3
COCO_IMAGES = (Part("coco/train2017/*.jpg", 118_287), Part("coco/val2017/*.jpg", 5_000))
DOWNLOADED = "`--set data.download=true` fetches and unpacks it"
SORTED_VAL = "the validation images are sorted into a folder for each class, as the training images are"

_ALL = (
    Tree(
        "cifar10",
        "CIFAR-10",
        "images",
        "cifar-10-batches-py",
        _below(
            "cifar-10-batches-py",
            *(f"data_batch_{number}" for number in range(1, 6)),
            *("test_batch", "batches.meta"),
        ),
        (*_bases("r18_cifar10"), *_probes("cifar10")),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        DOWNLOADED,
    ),
    Tree(
        "cifar100",
        "CIFAR-100",
        "images",
        "cifar-100-python",
        _below("cifar-100-python", "train", "test", "meta"),
        _probes("cifar100"),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        DOWNLOADED,
    ),
    Tree(
        "stl10",
        "STL-10",
        "images",
        "stl10_binary",
        (
            Part("stl10_binary/unlabeled_X.bin", size=100_000 * STL10_PIXELS),
            Part("stl10_binary/train_X.bin", size=5_000 * STL10_PIXELS),
            Part("stl10_binary/train_y.bin", size=5_000),
            Part("stl10_binary/test_X.bin", size=8_000 * STL10_PIXELS),
            Part("stl10_binary/test_y.bin", size=8_000),
        ),
        (*_bases("r18_stl10"), *_probes("stl10")),
        "https://cs.stanford.edu/~acoates/stl10/",
        DOWNLOADED,
    ),
    Tree(
        "mnist",
        "MNIST",
        "images",
        "MNIST/raw",
        _idx("MNIST/raw"),
        _probes("mnist"),
        "http://yann.lecun.com/exdb/mnist/",
        DOWNLOADED,
    ),
    Tree(
        "fashionmnist",
        "FashionMNIST",
        "images",
        "FashionMNIST/raw",
        _idx("FashionMNIST/raw"),
        _probes("fashionmnist"),
        "https://github.com/zalandoresearch/fashion-mnist",
        DOWNLOADED,
    ),
    Tree(
        "dtd",
        "DTD",
        "images",
        "dtd/dtd",
        (
            Part("dtd/dtd/images/*/*.jpg", 5_640),
            *_below("dtd/dtd/labels", "train1.txt", "val1.txt", "test1.txt"),
        ),
        _probes("dtd"),
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        f"{DOWNLOADED}; by hand, its archive lies unpacked in a folder `dtd`",
    ),
    Tree(
        "flowers102",
        "Flowers102",
        "images",
        "flowers-102",
        (Part("flowers-102/jpg/image_*.jpg", 8_189), *_below("flowers-102", "imagelabels.mat", "setid.mat")),
        _probes("flowers102"),
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        DOWNLOADED,
    ),
    Tree(
        "aircraft",
        "FGVC-Aircraft",
        "images",
        "fgvc-aircraft-2013b",
        (
            Part("fgvc-aircraft-2013b/data/images/*.jpg", 10_000),
            *_below(
                "fgvc-aircraft-2013b/data",
                *(f"images_variant_{split}.txt" for split in ("train", "val", "test")),
                "variants.txt",
            ),
        ),
        _probes("aircraft"),
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        DOWNLOADED,
    ),
    Tree(
        "gtsrb",
        "GTSRB",
        "images",
        "gtsrb/GTSRB",
        (
            Part("gtsrb/GTSRB/Training/*/*.ppm", 26_640),
            Part("gtsrb/GTSRB/Final_Test/Images/*.ppm", 12_630),
            Part("gtsrb/GT-final_test.csv"),
        ),
        _probes("gtsrb"),
        "https://benchmark.ini.rub.de/",
        f"{DOWNLOADED}; it is the archive GTSRB-Training_fixed",
    ),
    Tree(
        "cub",
        "CUB-200-2011",
        "images",
        "CUB_200_2011",
        (
            Part("CUB_200_2011/images/*/*.jpg", 11_788),
            *_below(
                "CUB_200_2011",
                *("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"),
            ),
        ),
        _probes("cub"),
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        "unpack CUB_200_2011.tgz in the data root",
    ),
    Tree(
        "imagenet",
        "ImageNet-1k",
        "images",
        "imagenet",
        _imagenet("imagenet", 1_281_167, 50_000),
        (*_bases("r50_in1k"), *_probes("imagenet"), "probe finetune_imagenet_1pct", "probe finetune_imagenet_10pct"),
        "https://image-net.org/download.php",
        SORTED_VAL,
    ),
    Tree(
        "imagenet100",
        "ImageNet-100",
        "images",
        "imagenet100",
        _imagenet("imagenet100", 126_689, 5_000),
        _bases("r50_in100"),
        "https://github.com/HobbitLong/CMC/blob/master/imagenet100.txt",
        "copy or link the 100 folders of ImageNet-1k that the list names",
    ),
    Tree(
        "coco",
        "COCO 2017",
        "detection",
        "coco",
        (*COCO_IMAGES, *_below("coco/annotations", "instances_train2017.json", "instances_val2017.json")),
        ("detect maskrcnn_c4_coco_1x", "detect maskrcnn_c4_coco_2x", "detect maskrcnn_fpn_coco_1x"),
        "https://cocodataset.org/#download",
    ),
    Tree(
        "coco_keypoints",
        "COCO 2017 keypoints",
        "detection",
        "coco",
        (*COCO_IMAGES, *_below("coco/annotations", "person_keypoints_train2017.json", "person_keypoints_val2017.json")),
        ("detect keypointrcnn_fpn_coco_2x",),
        "https://cocodataset.org/#download",
        mark="coco/annotations/person_keypoints_train2017.json",
    ),
    Tree(
        "voc2007",
        "Pascal VOC 2007",
        "detection",
        "VOC2007",
        _voc(2007, 9_963, "trainval", "test"),
        ("detect fasterrcnn_c4_voc2007", "detect fasterrcnn_c4_voc0712_24k"),
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        "trainval and test go into one folder; the data root is the folder VOCdevkit, or VOC2007 is moved out",
    ),
    Tree(
        "voc2012",
        "Pascal VOC 2012",
        "detection",
        "VOC2012",
        _voc(2012, 17_125, "trainval"),
        ("detect fasterrcnn_c4_voc0712_24k",),
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "as VOC2007, beside it",
    ),
    Tree(
        "lvis",
        "LVIS v1",
        "detection",
        "lvis",
        (*_below("lvis", "lvis_v1_train.json", "lvis_v1_val.json"), *COCO_IMAGES),
        ("detect maskrcnn_fpn_lvis1_2x",),
        "https://www.lvisdataset.org/dataset",
        "its images are COCO's",
    ),
    Tree(
        "cityscapes",
        "Cityscapes",
        "detection",
        "cityscapes",
        tuple(
            Part(f"cityscapes/{kind}/{split}/*/*_{kind}{suffix}.png", images)
            for kind, suffix in (("leftImg8bit", ""), ("gtFine", "_instanceIds"))
            for split, images in (("train", 2_975), ("val", 500))
        ),
        ("detect maskrcnn_fpn_cityscapes_24k",),
        "https://www.cityscapes-dataset.com/",
        "needs an account; scoring needs `pip install cityscapesscripts`",
    ),
)
TREES = {tree.name: tree for tree in _ALL}
"""By name."""


def drawn(trees: Iterable[Tree]) -> str:
    """Return the folders of sets below a data root as an indented list, with the number of files."""
    lines: list[str] = []
    before: list[str] = []
    for pattern, part in {part.pattern: part for tree in trees for part in tree.parts}.items():
        folders, name = _split(pattern)
        for depth, folder in enumerate(folders):
            if before[: depth + 1] != folders[: depth + 1]:
                lines.append(f"{'  ' * depth}{folder}/")
        told = f"{part.count:,} files" if part.count > 1 else f"{part.size:,} bytes" if part.size else ""
        lines.append(f"{'  ' * len(folders)}{name:<{44 - 2 * len(folders)}}{told}".rstrip())
        before = folders
    return "\n".join(lines)


def _split(pattern: str) -> tuple[list[str], str]:
    """Return the folders of a pattern, and what a line of the list shows: a name, or a folder with what is in it."""
    names = pattern.split("/")
    first = next((depth - 1 for depth, name in enumerate(names) if name.startswith("*")), len(names) - 1)
    return names[:first], "/".join(names[first:])
