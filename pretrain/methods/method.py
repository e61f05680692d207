"""What a contrastive base is: an embedding of each image, and a loss of a batch of embeddings."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from pretrain.noise import RowsOfNoise
from pretrain.schedule import Moment
from superinfo.encoders import ResNet

Embedded = dict[str, Tensor]
"""Tensors whose rows are images `(b, ...)`: all that a loss reads, whichever chunk or process computed them."""


class Method(nn.Module, ABC):
    """A base in two parts: `embed` has all parameters and sees a part of the batch; `loss` sees the whole of it."""

    separable: ClassVar[bool]
    """Whether the loss of a batch is the mean of its images' own losses."""
    keeps_batch_norm: ClassVar[tuple[str, ...]] = ()
    """Parts whose batch norm is never synchronised across processes."""

    @abstractmethod
    def embed(self, h1: Tensor, h2: Tensor, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Take what the term lets through of both views' features `(b, D)`, and the views `(b, 3, S, S)`."""

    @abstractmethod
    def loss(self, embedded: Embedded) -> Tensor:
        """Return the loss of a batch: a scalar in nats, or in the method's own unit."""

    def after_step(self, encoder: ResNet, embedded: Embedded, moment: Moment) -> None:
        """Do what follows an optimiser step; `embedded` are this process's rows of the step's batch."""
