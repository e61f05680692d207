"""Encoder, contrastive base and information term as one module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrain import recipe as specs
from pretrain.methods import BYOL, BarlowTwins, Embedded, Method, MoCo, SimCLR
from pretrain.noise import RowsOfNoise
from pretrain.recipe import PretrainRecipe
from pretrain.schedule import Moment
from pretrain.terms import IP, LBE, MIB, RC, EncodedView, SuperInfo, Term
from superinfo.custom import CustomSpec
from superinfo.encoders import ResNet, build_encoder

TERM = "term/"
"""What comes before the names of a term's measurements, in an embedding."""


WATCHED = ("mu1", "mu2")
"""What no loss reads: the backbone's outputs, for the monitor."""


@dataclass
class Losses:
    """The loss to minimise, and its parts for the log, detached scalars; nats where base and term say so."""

    total: Tensor
    parts: dict[str, Tensor]


class Pretraining(nn.Module):
    """loss = base(h1, h2) + term, with h read from the encoder's output as the term says.

    `forward` embeds a part of a batch, `loss` is that of the whole: see `pretrain.gradients`.
    """

    def __init__(self, encoder: ResNet, method: Method, term: Term) -> None:
        super().__init__()
        self.encoder, self.method, self.term = encoder, method, term

    @property
    def separable(self) -> bool:
        """Whether the loss of a batch is the mean of its images' own losses."""
        return self.method.separable and self.term.separable

    def forward(self, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Take two batches of normalised views `(b, 3, S, S)`; both pass the encoder, and its batch norm, as one.

        So in every base, as in SimCLR's own code; the others' own pass the views one after the other. Also returns the
        backbone's outputs mu1, mu2 `(b, D)`, for the monitor.
        """
        pooled = {name: _full(both).chunk(2) for name, both in self.encoder.pooled(torch.cat([v1, v2])).items()}
        view1, view2 = (EncodedView(v, {name: p[i] for name, p in pooled.items()}) for i, v in enumerate((v1, v2)))
        features = self.term(view1, view2, noise)
        embedded = self.method.embed(features.h1, features.h2, v1, v2, noise)
        measured = {TERM + name: tensor for name, tensor in features.measured.items()}
        seen = dict(zip(WATCHED, (view1.mu.detach(), view2.mu.detach()), strict=True))
        return {name: _full(tensor) for name, tensor in (embedded | measured | seen).items()}

    def synchronise_batch_norm(self) -> None:
        """Turn batch norm into SyncBN, but where the base keeps its own."""
        kept = {name: getattr(self.method, name) for name in self.method.keeps_batch_norm}
        for name in kept:
            setattr(self.method, name, nn.Identity())
        nn.SyncBatchNorm.convert_sync_batchnorm(self)  # type: ignore[no-untyped-call]
        for name, module in kept.items():
            setattr(self.method, name, module)

    def loss(self, embedded: Embedded, moment: Moment) -> Losses:
        """Return the loss of a batch from its embedding."""
        base = self.method.loss(embedded)
        measured = {name.removeprefix(TERM): t for name, t in embedded.items() if name.startswith(TERM)}
        added, parts = self.term.loss(measured, moment.epoch)
        total = base + added
        return Losses(total, {name: value.detach() for name, value in {"loss": total, "base": base, **parts}.items()})

    def after_step(self, embedded: Embedded, moment: Moment) -> None:
        """Do what follows an optimiser step, with this process's rows of its batch."""
        self.method.after_step(self.encoder, embedded, moment)


def build_model(recipe: PretrainRecipe, seed: int) -> Pretraining:
    """Build the model of a recipe; encoder and base start the same with any term."""
    torch.manual_seed(seed)
    encoder = build_encoder(recipe.encoder)
    base, added = recipe.method, recipe.term
    method: Method = base.called(encoder) if isinstance(base, CustomSpec) else _build_method(base, encoder)
    term: Term = added.called(encoder) if isinstance(added, CustomSpec) else _build_term(added, encoder.feature_dim)
    return Pretraining(encoder, method, term)


def _build_method(spec: specs.ShippedMethod, encoder: ResNet) -> Method:
    settings = spec.model_dump(exclude={"kind"})
    match spec:
        case specs.SimCLRSpec():
            return SimCLR(encoder.feature_dim, **settings)
        case specs.MoCoSpec():
            return MoCo(encoder, **settings)
        case specs.BYOLSpec():
            return BYOL(encoder, **settings)
        case specs.BarlowTwinsSpec():
            return BarlowTwins(encoder.feature_dim, **settings)


def _build_term(spec: specs.ShippedTerm, feature_dim: int) -> Term:
    settings = spec.model_dump(exclude={"kind"})
    if isinstance(spec, specs.SuperInfoSpec | specs.MIBSpec):
        settings["learned_variance"] = settings.pop("variance") == "learned"
    match spec:
        case specs.NoTermSpec():
            return Term()
        case specs.SuperInfoSpec():
            return SuperInfo(feature_dim, **settings)
        case specs.RCSpec():
            return RC(feature_dim, **settings)
        case specs.LBESpec():
            return LBE(**settings)
        case specs.IPSpec():
            return IP(**settings)
        case specs.MIBSpec():
            return MIB(feature_dim, **settings)


def _full(tensor: Tensor) -> Tensor:
    """Return what autocast computed as float32: losses are not computed in less."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
