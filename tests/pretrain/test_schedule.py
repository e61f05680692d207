"""What follows from how far a run is."""

import pytest

from pretrain.recipe import OptimizerSpec
from pretrain.schedule import Moment, learning_rate, rising_momentum


def test_a_moment_counts_the_epochs_that_are_done_after_its_step() -> None:
    assert Moment(0, steps_per_epoch=4, epochs=3).epoch == 0.25
    assert Moment(7, steps_per_epoch=4, epochs=3).epoch == 2
    assert Moment(11, steps_per_epoch=4, epochs=3).epoch == 3
    assert Moment(0, steps_per_epoch=4, epochs=3).total == 12


def test_the_learning_rate_rises_linearly_then_falls_by_half_a_cosine() -> None:
    spec = OptimizerSpec(kind="sgd", lr=0.8, warmup_epochs=1)
    rates = [learning_rate(spec, Moment(step, steps_per_epoch=4, epochs=3)) for step in range(12)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    # 0.8 x (1 + cos(pi k / 8)) / 2
    assert [rates[4], rates[6], rates[8], rates[10]] == pytest.approx([0.8, 0.6828427, 0.4, 0.1171573])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[11] < 0.04


def test_the_learning_rate_starts_at_its_full_value_without_warm_up() -> None:
    spec = OptimizerSpec(kind="sgd", lr=0.8)
    assert learning_rate(spec, Moment(0, steps_per_epoch=4, epochs=3)) == 0.8


def test_a_run_that_is_all_warm_up_ends_at_the_full_learning_rate() -> None:
    spec = OptimizerSpec(kind="sgd", lr=0.8, warmup_epochs=3)
    assert learning_rate(spec, Moment(11, steps_per_epoch=4, epochs=3)) == pytest.approx(0.8)


def test_a_momentum_rises_to_one_by_half_a_cosine() -> None:
    momenta = [rising_momentum(0.9, Moment(step, steps_per_epoch=4, epochs=3)) for step in range(12)]
    # 1 - 0.1 x (1 + cos(pi k / 12)) / 2
    assert [momenta[0], momenta[4], momenta[6], momenta[8]] == pytest.approx([0.9, 0.925, 0.95, 0.975])
    assert momenta == sorted(momenta)
    assert 0.998 < momenta[11] < 1
