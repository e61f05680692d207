"""Models without memory, to be given tensors that exist already."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

_RANDOM = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    init.kaiming_normal_,
    init.kaiming_uniform_,
    init.normal_,
    init.uniform_,
    init.trunc_normal_,
    init.xavier_uniform_,
}


@contextmanager
def unfilled() -> Iterator[None]:
    """Within the context, modules are made on the meta device, and nothing is spent on their first values."""
    with torch.device("meta"), _WithoutValues():
        yield


class _WithoutValues(TorchFunctionMode):
    """Drawing random numbers for tensors that have no memory takes longer than all else."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in _RANDOM and args else func(*args, **(kwargs or {}))
