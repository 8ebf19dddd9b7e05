"""What layers with the same input share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import sparsec


class Branches(nn.Module):
    """Two sparse linear layers of `x`, and one of something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(256, 256, bias=False) for _ in range(3)])
        with torch.no_grad():
            for layer in self.layers:
                layer.weight *= torch.rand(256, 256) < 0.04

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, two, three = self.layers
        return one(x), two(x), three(x * x)


def test_layers_of_one_input_share_its_transpose() -> None:
    torch.manual_seed(0)
    net, x = Branches().eval(), torch.randn(128, 256)
    model = sparsec.compile(net, (x,))
    copies = [step.kernel for step in model.session.program.steps if "tile" in step.kernel]
    assert len(copies) == 2
    for ours, theirs in zip(model(x.numpy()), net(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5)
