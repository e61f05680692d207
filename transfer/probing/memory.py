"""A GPU whose memory does not suffice, told with what helps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from superinfo.errors import UserError


@contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """Raise UserError, with a remedy, if the GPU runs out of memory within the context."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(f"{what}: out of GPU memory; {remedy}") from None
