"""What is amiss with a split: kinds of fault, each with its count, first example and remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from superinfo.errors import UserError

RARE = 1e-3
"""Share of annotations up to which what Detectron2 mends by itself is told and not refused: COCO's own train2017 has
two boxes without height (github.com/cocodataset/cocoapi/issues/355)."""


@dataclass
class _Kind:
    count: int
    first: str
    remedy: str
    mended: str | None


class Faults:
    """The faults found so far, by kind, in the order in which each was first found."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._kinds: dict[str, _Kind] = {}

    def add(self, what: str, example: object, remedy: str, mended: str | None = None) -> None:
        """Count one. `mended` says what Detectron2 does about it, if it can do something."""
        kind = self._kinds.setdefault(what, _Kind(0, str(example)[:200], remedy, mended))
        kind.count += 1

    def add_repeated(self, what: str, values: Iterable[object], remedy: str) -> None:
        """Count each value that is there more than once."""
        seen: set[object] = set()
        twice: set[object] = set()
        for value in values:
            if value in seen and value not in twice:
                twice.add(value)
                self.add(what, value, remedy)
            seen.add(value)

    def refuse(self, annotations: int) -> list[str]:
        """Return the lines about what is rare among so many annotations and mended; raise UserError for all else."""
        mended = {what: kind for what, kind in self._kinds.items() if kind.mended and kind.count <= RARE * annotations}
        told = [
            f"{kind.count:,} {what}, first {kind.first}; {kind.remedy}"
            for what, kind in self._kinds.items()
            if what not in mended
        ]
        if told:
            raise UserError(f"{self._source}: {'; '.join(told)}")
        return [
            f"{kind.count:,} of {annotations:,} {what}, first {kind.first}: {kind.mended}"
            for what, kind in mended.items()
        ]
