"""The measured bounds, on Gaussians whose information is known."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from superinfo.artifacts import Record
from superinfo.errors import UserError
from tests.transfer.probing import tiny
from transfer.probing.information import information
from transfer.probing.labelled import Floats
from transfer.probing.probe import probe
from transfer.probing.recipe import InformationSpec

MakeCheckpoint = Callable[..., Path]
PRIVATE = 0.5
"""Standard deviation of what a view has alone; what both share has 1."""
NOISE = 0.3


def views(pairs: int, dimension: int, seed: int) -> tuple[Floats, Floats]:
    """Two views of something: a shared part, each with its own addition, mixed by one rotation and scaled."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(pairs, dimension))
    own = PRIVATE * draw.normal(size=(2, pairs, dimension))
    mix, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(dimension, dimension)))
    first, second = ((shared + one) @ mix * 3 + 7 for one in own)
    return first.astype(np.float32), second.astype(np.float32)


def truths(dimension: int) -> dict[str, float]:
    """Nats of a feature that is its view, standardised and noised, by its variances."""
    whole = 1 + PRIVATE**2
    noise = NOISE**2 * whole
    unexplained = whole - 1 / whole
    retained = 0.5 * dimension * math.log((whole + noise) / noise)
    superfluous = 0.5 * dimension * math.log((unexplained + noise) / noise)
    return {"retained": retained, "superfluous": superfluous, "predictive": retained - superfluous}


@pytest.mark.parametrize("dimension", [1, 4])
def test_on_gaussians_the_bounds_are_the_truth(dimension: int) -> None:
    spec = InformationSpec(kind="information", noise=NOISE, negatives=1000)
    found = information(views(20_000, dimension, 2), views(10_000, dimension, 3), spec, seed=0)
    truth = truths(dimension)
    for name, values in found.items():
        error = float(values.std()) / math.sqrt(len(values))
        slack = 4 * error + 0.02  # InfoNCE is a little low, as is any fit
        assert float(values.mean()) == pytest.approx(truth[name], abs=slack), name
        assert error < 0.05


def test_bounds_stay_on_their_side_where_the_fit_is_poor() -> None:
    """Few pairs, and a feature that is not Gaussian: upper bounds rise, the lower one falls."""
    spec = InformationSpec(kind="information", noise=NOISE, negatives=50)
    found = information(views(200, 6, 4), views(1000, 6, 5), spec, seed=0)
    truth = truths(6)
    assert truth["retained"] < float(found["retained"].mean())
    assert truth["superfluous"] < float(found["superfluous"].mean())
    assert float(found["predictive"].mean()) < truth["predictive"]


def test_a_fit_on_few_pairs_costs_few_nats() -> None:
    """Variances of the pairs that were not fitted; those of the fitted ones cost 1.7 and 4.5 nats here."""
    spec = InformationSpec(kind="information", noise=NOISE, negatives=50)
    found = information(views(400, 40, 4), views(2000, 40, 5), spec, seed=0)
    truth = truths(40)
    assert truth["retained"] < float(found["retained"].mean()) < truth["retained"] + 1
    assert truth["superfluous"] < float(found["superfluous"].mean()) < truth["superfluous"] + 3.5


def test_the_lower_bound_cannot_pass_the_log_of_the_pairs() -> None:
    first, _ = views(400, 8, 6)
    spec = InformationSpec(kind="information", noise=0.01, negatives=20)
    found = information((first, first), (first[:100], first[:100]), spec, seed=0)["predictive"]
    assert float(found.mean()) == pytest.approx(math.log(20), abs=1e-3)
    assert float(found.max()) <= math.log(20) + 1e-9


def test_views_that_share_nothing_predict_nothing_of_each_other() -> None:
    draw = np.random.default_rng(0)
    train, test = draw.normal(size=(2, 2, 2000, 5)).astype(np.float32)
    spec = InformationSpec(kind="information", noise=NOISE, negatives=100)
    found = information((train[0], train[1]), (test[0], test[1]), spec, seed=0)
    assert abs(float((found["retained"] - found["superfluous"]).mean())) < 0.05
    assert float(found["predictive"].mean()) < 0.05


def test_images_of_uneven_contrast_do_not_push_the_lower_bound_below_zero() -> None:
    """q, of one variance, is too sure of the large ones: its log density as it is gives -0.1 nats here."""

    def uneven(seed: int) -> tuple[Floats, Floats]:
        draw = np.random.default_rng(seed)
        shared, *own = draw.normal(size=(3, 4000, 40))
        size = np.exp(draw.normal(size=(4000, 1)))
        first, second = (size * (shared + 2 * one) for one in own)
        return first.astype(np.float32), second.astype(np.float32)

    spec = InformationSpec(kind="information", noise=NOISE, negatives=200)
    assert float(information(uneven(1), uneven(2), spec, seed=0)["predictive"].mean()) > 0.02


def test_a_constant_feature_says_nothing() -> None:
    pairs = [views(500, 3, seed) for seed in (1, 2)]
    padded = [tuple(np.hstack([view, np.full((500, 1), 4, np.float32)]) for view in pair) for pair in pairs]
    spec = InformationSpec(kind="information", noise=NOISE, negatives=100)
    plain = information(pairs[0], pairs[1], spec, 0)
    with_constant = information((padded[0][0], padded[0][1]), (padded[1][0], padded[1][1]), spec, 0)
    for name in ("retained", "superfluous"):
        assert float(with_constant[name].mean()) == pytest.approx(float(plain[name].mean()), abs=1e-6)


def test_a_record_has_bounds_errors_and_how_they_were_taken(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images", train=80, test=20)
    recipe = tiny.recipe(data, {"kind": "information", "negatives": 30})
    record = Record.read(probe(recipe, make_checkpoint(stem="stl", width=0.125), 0, tmp_path / "runs", "cpu"))
    assert record.what.samples == 60
    assert {metric.unit for metric in record.metrics.values()} == {"nats"}
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["predictive_limit"] == pytest.approx(math.log(30))
    assert values["retained"] is not None
    assert values["superfluous"] is not None
    assert values["retained"] > 0
    assert {"retained_standard_error", "superfluous_standard_error", "predictive_standard_error"} <= values.keys()
    (note,) = record.deviations
    assert "noised by 0.1" in note
    with pytest.raises(UserError, match=r"data\.test: 60 pairs are fewer than task\.negatives, 61; lower it"):
        probe(tiny.recipe(data, {"kind": "information", "negatives": 61}), None, 0, tmp_path / "runs", "cpu")
