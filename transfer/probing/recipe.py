"""The typed recipe of a probe: which images, how they are shown to a frozen encoder, and what is read off it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from superinfo.artifacts import EncoderSpec
from superinfo.datasets.images import AnyImages
from superinfo.resources import Resources
from superinfo.spec import NotIdentity, Spec
from superinfo.views import Range, ViewSpec

RECIPES = Path(__file__).parent / "recipes"

DECADES = tuple(10.0**k for k in range(-5, 4))
"""From 1e-5 to 1e3."""
Share = Annotated[float, Field(gt=0, lt=1)]


class ProbeData(Spec):
    """The image sets of a probe."""

    name: str
    """For tables."""
    root: Annotated[Path | None, NotIdentity] = None
    """Of each set below that has no root of its own; default `$SUPERINFO_DATA`."""
    download: Annotated[bool, NotIdentity] = False
    """Let torchvision download what is not there."""
    train: AnyImages
    """Its mean and std are those of `normalisation: data`, for all splits."""
    validation: AnyImages | None = None
    """What settings are chosen on; carved out of `train` where it is not given."""
    test: AnyImages
    max_seen: Annotated[float, NotIdentity] = Field(default=0.0, ge=0, le=1)
    """Share of the test images that may be in `train` too, as published splits have it; the record counts them."""


class SGDSpec(Spec):
    """The paper protocol's classifier: SGD on frozen features, reported after the last epoch."""

    kind: Literal["sgd"]
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=128, ge=1)
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    milestones: tuple[int, ...] = (60, 80)
    """Epochs after which the rate is a tenth."""
    best_epoch_on_test: bool = False
    """Add the best epoch's test accuracy, chosen on the test images, as `best_epoch_on_test_accuracy`."""


class LBFGSSpec(Spec):
    """Multinomial logistic regression, its strength chosen on validation images, then fitted on those too."""

    kind: Literal["lbfgs"]
    grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=DECADES, min_length=1)
    """Values of C tried: the loss is C x the sum of cross-entropies plus half the squared weights."""
    iterations: int = Field(default=100, ge=1)
    """At most, for each C that is tried; ten times as many for the one that is chosen."""
    validation_share: Share = 0.2
    """Of `train`, where no validation set is given; the same share of each class."""


class LinearSpec(Spec):
    """A linear classifier on frozen features."""

    kind: Literal["linear"]
    solver: Annotated[SGDSpec | LBFGSSpec, Field(discriminator="kind")]


class KNNSpec(Spec):
    """A vote of the nearest neighbours among the frozen features of `train`."""

    kind: Literal["knn"]
    k: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.07, gt=0)


class FactorsSpec(Spec):
    """What a ridge regression reads off frozen features: parameters of their own view, and factors of `scenes`."""

    kind: Literal["factors"]
    views: ViewSpec = ViewSpec()
    few: int = Field(default=100, ge=10)
    """Training images of the few-sample probes."""
    draws: int = Field(default=10, ge=1)
    """Few-sample probes that are averaged, each on images of its own."""
    validation_share: Share = 0.2
    """Of the training images: the ridge's strength is chosen on them."""


class InformationSpec(Spec):
    """Bounds, in nats, on what frozen features retain of their view, share with the other one and do not share."""

    kind: Literal["information"]
    views: ViewSpec = ViewSpec()
    noise: float = Field(default=0.1, gt=0)
    """Standard deviation of the Gaussian noise added to standardised features: without it all is infinite."""
    negatives: int = Field(default=500, ge=2)
    """Images among which InfoNCE finds the right one; it can tell log of that many nats."""
    validation_share: Share = 0.25
    """Of the training pairs: strength of the regression and variances are fitted on them."""


class FinetuneSpec(Spec):
    """Fine-tuning of encoder and classifier, on all labels or a share: SGD with Nesterov momentum, cosine to zero."""

    kind: Literal["finetune"]
    label_fraction: float = Field(default=1.0, gt=0, le=1)
    """Of each class, at least one image; which ones the seed decides."""
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """Lowered to the number of images where there are fewer; an epoch's incomplete batch is left out."""
    lr: float = Field(gt=0)
    head_lr: float | None = Field(default=None, gt=0)
    """Of the classifier; `lr` where it is not given."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    crop_scale: Range = (0.08, 1.0)
    flip: float = Field(default=0.5, ge=0, le=1)
    save_minutes: Annotated[float, NotIdentity] = Field(default=10.0, gt=0)
    """Minutes between two saves of the training state that a killed run resumes from."""


AnyTask = LinearSpec | KNNSpec | FactorsSpec | InformationSpec | FinetuneSpec


class ProbeRecipe(Spec):
    """One probe, but for the encoder and the seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    protocol: str
    protocol_version: int = Field(default=1, ge=1)
    data: ProbeData
    task: AnyTask = Field(discriminator="kind")
    metric: Literal["accuracy", "mean_per_class_accuracy"] = "accuracy"
    """What settings are chosen by and the field reports; `accuracy` is recorded beside it."""
    input_size: int = Field(ge=16)
    """Side of the images that the encoder sees, in pixels."""
    transform: Literal["resize", "centre", "imagenet"] = "resize"
    """resize: both sides to `input_size`; centre: the shorter side to it, then the central square; imagenet: the
    shorter side to 8/7 of it, then the central square, 256 and 224 at ImageNet's size."""
    normalisation: Literal["encoder", "data"] = "encoder"
    """Mean and std: the encoder's pretraining's, or the training set's. A random encoder has the latter alone."""
    encoder: EncoderSpec
    """Of the row that starts from random weights; a checkpoint brings its own."""
    batch_size: Annotated[int, NotIdentity] = Field(default=256, ge=1)
    """Images that the frozen encoder sees at once."""
    workers: Annotated[int, NotIdentity] = Field(default=0, ge=0)
    """Processes that decode images; 0 decodes in the main process."""
    max_unreadable: Annotated[float, NotIdentity] = Field(default=0.01, ge=0, le=1)
    """Share of a set's images that may be unreadable: they are left out, and told."""
    resources: Annotated[Resources, NotIdentity] = Resources()

    @model_validator(mode="after")
    def _validation_is_of_use(self) -> Self:
        chooses = isinstance(self.task, LinearSpec) and self.task.solver.kind == "lbfgs"
        if self.data.validation is not None and not chooses:
            raise ValueError("data.validation is for the solver lbfgs alone: other probes choose nothing on it")
        return self
