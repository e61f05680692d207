"""The gradient of a batch in chunks: that of the whole batch, in the memory of a chunk."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from pretrain.gradients import Gradients
from pretrain.methods import Embedded
from pretrain.model import Losses, Pretraining
from pretrain.noise import Noise
from pretrain.schedule import Moment
from tests.pretrain.tiny import IMAGES, METHODS, TERMS, build, settle, two_views

ALONE = {(method, term) for method in ("moco", "byol") for term in TERMS if term != "lbe"}
"""Whose loss is the mean of the losses that each image has alone."""
MOMENT = Moment(3, steps_per_epoch=4, epochs=2)


def learn(model: Pretraining, chunk_size: int, images: int = IMAGES) -> tuple[Losses, Embedded]:
    v1, v2 = two_views(images)
    gradients = Gradients(model, model, chunk_size)
    return gradients(lambda chunk: (v1[chunk], v2[chunk]), images, Noise(0, 3, images), MOMENT)


def gradient_of(model: Pretraining) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-9 of each tensor's largest element."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-9 * max(1.0, float(tensor.abs().max())))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_a_batch_in_chunks_is_that_of_the_whole_batch(method: str, term: str) -> None:
    model = settle(build(method, term)).eval()
    losses, embedded = learn(model, IMAGES)
    expected = gradient_of(model)
    assert expected.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(gradient.any() for name, gradient in expected.items() if name.startswith("encoder."))
    for chunk_size in (4, 2):
        chunked, rows = learn(model, chunk_size)
        assert_same(gradient_of(model), expected)
        assert_same(chunked.parts, losses.parts)
        assert chunked.total.item() == pytest.approx(losses.total.item(), rel=1e-9)
        assert_same(rows, embedded)
        assert not any(tensor.requires_grad for tensor in (*rows.values(), *chunked.parts.values()))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("method", METHODS)
def test_a_loss_is_the_mean_of_its_images_own_where_it_says_so_and_there_alone(method: str, term: str) -> None:
    model = settle(build(method, term)).eval()
    assert model.separable == ((method, term) in ALONE)
    with torch.no_grad():
        embedded = model(*two_views(IMAGES), Noise(0, 3, IMAGES).rows(0, IMAGES))
        whole = model.loss(embedded, MOMENT).total
        halves = [{name: tensor[half] for name, tensor in embedded.items()} for half in (slice(0, 4), slice(4, 8))]
        mean = torch.stack([model.loss(half, MOMENT).total for half in halves]).mean()
    assert (abs(whole - mean) < 1e-9) == model.separable


@pytest.mark.parametrize(
    ("method", "term"),
    [("simclr", "superinfo"), ("barlow_twins", "lbe"), ("moco", "lbe"), ("byol", "lbe"), ("byol", "rc")],
)
def test_batch_norm_normalises_each_chunk_and_the_gradient_is_exact_for_that(method: str, term: str) -> None:
    """In training mode, against one graph that holds all chunks at once."""
    model = build(method, term)
    whole = copy.deepcopy(model)
    losses, embedded = learn(model, 4)
    v1, v2 = two_views(IMAGES)
    noise = Noise(0, 3, IMAGES)
    chunks = [whole(v1[i : i + 4], v2[i : i + 4], noise.rows(i, i + 4, i // 4)) for i in (0, 4)]
    joint = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    expected = whole.loss(joint, MOMENT)
    torch.autograd.backward(expected.total)
    assert losses.total.item() == pytest.approx(expected.total.item(), rel=1e-9)
    assert_same(embedded, {name: tensor.detach() for name, tensor in joint.items()})
    assert_same(gradient_of(model), gradient_of(whole))


@pytest.mark.parametrize(("method", "term"), [("simclr", "none"), ("moco", "lbe"), ("byol", "lbe"), ("byol", "none")])
def test_each_image_enters_the_running_statistics_once(method: str, term: str) -> None:
    model = build(method, term)
    once = copy.deepcopy(model)
    learn(model, 2)
    v1, v2 = two_views(IMAGES)
    noise = Noise(0, 3, IMAGES)
    with torch.no_grad():
        for part in range(4):
            rows = slice(2 * part, 2 * part + 2)
            once(v1[rows], v2[rows], noise.rows(rows.start, rows.stop, part))
    expected = dict(once.named_buffers())
    assert model.encoder.bn1.num_batches_tracked is not None
    assert model.encoder.bn1.num_batches_tracked.item() == 4
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, expected[name]), name


def test_gradients_add_to_those_that_are_there() -> None:
    model = settle(build("simclr", "superinfo")).eval()
    learn(model, 2)
    once = gradient_of(model)
    learn(model, 2)
    learn(model, 2)
    assert_same(gradient_of(model), {name: 2 * gradient for name, gradient in once.items()})


@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_processes_average_their_gradients_once_in_the_last_chunks_backward_pass(method: str) -> None:
    model = build(method, "none")
    v1, v2 = two_views(IMAGES)
    inside, events = [False], []

    @contextmanager
    def without_sync() -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    def backward(loss: Tensor) -> None:
        events.append(inside[0])
        torch.autograd.backward(loss)

    gradients = Gradients(model, model, 2, backward, without_sync)
    gradients(lambda chunk: (v1[chunk], v2[chunk]), IMAGES, Noise(0, 3, IMAGES), MOMENT)
    assert events == [True, True, True, False]


@pytest.mark.parametrize(
    ("method", "term"), [("simclr", "superinfo"), ("moco", "none"), ("byol", "none"), ("barlow_twins", "lbe")]
)
def test_memory_grows_with_the_chunk_and_not_with_the_batch(method: str, term: str) -> None:
    model = build(method, term)
    small, many, large = (_peak(model, images, chunk) for images, chunk in ((8, 2), (32, 2), (8, 8)))
    assert many < 1.1 * small
    assert 3.5 * small < large < 4.5 * small


def _peak(model: Pretraining, images: int, chunk_size: int) -> int:
    """Return the most bytes that are kept for backward passes at once, parameters apart."""
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    with _kept_for_backward(own) as peak:
        learn(model, chunk_size, images)
    return peak[0]


@contextmanager
def _kept_for_backward(own: set[int]) -> Iterator[list[int]]:
    alive, peak = [0], [0]

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            self.size = 0 if tensor.data_ptr() in own else tensor.nbytes
            alive[0] += self.size
            peak[0] = max(peak[0], alive[0])

        def __del__(self) -> None:
            alive[0] -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        yield peak
    assert alive[0] == 0
