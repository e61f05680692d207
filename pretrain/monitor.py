"""What a training run tells about itself: its metrics, logged, and whether its features collapse."""

import importlib
import json
import math
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from superinfo.errors import UserError
from superinfo.files import keep_lines
from superinfo.tensorboard import TENSORBOARD, open_events


class MetricsLog:
    """Appends each logged step to metrics.jsonl, and tells TensorBoard (`tensorboard/`) and Weights & Biases if asked.

    On resume the steps from `first_step` on, which will be done again, are dropped: lines are deleted, TensorBoard
    hides its events, W&B keeps what it has and refuses the repetition. Leaving the context closes all of them.
    Raises UserError if W&B is asked for and cannot be had.
    """

    def __init__(self, folder: Path, first_step: int, *, tensorboard: bool = True, wandb: bool = False) -> None:
        with ExitStack() as opened:
            self._wandb = _wandb_run(folder, opened) if wandb else None
            path = folder / "metrics.jsonl"
            kept = keep_lines(path, lambda metrics: metrics["step"] < first_step)
            self._file = opened.enter_context(path.open("a", buffering=1))
            self._events = open_events(folder / TENSORBOARD, first_step) if tensorboard else None
            if self._events is not None:
                opened.callback(self._events.close)
            self._opened = opened.pop_all()
        self.last: dict[str, float] = kept[-1] if kept else {}

    def write(self, metrics: dict[str, float]) -> None:
        """Append one step's metrics; `step` is one of them."""
        self.last = metrics
        self._file.write(json.dumps(metrics, allow_nan=False) + "\n")
        step = int(metrics["step"])
        values = {name: value for name, value in metrics.items() if name != "step"}
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def sync(self) -> None:
        """Bring what was written to disk; TensorBoard's events at least out of this process, which may be killed."""
        os.fsync(self._file.fileno())
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Write out what waits, and end the writers' threads."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, traceback)


def _wandb_run(folder: Path, opened: ExitStack) -> Any:
    """Return the W&B run named like the run folder: the same one on resume."""
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise UserError("W&B needs the package wandb: `pip install wandb`, or --set monitor.wandb=false") from None
    try:
        run = wandb.init(project="superinfo", id=folder.name, name=folder.name, dir=str(folder), resume="allow")
    except wandb.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"W&B: {reason}; set WANDB_MODE=offline, or --set monitor.wandb=false") from None

    def finish(kind: type[BaseException] | None, *_: object) -> None:
        run.finish(exit_code=int(kind is not None))

    opened.push(finish)
    return run


def feature_statistics(mu1: Tensor, mu2: Tensor) -> dict[str, Tensor]:
    """Tell from the features of two views, `(B, D)` each, finite, B >= 2, whether an encoder collapses.

    Four scalars, the first, second and last averaged over the views; z is a row of features at length one.

    * `feature_std`: standard deviation of z over the batch, averaged over dimensions, times sqrt(D): 1 if isotropic,
      0 if collapsed, in between for features with a common mean, as after a ReLU (SimSiam, arXiv 2011.10566, sec. 4.1).
    * `effective_rank`: exp of the entropy of the normalised singular values (Roy and Vetterli 2007), in
      [1, min(B - 1, D)], or 0 for constant features. Of the centred features, unlike RankMe's (arXiv 2210.02885): the
      common mean is one large singular value, which would hide the others.
    * `alignment`: mean squared distance of z1 to its z2, in [0, 4]: 0 if the views agree, and if collapsed
      (Wang and Isola, arXiv 2005.10242, alpha = 2).
    * `uniformity`: log of the mean of exp(-2 squared distance) over pairs of different images: 0 if collapsed, near -4
      if spread over a sphere of many dimensions (same, t = 2).

    Time goes as B^2 D for `uniformity` and as min(B, D)^2 max(B, D) for `effective_rank`, which is in float64.
    """
    assert mu1.shape == mu2.shape
    assert len(mu1) >= 2
    z1, z2 = F.normalize(mu1, dim=1), F.normalize(mu2, dim=1)
    return {
        "feature_std": (_feature_std(z1) + _feature_std(z2)) / 2,
        "effective_rank": (_effective_rank(mu1) + _effective_rank(mu2)) / 2,
        "alignment": (z1 - z2).square().sum(dim=1).mean(),
        "uniformity": (_uniformity(z1) + _uniformity(z2)) / 2,
    }


def _feature_std(z: Tensor) -> Tensor:
    return z.std(dim=0).mean() * math.sqrt(z.shape[1])


def _effective_rank(mu: Tensor) -> Tensor:
    # The Gram matrix squares singular values: in float32 the many that are zero would add up to some of the rank.
    centred = mu.double() - mu.double().mean(dim=0)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    # What float32 features cannot tell from zero is zero: constant ones have no rank, not that of their rounding.
    singular = singular * (singular > torch.finfo(torch.float32).eps * mu.double().norm())
    total = singular.sum()
    p = singular / total.clamp_min(torch.finfo(torch.float64).tiny)
    rank: Tensor = torch.special.entr(p).sum().exp() * (total > 0)
    return rank.float()


def _uniformity(z: Tensor) -> Tensor:
    squares = z.square().sum(dim=1)
    distances = (squares[:, None] + squares[None, :] - 2 * z @ z.T).clamp_min(0)
    exponents = (-2 * distances).fill_diagonal_(-math.inf)
    return exponents.flatten().logsumexp(dim=0) - math.log(len(z) * (len(z) - 1))
