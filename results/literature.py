"""Numbers that others published: the schema of a row, what its tags say, and rows by a filter.

Rows are read from `published/*.csv`, one file for each source; `published/sources.yaml` says what the sources are.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from superinfo.artifacts import Line as Text
from superinfo.spec import Spec

Task = Literal[
    "object_detection",
    "instance_segmentation",
    "keypoint_detection",
    "semantic_segmentation",
    "linear",
    "svm",
    "knn",
    "finetune",
    "few_shot",
]
MetricName = Literal[
    "box/AP",
    "box/AP50",
    "box/AP75",
    "mask/AP",
    "mask/AP50",
    "mask/AP75",
    "keypoints/AP",
    "mIoU",
    "mAP",
    "accuracy",
    "top5_accuracy",
]
"""As records name them; `mAP` is the mean average precision of classifiers, `mIoU` the mean intersection over union."""
Tag = Literal[
    # Detectors
    "c4",
    "fpn",
    "fcn_d8",
    "4conv1fc",
    "syncbn_heads",
    "frozen_bn",
    "freeze_at_4",
    "msra_init",
    "bgr",
    "moco_protocol",
    "detectron2",
    "mmdet",
    "mmseg",
    "vissl",
    # Schedules of detectors
    "18k",
    "20k",
    "24k",
    "144k",
    "1x",
    "2x",
    "3x",
    "6x",
    # Classifiers
    "online",
    "offline",
    "online_or_offline",
    "best_epoch",
    "last_epoch",
    "avgpool",
    "feat2",
    "feat4",
    "feat5",
    "k10",
    "k20",
    "k100",
    "k200",
    "lbfgs",
    # What to know of the figure
    "released_checkpoint",
    "restated",
    "std_of_metric",
    "mask_above_box",
    "asterisk",
    "not_a_result",
]
Figure = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?)?$")]
"""A number exactly as its source spells it; empty where nothing is at hand."""


class Published(Spec):
    """One published figure: a line of `published/*.csv`. Fields are the columns, in their order."""

    method: Annotated[Text, Field(min_length=1)]
    """As its source spells it."""
    variant: Text = ""
    """What its pretraining has beside epochs and batch size, such as crops; empty if nothing is said."""
    pretrain_dataset: Annotated[Text, Field(min_length=1)]
    """`none` for random weights."""
    backbone: Annotated[Text, Field(min_length=1)]
    """As its source spells it."""
    encoder: Annotated[str, Field(pattern=r"^[a-z0-9_]+( x\d+(\.\d+)?)?$")]
    """As this project names it: a ResNet's architecture and width, such as `resnet50 x1`."""
    epochs: int | None = Field(default=None, ge=1)
    """Of pretraining; None where the source does not say, or there was none."""
    batch_size: int | None = Field(default=None, ge=1)
    """Of pretraining, images a step, gradients accumulated included; None as above."""
    task: Task
    dataset: Annotated[Text, Field(min_length=1)]
    split: Text = ""
    """Evaluated on; empty where the source does not say."""
    label_percent: int | None = Field(default=None, ge=1, le=100)
    """Of the training labels that were used; None for all."""
    tags: tuple[Tag, ...] = ()
    """What is known of the protocol, and what to mind; TRAPS has the footnotes."""
    metric: MetricName
    value: Figure = ""
    unit: Literal["percent", "fraction"]
    """Of value and std."""
    trials: int | None = Field(default=None, ge=1)
    """That the value is the mean of, where its source says so."""
    std: Figure = ""
    """Standard deviation over trials, where its source says so."""
    source: Annotated[Text, Field(min_length=1)]
    """Key of `sources.yaml`."""
    source_path: Text = ""
    """File, section or table of the source."""
    setting: Text = ""
    """How it was measured, as transcribed from the source: what the tags were read from."""
    note: Text = ""
    """A footnote of this row alone."""

    @property
    def percent(self) -> Decimal | None:
        """Return the value in percent, exactly; None where there is none."""
        return Decimal(self.value) * (100 if self.unit == "fraction" else 1) if self.value else None


class PublishedFilter(Spec):
    """Which published rows a table quotes: those that satisfy every field; an empty field asks for nothing."""

    tasks: tuple[Task, ...] = ()
    datasets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    metrics: tuple[MetricName, ...] = ()
    methods: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()
    """Such as `resnet50 x1`."""
    pretrain_datasets: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    label_percents: tuple[int, ...] = ()
    """100 asks for rows on all labels."""
    sources: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    """All of these."""
    without: tuple[Tag, ...] = ()
    """None of these."""
