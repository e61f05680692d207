"""A linear classifier on frozen features by SGD, as the public protocol has it (InfoCL's `eval_lr.py`)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from superinfo.datasets.images import Labels
from superinfo.progress import progress
from transfer.probing.labelled import Labelled
from transfer.probing.recipe import SGDSpec


@dataclass(frozen=True)
class Trained:
    """What SGD leaves."""

    model: nn.Linear
    """After the last epoch."""
    predicted: Labels
    """Classes that it gives the test images, `(m,)`."""
    right: list[float]
    """Share of the test images told right after each epoch, where that was asked for."""


def train_linear(
    spec: SGDSpec, classes: int, train: Labelled, test: Labelled, seed: int, device: torch.device
) -> Trained:
    """Train on `train` and classify `test`; features are taken as they are.

    The seed decides initial weights and the order of each epoch.
    """
    features, targets = train.tensors(device)
    queries, answers = test.tensors(device)
    torch.manual_seed(seed)
    model = nn.Linear(features.shape[1], classes).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay, foreach=True
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(spec.milestones), gamma=0.1)
    right = []
    with progress("linear: SGD", spec.epochs * len(features), "features") as advance:
        for epoch in range(spec.epochs):
            order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(features))).to(device)
            for rows in torch.split(order, spec.batch_size):
                loss = F.cross_entropy(model(features[rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            schedule.step()
            if spec.best_epoch_on_test:
                right.append(float((_classify(model, queries) == answers).double().mean()))
            advance(len(features), f"epoch {epoch + 1}, loss {loss.item():.3f}")
    return Trained(model, _classify(model, queries).cpu().numpy(), right)


@torch.no_grad()
def _classify(model: nn.Linear, features: Tensor) -> Tensor:
    predicted: Tensor = model(features).argmax(dim=1)
    return predicted
