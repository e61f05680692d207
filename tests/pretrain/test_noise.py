"""The noise of a step: the same however its batch is cut, and of nothing but seed and step."""

import torch

from pretrain.noise import Noise

LIKE = torch.zeros(12, 3, dtype=torch.float64)


def test_rows_are_the_same_however_the_batch_is_cut() -> None:
    whole = Noise(0, 5, 12).rows(0, 12).normal("h1", LIKE)
    for size in (1, 3, 4, 6):
        noise = Noise(0, 5, 12)
        cut = [noise.rows(start, start + size, part).normal("h1", LIKE[:size]) for part, start in _parts(size)]
        assert torch.equal(torch.cat(cut), whole)
        later = [Noise(0, 5, 12).rows(start, start + size).normal("h1", LIKE[:size]) for _, start in _parts(size)]
        assert torch.equal(torch.cat(later), whole)


def test_asking_again_gives_the_same_noise() -> None:
    rows = Noise(0, 5, 12).rows(3, 6)
    first, order = rows.normal("h1", LIKE[3:6]), rows.order("moco", 8)
    assert torch.equal(rows.normal("h1", LIKE[3:6]), first)
    assert torch.equal(rows.order("moco", 8), order)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = Noise(0, 5, 12).rows(0, 12)
    drawn, order = first.normal("h1", LIKE), first.order("moco", 8)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second = Noise(0, 5, 12).rows(0, 12)
    assert torch.equal(second.normal("h1", LIKE), drawn)
    assert torch.equal(second.order("moco", 8), order)


def test_seeds_steps_and_names_differ() -> None:
    asked = [(seed, step, name) for seed in (0, 1, 2) for step in (0, 1, 2) for name in ("h1", "h2")]
    noises: dict[tuple[int, int], Noise] = {}
    drawn = [noises.setdefault((s, t), Noise(s, t, 12)).rows(0, 12).normal(name, LIKE) for s, t, name in asked]
    for i, one in enumerate(drawn):
        assert all(abs(torch.corrcoef(torch.stack([one, two]).flatten(1))[0, 1]) < 0.7 for two in drawn[:i])


def test_noise_is_standard_normal_in_the_type_that_is_asked_for() -> None:
    for dtype in (torch.float32, torch.float64):
        drawn = Noise(0, 0, 200).rows(0, 200).normal("h1", torch.zeros(200, 500, dtype=dtype))
        assert drawn.dtype == dtype
        assert abs(drawn.mean()) < 0.015
        assert abs(drawn.var() - 1) < 0.03
        assert abs(drawn.pow(4).mean() - 3) < 0.15


def test_an_order_is_a_permutation_that_each_part_has_for_itself() -> None:
    noise = Noise(0, 0, 12)
    orders = [noise.rows(0, 6, part).order("moco", 30) for part in (0, 1)]
    assert all(order.sort().values.tolist() == list(range(30)) for order in orders)
    assert not torch.equal(*orders)


def test_an_order_is_the_same_in_processes_that_hold_other_rows() -> None:
    here, there = (Noise(0, 0, 12).rows(start, start + 6, 0) for start in (0, 6))
    for rows in (here, there):
        rows.normal("h1", LIKE[:6])
    assert torch.equal(here.order("moco", 30), there.order("moco", 30))


def _parts(size: int) -> list[tuple[int, int]]:
    return list(enumerate(range(0, 12, size)))
