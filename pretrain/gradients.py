"""The gradient of the joint batch's loss, of all processes and chunks, whatever fits into memory at once.

Accumulating the gradients of small batches is not the same: the loss of a contrastive batch compares every image with
every other. Only where a loss is the mean of its images' own losses (`separable`) do the two agree.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from pretrain.distributed import gather
from pretrain.methods import Embedded
from pretrain.model import WATCHED, Losses, Pretraining
from pretrain.noise import Noise
from pretrain.schedule import Moment
from superinfo.processes import rank, world_size

Views = Callable[[slice], tuple[Tensor, Tensor]]
"""Both views `(b, 3, S, S)` of some of this process's images."""


class Gradients:
    """Adds the gradient of a batch's loss to the parameters' `.grad`.

    Batch norm normalises each chunk by itself: its size is part of the model, as the batch on each GPU is elsewhere.
    Each image enters the running statistics once. Memory grows with the chunk; of the whole batch it holds embeddings.
    """

    def __init__(
        self,
        model: nn.Module,
        bare: Pretraining,
        chunk_size: int,
        backward: Callable[[Tensor], object] = torch.Tensor.backward,
        without_sync: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """Take the model as it is called, perhaps in a wrapper, and bare; `without_sync` keeps the wrapper from
        averaging gradients over processes in a backward pass that others follow.
        """
        self.model, self.bare, self.chunk_size = model, bare, chunk_size
        self.backward, self.without_sync = backward, without_sync

    def __call__(self, views: Views, images: int, noise: Noise, moment: Moment) -> tuple[Losses, Embedded]:
        """Return the losses, and the detached embedding of this process's `images`, a multiple of `chunk_size`."""
        assert images % self.chunk_size == 0
        chunks = [slice(start, start + self.chunk_size) for start in range(0, images, self.chunk_size)]
        first = rank() * images

        def embed(number: int) -> Embedded:
            chunk = chunks[number]
            v1, v2 = views(chunk)
            embedded: Embedded = self.model(v1, v2, noise.rows(first + chunk.start, first + chunk.stop, number))
            return embedded

        if self.bare.separable:
            return self._accumulated(embed, len(chunks), moment)
        if len(chunks) == 1:
            return self._whole(embed(0), moment)
        return self._cached(embed, chunks, moment)

    def _whole(self, embedded: Embedded, moment: Moment) -> tuple[Losses, Embedded]:
        losses = self.bare.loss(_gathered(embedded), moment)
        self.backward(losses.total * world_size())
        return losses, _detached(embedded)

    def _accumulated(self, embed: Callable[[int], Embedded], count: int, moment: Moment) -> tuple[Losses, Embedded]:
        every, kept = [], []
        for number in range(count):
            with self._synchronised(number == count - 1):
                embedded = embed(number)
                losses = self.bare.loss(embedded, moment)
                self.backward(losses.total / count)
            every.append(losses)
            kept.append(_detached(embedded))
        parts = {name: torch.stack([losses.parts[name] for losses in every]).mean() for name in every[0].parts}
        return Losses(parts["loss"], parts), _joined(kept)

    def _cached(self, embed: Callable[[int], Embedded], chunks: list[slice], moment: Moment) -> tuple[Losses, Embedded]:
        """Embed all chunks without gradient, then each again with the gradient that the joint loss has in its rows.

        Gradient caching (Gao et al. 2021, arXiv 2101.06983). Noise and augmentation are the same in both passes.
        """
        with torch.no_grad(), _running_statistics_kept(self.bare):
            cached = _joined([embed(number) for number in range(len(chunks))])
        rows = {name: tensor.requires_grad_() for name, tensor in cached.items()}
        losses = self.bare.loss(_gathered(rows), moment)
        found = torch.autograd.grad(losses.total * world_size(), list(rows.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(rows, found, strict=True) if gradient is not None}
        for number, chunk in enumerate(chunks):
            with self._synchronised(number == len(chunks) - 1):
                embedded = embed(number)
                # The gradient of this sum is that of the joint loss, by the chain rule.
                products = [
                    (embedded[name] * gradient[chunk]).sum()
                    for name, gradient in gradients.items()
                    if embedded[name].requires_grad
                ]
                self.backward(torch.stack(products).sum())
        return losses, _detached(cached)

    @contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:
        if last or self.without_sync is None:
            yield
        else:
            with self.without_sync():
                yield


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    yield
    for norm, buffers in zip(norms, before, strict=True):
        for buffer, value in zip(norm.buffers(), buffers, strict=True):
            buffer.copy_(value)


def _gathered(embedded: Embedded) -> Embedded:
    return {name: gather(tensor) for name, tensor in embedded.items() if name not in WATCHED}


def _joined(chunks: list[Embedded]) -> Embedded:
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _detached(embedded: Embedded) -> Embedded:
    return {name: tensor.detach() for name, tensor in embedded.items()}
