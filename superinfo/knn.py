"""How well labels can be read off features by their nearest neighbours."""

import torch
import torch.nn.functional as F
from torch import Tensor


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    k: int = 20,
    temperature: float | None = 0.07,
) -> float:
    """Return the part of `test` whose class `knn_predict` tells right (top-1), in [0, 1].

    `train` is `(N, D)`, `train_labels` `(N,)`, `test` `(M, D)`, `test_labels` `(M,)`. Raises ValueError as
    `knn_predict` does, and if `test_labels` are not one for each row of `test`.
    """
    _check_labels("test", test, test_labels)
    right = knn_predict(train, train_labels, test, k=k, temperature=temperature) == test_labels
    return int(right.sum()) / len(test)


@torch.no_grad()
def knn_predict(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    *,
    k: int = 20,
    temperature: float | None = 0.07,
    memory_mib: int = 256,
) -> Tensor:
    """Return the class of each row of `test`, `(M,)`, by a vote of its k nearest rows of `train`.

    `train` is `(N, D)`, `train_labels` `(N,)` of any integers, `test` `(M, D)`; features of any floating type, on one
    device. Nearness is the cosine similarity s, in float32; a neighbour's vote weighs exp(s / temperature), and without
    a temperature one. Of classes with equal votes, that of the nearest neighbour wins. Deterministic. Beside its
    arguments and its result it takes about `memory_mib`, whatever N and M, unless one row of D, or k squared, is more.

    Raises ValueError on shapes that do not fit, on empty sets, on k above N and on features that are not finite.

    Source: Wu et al. 2018, arXiv 1805.01978, section 3.4, which took k = 200; k = 20 is that of DINO, arXiv 2104.14294.
    """
    _check_labels("train", train, train_labels)
    _check_vote(k, len(train), temperature)
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"train has {train.shape[1]} features a row, test has {test.shape[1]}")
    test_rows, train_rows = _block_rows(train.shape[1], k, memory_mib * 2**18)
    for name, features in {"train": train, "test": test}.items():
        if not all(bool(block.isfinite().all()) for block in torch.split(features, train_rows)):
            raise ValueError(f"{name}: features are not finite")
    predictions = []
    for block in torch.split(test, test_rows):
        similarities, neighbours = _nearest(block, train, k, train_rows)
        predictions.append(_vote(similarities, train_labels[neighbours], temperature))
    return torch.cat(predictions)


def _check_labels(name: str, features: Tensor, labels: Tensor) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{name}: features must be (rows, D) and not empty, not {tuple(features.shape)}")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"{name}: {len(features)} features, but labels of shape {tuple(labels.shape)}")


def _check_vote(k: int, rows: int, temperature: float | None) -> None:
    if not 1 <= k <= rows:
        raise ValueError(f"k must be between 1 and the {rows} rows of train, not {k}")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature must be positive or None, not {temperature}")


def _block_rows(dimension: int, k: int, budget: int) -> tuple[int, int]:
    """Return how many rows of test and of train to compare at once, so that `budget` floats suffice.

    A row of test takes D floats twice (as float32, normalised), then 2 k squared for its vote; one of train takes D
    twice, and a similarity to each row of test. More than 1,024 rows of test gain nothing.
    """
    test_rows = max(1, min(1024, budget // 2 // (2 * dimension + 2 * k * k)))
    return test_rows, max(1, budget // 2 // (2 * dimension + test_rows))


def _nearest(test: Tensor, train: Tensor, k: int, train_rows: int) -> tuple[Tensor, Tensor]:
    """Return the cosine similarities of the k nearest rows of `train`, descending, and their indices: `(M, k)` both."""
    test = F.normalize(test.float(), dim=1)
    similarities = test.new_empty(len(test), 0)
    indices = torch.empty(len(test), 0, dtype=torch.long, device=test.device)
    for number, block in enumerate(torch.split(train, train_rows)):
        found, where = (test @ F.normalize(block.float(), dim=1).T).topk(min(k, len(block)))
        similarities = torch.cat([similarities, found], dim=1)
        indices = torch.cat([indices, where + number * train_rows], dim=1)
        similarities, kept = similarities.topk(min(k, similarities.shape[1]))
        indices = indices.gather(1, kept)
    return similarities, indices


def _vote(similarities: Tensor, labels: Tensor, temperature: float | None) -> Tensor:
    """Return each row's class, `(M,)`, from its neighbours, nearest first: `(M, k)` both."""
    if temperature is None:
        weights = torch.ones_like(similarities)
    else:
        weights = ((similarities - similarities[:, :1]) / temperature).exp()
    # Each neighbour counts the votes of its own class: unlike scatter_add, this sums in one order on CUDA too.
    same_class = labels[:, :, None] == labels[:, None, :]
    votes = (same_class * weights[:, None, :]).sum(dim=2)
    # argmax takes the first of equals, here the nearest.
    return labels.gather(1, votes.argmax(dim=1, keepdim=True)).squeeze(1)
