"""Batches: what comes when, however it is cut."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pretrain.batches import Batches, TwoViewImages, load_batches, permutation, to_views
from superinfo.datasets.images import InMemory
from superinfo.errors import UserError
from superinfo.views import TwoViews, ViewSpec


def positions(batches: Batches) -> Iterator[list[tuple[int, int]]]:
    """Whole batches of positions."""
    pieces = iter(batches)
    while batch := list(itertools.islice(pieces, batches.pieces)):
        yield [position for piece in batch for position in piece]


def test_an_epoch_shows_every_image_once_but_for_the_incomplete_batch() -> None:
    batches = list(positions(Batches(images=23, batch_size=5, epochs=2, seed=1)))
    assert [len(batch) for batch in batches] == [5] * 8
    for epoch in (0, 1):
        seen = [index for batch in batches[4 * epoch : 4 * epoch + 4] for e, index in batch if e == epoch]
        assert seen == permutation(23, 1, epoch)[:20].tolist()
    assert batches[0] != batches[4]


@pytest.mark.parametrize("step", [0, 3, 4, 7])
def test_a_resumed_run_gets_the_batches_that_are_left(step: int) -> None:
    whole = list(positions(Batches(23, 5, 2, seed=1)))
    assert list(positions(Batches(23, 5, 2, seed=1, first_step=step))) == whole[step:]


def test_processes_share_a_batch_in_the_order_of_its_rows() -> None:
    whole = list(positions(Batches(40, 12, 2, seed=1)))
    shares = [list(positions(Batches(40, 12, 2, seed=1, rank=rank, world=3))) for rank in range(3)]
    assert [list(itertools.chain(*rows)) for rows in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_a_large_batch_made_in_pieces_is_the_same_batch(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = InMemory(
        np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8), np.zeros(40, np.int64), ("a",)
    )
    dataset = TwoViewImages(images, TwoViews(ViewSpec(), 16, (0, 0, 0), (1, 1, 1)), seed=3)
    loaded = []
    for piece in (256, 5):
        monkeypatch.setattr("pretrain.batches.PIECE", piece)
        batches = Batches(40, 12, 2, seed=1)
        assert len(batches) == (6 if piece == 256 else 18)
        with load_batches(dataset, batches, workers, pin=False) as iterator:
            loaded.append([batch.views for batch in iterator])
    assert len(loaded[0]) == 6
    assert all(torch.equal(a, b) for a, b in zip(*loaded, strict=True))


@pytest.mark.parametrize(("piece", "pinning"), [(256, ["loader"]), (5, ["joined", "joined"])])
def test_a_batch_is_pinned_once(piece: int, pinning: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the loader's thread if it comes whole, else as it is joined; as told to torch, which needs a GPU to do it."""
    asked = []

    def loader(*arguments: Any, pin_memory: bool, **options: Any) -> Any:
        asked.extend(["loader"] * pin_memory)
        return DataLoader(*arguments, **options)

    def empty(*shape: int, pin_memory: bool, **options: Any) -> Tensor:
        asked.extend(["joined"] * pin_memory)
        return torch.zeros(*shape, **options)

    images = InMemory(np.zeros((24, 16, 16, 3), np.uint8), np.zeros(24, np.int64), ("a",))
    dataset = TwoViewImages(images, TwoViews(ViewSpec(), 16, (0, 0, 0), (1, 1, 1)), seed=3)
    monkeypatch.setattr("pretrain.batches.PIECE", piece)
    monkeypatch.setattr("pretrain.batches.DataLoader", loader)
    with load_batches(dataset, Batches(24, 12, 1, seed=1), workers=0, pin=True) as iterator:
        monkeypatch.setattr(torch, "empty", empty)
        assert [len(batch.views) for batch in iterator] == [12, 12]
    assert asked == pinning


def test_views_are_normalised_and_channels_last() -> None:
    pixels = torch.randint(256, (4, 2, 8, 8, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    for number, view in enumerate(to_views(pixels, mean, std)):
        assert view.shape == (4, 3, 8, 8)
        assert view.is_contiguous(memory_format=torch.channels_last)
        expected = (pixels[2, number, 5, 6, 1].item() / 255 - 0.2) / 0.6
        assert view[2, 1, 5, 6].item() == pytest.approx(expected, rel=1e-5)


def test_a_set_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size 24 is more than the 23 images; lower it"):
        Batches(23, 24, 1, seed=0)
