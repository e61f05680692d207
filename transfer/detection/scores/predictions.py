"""A detector's results as arrays, checked against the set that they are of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superinfo.errors import SuperInfoError, UserError
from transfer.detection.annotations import Annotations

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """N results in the order of their list, their images and classes by rank."""

    image: Indices
    """Rank of the image's id among the set's ids, `(N,)`."""
    category: Indices
    """Rank of the category's id among the set's ids, `(N,)`: the detector's own class."""
    score: Floats
    """`(N,)`."""
    box: Floats
    """x, y, w, h in pixels, `(N, 4)`."""
    entries: Sequence[dict[str, Any]]
    """The results themselves, for masks and keypoints."""

    def __getitem__(self, chosen: Indices) -> "Predictions":
        return Predictions(
            self.image[chosen],
            self.category[chosen],
            self.score[chosen],
            self.box[chosen],
            [self.entries[i] for i in chosen],
        )


def read_predictions(annotations: Annotations, predictions: Sequence[dict[str, Any]]) -> Predictions:
    """Return COCO result dicts as arrays.

    Raises UserError if a result is of an image or a category that the set does not have, and SuperInfoError if a
    score, box or keypoint is not finite: AP would depend on how NaN happens to be sorted.
    """
    images = ranks(entry["id"] for entry in annotations.coco["images"])
    categories = ranks(annotations.category_ids)
    image = _known(annotations, predictions, "image_id", images)
    category = _known(annotations, predictions, "category_id", categories)
    score = np.array([p["score"] for p in predictions], np.float64)
    box = np.array([p["bbox"] for p in predictions], np.float64).reshape(-1, 4)
    broken = ~(np.isfinite(score) & np.isfinite(box).all(1))
    if predictions and "keypoints" in predictions[0]:
        broken |= ~np.array([np.isfinite(p.get("keypoints", ())).all() for p in predictions])
    _refuse(
        broken,
        lambda first: SuperInfoError(
            f"{annotations.source}: {broken.sum():,} of {len(predictions):,} predictions have a score, box or keypoint "
            f"that is not finite, first of image {predictions[first]['image_id']}; the detector has diverged"
        ),
    )
    return Predictions(image, category, score, box, predictions)


def ranks(ids: Any) -> dict[Any, int]:
    """Return the rank of each id among the ids."""
    return {key: rank for rank, key in enumerate(sorted(ids))}


def _known(
    annotations: Annotations, predictions: Sequence[dict[str, Any]], field: str, known: dict[Any, int]
) -> Indices:
    found = np.array([known.get(p[field], -1) for p in predictions], np.int64)
    _refuse(
        found < 0,
        lambda first: UserError(
            f"{annotations.source}: {(found < 0).sum():,} of {len(predictions):,} predictions have a {field} that it "
            f"does not have, first {predictions[first][field]}; score them on the set that they are of"
        ),
    )
    return found


def _refuse(wrong: Flags, error: Callable[[int], SuperInfoError]) -> None:
    if wrong.any():
        raise error(int(wrong.argmax()))
