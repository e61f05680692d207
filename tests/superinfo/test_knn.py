"""The vote of the nearest neighbours, against loops in Python's floats and against lightly's."""

import math

import pytest
import torch
from lightly.utils.benchmarking.knn import knn_predict as lightly_knn_predict
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from superinfo.knn import knn_accuracy, knn_predict


def clusters(rows: int, dimension: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features about one centre a class, so wide that neighbours disagree."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dimension, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(classes, (rows,), generator=generator)
    return centres[labels] + 1.5 * torch.randn(rows, dimension, generator=generator), labels


def oracle(train: Tensor, labels: Tensor, test: Tensor, k: int, temperature: float | None) -> list[int]:
    def cosine(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    predictions = []
    for row in test.tolist():
        similarity = [cosine(row, other) for other in train.tolist()]
        nearest = sorted(range(len(train)), key=lambda n: -similarity[n])[:k]
        votes: dict[int, float] = {}  # in the order of nearness: max takes the first of equals
        for n in nearest:
            weight = 1.0 if temperature is None else math.exp(similarity[n] / temperature)
            votes[int(labels[n])] = votes.get(int(labels[n]), 0.0) + weight
        predictions.append(max(votes, key=lambda label: votes[label]))
    return predictions


@pytest.mark.parametrize("temperature", [None, 0.07, 0.3])
@pytest.mark.parametrize("k", [1, 2, 5, 20, 60])
def test_the_vote_is_that_of_plain_loops(k: int, temperature: float | None) -> None:
    train, labels = clusters(60, 6, 4, seed=1)
    test, _ = clusters(200, 6, 4, seed=2)
    found = knn_predict(train, labels, test, k=k, temperature=temperature)
    assert found.tolist() == oracle(train, labels, test, k, temperature)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_vote_is_the_same_on_a_gpu() -> None:
    train, labels = clusters(60, 6, 4, seed=1)
    test, _ = clusters(50, 6, 4, seed=2)
    found = knn_predict(train.cuda(), labels.cuda(), test.cuda())
    assert found.is_cuda
    assert found.tolist() == oracle(train, labels, test, 20, 0.07)


def test_the_temperatures_and_ks_of_the_oracle_disagree() -> None:
    train, labels = clusters(60, 6, 4, seed=1)
    test, _ = clusters(200, 6, 4, seed=2)
    votes = {tuple(oracle(train, labels, test, k, t)) for k, t in [(20, None), (20, 0.07), (20, 0.3), (5, 0.07)]}
    assert len(votes) == 4


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_vote_is_that_of_lightly(temperature: float) -> None:
    train, labels = clusters(2000, 32, 10, seed=1)
    test, _ = clusters(500, 32, 10, seed=2)
    bank, queries = (torch.nn.functional.normalize(features, dim=1) for features in (train, test))
    theirs = lightly_knn_predict(queries, bank.T, labels, num_classes=10, knn_k=20, knn_t=temperature)[:, 0]
    assert torch.equal(knn_predict(train, labels, test, k=20, temperature=temperature), theirs)


def test_accuracy_is_the_part_told_right() -> None:
    train, labels = clusters(60, 6, 4, seed=1)
    test, test_labels = clusters(50, 6, 4, seed=2)
    predictions = oracle(train, labels, test, 5, 0.07)
    right = sum(p == label for p, label in zip(predictions, test_labels.tolist(), strict=True))
    assert 0 < right < 50
    assert knn_accuracy(train, labels, test, test_labels, k=5) == right / 50


def test_accuracy_is_one_on_its_own_rows_and_chance_on_noise() -> None:
    features = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(2000) % 4
    assert knn_accuracy(features, labels, features, labels, k=1) == 1.0
    chance = knn_accuracy(features[:1000], labels[:1000], features[1000:], labels[1000:])
    assert chance == pytest.approx(0.25, abs=0.06)  # four standard errors


def test_length_changes_nothing_as_similarity_is_cosine() -> None:
    train, labels = clusters(200, 8, 4, seed=1)
    test, _ = clusters(50, 8, 4, seed=2)
    lengths = torch.logspace(-3, 3, 200)[:, None]
    assert torch.equal(knn_predict(train * lengths, labels, test * 1e-4), knn_predict(train, labels, test))


def test_blocks_change_nothing_and_no_tensor_outgrows_the_memory() -> None:
    train, labels = clusters(20_000, 8, 10, seed=1)
    test, _ = clusters(1500, 8, 10, seed=2)
    whole = knn_predict(train, labels, test)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        parts = knn_predict(train, labels, test, memory_mib=1)
    assert torch.equal(parts, whole)
    # The similarities of all pairs would be 114 MiB.
    assert 2**17 < max(event.self_cpu_memory_usage for event in profiled.events() or []) <= 2**20


def test_neighbours_are_found_where_a_block_has_fewer_than_k_rows() -> None:
    train, labels = clusters(300, 4000, 4, seed=1)
    test, _ = clusters(40, 4000, 4, seed=2)
    assert torch.equal(
        knn_predict(train, labels, test, k=200, memory_mib=1), knn_predict(train, labels, test, k=200, memory_mib=1024)
    )


@pytest.mark.parametrize(("dtype", "agreement"), [(torch.float16, 0.99), (torch.bfloat16, 0.95), (torch.float64, 1)])
def test_half_precision_features_are_compared_in_float32(dtype: torch.dtype, agreement: float) -> None:
    train, labels = clusters(2000, 32, 10, seed=1)
    test, _ = clusters(1000, 32, 10, seed=2)
    found = knn_predict(train.to(dtype), labels, test.to(dtype))
    assert torch.equal(found, knn_predict(train.to(dtype).float(), labels, test.to(dtype).float()))
    assert (found == knn_predict(train, labels, test)).float().mean() >= agreement


def at_angles(*degrees: float) -> Tensor:
    return torch.tensor([[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in degrees])


def test_of_equal_votes_the_class_of_the_nearest_neighbour_wins() -> None:
    train, query = at_angles(10, 20, 30, 40), at_angles(0)
    for labels in ([7, 3, 3, 7], [3, 7, 7, 3]):
        assert knn_predict(train, torch.tensor(labels), query, k=4, temperature=None).tolist() == labels[:1]


def test_of_equal_votes_a_nearer_neighbour_without_them_does_not_win() -> None:
    train, query = at_angles(10, 20, 30, 40, 50), at_angles(0)
    assert knn_predict(train, torch.tensor([9, 5, 2, 2, 5]), query, k=5, temperature=None).tolist() == [5]


def test_a_low_temperature_follows_the_nearest_and_a_high_one_the_many() -> None:
    train, labels, query = at_angles(5, 60, 70), torch.tensor([0, 1, 1]), at_angles(0)
    assert knn_predict(train, labels, query, k=3, temperature=0.07).tolist() == [0]
    assert knn_predict(train, labels, query, k=3, temperature=10.0).tolist() == [1]


@pytest.mark.parametrize(("query", "labels"), [(0, [0, 1, 1]), (180, [1, 1, 0])])
def test_a_low_temperature_neither_overflows_nor_vanishes(query: int, labels: list[int]) -> None:
    # exp(0.99 / 0.005) is beyond float32, its inverse below; the two further neighbours weigh 1.15 and 1.2 together.
    assert knn_predict(at_angles(5, 6, 7), torch.tensor(labels), at_angles(query), k=3, temperature=0.005).item() == 1


def test_labels_are_any_integers() -> None:
    train, labels = clusters(100, 4, 3, seed=1)
    names = torch.tensor([-5, 10**12, 0])
    assert torch.equal(knn_predict(train, names[labels], train), names[knn_predict(train, labels, train)])


def test_nothing_is_kept_for_a_gradient() -> None:
    train, labels = clusters(30, 4, 3, seed=1)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda nothing: nothing):
        knn_predict(train.requires_grad_(), labels, train)
    assert not kept


GOOD, LABELS = torch.eye(4), torch.arange(4)


@pytest.mark.parametrize(
    ("train", "labels", "test", "k", "temperature", "message"),
    [
        (GOOD, LABELS, GOOD, 5, 0.07, "k must be between 1 and the 4 rows of train, not 5"),
        (GOOD, LABELS, GOOD, 0, 0.07, "k must be between 1 and the 4 rows of train, not 0"),
        (GOOD, LABELS, GOOD, 1, 0.0, "temperature must be positive or None, not 0.0"),
        (GOOD, LABELS, GOOD, 1, math.nan, "temperature must be positive or None, not nan"),
        (GOOD, LABELS[:3], GOOD, 1, 0.07, "train: 4 features, but labels of shape (3,)"),
        (GOOD, LABELS[:, None], GOOD, 1, 0.07, "train: 4 features, but labels of shape (4, 1)"),
        (GOOD[:0], LABELS[:0], GOOD, 1, 0.07, "train: features must be (rows, D) and not empty, not (0, 4)"),
        (GOOD, LABELS, GOOD[:0], 1, 0.07, "test: features must be (rows, D) and not empty, not (0, 4)"),
        (GOOD, LABELS, GOOD[0], 1, 0.07, "test: features must be (rows, D) and not empty, not (4,)"),
        (GOOD, LABELS, torch.ones(4, 3), 1, 0.07, "train has 4 features a row, test has 3"),
        (GOOD.log(), LABELS, GOOD, 1, 0.07, "train: features are not finite"),
        (GOOD, LABELS, GOOD / 0, 1, 0.07, "test: features are not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    train: Tensor, labels: Tensor, test: Tensor, k: int, temperature: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        knn_accuracy(train, labels, test, torch.zeros(test.shape[:1]), k=k, temperature=temperature)
    assert str(refused.value) == message


def test_test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"test: 4 features, but labels of shape \(1,\)"):
        knn_accuracy(GOOD, LABELS, GOOD, torch.tensor([0]), k=1)
