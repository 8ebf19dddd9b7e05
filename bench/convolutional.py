"""ResNet-50 as torchvision has it, with the stride in the 3x3 convolution; of random weights.

He et al., "Deep Residual Learning for Image Recognition", 2016.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_EXPANSION = 4
_RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first


def normalised(channels: int, filters: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, or divides it by the stride, and its normalisation."""
    own = nn.Conv2d(channels, filters, kernel, stride, (kernel - 1) // 2, bias=False)
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
