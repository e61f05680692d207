"""Encoder, contrastive base and information term as one module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrain.methods.simclr import SimCLR
from pretrain.recipe import PretrainRecipe, SuperInfoSpec
from pretrain.terms import SuperInfo, Term
from superinfo.encoders import ResNet, build_encoder


@dataclass
class Losses:
    """The loss to minimise, and its parts for the log, detached scalars in nats."""

    total: Tensor
    parts: dict[str, Tensor]


class Pretraining(nn.Module):
    """loss = base(h1, h2) + term, with h read from the encoder's output as the term says."""

    def __init__(self, encoder: ResNet, method: SimCLR, term: Term) -> None:
        super().__init__()
        self.encoder, self.method, self.term = encoder, method, term

    def forward(self, v1: Tensor, v2: Tensor, noise: torch.Generator) -> Losses:
        """Take two batches of normalised views `(B, 3, S, S)`; both pass the encoder, and its batch norm, as one."""
        mu1, mu2 = self.encoder(torch.cat([v1, v2])).float().chunk(2)
        features = self.term(mu1, mu2, v1, v2, noise)
        base = self.method(features.h1, features.h2)
        total = base + features.loss
        return Losses(total, {"loss": total.detach(), "base": base.detach(), **features.parts})


def build_model(recipe: PretrainRecipe, seed: int) -> Pretraining:
    """Build the model of a recipe; encoder and projector start the same with any term."""
    torch.manual_seed(seed)
    encoder = build_encoder(recipe.encoder)
    spec = recipe.method
    method = SimCLR(encoder.feature_dim, spec.hidden_dim, spec.output_dim, spec.temperature)
    return Pretraining(encoder, method, _build_term(recipe, encoder.feature_dim))


def _build_term(recipe: PretrainRecipe, feature_dim: int) -> Term:
    spec = recipe.term
    if isinstance(spec, SuperInfoSpec):
        return SuperInfo(
            feature_dim,
            spec.compression,
            spec.prediction,
            learned_variance=spec.variance == "learned",
            log_variance=spec.log_variance,
            decoder_channels=spec.decoder_channels,
        )
    return Term()
