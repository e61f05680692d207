"""The typed recipes of the transfer stage."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec
from superinfo.datasets.scenes import SHAPES, VERSION
from superinfo.spec import Later, NotIdentity, Spec

RECIPES = Path(__file__).parent / "recipes"


class ScenesSet(Spec):
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


class CocoSet(Spec):
    """Any set in COCO's format."""

    kind: Literal["coco"]
    name: str
    """It stands for the data in hashes and tables, as their place does not."""
    root: Annotated[Path | None, NotIdentity] = None
    """Default `$DETECTRON2_DATASETS`, then `$SUPERINFO_DATA`."""
    train: CocoSplit
    test: CocoSplit

    @property
    def title(self) -> str:
        """Return the name for tables."""
        return self.name


class WeightsSpec(Spec):
    """Which weights a run may start from."""

    unverified: bool = False
    """Whether also from ones that no evidence vouches for, as the record then says: an edited folder, or a file."""


class DetectRecipe(Spec):
    """Fine-tuning a Detectron2 detector, but for its weights and seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    protocol: str
    protocol_version: int = Field(default=1, ge=1)
    data: Annotated[ScenesSet | CocoSet, Field(discriminator="kind")]
    config: str
    """A Detectron2 config in `transfer/detection/configs`, without `.yaml`."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Changes to that config, by dotted name: `SOLVER.MAX_ITER: 300`."""
    weights: Annotated[WeightsSpec, Later] = WeightsSpec()
    encoder: EncoderSpec
    """Of the row that starts from random weights; a converted folder brings its own."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    """Of that row, per channel, of images in [0, 1]."""
    save_minutes: Annotated[float, NotIdentity] = Field(default=10.0, gt=0)
    """Minutes between two saves of the training state that a killed run resumes from."""
    pictures: Annotated[int, NotIdentity] = Field(default=6, ge=0)
    """Test images drawn with ground truth and predictions."""
    evaluate_every: Annotated[int, NotIdentity] = Field(default=0, ge=0)
    """Iterations between evaluations while it trains, for the curves; 0 for none. Only the last one is reported."""
    images_per_device: Annotated[int | None, NotIdentity] = Field(default=None, ge=1)
    """Most images of an iteration in one process, where the protocol's are too many for its memory: batch, learning
    rate and schedule are scaled together, and the record says so. None leaves it to an estimate."""

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
