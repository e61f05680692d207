"""Multinomial logistic regression with L2 regularisation, fitted to its optimum by L-BFGS in float64."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from superinfo.datasets.images import Labels
from superinfo.progress import progress
from transfer.probing.labelled import Floats, Labelled
from transfer.probing.recipe import LBFGSSpec
from transfer.probing.scores import Score, score

BLOCK = 16384
"""Features that are float64 at a time."""
TOLERANCE = 1e-7
"""Largest entry of the gradient of the mean loss at which a fit has converged."""


@dataclass(frozen=True)
class Chosen:
    """A classifier and how its strength was chosen."""

    model: "Logistic"
    c: float
    validation: dict[float, float]
    """The score on the validation images, in percent, for each C."""


class Logistic:
    """Minimises C x sum of cross-entropies + half the squared weights; biases are free.

    Features are standardised by mean and standard deviation of the training features; a constant one is left out.
    """

    def __init__(self, train: Labelled, classes: int, device: torch.device) -> None:
        self.features, self.targets = train.tensors(device)
        doubles = (part.double() for part in torch.split(self.features, BLOCK))
        moments = sum(
            (torch.stack([part.sum(dim=0), part.square().sum(dim=0)]) for part in doubles),
            torch.zeros((), device=device),
        )
        self.mean, square = moments / len(self.features)
        variance = (square - self.mean.square()).clamp_min(0)
        constant = variance <= 1e-12 * (self.mean.square() + variance)
        self.scale = torch.where(constant, 0, variance.rsqrt())
        # The last column is the bias.
        shape = classes, self.features.shape[1] + 1
        self.weights: Tensor = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)

    def fit(self, c: float, iterations: int) -> "Logistic":
        """Go on from the present weights to the optimum for C."""
        optimizer = torch.optim.LBFGS(
            [self.weights],
            max_iter=iterations,
            max_eval=2 * iterations,
            tolerance_grad=TOLERANCE,
            tolerance_change=1e-12,
            history_size=20,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(lambda: self.loss(c))  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def loss(self, c: float) -> Tensor:
        """Return the loss over C and the number of images, and leave its gradient in `weights.grad`."""
        count, weights = len(self.features), self.weights.detach()
        strength = 1 / (c * count)
        loss = 0.5 * strength * weights[:, :-1].square().sum()
        products, sums = torch.zeros_like(weights[:, :-1]), torch.zeros_like(weights[:, -1])
        for block, targets in zip(torch.split(self.features, BLOCK), torch.split(self.targets, BLOCK), strict=True):
            features = block.double()
            logs = F.log_softmax(self._logits(features), dim=1)
            loss -= logs.gather(1, targets[:, None]).sum() / count
            error = logs.exp_()
            error[torch.arange(len(targets), device=targets.device), targets] -= 1
            products += error.T @ features
            sums += error.sum(dim=0)
        slope = (products - sums[:, None] * self.mean) * self.scale / count + strength * weights[:, :-1]
        self.weights.grad = torch.hstack([slope, sums[:, None] / count])
        return loss

    @torch.no_grad()
    def predict(self, features: Floats) -> Labels:
        """Return the class of each row of `features`, `(m,)`."""
        blocks = np.array_split(features, math.ceil(len(features) / BLOCK))
        logits = [self._logits(torch.tensor(block, device=self.mean.device).double()) for block in blocks]
        predicted: Labels = torch.cat(logits).argmax(dim=1).cpu().numpy()
        return predicted

    def _logits(self, features: Tensor) -> Tensor:
        # The weights are scaled rather than the features, of which there are many more.
        weights = self.weights.detach()
        scaled = weights[:, :-1] * self.scale
        return torch.addmm(weights[:, -1] - scaled @ self.mean, features, scaled.T)


def choose(
    spec: LBFGSSpec, train: Labelled, validation: Labelled, metric: Score, classes: int, device: torch.device
) -> Chosen:
    """Fit every C of the grid on `train`, from strong to weak, each from where the last one ended, and take the best
    on `validation`; among equals the strongest. Then fit that C on both, to which it belongs.
    """
    model = Logistic(train, classes, device)
    found: dict[float, float] = {}
    weights: dict[float, Tensor] = {}
    with progress("linear: L-BFGS", len(spec.grid) + 1, "fits") as advance:
        for c in sorted(spec.grid):
            found[c] = score(model.fit(c, spec.iterations).predict(validation.features), validation.labels, metric)
            weights[c] = model.weights.detach().clone()
            advance(1, f"C {c:.1e}: {found[c]:.2f} %")
        chosen = max(found, key=lambda c: (found[c], -c))
        final = Logistic(train.joined(validation), classes, device)
        final.weights.data.copy_(weights[chosen])
        final.fit(chosen, 10 * spec.iterations)
        advance(1, f"C {chosen:.1e} on all")
    return Chosen(final, chosen, found)
