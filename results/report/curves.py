"""Curves from disk: what pretraining and detectors logged while they trained."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results.report.charts import Curve

PRETRAINING = "metrics.jsonl"
DETECTION = "metrics.json"
"""As Detectron2 calls it; JSON lines too."""


def read_curve(row: str, path: Path, x: str, y: str) -> Curve | None:
    """Return `y` over `x` as a file of JSON lines has them; None where it is not there or has fewer than two points.

    What is no number, and a line that a killed process left incomplete, is passed over.
    """
    points = sorted((line[x], line[y]) for line in _lines(path) if all(_is_number(line.get(name)) for name in (x, y)))
    if len(points) < 2:
        return None
    return Curve(row, [point[0] for point in points], [point[1] for point in points])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
