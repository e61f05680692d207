"""The words of published rows: tasks, metrics, and tags with what they exclude and what a reader has to be told."""

from typing import Literal

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
"""As records name them, and three that no recipe here measures."""
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
"""As records name them; `mIoU`: mean intersection over union; `mAP`: mean average precision of classifiers."""
KINDS: dict[Task, frozenset[str]] = {
    "object_detection": frozenset({"box"}),
    "instance_segmentation": frozenset({"box", "mask"}),
    "keypoint_detection": frozenset({"box", "keypoints"}),
    "semantic_segmentation": frozenset({"mIoU"}),
    "linear": frozenset({"accuracy", "top5_accuracy"}),
    "svm": frozenset({"mAP"}),
    "knn": frozenset({"accuracy", "top5_accuracy"}),
    "finetune": frozenset({"accuracy", "top5_accuracy"}),
    "few_shot": frozenset({"accuracy"}),
}
"""What each task is measured by: metrics, up to their slash."""

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
    # Their schedules
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
    # The figure itself
    "released_checkpoint",
    "restated",
    "std_of_metric",
    "mask_above_box",
    "asterisk",
    "not_a_result",
]

ARCHITECTURES = frozenset[Tag]({"c4", "fpn", "fcn_d8"})
SCHEDULES = frozenset[Tag]({"18k", "20k", "24k", "144k", "1x", "2x", "3x", "6x"})
LIBRARIES = frozenset[Tag]({"detectron2", "mmdet", "mmseg"})
CLASSIFIERS = frozenset[Tag]({"online", "offline", "online_or_offline"})
EPOCHS = frozenset[Tag]({"best_epoch", "last_epoch"})
LAYERS = frozenset[Tag]({"avgpool", "feat2", "feat4", "feat5"})
NEIGHBOURS = frozenset[Tag]({"k10", "k20", "k100", "k200"})
EXCLUSIVE = (ARCHITECTURES, SCHEDULES, LIBRARIES, CLASSIFIERS, EPOCHS, LAYERS, NEIGHBOURS)
"""Of each set a row has at most one."""

NEEDS: dict[Tag, Tag] = {"4conv1fc": "fpn", "moco_protocol": "c4"}
"""A tag that makes no sense without another one."""

TOLD_WHERE_ROWS_DIFFER = ARCHITECTURES | SCHEDULES | LAYERS | NEIGHBOURS | frozenset[Tag]({"offline", "last_epoch"})
"""Tags that are a footnote where the published rows side by side do not all have them."""

NEVER_TOLD = frozenset[Tag]({"moco_protocol", "detectron2", "lbfgs", "not_a_result"})
"""Tags that only filters use. All others are always a footnote."""

MEANINGS: dict[Tag, str] = {
    "c4": "C4 detector: res5 is its head.",
    "fpn": "Detector with a feature pyramid (FPN).",
    "fcn_d8": "FCN on features of stride 8.",
    "4conv1fc": "Box head of four convolutions and one fully connected layer, not Detectron2's default head: not "
    "comparable with figures of default heads.",
    "syncbn_heads": "Synchronised batch norm in the heads too.",
    "frozen_bn": "Batch norm frozen during fine-tuning.",
    "freeze_at_4": "Called frozen by its source, but FREEZE_AT 4 leaves res5 trainable.",
    "msra_init": "Fine-tuned from MSRA's supervised weights.",
    "bgr": "Takes images in BGR order.",
    "moco_protocol": "Fine-tuned as MoCo does it.",
    "detectron2": "Fine-tuned by Detectron2.",
    "mmdet": "Fine-tuned by MMDetection, not by Detectron2.",
    "mmseg": "Fine-tuned by MMSegmentation.",
    "18k": "Fine-tuned for 18,000 iterations.",
    "20k": "Fine-tuned for 20,000 iterations.",
    "24k": "Fine-tuned for 24,000 iterations.",
    "144k": "Fine-tuned for 144,000 iterations.",
    "1x": "Fine-tuned on the 1x schedule.",
    "2x": "Fine-tuned on the 2x schedule.",
    "3x": "Fine-tuned on the 3x schedule.",
    "6x": "Fine-tuned on the 6x schedule.",
    "online": "Linear classifier trained along with the encoder (online).",
    "offline": "Linear classifier trained afterwards, on the frozen encoder (offline).",
    "online_or_offline": "Its source does not say whether the linear classifier was trained along with the encoder "
    "(online) or afterwards (offline).",
    "best_epoch": "Best over epochs, chosen by the very figure that is reported.",
    "last_epoch": "After the last epoch.",
    "avgpool": "On the last features, averaged over positions.",
    "feat2": "On what its source calls feature 2.",
    "feat4": "On what its source calls feature 4.",
    "feat5": "On what its source calls feature 5.",
    "k10": "10 neighbours.",
    "k20": "20 neighbours.",
    "k100": "100 neighbours.",
    "k200": "200 neighbours.",
    "lbfgs": "Logistic regression fitted by L-BFGS.",
    "released_checkpoint": "Of the one released checkpoint, not a mean over runs.",
    "restated": "Restated by its source from elsewhere, not measured by it.",
    "std_of_metric": "The standard deviation is the one its source states for this metric, not for this row.",
    "mask_above_box": "Verbatim: in its source, too, mask AP is above box AP in this row.",
    "asterisk": "Its source marks this row with an asterisk.",
    "not_a_result": "The head of a table, transcribed as if it were a row; never quoted.",
}
"""A sentence for each tag: its footnote."""
