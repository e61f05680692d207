"""How long a run takes, and how much of that it waits for data."""

import time
from collections.abc import Iterator

from pretrain.batches import Batch


class Clock:
    """Time: of the run over all its resumes, since the last save and the last log, and spent waiting for data."""

    def __init__(self, before: float) -> None:
        now = time.monotonic()
        self._start, self._save, self._log = now - before, now, now
        self._waited, self._steps = 0.0, 0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand batches on, and count the time until each is there."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            self._waited += time.monotonic() - start
            self._steps += 1
            yield batch

    def rates(self, batch_size: int) -> dict[str, float]:
        """Return images/s, and the share of time spent waiting for data, since the last call."""
        now = time.monotonic()
        spent = max(now - self._log, 1e-9)
        rates = {"images_per_second": self._steps * batch_size / spent, "data_wait": self._waited / spent}
        self._log, self._waited, self._steps = now, 0.0, 0
        return rates

    def total(self) -> float:
        """Return the seconds of the run, those before it was resumed included."""
        return time.monotonic() - self._start

    def since_save(self) -> float:
        """Return the seconds since the state was last saved."""
        return time.monotonic() - self._save

    def saved(self) -> None:
        """Note that the state has been saved."""
        self._save = time.monotonic()
