"""The figures of a detector on a split, by the metric of its set."""

from collections.abc import Sequence
from typing import Any

from superinfo.artifacts import Metric
from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.cityscapes import cityscapes_scores
from transfer.detection.scores.coco import Kind, coco_scores
from transfer.detection.scores.lvis import lvis_scores
from transfer.detection.scores.voc import voc_scores

MEASURED: dict[str, tuple[Kind, ...]] = {
    "coco": ("box", "mask", "keypoints"),
    "lvis": ("box", "mask"),
    "voc2007": ("box",),
    "voc2012": ("box",),
    "cityscapes": ("mask",),
}
"""What each metric is defined for."""
COUNTED = {
    "coco": "one that is no crowd and, for keypoints, has a visible one",
    "lvis": "one",
    "voc2007": "one that is not difficult",
    "voc2012": "one that is not difficult",
    "cityscapes": "one of 100 pixels or more that is told apart from others",
}
"""What each metric asks to be found."""


def score(
    annotations: Annotations,
    predictions: Sequence[dict[str, Any]],
    kinds: Sequence[Kind],
    oks_sigmas: Sequence[float] = (),
) -> dict[str, Metric]:
    """Return `box/AP`, `mask/AP50`, `keypoints/AP-<class>`, ..., in percent, of COCO result dicts of a split.

    Kinds that the set's metric is not defined for are left out. A value is None where there is no object to find, and
    never NaN. Raises UserError if no kind is left or there is no object at all to find, and as the scores of each
    metric do.
    """
    measured = [kind for kind in kinds if kind in MEASURED[annotations.metric]]
    if not measured:
        wanted = " or ".join(MEASURED[annotations.metric])
        raise UserError(
            f"{annotations.source}: {annotations.metric} measures {wanted}, and the detector gives "
            f"{' and '.join(kinds)}; choose a config that gives {wanted}"
        )
    figures = {kind: _scores(annotations, predictions, kind, oks_sigmas) for kind in measured}
    if undefined := [kind for kind in measured if figures[kind]["AP"] is None]:
        raise UserError(
            f"{annotations.source}: no object counts for {undefined[0]}/AP by {annotations.metric}; annotate "
            f"{COUNTED[annotations.metric]}"
        )
    return {
        f"{kind}/{name}": Metric(value=value, unit="percent", higher_is_better=True)
        for kind in measured
        for name, value in figures[kind].items()
    }


def _scores(
    annotations: Annotations, predictions: Sequence[dict[str, Any]], kind: Kind, oks_sigmas: Sequence[float]
) -> dict[str, float | None]:
    match annotations.metric:
        case "coco":
            return coco_scores(annotations, predictions, kind, oks_sigmas)
        case "lvis":
            assert kind != "keypoints"
            return lvis_scores(annotations, predictions, kind)
        case "voc2007" | "voc2012":
            return voc_scores(annotations, predictions)
        case "cityscapes":
            return cityscapes_scores(annotations, predictions)
