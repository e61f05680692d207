"""What spares the tests of detection time."""

from collections.abc import Iterator

import pytest

from transfer.detection import measure
from transfer.detection.evaluate import count_detector_flops


@pytest.fixture(scope="package", autouse=True)
def uncounted_flops() -> Iterator[None]:
    """Leave out what takes most of a tiny run: tracing the detector to count its multiply-adds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "count_detector_flops", lambda *_: (0.0, "not counted"))
        yield


@pytest.fixture
def counted_flops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count them after all."""
    monkeypatch.setattr(measure, "count_detector_flops", count_detector_flops)
