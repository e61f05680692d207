"""Mixed precision: layers compute in half, what a term compares and measures does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretrain.decoders import pool_view
from pretrain.launch import build_fabric
from pretrain.model import build_model
from pretrain.noise import Noise
from pretrain.terms import EncodedView, Features, SuperInfo, Term
from tests.pretrain import tiny

TERMS: dict[str, dict[str, Any]] = {
    **{name: {"kind": name, **settings} for name, settings in tiny.TERMS.items() if name != "none"},
    "rc, pooled": {"kind": "rc", "weight": 0.5, "size": 32},
}
ROWS = Noise(0, 0, tiny.IMAGES).rows(0, tiny.IMAGES)


class Embedding:
    """Two views embedded in bf16-mixed as a run on a CPU does it, and what went into and came out of the term."""

    def __init__(self, term: dict[str, Any]) -> None:
        chosen = tiny.recipe(term=term, precision="bf16-mixed", view_size=16)
        model = build_model(chosen, seed=0)
        self.term, self.layers = model.term, list[Tensor]()
        self.images = [view.float() for view in tiny.two_views(tiny.IMAGES)]
        self.fabric = build_fabric(chosen, "cpu", 1)
        looking = self.term.register_forward_hook(self._look)
        with hooked(self.term, lambda output: self.layers.append(output.detach())):
            self.embedded = self.fabric.setup(model)(*self.images, ROWS)
        looking.remove()

    def _look(self, _: Term, given: tuple[EncodedView, EncodedView, object], features: Features) -> None:
        self.views, self.measured = given[:2], features.measured


@contextmanager
def hooked(term: Term, hook: Any) -> Iterator[None]:
    """Within the context, call the hook with what each layer of a term gives; it may give something else."""
    layers = [layer for layer in term.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    handles = [layer.register_forward_hook(lambda _, __, output: hook(output)) for layer in layers]
    yield
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", TERMS)
def test_a_term_gets_the_views_as_they_are_and_features_in_float32(name: str) -> None:
    embedding = Embedding(TERMS[name])
    for view, images in zip(embedding.views, embedding.images, strict=True):
        assert torch.equal(view.images, images)
        assert {pooled.dtype for pooled in view.pooled.values()} == {torch.float32}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_measures_what_float32_makes_of_its_layers_outputs(name: str) -> None:
    embedding = Embedding(TERMS[name])
    assert {output.dtype for output in embedding.layers} <= {torch.bfloat16}
    outputs = iter(embedding.layers)
    views = [EncodedView(i, v.pooled) for i, v in zip(embedding.images, embedding.views, strict=True)]
    with hooked(embedding.term, lambda _: next(outputs).float()):
        expected = embedding.term(*views, ROWS).measured
    torch.testing.assert_close(embedding.measured, expected, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_pixels_variance_is_that_of_exact_targets() -> None:
    """Of NLL(v2|h1), in float64: half of the pixels less the squared errors, at a log-variance of 0."""
    embedding = Embedding(TERMS["superinfo"])
    assert isinstance(embedding.term, SuperInfo)
    embedding.fabric.backward(embedding.embedded["term/nll1"].mean())
    found = embedding.term.pixel_log_variance.grad
    assert found is not None
    painted = next(output for output in embedding.layers if output.shape[1:] == (3, 16, 16)).double()
    squares = (pool_view(embedding.images[1].double()) - painted).square().flatten(1).sum(1)
    assert found.item() == pytest.approx(0.5 * (3 * 16 * 16 - squares).mean().item(), rel=1e-5)
