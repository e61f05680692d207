"""Tensors of all processes that train together; in a single process each function is the identity."""

import torch
from torch import Tensor
from torch import distributed as dist

from superinfo.processes import rank, world_size


def gather(mine: Tensor) -> Tensor:
    """Return the rows `(W b, ...)` of all processes, in their order; those of this process carry their gradient.

    Each process computes the loss of the joint batch from them, hence its exact gradient with respect to its own rows:
    nothing need be sent back. DistributedDataParallel divides the sum over processes by W, which the loss makes up for.
    """
    if world_size() == 1:
        return mine
    rows = [torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(rows, mine.detach().contiguous())
    rows[rank()] = mine
    return torch.cat(rows)


def mean(values: dict[str, Tensor]) -> dict[str, float]:
    """Return scalars averaged over the processes."""
    if world_size() > 1:
        stacked = torch.stack([value.float() for value in values.values()])
        dist.all_reduce(stacked)
        return dict(zip(values, (stacked / world_size()).tolist(), strict=True))
    return {name: float(value) for name, value in values.items()}
