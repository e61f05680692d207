"""The noise of a training step: the same for an image however the batch is cut among chunks and processes."""

import numpy as np
import torch
from torch import Tensor


class Noise:
    """Random numbers of one step, drawn once for the whole batch and handed out by rows.

    The generator is the step's own, keyed by (seed, step), as loading data moves the global one.
    """

    def __init__(self, seed: int, step: int, batch_size: int, device: torch.device | str = "cpu") -> None:
        self.batch_size = batch_size
        self._generator = torch.Generator(device).manual_seed(_key(seed, step))
        self._drawn: dict[str, Tensor] = {}

    def rows(self, start: int, stop: int, part: int = 0) -> "RowsOfNoise":
        """Return the noise of the images `start` to `stop` of the batch, which every process works on as its `part`."""
        return RowsOfNoise(self, start, stop, part)

    def drawn(self, name: str, like: Tensor) -> Tensor:
        """Return standard normal noise `(batch_size, ...)` of the shape of `like`'s rows; the same on every call."""
        if name not in self._drawn:
            shape = (self.batch_size, *like.shape[1:])
            self._drawn[name] = torch.randn(shape, generator=self._generator, dtype=like.dtype, device=like.device)
        return self._drawn[name]

    def order(self, name: str, length: int) -> Tensor:
        """Return a random permutation `(length,)`; the same on every call with this name."""
        if name not in self._drawn:
            device = self._generator.device
            self._drawn[name] = torch.randperm(length, generator=self._generator, device=device)
        return self._drawn[name]


class RowsOfNoise:
    """The noise of a part of the batch."""

    def __init__(self, noise: Noise, start: int, stop: int, part: int) -> None:
        self._whole, self._start, self._stop, self._part = noise, start, stop, part

    @property
    def batch_size(self) -> int:
        """Return the images of the whole batch."""
        return self._whole.batch_size

    def normal(self, name: str, like: Tensor) -> Tensor:
        """Return standard normal noise of the shape of `like` `(b, ...)`, its rows being this part's images."""
        return self._whole.drawn(name, like)[self._start : self._stop]

    def order(self, name: str, length: int) -> Tensor:
        """Return a random permutation `(length,)` of this part, the same in every process."""
        return self._whole.order(f"{name}/{self._part}", length)


def _key(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
