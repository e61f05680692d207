"""The terms that others published, and what all terms share, against their definitions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from pretrain.noise import Noise, RowsOfNoise
from pretrain.terms import IP, LBE, MIB, RC, EncodedView, SuperInfo, Term
from pretrain.terms.posterior import Posterior, sample

WIDTHS = {"res2": 3, "res3": 4, "res4": 5, "res5": 6}


def two_views(images: int = 4, size: int = 16) -> tuple[EncodedView, EncodedView]:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    one, two = (
        EncodedView(draw(images, 3, size, size), {n: draw(images, w).requires_grad_() for n, w in WIDTHS.items()})
        for _ in range(2)
    )
    return one, two


def noise(images: int = 4) -> RowsOfNoise:
    return Noise(0, 0, images).rows(0, images)


def measure(term: Term, view1: EncodedView, view2: EncodedView) -> Tensor:
    return term.loss(term(view1, view2, noise()).measured)[0]


def assert_same_gradients(loss: Tensor, expected: Tensor, *views: EncodedView, term: Term | None = None) -> None:
    """Loss and gradients with respect to all features and the term's parameters, to 1e-10."""
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    sources = [tensor for view in views for tensor in view.pooled.values()]
    sources += list(term.parameters()) if term is not None else []
    found, wanted = (torch.autograd.grad(value, sources, allow_unused=True) for value in (loss, expected))
    assert any(gradient is not None for gradient in found)
    for one, two in zip(found, wanted, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_no_term_adds_nothing_and_lets_the_features_through() -> None:
    view1, view2 = two_views()
    term = Term()
    features = term(view1, view2, noise())
    assert features.h1 is view1.mu
    assert features.h2 is view2.mu
    loss, parts = term.loss(features.measured)
    assert loss.item() == 0
    assert not parts


def test_rc_is_the_mean_squared_error_of_painting_ones_own_view() -> None:
    torch.manual_seed(0)
    view1, view2 = two_views()
    term = RC(6, 0.7, size=8, decoder_channels=8).double()
    features = term(view1, view2, noise())
    assert features.h1 is view1.mu
    assert features.h2 is view2.mu
    expected = torch.zeros((), dtype=torch.float64)
    for view in (view1, view2):
        painted = term.decoder(view.mu, 8)
        total = torch.zeros((), dtype=torch.float64)
        for n in range(4):
            for c in range(3):
                for y in range(8):
                    for x in range(8):
                        target = view.images[n, c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
                        total = total + (painted[n, c, y, x] - target) ** 2
        expected = expected + 0.7 * total / (4 * 3 * 8 * 8)
    assert_same_gradients(term.loss(features.measured)[0], expected, view1, view2, term=term)


def test_rc_paints_all_of_a_view_that_is_no_larger_than_the_decoder() -> None:
    torch.manual_seed(0)
    term = RC(6, 1.0, size=32, decoder_channels=8).double()
    for size in (32, 16):
        view1, view2 = two_views(size=size)
        assert term.decoder(view1.mu, size).shape == view1.images.shape
        expected = sum(F.mse_loss(term.decoder(view.mu, size), view.images).item() for view in (view1, view2))
        assert measure(term, view1, view2).item() == pytest.approx(expected, abs=1e-10)


def test_ip_is_the_mean_squared_difference_of_the_features() -> None:
    view1, view2 = two_views()
    term = IP(0.3)
    features = term(view1, view2, noise())
    assert features.h1 is view1.mu
    assert features.h2 is view2.mu
    pairs = zip(view1.mu.flatten(), view2.mu.flatten(), strict=True)
    expected = 0.3 * sum(((a - b) ** 2 for a, b in pairs), start=torch.zeros((), dtype=torch.float64)) / (4 * 6)
    assert_same_gradients(term.loss(features.measured)[0], expected, view1, view2)


def literal_lbe(
    weights: tuple[float, ...], divisor: float, views: tuple[EncodedView, ...], rows: RowsOfNoise
) -> Tensor:
    """Sum over stages of weight x mean over i of log sum_j exp(-|h_i - mu_j|^2 / divisor), i and j in both views."""
    total = torch.zeros((), dtype=torch.float64)
    for stage, weight in zip(("res3", "res4", "res5"), weights, strict=True):
        if not weight:
            continue
        clean = [row for view in views for row in view.pooled[stage]]
        noised = [
            row + 0.1 * draw
            for number, view in enumerate(views, 1)
            for row, draw in zip(view.pooled[stage], rows.normal(f"{stage}/{number}", view.pooled[stage]), strict=True)
        ]
        for h in noised:
            inside = torch.zeros((), dtype=torch.float64)
            for mu in clean:
                distance = sum(((a - b) ** 2 for a, b in zip(h, mu, strict=True)), start=torch.zeros(()))
                inside = inside + (-distance / divisor).exp()
            total = total + weight * inside.log() / len(noised)
    return total


@pytest.mark.parametrize(
    ("weights", "divisor"), [((0.25, 0.5, 1.0), 20.0), ((0.0, 0.0, 1.0), 80.0), ((0.3, 0.0, 0.7), 2.0)]
)
def test_lbe_is_the_log_sum_exp_of_distances_between_noised_and_clean_features(
    weights: tuple[float, float, float], divisor: float
) -> None:
    views = two_views()
    term, rows = LBE(weights, divisor=divisor), noise()
    features = term(*views, rows)
    for number, (h, view) in enumerate(zip((features.h1, features.h2), views, strict=True), 1):
        torch.testing.assert_close(h, view.mu + 0.1 * rows.normal(f"res5/{number}", view.mu), rtol=0, atol=0)
    assert_same_gradients(term.loss(features.measured)[0], literal_lbe(weights, divisor, views, rows), *views)


def test_lbe_falls_as_images_spread_until_each_finds_itself_alone() -> None:
    """From log 2B, where all images are one, to the distance that the noise makes, near 0."""
    term = LBE((0.0, 0.0, 1.0), divisor=1.0)
    losses = []
    for spread in (0.0, 1.0, 100.0):
        views = [EncodedView(v.images, {"res5": spread * v.mu.detach()}) for v in two_views()]
        losses.append(measure(term, *views).item())
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(math.log(8), abs=0.2)
    assert losses[2] == pytest.approx(0, abs=0.15)


def test_lbe_does_not_depend_on_where_the_features_lie() -> None:
    """In float32, at a distance at which squares would have lost what is between the features."""
    term, far = LBE((0.25, 0.5, 1.0)), 1000.0
    near = [EncodedView(v.images, {n: p.detach().float() for n, p in v.pooled.items()}) for v in two_views()]
    moved = [EncodedView(v.images, {n: p + far for n, p in v.pooled.items()}) for v in near]
    assert measure(term, *moved).item() == pytest.approx(measure(term, *near).item(), abs=1e-3)


@pytest.mark.parametrize("learned", [False, True])
def test_mib_by_skl_is_the_mean_of_both_kls_of_torch_distributions(learned: bool) -> None:
    torch.manual_seed(0)
    view1, view2 = two_views()
    term = MIB(6, 0.3, learned_variance=learned, log_variance=-1.0).double()
    if term.posterior.learned is not None:
        term.posterior.learned.weight.data.normal_(std=0.3)
    rows = noise()
    features = term(view1, view2, rows)
    sigmas = [(0.5 * term.posterior.log_variance(view.mu)).exp() for view in (view1, view2)]
    one, two = (Independent(Normal(v.mu, s), 1) for v, s in zip((view1, view2), sigmas, strict=True))
    expected = 0.3 * 0.5 * (kl_divergence(one, two) + kl_divergence(two, one)).mean()
    assert_same_gradients(term.loss(features.measured)[0], expected, view1, view2, term=term)
    for h, view, sigma, name in zip((features.h1, features.h2), (view1, view2), sigmas, ("h1", "h2"), strict=True):
        torch.testing.assert_close(h, view.mu + sigma * rows.normal(name, view.mu))


def test_mib_by_mse_is_that_of_the_means_and_skl_but_for_a_factor() -> None:
    view1, view2 = two_views()
    mse, skl = MIB(6, 0.3, divergence="mse"), MIB(6, 0.3)
    pairs = zip(view1.mu.flatten(), view2.mu.flatten(), strict=True)
    expected = 0.3 * sum(((a - b) ** 2 for a, b in pairs), start=torch.zeros((), dtype=torch.float64)) / (4 * 6)
    loss = measure(mse, view1, view2)
    assert_same_gradients(loss, expected, view1, view2)
    assert measure(skl, view1, view2).item() == pytest.approx(
        measure(mse, view1, view2).item() * 6 / (2 * 0.1**2), rel=1e-3
    )


@pytest.mark.parametrize("divergence", ["skl", "mse"])
def test_mib_hands_a_sample_of_each_posterior_to_the_base(divergence: str) -> None:
    view1, view2 = two_views()
    term = MIB(6, 0.3, divergence="skl" if divergence == "skl" else "mse", log_variance=math.log(0.04))
    rows = noise()
    features = term(view1, view2, rows)
    torch.testing.assert_close(features.h1, view1.mu + 0.2 * rows.normal("h1", view1.mu))
    torch.testing.assert_close(features.h2, view2.mu + 0.2 * rows.normal("h2", view2.mu))
    assert not torch.equal(rows.normal("h1", view1.mu), rows.normal("h2", view2.mu))


@pytest.mark.parametrize("term", [IP(1.0), LBE((0.25, 0.5, 1.0)), MIB(6, 1.0), MIB(6, 1.0, divergence="mse")])
def test_terms_that_tell_views_from_no_other_are_symmetric_but_for_noise(term: Term) -> None:
    view1, view2 = two_views()
    tolerance = 0.05 if isinstance(term, LBE) else 1e-12
    assert measure(term, view2, view1).item() == pytest.approx(measure(term, view1, view2).item(), abs=tolerance)


def test_a_learned_variance_starts_at_its_bias_and_stays_within_its_range() -> None:
    posterior = Posterior(6, -4.0, learned=True)
    assert posterior.learned is not None
    mu = torch.randn(3, 6)
    torch.testing.assert_close(posterior.log_variance(mu), torch.full_like(mu, -4.0))
    posterior.learned.bias.data.copy_(torch.tensor([-50.0, -8, -4, 0, 4, 50]))
    torch.testing.assert_close(posterior.log_variance(mu)[0], torch.tensor([-8.0, -8, -4, 0, 4, 4]))


def test_a_fixed_variance_has_no_parameters() -> None:
    posterior = Posterior(6, -3.0, learned=False)
    assert not list(posterior.parameters())
    mu = torch.randn(3, 6)
    assert torch.equal(posterior.log_variance(mu), torch.full_like(mu, -3.0))


def test_a_sample_has_the_mean_and_the_variance_of_its_posterior() -> None:
    epsilon = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    h = sample(torch.tensor([1.0, -2.0]), torch.tensor([math.log(4.0), math.log(0.25)]), epsilon)
    torch.testing.assert_close(h.mean(dim=0), torch.tensor([1.0, -2.0]), rtol=0, atol=0.03)
    torch.testing.assert_close(h.var(dim=0), torch.tensor([4.0, 0.25]), rtol=0.03, atol=0)


def every_term(warmup_epochs: float = 0.0) -> list[Term]:
    torch.manual_seed(0)
    return [
        SuperInfo(6, (0.3, 0.2), (0.1, 0.4), warmup_epochs=warmup_epochs).double(),
        RC(6, 0.7, warmup_epochs=warmup_epochs).double(),
        LBE((0.25, 0.5, 1.0), warmup_epochs=warmup_epochs),
        IP(0.3, warmup_epochs=warmup_epochs),
        MIB(6, 0.3, warmup_epochs=warmup_epochs),
    ]


@pytest.mark.parametrize(("epoch", "share"), [(0.5, 0.25), (1.5, 0.75), (2.0, 1.0), (7.0, 1.0)])
def test_warm_up_scales_the_loss_and_not_its_parts(epoch: float, share: float) -> None:
    views = two_views()
    for term, whole in zip(every_term(warmup_epochs=2.0), every_term(), strict=True):
        measured = term(*views, noise()).measured
        loss, parts = term.loss(measured, epoch)
        wanted, unscaled = whole.loss(measured, epoch)
        assert wanted.item() == pytest.approx(
            sum(whole.weights[name] * part.item() for name, part in unscaled.items()), abs=1e-10
        )
        assert loss.item() == pytest.approx(share * wanted.item(), abs=1e-10)
        assert {n: p.item() for n, p in parts.items()} == {n: p.item() for n, p in unscaled.items()}


def test_negative_weights_are_refused() -> None:
    for refused in (lambda: RC(6, -0.1), lambda: IP(-0.1), lambda: MIB(6, -0.1), lambda: LBE((1.0, -0.1, 1.0))):
        with pytest.raises(ValueError, match="negative"):
            refused()


def test_weights_of_zero_add_no_gradient() -> None:
    views = two_views()
    for term in (RC(6, 0.0).double(), IP(0.0), LBE((0.0, 0.0, 0.0))):
        features = term(*views, noise())
        assert (features.h1 is views[0].mu) != isinstance(term, LBE)
        loss, _ = term.loss(features.measured)
        assert loss.item() == 0
        if loss.requires_grad:
            assert not any(g.any() for g in torch.autograd.grad(loss, [views[0].mu, views[1].mu]))
