"""LBE: noised features that can be told from those of other images."""

import torch
from torch import Tensor

from pretrain.noise import RowsOfNoise
from pretrain.terms.term import EncodedView, Features, Term

NOISE = 0.1
STAGES = ("res3", "res4", "res5")


class LBE(Term):
    """Sum over stages of weight x mean_i log sum_j exp(-|h_i - mu_j|^2 / divisor), h = mu + N(0, 0.1^2).

    Raises a lower bound of I(v;h) by InfoNCE between clean and noised features (Wang et al. 2022, arXiv 2203.07004), as
    its public code (InfoCL) has it: on the pooled outputs of three stages, weighed 0.25, 0.5 and 1, divisor 20, all
    times 1 on SimCLR and Barlow Twins and 0.1 on BYOL; on ImageNet the last stage alone, divisor 80. Its positive term
    is constant but for noise and left out there too. i and j run over both views of the joint batch, and the base reads
    the noised features of the last stage.
    """

    separable = False

    def __init__(
        self, weights: tuple[float, float, float], *, divisor: float = 20.0, warmup_epochs: float = 0.0
    ) -> None:
        """Weights are those of res3, res4 and res5; a stage whose weight is 0 is left out."""
        self.stages = tuple(stage for stage, weight in zip(STAGES, weights, strict=True) if weight)
        named = {f"lbe_{stage}": weight for stage, weight in zip(STAGES, weights, strict=True) if weight}
        super().__init__(named, warmup_epochs)
        self.divisor = divisor

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Return the noised features, and per stage and view clean and noised ones `(b, C)`."""
        measured = {}
        for stage in dict.fromkeys((*self.stages, STAGES[-1])):
            for number, view in enumerate((view1, view2), 1):
                name, clean = f"{stage}/{number}", view.pooled[stage]
                measured[f"clean/{name}"] = clean
                measured[f"noised/{name}"] = clean + NOISE * noise.normal(name, clean)
        return Features(measured[f"noised/{STAGES[-1]}/1"], measured[f"noised/{STAGES[-1]}/2"], measured)

    def parts(self, measured: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each stage's log-sum-exp, mean over the views of all images."""
        return {f"lbe_{stage}": self._log_sum_exp(measured, stage) for stage in self.stages}

    def _log_sum_exp(self, measured: dict[str, Tensor], stage: str) -> Tensor:
        clean, noised = (
            torch.cat([measured[f"{kind}/{stage}/{view}"] for view in (1, 2)]) for kind in ("clean", "noised")
        )
        # As a product of matrices, about a common centre so that nothing cancels: the differences would be (B, B, C).
        centre = clean.detach().mean(dim=0)
        clean, noised = clean - centre, noised - centre
        distances = noised.square().sum(1)[:, None] + clean.square().sum(1) - 2 * noised @ clean.T
        return torch.logsumexp(-distances / self.divisor, dim=1).mean()
