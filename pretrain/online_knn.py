"""kNN accuracy of the encoder while it trains."""

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.recipe import KNNSpec, PretrainRecipe
from superinfo.datasets.images import ImageSet, open_images
from superinfo.encoders import ResNet
from superinfo.errors import UserError
from superinfo.knn import knn_accuracy
from superinfo.views import centre_view

BATCH = 256


class OnlineKNN:
    """Images of gallery and queries, each a normalised centre crop of the views' size."""

    def __init__(self, spec: KNNSpec, recipe: PretrainRecipe, images: ImageSet, cache: Path) -> None:
        """Raises UserError if images have no labels, or if the two sets' classes differ."""
        self.spec = spec
        queries = open_images(spec.queries, cache, field="monitor.knn.queries")
        if images.classes != queries.classes:
            raise UserError(f"monitor.knn.queries: {spec.queries.title} has other classes than {recipe.data.title}")
        labelled = np.flatnonzero(images.labels >= 0)
        if not labelled.size:
            raise UserError(f"monitor.knn: {recipe.data.title} has no labels; leave monitor.knn out")
        chosen = np.random.default_rng(0).permutation(labelled)[: spec.gallery]
        self._mean, self._std = torch.tensor(recipe.data.mean), torch.tensor(recipe.data.std)
        self._size = recipe.view_size
        self._gallery = _Labelled(images, chosen)
        self._queries = _Labelled(queries, np.flatnonzero(queries.labels >= 0))

    def accuracy(self, encoder: ResNet, abandoned: Callable[[], bool]) -> float | None:
        """Return the share of queries whose class the nearest neighbours name; leaves the encoder as it was.

        None if it was abandoned, which is asked between batches; NaN if features are not finite.
        """
        training = encoder.training
        encoder.eval()
        gallery, gallery_labels = self._features(encoder, self._gallery, abandoned)
        queries, query_labels = self._features(encoder, self._queries, abandoned)
        encoder.train(training)
        if abandoned():
            return None
        if not (gallery.isfinite().all() and queries.isfinite().all()):
            return math.nan
        k = min(self.spec.k, len(gallery))
        return knn_accuracy(gallery, gallery_labels, queries, query_labels, k=k, temperature=self.spec.temperature)

    @torch.no_grad()
    def _features(self, encoder: ResNet, labelled: "_Labelled", abandoned: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        device = encoder.conv1.weight.device
        features, labels = [torch.empty(0, encoder.feature_dim, device=device)], []
        for start in range(0, len(labelled.indices), BATCH):
            if abandoned():
                break
            pixels = []
            for index in labelled.indices[start : start + BATCH].tolist():
                with suppress(UserError):  # an unreadable image neither votes nor asks; training counts it
                    pixels.append(centre_view(labelled.images[index], self._size))
                    labels.append(labelled.images.labels[index])
            if not pixels:
                continue
            batch = torch.from_numpy(np.stack(pixels)).to(device)
            normalised = (batch / 255 - self._mean.to(device)) / self._std.to(device)
            features.append(encoder(normalised.permute(0, 3, 1, 2)))
        return torch.cat(features), torch.tensor(labels, device=device)


class _Labelled:
    def __init__(self, images: ImageSet, indices: NDArray[np.int64]) -> None:
        self.images, self.indices = images, indices
