"""How much a frozen feature says of its view, in nats: bounds on held-out pairs of views.

A deterministic encoder says infinitely much of a continuous view, so its features are standardised and Gaussian noise
of stated size is added: p(h1|v1) = N(feature of v1, noise^2 I). Then

* retained      I(v1;h1)    <= E KL( p(h1|v1) || r(h1) ), r a Gaussian;
* superfluous   I(v1;h1|v2) <= E KL( p(h1|v1) || q(h1|v2) ), q a Gaussian whose mean is linear in the features of v2;
* predictive    I(v2;h1)    >= log N - InfoNCE, at most log N; the critic is s log q(h1|v2), s a number.

All are fitted on training pairs: the mean on some of them, ridge strength, variances and s on the others, so that they
hold for pairs that were not fitted. The bounds hold for any r, q and critic; better ones are tighter. Without s, q is
too sure of itself in many dimensions, and the bound falls below zero.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from superinfo.artifacts import Metric
from superinfo.errors import UserError
from superinfo.information import info_nce, isotropic_kl
from transfer.probing.labelled import Floats
from transfer.probing.recipe import InformationSpec
from transfer.probing.ridge import Doubles, Ridge, Standard, choose_strengths
from transfer.probing.trial import Outcome, Trial

FEWEST = 50
"""Pairs that a Gaussian may be fitted on."""


def measure_information(trial: Trial, task: InformationSpec) -> Outcome:
    """Measure the three bounds on pairs of views of the test images, each with its standard error over pairs."""
    train = trial.store.of_views(trial.splits.train, task.views, trial.seed).values
    test = trial.store.of_views(trial.splits.test, task.views, trial.seed).values
    held = round(task.validation_share * len(train))
    if min(held, len(train) - held) < FEWEST:
        raise UserError(f"data.train: {len(train)} pairs are too few to fit Gaussians on; give {4 * FEWEST} or more")
    if len(test) < task.negatives:
        raise UserError(f"data.test: {len(test)} pairs are fewer than task.negatives, {task.negatives}; lower it")
    nats = information((train[:, 0], train[:, 1]), (test[:, 0], test[:, 1]), task, trial.seed)
    metrics = {}
    for name, better in {"retained": False, "superfluous": False, "predictive": True}.items():
        values = nats[name]
        metrics[name] = Metric(value=float(values.mean()), unit="nats", higher_is_better=better)
        error = float(values.std()) / math.sqrt(len(values))
        metrics[f"{name}_standard_error"] = Metric(value=error, unit="nats", higher_is_better=False)
    limit = math.log(task.negatives)
    metrics["predictive_limit"] = Metric(value=limit, unit="nats", higher_is_better=True)
    note = (
        "retained and superfluous are upper bounds, predictive is a lower one (critic: scaled log density of the "
        f"Gaussian q, {task.negatives} pairs), of features standardised and noised by {task.noise:g}"
    )
    return Outcome(metrics, len(test), (note,))


def information(
    train: tuple[Floats, Floats], test: tuple[Floats, Floats], task: InformationSpec, seed: int
) -> dict[str, Tensor]:
    """Return the bounds for each test pair, `(m,)` each, in nats; a pair left over by InfoNCE has none for predictive.

    `train` and `test` are the features of first and second views, `(n, D)` and `(m, D)` each.
    """
    order = np.random.default_rng([seed, 3]).permutation(len(train[0]))
    cut = round(task.validation_share * len(order))
    fit, held = np.sort(order[cut:]), np.sort(order[:cut])
    standard = Standard.of(train[0])
    varies = standard.scale > 0
    h1 = [standard(part)[:, varies] for part in (train[0], test[0])]
    h2 = [standard(part)[:, varies] for part in (train[1], test[1])]
    variance = task.noise**2

    prior = _fit_covariance(h1[0][fit], h1[0][held], variance)
    ridge = _choose_ridge((h2[0][fit], h1[0][fit]), (h2[0][held], h1[0][held]))
    on_fit, on_held = (h1[0][rows] - ridge(h2[0][rows]) for rows in (fit, held))
    posterior = _fit_covariance(on_fit, on_held, variance)

    mean, predicted = torch.from_numpy(h1[1]), torch.from_numpy(ridge(h2[1]))
    generator = torch.Generator().manual_seed(seed)
    noisy, noisy_held = (
        part + task.noise * torch.randn(part.shape, dtype=part.dtype, generator=generator)
        for part in (mean, torch.from_numpy(h1[0][held]))
    )
    scale = _best_scale(_log_density(noisy_held, torch.from_numpy(ridge(h2[0][held])), posterior, task.negatives))
    return {
        "retained": isotropic_kl(mean, variance, torch.zeros_like(mean[:1]), prior),
        "superfluous": isotropic_kl(mean, variance, predicted, posterior),
        "predictive": info_nce(scale * _log_density(noisy, predicted, posterior, task.negatives)).flatten(),
    }


@dataclass(frozen=True)
class _Regression:
    ridge: Ridge
    strengths: list[float]

    def __call__(self, features: Doubles) -> Doubles:
        return self.ridge.predict(features, self.strengths)


def _choose_ridge(fit: tuple[Doubles, Doubles], held: tuple[Doubles, Doubles]) -> _Regression:
    """Fit a regression of h1 on h2; its one strength is the best on held pairs."""
    strengths = choose_strengths(fit, held, [0] * fit[1].shape[1])
    return _Regression(Ridge(*fit), strengths)


def _fit_covariance(fit: Doubles, held: Doubles, variance: float) -> Tensor:
    """Return the covariance of deviations from a mean, noise included, `(D, D)`.

    Its axes are those of the fitted pairs; along each the variance is that of the held pairs, which the mean was not
    fitted on: a variance that flatters the fit would cost many nats on the test pairs.
    """
    _, axes = np.linalg.eigh(fit.T @ fit)
    along = np.square(held @ axes).mean(axis=0)
    return torch.from_numpy((axes * (along + variance)) @ axes.T)


def _log_density(h1: Tensor, predicted: Tensor, covariance: Tensor, group: int) -> Tensor:
    """Return log q(h1|v2), up to a constant, of each h1 with each v2 of its group: `(groups, n, n)`.

    n is the size of a group, or the number of pairs if there are fewer; pairs left over are left out.
    """
    factor = torch.linalg.cholesky(covariance)
    whitened = [torch.linalg.solve_triangular(factor, part.T, upper=False).T for part in (h1, predicted)]
    size = min(group, len(h1))
    whole = len(h1) // size * size
    ones, others = (part[:whole].unflatten(0, (-1, size)) for part in whitened)
    return -0.5 * torch.cdist(ones, others).square()


def _best_scale(scores: Tensor) -> float:
    """Return the factor of the scores, at most 4, for which InfoNCE's bound is largest: it is concave in the factor."""
    low, high = 0.0, 4.0
    for _ in range(40):
        scale = (low + high) / 2
        expected = ((scale * scores).softmax(dim=-1) * scores).sum(dim=-1)
        rises = scores.diagonal(dim1=-2, dim2=-1).mean() > expected.mean()
        low, high = (scale, high) if rises else (low, scale)
    return low
