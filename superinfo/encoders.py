"""ResNet encoders in torchvision's key layout, with stems and widths for small images and small machines."""

from pathlib import Path

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from superinfo.architectures import ARCHITECTURES, Architecture
from superinfo.artifacts import CheckpointInfo, EncoderSpec, load_checkpoint
from superinfo.errors import UserError

STAGES = ("res2", "res3", "res4", "res5")


class ResNet(nn.Module):
    """A ResNet without its classifier (He et al. 2016, arXiv 1512.03385).

    It strides in the 3x3 convolutions, unless the spec says otherwise. Images `(B, 3, H, W)` -> pooled features
    `(B, feature_dim)`. At width 1 with the imagenet stem, keys and tensors are those of `torchvision.models.resnet*`
    but for `fc`. The small stem is SimCLR's for CIFAR (arXiv 2002.05709, B.9).
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        channels = spec.stem_channels
        architecture = ARCHITECTURES[spec.arch]
        if spec.stem == "imagenet":
            self.conv1 = nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        else:
            stride = 2 if spec.stem == "stl" else 1
            self.conv1 = nn.Conv2d(3, channels, kernel_size=3, stride=stride, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        inputs = channels
        for stage in range(4):
            layer = _stage(architecture, stage, inputs, spec)
            self.add_module(f"layer{stage + 1}", layer)
            inputs = (channels << stage) * architecture.expansion
        self.feature_dim = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the last stage, averaged over space: `(B, feature_dim)`."""
        return self.pooled(images)["res5"]

    def pooled(self, images: Tensor) -> dict[str, Tensor]:
        """Return each of the `stages` averaged over space, `(B, C)`."""
        return {name: features.mean(dim=(2, 3)) for name, features in self.stages(images).items()}

    def stages(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps `res2` .. `res5`, each `(B, C, h, w)`, named as Detectron2 names them."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = {}
        for name, layer in zip(STAGES, (self.layer1, self.layer2, self.layer3, self.layer4), strict=True):
            x = maps[name] = layer(x)
        return maps


def build_encoder(spec: EncoderSpec) -> ResNet:
    """Build an encoder with random weights from torch's global generator."""
    return ResNet(spec)


def load_encoder(path: Path) -> tuple[ResNet, CheckpointInfo]:
    """Load the encoder of a checkpoint, in evaluation mode. Raises UserError if a tensor is missing or too many."""
    info, state = load_checkpoint(path)
    encoder = build_encoder(info.encoder)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: tensors are not those of {info.encoder.arch}: {detail}") from None
    return encoder.eval(), info


def count_flops(encoder: ResNet, size: int) -> float:
    """Return the multiply-adds of one forward pass on one image of `size` pixels a side, as fvcore counts them."""
    device = encoder.conv1.weight.device
    training = encoder.training
    counted = FlopCountAnalysis(encoder.eval(), torch.zeros(1, 3, size, size, device=device))
    flops = float(counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())
    encoder.train(training)
    return flops


def _stage(architecture: Architecture, stage: int, inputs: int, spec: EncoderSpec) -> nn.Sequential:
    block: type[BasicBlock | Bottleneck] = Bottleneck if architecture.bottleneck else BasicBlock
    planes, stride = spec.stem_channels << stage, 1 if stage == 0 else 2
    outputs = planes * architecture.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    groups, width = architecture.groups, architecture.width_per_group
    first = block(inputs, planes, stride, shortcut, groups, width)
    if spec.stride_in_1x1 and stride != 1:
        first.conv1.stride, first.conv2.stride = (stride, stride), (1, 1)
    others = (block(outputs, planes, groups=groups, base_width=width) for _ in range(architecture.depths[stage] - 1))
    return nn.Sequential(first, *others)
