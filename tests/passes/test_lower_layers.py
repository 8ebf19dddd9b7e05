"""What layers share: copies of one input, and results in tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import sparsec
from sparsec.model import CompiledModel


def sparse(inputs: int, outputs: int, density: float, *, block: int = 1, bias: bool = True) -> nn.Linear:
    """A linear layer with nonzeros in columns of `block` outputs."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    kept = torch.rand(-(-outputs // block), inputs) < density
    with torch.no_grad():
        layer.weight *= kept.repeat_interleave(block, dim=0)[:outputs]
    return layer


def copies(model: CompiledModel) -> list[str]:
    """The calls that copy an input to tiles."""
    return [step.kernel for step in model.session.program.steps if "tile" in step.kernel]


def check(net: nn.Module, x: torch.Tensor, expected_copies: int | None) -> None:
    net = net.eval()
    model = sparsec.compile(net, (x,))
    found, expected = model(x.numpy()), net(x)
    if isinstance(expected, torch.Tensor):
        found, expected = (found,), (expected,)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5)
    if expected_copies is not None:
        assert len(copies(model)) == expected_copies


class Branches(nn.Module):
    """Two sparse linear layers of `x`, and one of something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([sparse(256, 256, 0.04, bias=False) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, two, three = self.layers
        return one(x), two(x), three(x * x)


class Mlp(nn.Module):
    """Two layers; `leaks` says who else reads what is between them."""

    def __init__(self, leaks: str | None = None, block: int = 1, shape: tuple[int, int, int] = (256, 512, 256)) -> None:
        super().__init__()
        inputs, inside, outputs = shape
        self.up, self.down = sparse(inputs, inside, 0.05, block=block), sparse(inside, outputs, 0.05, block=block)
        self.other, self.leaks = sparse(inside, 2 * outputs, 0.05, block=block), leaks

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        y = nn.functional.gelu(self.up(x))
        match self.leaks:
            case "result":
                return self.down(y), y
            case "layer":
                return self.down(y), self.other(y)
            case "residual":
                return self.down(y) + y
            case "loop":
                return self.down(y), y.amax(dim=1)
        return torch.as_tensor(self.down(y))


def test_layers_of_one_input_share_its_transpose() -> None:
    torch.manual_seed(0)
    check(Branches(), torch.randn(128, 256), 2)


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("leaks", "expected"), [(None, 1), ("layer", 1), ("result", 2), ("residual", 2), ("loop", 2)])
def test_a_layer_that_only_layers_read_leaves_tiles(leaks: str | None, expected: int, block: int) -> None:
    torch.manual_seed(0)
    shape = (256, 256, 256) if leaks == "residual" else (256, 512, 256)
    check(Mlp(leaks, block, shape), torch.randn(128, 256), expected)


def test_an_operand_as_large_as_the_result_is_not_in_tiles() -> None:
    class Residual(Mlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.down(torch.relu(self.up(x) + x)))

    torch.manual_seed(0)
    check(Residual(shape=(256, 256, 256)), torch.randn(128, 256), 2)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 150), st.tuples(*[st.sampled_from([64, 65, 130, 300])] * 3), st.sampled_from([1, 4, 8]))
def test_tiles_of_any_shape(tokens: int, shape: tuple[int, int, int], block: int) -> None:
    torch.manual_seed(0)
    check(Mlp(None, block, shape), torch.randn(tokens, shape[0]), None)
