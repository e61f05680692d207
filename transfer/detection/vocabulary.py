"""What a detector's outputs are called: its classes and, where it finds any, its keypoints."""

from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.data import keypoint_names


@dataclass(frozen=True)
class Vocabulary:
    """Names in the order of the outputs; the weights of a finished detector carry them."""

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    """Of the classes, in the data that it was trained on."""
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints that are joined, counted from 1, as COCO has them."""

    @classmethod
    def of(cls, annotations: Annotations, *, keypoints: bool) -> Self:
        """Return that of a detector trained on such annotations, with the names of their keypoints if it finds any."""
        named = [c for c in annotations.coco["categories"] if keypoints and c.get("keypoints")]
        skeleton = (named[0].get("skeleton") if named else None) or ()
        return cls(
            annotations.classes,
            annotations.category_ids,
            keypoint_names(annotations) if keypoints else (),
            tuple((one, other) for one, other in skeleton),
        )

    @classmethod
    def read(cls, payload: dict[str, Any]) -> Self:
        """Return that of a file of weights. Raises KeyError if it has none, TypeError or ValueError if a broken one."""
        return cls(
            tuple(str(name) for name in payload["classes"]),
            tuple(int(number) for number in payload["category_ids"]),
            tuple(str(name) for name in payload.get("keypoints", ())),
            tuple((int(one), int(other)) for one, other in payload.get("skeleton", ())),
        )

    def refuse_other(self, data: "Vocabulary", weights: Path) -> None:
        """Raise UserError if data have classes or keypoints other than those of these weights."""
        for what, mine, theirs in (
            ("classes", self.classes, data.classes),
            ("keypoints", self.keypoints, data.keypoints),
        ):
            for one, other in zip_longest(mine, theirs):
                if one != other:
                    told = f"finds other {what} than the data have, first {one!r} where they have {other!r}"
                    raise UserError(f"{weights}: {told}; restore the data, or train anew with another --runs")

    @property
    def payload(self) -> dict[str, list[Any]]:
        """Return lists to be stored beside weights; those of keypoints only where there are any."""
        fields = {name: list(value) for name, value in asdict(self).items()}
        return {name: value for name, value in fields.items() if value or name in ("classes", "category_ids")}

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Return the `categories` of a COCO json."""
        points: dict[str, Any] = {}
        if self.keypoints:
            points = {"keypoints": list(self.keypoints), "skeleton": [list(pair) for pair in self.skeleton]}
        named = zip(self.category_ids, self.classes, strict=True)
        return [{"id": number, "name": name} | points for number, name in named]
