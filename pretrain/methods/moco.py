"""MoCo v2: a query attracts its key from a momentum encoder; a queue of earlier keys repels it."""

import torch
from lightly.models.modules.heads import MoCoProjectionHead
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pretrain.distributed import gather
from pretrain.methods.method import Embedded, Method
from pretrain.methods.momentum import Target
from pretrain.noise import RowsOfNoise
from pretrain.schedule import Moment
from superinfo.encoders import ResNet
from superinfo.processes import rank, world_size

BLOCK = 256
"""Queries whose similarities to the queue are in memory at once."""


class MoCo(Method):
    """InfoNCE against a queue (He et al. 2020, arXiv 1911.05722, eq. 1), with v2's MLP head (arXiv 2003.04297).

    Symmetrised: each view is query once and key once, and the loss in nats is the mean over both. The queue holds the
    keys of both views of earlier batches; it is a buffer, saved with the state, the same in every process, and begins
    with random unit vectors.

    Shuffled batch norm: the key encoder sees the images of all processes in random order, in `norm_groups` groups that
    batch norm normalises one by one, so that statistics do not tell which key is whose. One process passes the groups
    one after the other; several share them out, one each at least. Queries are not grouped: where the authors normalise
    those of each GPU by themselves, one process of ours normalises all of its chunk.
    """

    separable = True
    keeps_batch_norm = ("target",)  # SyncBN would merge the groups
    queue: Tensor
    cursor: Tensor

    def __init__(
        self,
        encoder: ResNet,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        temperature: float = 0.2,
        queue_length: int = 65536,
        momentum: float = 0.999,
        norm_groups: int = 8,
    ) -> None:
        super().__init__()
        self.temperature, self.momentum, self.norm_groups = temperature, momentum, norm_groups
        self.projector = MoCoProjectionHead(encoder.feature_dim, hidden_dim, output_dim)
        self.target = Target(encoder, self.projector)
        self.register_buffer("queue", F.normalize(torch.randn(queue_length, output_dim), dim=1))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.long))

    def embed(self, h1: Tensor, h2: Tensor, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Return queries q1, q2 and keys k1, k2 `(b, output_dim)`, of any length; no gradient reaches the keys."""
        k1, k2 = self._keys(torch.cat([v1, v2]), noise).chunk(2)
        return {"q1": self.projector(h1), "q2": self.projector(h2), "k1": k1, "k2": k2}

    def loss(self, embedded: Embedded) -> Tensor:
        """Return the mean of both directions' InfoNCE."""
        one = self._info_nce(embedded["q1"], embedded["k2"])
        return 0.5 * (one + self._info_nce(embedded["q2"], embedded["k1"]))

    @torch.no_grad()
    def after_step(self, encoder: ResNet, embedded: Embedded, moment: Moment) -> None:
        """Let the target follow, and the batch's keys take the place of the oldest ones."""
        self.target.follow(encoder, self.projector, self.momentum)
        keys = F.normalize(torch.cat([gather(embedded["k1"]), gather(embedded["k2"])]), dim=1)
        assert len(keys) <= len(self.queue)
        places = (self.cursor + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.cursor.add_(len(keys)).remainder_(len(self.queue))

    def _info_nce(self, queries: Tensor, keys: Tensor) -> Tensor:
        queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
        blocks = zip(torch.split(queries, BLOCK), torch.split(keys, BLOCK), strict=True)
        # Recomputed in the backward pass: similarities to a long queue take more memory than embeddings.
        losses = [checkpoint(self._losses, *block, use_reentrant=False, preserve_rng_state=False) for block in blocks]
        return torch.cat(losses).mean()

    def _losses(self, queries: Tensor, keys: Tensor) -> Tensor:
        positive = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, queries @ self.queue.T], dim=1) / self.temperature
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="none")

    @torch.no_grad()
    def _keys(self, images: Tensor, noise: RowsOfNoise) -> Tensor:
        joint = gather(images)
        order = noise.order("moco", len(joint)).to(images.device)
        shuffled = joint[order].chunk(world_size())[rank()]
        groups = max(1, min(self.norm_groups * len(images) // (2 * noise.batch_size), len(images) // 2))
        keys = gather(torch.cat([self.target(group) for group in shuffled.tensor_split(groups)]))
        in_place = torch.empty_like(keys)
        in_place[order] = keys
        return in_place.chunk(world_size())[rank()]
