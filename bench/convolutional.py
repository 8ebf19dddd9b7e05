"""Convolutional networks as they are published, of random weights: ResNet-50 and MobileNetV2, for pictures of 224 x 224.

He et al., "Deep Residual Learning for Image Recognition", 2016; the stride is in the 3x3 convolution, as torchvision has it.
Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_EXPANSION = 4
_RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first
_MOBILENET = (  # expansion, channels, blocks, stride of the first
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def normalised(channels: int, filters: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, or divides it by the stride, and its normalisation."""
    own = nn.Conv2d(channels, filters, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(own, nn.BatchNorm2d(filters))


class Bottleneck(nn.Module):
    """Of ResNet: 1x1, 3x3, 1x1, and what is added to it."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = normalised(channels, width, 1), normalised(width, width, 3, stride=stride)
        self.third = normalised(width, _EXPANSION * width, 1)
        alike = channels == _EXPANSION * width and stride == 1
        self.added = nn.Identity() if alike else normalised(channels, _EXPANSION * width, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, channels, height, width]."""
        inner = functional.relu(self.second(functional.relu(self.first(x))))
        made: torch.Tensor = functional.relu(self.third(inner) + self.added(x))
        return made


class Inverted(nn.Module):
    """Of MobileNetV2: wide in between, where each filter has one channel."""

    def __init__(self, channels: int, expansion: int, filters: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.wider = nn.Identity() if expansion == 1 else nn.Sequential(normalised(channels, wide, 1), nn.ReLU6())
        self.inner = nn.Sequential(normalised(wide, wide, 3, stride=stride, groups=wide), nn.ReLU6())
        self.narrower, self.adds = normalised(wide, filters, 1), stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, channels, height, width]."""
        made: torch.Tensor = self.narrower(self.inner(self.wider(x)))
        return x + made if self.adds else made


def resnet50() -> nn.Module:
    """[batch, 3, height, width] to [batch, 1000]."""
    blocks: list[nn.Module] = []
    channels = 64
    for width, count, stride in _RESNET50:
        for number in range(count):
            blocks.append(Bottleneck(channels, width, 1 if number else stride))
            channels = _EXPANSION * width
    stem = [normalised(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)).eval()


def mobilenet() -> nn.Module:
    """[batch, 3, height, width] to [batch, 1000]."""
    blocks: list[nn.Module] = []
    channels = 32
    for expansion, filters, count, stride in _MOBILENET:
        for number in range(count):
            blocks.append(Inverted(channels, expansion, filters, 1 if number else stride))
            channels = filters
    stem, last = [normalised(3, 32, 3, stride=2), nn.ReLU6()], [normalised(channels, 1280, 1), nn.ReLU6()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*stem, *blocks, *last, *head).eval()
