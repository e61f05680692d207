"""MoCo's loss against its formula and lightly's; its queue, its target and its shuffled batch norm."""

import copy
import io

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from pretrain.gradients import Gradients
from pretrain.methods import MoCo
from pretrain.model import Pretraining
from pretrain.noise import Noise
from pretrain.schedule import Moment
from pretrain.terms import Term
from superinfo.artifacts import EncoderSpec
from superinfo.encoders import ResNet, build_encoder

NAMES = ("q1", "q2", "k1", "k2")
MOMENT = Moment(0, steps_per_epoch=5, epochs=2)


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """He et al. 2020, eq. 1, literally: -log softmax of the own key's similarity among it and the queue's."""
    losses = []
    for query, key in zip(unit(queries), unit(keys), strict=True):
        positive = torch.dot(query, key) / temperature
        total = positive.exp()
        for other in queue:
            total = total + (torch.dot(query, other) / temperature).exp()
        losses.append(total.log() - positive)
    return torch.stack(losses).mean()


def lightlys(queue: Tensor, temperature: float) -> NTXentLoss:
    loss = NTXentLoss(temperature, memory_bank_size=tuple(queue.shape))
    loss.memory_bank.bank = queue.clone()
    return loss


def moco(
    temperature: float = 0.2, *, queue_length: int = 7, momentum: float = 0.999, norm_groups: int = 8
) -> tuple[ResNet, MoCo]:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(arch="resnet18", stem="stl", width=0.125)).double()
    method = MoCo(encoder, 8, 4, temperature, queue_length, momentum, norm_groups)
    return encoder, method.double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def unit(rows: Tensor) -> Tensor:
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt()


@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_loss_equals_the_formula_and_lightlys_with_the_same_queue(temperature: float) -> None:
    _, method = moco(temperature)
    q1, q2, k1, k2 = rows = draw(4, 5, 4).requires_grad_()
    loss = method.loss(dict(zip(NAMES, rows, strict=True)))
    literal = [info_nce(q, k, method.queue, temperature) for q, k in ((q1, k2), (q2, k1))]
    peer = [lightlys(method.queue, temperature)(q, k) for q, k in ((q1, k2), (q2, k1))]
    for one, two in (literal, peer):
        expected = 0.5 * (one + two)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
        found, wanted = (torch.autograd.grad(value, rows, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_loss_depends_neither_on_the_order_of_views_nor_of_images_nor_of_the_queue_nor_on_length() -> None:
    _, method = moco()
    q1, q2, k1, k2 = rows = draw(4, 5, 4)
    loss = method.loss(dict(zip(NAMES, rows, strict=True))).item()
    order, lengths = torch.tensor([3, 0, 4, 1, 2]), draw(5, 1).exp()
    assert method.loss({"q1": q2, "q2": q1, "k1": k2, "k2": k1}).item() == pytest.approx(loss, abs=1e-12)
    permuted = {name: row[order] for name, row in zip(NAMES, rows, strict=True)}
    assert method.loss(permuted).item() == pytest.approx(loss, abs=1e-12)
    scaled = {"q1": q1 * lengths, "q2": 3 * q2, "k1": 7 * k1, "k2": k2 / lengths}
    assert method.loss(scaled).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"q1": q2, "q2": q1, "k1": k1, "k2": k2}).item() != pytest.approx(loss, abs=1e-3)
    method.queue.copy_(method.queue.flip(0))
    assert method.loss(dict(zip(NAMES, rows, strict=True))).item() == pytest.approx(loss, abs=1e-12)


def test_the_queue_begins_with_random_unit_vectors() -> None:
    _, method = moco(queue_length=50)
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(50, dtype=torch.float64))
    assert torch.linalg.matrix_rank(method.queue) == 4


def test_the_queue_is_a_ring_of_both_views_keys_at_unit_length() -> None:
    encoder, method = moco(queue_length=7)
    expected = list(method.queue.clone())
    place = 0
    for step in range(5):
        k1, k2 = 5 * draw(2, 2 + step % 2, 4)
        method.after_step(encoder, {"k1": k1, "k2": k2}, MOMENT)
        for key in unit(torch.cat([k1, k2])):
            expected[place] = key
            place = (place + 1) % 7
        torch.testing.assert_close(method.queue, torch.stack(expected))
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(7, dtype=torch.float64))


def test_the_queue_survives_a_round_trip_through_the_state() -> None:
    encoder, method = moco()
    method.after_step(encoder, {"k1": draw(2, 4), "k2": draw(2, 4) + 1}, MOMENT)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    loaded = MoCo(encoder, 8, 4, queue_length=7).double()
    assert not torch.equal(loaded.queue, method.queue)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for each in (method, loaded):
        each.after_step(encoder, {"k1": draw(2, 4) - 1, "k2": draw(2, 4) - 2}, MOMENT)
    assert torch.equal(loaded.queue, method.queue)
    assert torch.equal(loaded.cursor, method.cursor)


def test_queries_are_the_trained_networks_and_keys_the_targets_without_gradient() -> None:
    encoder, method = moco()
    v1, v2 = draw(2, 4, 3, 16, 16)
    embedded = method.embed(encoder(v1), encoder(v2), v1, v2, Noise(0, 0, 4).rows(0, 4))
    assert [embedded[name].requires_grad for name in NAMES] == [True, True, False, False]
    torch.testing.assert_close(embedded["q1"], method.projector(encoder(v1)))
    torch.testing.assert_close(embedded["q2"], method.projector(encoder(v2)))
    torch.autograd.backward(method.loss(embedded))
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    assert all(p.grad is not None and p.grad.any() for p in (*encoder.parameters(), *method.projector.parameters()))


def test_the_target_follows_with_momentum() -> None:
    encoder, method = moco(momentum=0.9)
    target = method.target
    former = [p.clone() for p in target.parameters()]
    trained = [*encoder.parameters(), *method.projector.parameters()]
    for parameter in trained:
        parameter.data.add_(torch.rand_like(parameter))
    method.after_step(encoder, {"k1": draw(2, 4), "k2": draw(2, 4)}, MOMENT)
    for ours, old, new in zip(target.parameters(), former, trained, strict=True):
        torch.testing.assert_close(ours, 0.9 * old + 0.1 * new, rtol=0, atol=1e-12)


def test_keys_lie_where_their_images_do_though_the_target_sees_them_shuffled() -> None:
    _, method = moco(norm_groups=2)
    method.target.eval()
    v1, v2 = draw(2, 6, 3, 16, 16)
    embedded = method.embed(draw(6, 64), draw(6, 64), v1, v2, Noise(0, 0, 6).rows(0, 6))
    torch.testing.assert_close(embedded["k1"], method.target(v1), rtol=0, atol=1e-12)
    torch.testing.assert_close(embedded["k2"], method.target(v2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm_groups", "size"), [(1, 12), (2, 6), (3, 4), (6, 2)])
def test_batch_norm_normalises_each_group_of_shuffled_keys_by_itself(norm_groups: int, size: int) -> None:
    _, method = moco(norm_groups=norm_groups)
    target = copy.deepcopy(method.target)
    v1, v2 = draw(2, 6, 3, 16, 16)
    noise = Noise(0, 0, 6)
    embedded = method.embed(draw(6, 64), draw(6, 64), v1, v2, noise.rows(0, 6))
    order = noise.rows(0, 6).order("moco", 12)
    assert order.tolist() != list(range(12))
    images, expected = torch.cat([v1, v2]), torch.zeros(12, 4, dtype=torch.float64)
    for start in range(0, 12, size):
        group = order[start : start + size]
        expected[group] = target(images[group])
    torch.testing.assert_close(torch.cat([embedded["k1"], embedded["k2"]]), expected, rtol=0, atol=1e-12)
    for name, buffer in target.named_buffers():
        torch.testing.assert_close(method.target.get_buffer(name), buffer)


def test_the_shuffle_is_another_one_at_each_step() -> None:
    orders = {tuple(Noise(0, step, 6).rows(0, 6).order("moco", 12).tolist()) for step in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize(
    ("norm_groups", "chunk_size", "groups"), [(4, 8, 4), (4, 4, 4), (4, 2, 4), (2, 2, 4), (99, 8, 8)]
)
def test_groups_are_of_the_joint_batch_but_within_a_chunk_and_of_two_images_at_least(
    norm_groups: int, chunk_size: int, groups: int
) -> None:
    encoder, method = moco(norm_groups=norm_groups, queue_length=16)
    model = Pretraining(encoder, method, Term())
    v1, v2 = draw(2, 8, 3, 16, 16)
    Gradients(model, model, chunk_size)(lambda chunk: (v1[chunk], v2[chunk]), 8, Noise(0, 0, 8), MOMENT)
    counted = method.target.encoder.bn1.num_batches_tracked
    assert counted is not None
    assert counted.item() == groups


@pytest.mark.parametrize(("images", "norm_groups"), [(5, 4), (10, 8), (9, 7)])
def test_no_group_is_of_one_image_nor_missing_where_the_batch_is_not_divisible(images: int, norm_groups: int) -> None:
    _, method = moco(norm_groups=norm_groups)
    sizes: list[int] = []
    method.target.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    v1, v2 = draw(2, images, 3, 32, 32)
    method.embed(draw(images, 64), draw(images, 64), v1, v2, Noise(0, 0, images).rows(0, images))
    assert len(sizes) == norm_groups
    assert max(sizes) - min(sizes) <= 1


def test_synchronised_batch_norm_leaves_the_key_groups_alone() -> None:
    encoder, method = moco()
    model = Pretraining(encoder, method, Term())
    model.synchronise_batch_norm()
    synchronised = [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(synchronised) == 20
    assert all(name.startswith("encoder.") for name in synchronised)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in method.target.modules()) == 20
