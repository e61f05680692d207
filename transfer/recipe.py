"""The typed recipes of the transfer stage."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Positive
from superinfo.datasets.scenes import SHAPES, VERSION
from superinfo.resources import Resources
from superinfo.spec import Later, NotIdentity, Spec

RECIPES = Path(__file__).parent / "recipes"


class DetectionSet(Spec):
    """What every detection set has."""

    max_seen: Annotated[float, Later] = Field(default=0.0, ge=0, le=1)
    """Share of the test images that may be trained on too, as published splits have it; the record counts them."""


class FoundSet(DetectionSet):
    """A set of the user's own, or of others: files below a data root."""

    name: str
    """It stands for the data in hashes and tables, as their place does not."""
    root: Annotated[Path | None, NotIdentity] = None
    """Default `$DETECTRON2_DATASETS`, then `$SUPERINFO_DATA`."""

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return self.name


class ScenesSet(DetectionSet):
    """Generated scenes, as COCO json, kept below the runs folder."""

    kind: Literal["scenes"]
    version: Literal[1] = VERSION
    """Of the generator: its images change with it, and so do the hashes of runs on them."""
    size: int = Field(default=128, ge=64)
    classes: tuple[str, ...] = SHAPES
    train: int = Field(ge=1)
    """Images of the training split."""
    test: int = Field(ge=1)
    """Images of the split that is evaluated."""
    test_split: Literal["val", "test"] = "test"
    """Settings are chosen on `val`; tables report `test`."""
    objects: tuple[int, int] = (2, 6)
    """Least and most objects in a scene."""
    world_seed: int = Field(default=0, ge=0)

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return f"scenes ({len(self.classes)} classes, {self.size} px, {self.train:,} training images)"


class CocoSplit(Spec):
    """One json with its folder of images, both relative to the data root."""

    json_file: Path
    images: Path
    share: Annotated[float, Later] = Field(default=1, gt=0, le=1)
    """Of the training images, for few labels: those drawn for 1 % are among those for 2 %."""
    share_seed: Annotated[int, Later] = Field(default=0, ge=0)
    """Another seed draws other images."""


class CocoSet(FoundSet):
    """Any set in COCO's format."""

    kind: Literal["coco"]
    train: CocoSplit
    test: CocoSplit

    @model_validator(mode="after")
    def _all_test_images_count(self) -> Self:
        if self.test.share != 1:
            raise ValueError("test.share must be 1: a part of the test images gives no comparable figure")
        return self

    @property
    def title(self) -> str:
        """Return the name for tables, with the share of the training images if it is not all of them."""
        if self.train.share == 1:
            return self.name
        draw = f", draw {self.train.share_seed}" if self.train.share_seed else ""
        return f"{self.name} ({100 * self.train.share:g} % of the training images{draw})"


class VocSplit(Spec):
    """A list of images in a folder of VOC's layout: `<folder>/ImageSets/Main/<split>.txt`."""

    folder: str
    """Below the data root: `VOC2007`; `.` where the root is that folder."""
    split: str

    @property
    def title(self) -> str:
        """Return its name in records: `VOC2007 test`."""
        return f"{self.folder} {self.split}".removeprefix(". ")


VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
FIRST_YEAR_OF_ALL_POINTS = 2010
"""Before it, VOC's average precision was that at 11 points (Everingham et al. 2015, section 4.2.1)."""


class VocSet(FoundSet):
    """Any set in Pascal VOC's layout; it has boxes alone."""

    kind: Literal["voc"]
    train: tuple[VocSplit, ...] = Field(min_length=1)
    """`VOC2007 trainval` and `VOC2012 trainval` together are the usual 07+12."""
    test: VocSplit
    classes: tuple[str, ...] = Field(default=VOC_CLASSES, min_length=1)
    metric: Literal["2007", "2012"] | None = None
    """How average precision is integrated: at 11 points, or at all; if not given, as in the test folder's year."""

    @model_validator(mode="after")
    def _metric_is_that_of_the_year(self) -> Self:
        if self.metric is not None:
            return self
        year = re.search(r"(19|20)\d\d$", self.test.folder)
        if year is None:
            raise ValueError(f"metric is not given and {self.test.folder!r} names no year; say '2007' or '2012'")
        return self.model_copy(update={"metric": "2007" if int(year[0]) < FIRST_YEAR_OF_ALL_POINTS else "2012"})


class LvisSplit(Spec):
    """One json of LVIS, relative to the data root."""

    json_file: Path
    images: Path = Path("coco")
    """The folder with COCO's `train2017` and `val2017`; LVIS says for each image in which of them it is."""


class LvisSet(FoundSet):
    """Any set in the format of LVIS v1."""

    kind: Literal["lvis"]
    train: LvisSplit
    test: LvisSplit


class CityscapesSet(FoundSet):
    """Cityscapes' tree, or one like it: `leftImg8bit/<split>/<city>` beside `gtFine/<split>/<city>`."""

    kind: Literal["cityscapes"]
    name: str = "Cityscapes"
    folder: Path = Path("cityscapes")
    """Below the data root: what holds `leftImg8bit` and `gtFine`."""
    train: str = "train"
    test: str = "val"


AnyDetectionSet = Annotated[
    ScenesSet | CocoSet | VocSet | LvisSet | CityscapesSet,
    Field(discriminator="kind"),
]


class WeightsSpec(Spec):
    """Which weights a run may start from."""

    unverified: bool = False
    """Whether also from ones that no evidence vouches for, as the record then says: an edited folder, or a file."""


ENCODER = "the encoder decides it: `--weights`, or `encoder` for random weights"
PIXELS = "the weights decide it, or the recipe's `mean` and `std`"
DECIDED = {
    "DATASETS": "the recipe's `data` decides it",
    "INPUT.FORMAT": PIXELS,
    "MODEL.BACKBONE.NAME": "the recipe's `config` and the encoder decide it",
    "MODEL.DEVICE": "set --device",
    "MODEL.META_ARCHITECTURE": "the recipe's `config` decides it",
    "MODEL.PIXEL_MEAN": PIXELS,
    "MODEL.PIXEL_STD": PIXELS,
    "MODEL.RESNETS.DEPTH": ENCODER,
    "MODEL.RESNETS.NUM_GROUPS": ENCODER,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": ENCODER,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": ENCODER,
    "MODEL.RESNETS.STRIDE_IN_1X1": ENCODER,
    "MODEL.RESNETS.WIDTH_PER_GROUP": ENCODER,
    "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS": "the data decide it",
    "MODEL.WEIGHTS": "set --weights",
    "OUTPUT_DIR": "set --runs",
    "SEED": "set --seed",
    "SOLVER.CHECKPOINT_PERIOD": "set `save_minutes`",
    "TEST.AUG": "test images are seen once, as they are",
    "TEST.EVAL_PERIOD": "set `evaluate_every`",
    "TEST.EXPECTED_RESULTS": "records are compared, not runs",
    "VIS_PERIOD": "pictures are drawn in the end: set `pictures`",
}
"""Options of Detectron2, or groups of them, that the suite sets itself or has another field for."""


def _is_the_recipes_own(option: str) -> str:
    for decided, how in DECIDED.items():
        if f"{option}.".startswith(f"{decided}."):
            raise ValueError(f"is no option of a recipe: {how}")
    return option


def _finite(value: JsonValue) -> JsonValue:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("must be finite") from None
    return value


OptionName = Annotated[str, AfterValidator(_is_the_recipes_own)]
OptionValue = Annotated[JsonValue, AfterValidator(_finite)]


class DetectRecipe(Spec):
    """Fine-tuning a Detectron2 detector, but for its weights and seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    protocol: str
    protocol_version: int = Field(default=1, ge=1)
    data: AnyDetectionSet
    config: str
    """A Detectron2 config in `transfer/detection/configs`, without `.yaml`."""
    options: dict[OptionName, OptionValue] = Field(default_factory=dict)
    """Changes to that config, by dotted name: `SOLVER.MAX_ITER: 300`; none of what is DECIDED elsewhere."""
    weights: Annotated[WeightsSpec, Later] = WeightsSpec()
    encoder: EncoderSpec
    """Of the row that starts from random weights; a converted folder brings its own."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[Positive, Positive, Positive] = IMAGENET_STD
    """Of that row, per channel, of images in [0, 1]."""
    save_minutes: Annotated[float, NotIdentity] = Field(default=10.0, gt=0)
    """Minutes between two saves of the training state that a killed run resumes from."""
    pictures: Annotated[int, NotIdentity] = Field(default=6, ge=0)
    """Test images drawn with ground truth and predictions."""
    evaluate_every: Annotated[int, NotIdentity] = Field(default=0, ge=0)
    """Iterations between evaluations while it trains, for the curves; 0 for none. Only the last one is reported."""
    images_per_device: Annotated[int | None, NotIdentity] = Field(default=None, ge=1)
    """Most images of an iteration in one process, where its share of the protocol's batch is too much for its memory:
    batch, learning rate and schedule are scaled together, and the record says so. None leaves it to an estimate."""
    resources: Annotated[Resources, NotIdentity] = Resources()

    @field_validator("options", mode="before")
    @classmethod
    def _flatten(cls, options: Any) -> Any:
        """Take `{SOLVER: {MAX_ITER: 1}}`, which `--set options.SOLVER.MAX_ITER=1` makes, for the dotted name."""
        return _dotted(options, "") if isinstance(options, dict) else options


def _dotted(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
