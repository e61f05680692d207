"""The encoders are torchvision's ResNets, with other stems and widths beside."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from superinfo.artifacts import CheckpointInfo, EncoderSpec, save_checkpoint
from superinfo.encoders import STAGES, ResNet, build_encoder, count_flops, load_encoder
from superinfo.errors import UserError

ARCHITECTURES = ("resnet18", "resnet34", "resnet50")
TINY = EncoderSpec(arch="resnet18", stem="small", width=0.125)


def torchvision_without_classifier(arch: str) -> nn.Module:
    model: nn.Module = getattr(torchvision.models, arch)(weights=None)
    model.fc = nn.Identity()
    return model


def make_batch_norms_differ(model: nn.Module) -> None:
    """Give every batch norm statistics and weights that a wrong order or a missing one would show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_tensors_have_torchvisions_names_order_and_shapes(arch: str) -> None:
    with torch.device("meta"):
        expected = torchvision_without_classifier(arch).state_dict()
        found = build_encoder(EncoderSpec.parse({"arch": arch}, "test")).state_dict()
    assert [(key, tensor.shape, tensor.dtype) for key, tensor in found.items()] == [
        (key, tensor.shape, tensor.dtype) for key, tensor in expected.items()
    ]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("training", [False, True])
def test_features_are_torchvisions_with_the_same_weights(arch: str, training: bool) -> None:
    torch.manual_seed(0)
    expected = torchvision_without_classifier(arch).double().train(training)
    make_batch_norms_differ(expected)
    encoder = build_encoder(EncoderSpec.parse({"arch": arch}, "test")).double().train(training)
    encoder.load_state_dict(expected.state_dict())
    images = torch.randn(2, 3, 65, 47, dtype=torch.float64)
    with torch.no_grad():
        features = encoder(images)
        assert features.shape == (2, encoder.feature_dim)
        torch.testing.assert_close(features, expected(images), rtol=0, atol=1e-10)
    for key, tensor in expected.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[key], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_weights_start_as_torchvisions_do(arch: str) -> None:
    torch.manual_seed(0)
    spreads = {
        key: tensor.std() for key, tensor in build_encoder(EncoderSpec.parse({"arch": arch}, "t")).named_parameters()
    }
    for key, tensor in torchvision_without_classifier(arch).named_parameters():
        torch.testing.assert_close(spreads[key], tensor.std(), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("stem", "sides"), [("imagenet", [16, 8, 4, 2]), ("stl", [32, 16, 8, 4]), ("small", [64, 32, 16, 8])]
)
@pytest.mark.parametrize(("arch", "channels"), [("resnet18", [16, 32, 64, 128]), ("resnet50", [64, 128, 256, 512])])
def test_stages_have_the_strides_of_their_stem(stem: str, sides: list[int], arch: str, channels: list[int]) -> None:
    encoder = build_encoder(EncoderSpec.parse({"arch": arch, "stem": stem, "width": 0.25}, "test")).eval()
    with torch.no_grad():
        maps = encoder.stages(torch.zeros(1, 3, 64, 64))
        features = encoder(torch.zeros(1, 3, 64, 64))
    assert list(maps) == list(STAGES)
    assert [tuple(found.shape) for found in maps.values()] == [
        (1, c, side, side) for c, side in zip(channels, sides, strict=True)
    ]
    assert features.shape == (1, encoder.feature_dim) == (1, channels[-1])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_half_the_width_halves_every_channel_count(arch: str) -> None:
    with torch.device("meta"):
        full, half = (
            build_encoder(EncoderSpec.parse({"arch": arch, "width": width}, "test")).state_dict() for width in (1, 0.5)
        )
    assert list(full) == list(half)
    for key in full:
        expected = [n // 2 if i < 2 and n != 3 and full[key].ndim != 0 else n for i, n in enumerate(full[key].shape)]
        assert list(half[key].shape) == expected, key


@pytest.mark.parametrize(
    "change", [{"width": 0.3}, {"width": 1.01}, {"width": 0}, {"width": 9}, {"arch": "resnet77"}, {"stem": "cifar"}]
)
def test_an_encoder_that_cannot_be_built_is_refused_naming_the_field(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"`{next(iter(change))}`"):
        EncoderSpec.parse(change, "recipe")


def write_checkpoint(path: Path, encoder: ResNet, **changes: torch.Tensor | None) -> None:
    """Write a checkpoint of TINY in which some tensors are replaced, or with None left out."""
    info = CheckpointInfo(
        encoder=TINY,
        name="tiny",
        method="simclr",
        term="none",
        dataset="scenes",
        epochs=1,
        seed=0,
        input_size=32,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        recipe_hash="0",
    )
    state = encoder.state_dict() | {key.replace("__", "."): tensor for key, tensor in changes.items()}
    save_checkpoint(path, info, {key: tensor for key, tensor in state.items() if tensor is not None})


def test_an_encoder_comes_back_from_its_checkpoint_ready_to_be_used(tmp_path: Path) -> None:
    encoder = build_encoder(TINY)
    make_batch_norms_differ(encoder)
    write_checkpoint(tmp_path / "c.pt", encoder)
    loaded, info = load_encoder(tmp_path / "c.pt")
    assert info.encoder == TINY
    assert not any(module.training for module in loaded.modules())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder.eval()(images))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer1__0__conv1__weight": None}, "layer1.0.conv1.weight"),
        ({"bn1__running_var": None}, "bn1.running_var"),
        ({"fc__weight": torch.zeros(10, 64)}, "fc.weight"),
        ({"conv1__weight": torch.zeros(8, 3, 7, 7)}, "conv1.weight"),
    ],
)
def test_a_checkpoint_with_other_tensors_than_its_encoders_is_refused(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], named: str
) -> None:
    path = tmp_path / "c.pt"
    write_checkpoint(path, build_encoder(TINY), **changes)
    with pytest.raises(UserError) as caught:
        load_encoder(path)
    assert str(caught.value).startswith(f"{path}: tensors are not those of resnet18")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flops_are_the_multiply_adds_that_the_paper_counts() -> None:
    encoder = build_encoder(EncoderSpec(arch="resnet50")).train()
    # He et al. 2016, table 1, says 3.8e9 with the stride in the 1x1; with it in the 3x3, as here, 4.1e9.
    assert count_flops(encoder, 224) == pytest.approx(4.1e9, rel=0.02)
    assert encoder.training
    assert encoder.bn1.num_batches_tracked == 0
