"""Whole networks, compiled and run, against torch in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import sparsec
from sparsec.driver import compile_program
from sparsec.errors import UnsupportedOpError
from sparsec.options import Options
from sparsec.report import Report

TARGETS = ("x86-64-v3", "x86-64-v4")


def _runs_here(target: str) -> bool:
    from sparsec.runtime.library import cpu_features
    from sparsec.targets import TARGETS as ROWS

    return cpu_features() >= set(ROWS[target].requires)


def _check(net: nn.Module, *inputs: torch.Tensor, target: str = "native", scale: float = 1.0) -> sparsec.CompiledModel:
    """Compile, run, and compare with the same network in double precision."""
    net = net.eval()
    model = sparsec.compile(net, inputs, target=target)
    with torch.no_grad():
        expected = copy.deepcopy(net).double()(*(x.double() if x.is_floating_point() else x for x in inputs))
    outputs = model(*inputs)
    for ours, theirs in zip(_as_list(outputs), _as_list(expected), strict=True):
        reference = theirs.numpy()
        tolerance = scale * 2e-5 * max(1.0, float(np.abs(reference).max(initial=0)))
        np.testing.assert_allclose(np.asarray(ours), reference, atol=tolerance, rtol=0)
    return model


def _as_list(value: object) -> list[torch.Tensor]:
    return list(value) if isinstance(value, (tuple, list)) else [value]  # type: ignore[list-item]


def _prune(module: nn.Module, share: float, seed: int = 0) -> nn.Module:
    """Set a random share of each weight with more than one axis to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) >= share)
    return module


class _Lambda(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(self, *inputs)


def _residual_block() -> nn.Module:
    return _Lambda(
        lambda net, x: torch.relu(net.b(torch.relu(net.n(net.a(x)))) + x),
        a=nn.Conv2d(8, 24, 1),
        n=nn.BatchNorm2d(24),
        b=nn.Conv2d(24, 8, 3, padding=1),
    )


NETS: dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {
    "mlp": lambda: (
        nn.Sequential(nn.Linear(33, 70), nn.GELU(), nn.Linear(70, 9), nn.Softmax(-1)),
        (torch.randn(17, 33),),
    ),
    "tokens of rank 3": lambda: (nn.Linear(24, 40), (torch.randn(2, 5, 24),)),
    "one token": lambda: (_prune(nn.Linear(64, 100), 0.8), (torch.randn(1, 64),)),
    "sparse mlp": lambda: (
        _prune(nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 31)), 0.9),
        (torch.randn(40, 96),),
    ),
    "empty weight": lambda: (_prune(nn.Linear(96, 64), 1.1), (torch.randn(8, 96),)),
    "residual block": lambda: (_residual_block(), (torch.randn(1, 8, 9, 11),)),
    "sparse residual block": lambda: (_prune(_residual_block(), 0.8), (torch.randn(2, 8, 14, 14),)),
    "depthwise": lambda: (nn.Conv2d(12, 12, 5, padding=2, groups=12), (torch.randn(1, 12, 15, 13),)),
    "strided depthwise": lambda: (nn.Conv2d(12, 24, 3, stride=2, padding=1, groups=12), (torch.randn(2, 12, 15, 13),)),
    "grouped dilated": lambda: (
        _prune(nn.Conv2d(8, 12, 3, dilation=2, padding=2, groups=4), 0.6),
        (torch.randn(1, 8, 12, 12),),
    ),
    "conv 1d": lambda: (_prune(nn.Conv1d(16, 20, 5, stride=2), 0.7), (torch.randn(2, 16, 41),)),
    "conv 3d": lambda: (_prune(nn.Conv3d(4, 10, 3, padding=1), 0.7), (torch.randn(1, 4, 5, 6, 7),)),
    "transposed": lambda: (nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1), (torch.randn(1, 8, 7, 5),)),
    "transposed into a layer": lambda: (
        nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, stride=2)),
        (torch.randn(1, 4, 8, 8),),
    ),
    "scaled product": lambda: (
        _Lambda(lambda net, p, q: torch.tanh(torch.matmul(p, q) / 2.0)),
        (torch.randn(2, 3, 4, 8), torch.randn(2, 3, 8, 6)),
    ),
    "attention": lambda: (
        _Lambda(lambda net, q, k, v: torch.softmax(q @ k.transpose(-1, -2) / 4.0, -1) @ v),
        tuple(torch.randn(1, 2, 9, 16) for _ in range(3)),
    ),
    "pool": lambda: (
        nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)),
        (torch.randn(1, 5, 17, 19),),
    ),
    "layer norm": lambda: (nn.LayerNorm(50), (torch.randn(7, 50) * 10 + 3,)),
    "embedding": lambda: (nn.Embedding(30, 12), (torch.tensor([[0, 29, 7]]),)),
    "two outputs": lambda: (_Lambda(lambda net, x: (net.a(x), torch.exp(x)), a=nn.Linear(8, 4)), (torch.randn(3, 8),)),
    "input as output": lambda: (_Lambda(lambda net, x: (x, x + 1)), (torch.randn(3, 8),)),
    "scalar": lambda: (_Lambda(lambda net, x: x.sum()), (torch.randn(3, 8),)),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", sorted(NETS))
def test_network(name: str, target: str) -> None:
    if not _runs_here(target):
        pytest.skip(f"this processor does not run {target}")
    torch.manual_seed(7)
    net, inputs = NETS[name]()
    _check(net, *inputs, target=target)


def test_constant_channels_leave_the_network() -> None:
    """A pruned bottleneck whose middle is mostly constant: padding makes the constants' planes uneven at the border."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(6, 32, 1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU6(), nn.Conv2d(32, 6, 1)
    )
    with torch.no_grad():
        net[0].weight[4:] = 0
        net[4].weight[:, 20:] = 0
    model = _check(net, torch.randn(1, 6, 7, 7))
    depthwise = model.report.layers[1]
    assert depthwise.shape.startswith("4->4 "), depthwise.shape


def test_nan_and_infinity_reach_what_reads_them() -> None:
    layer = nn.Linear(16, 8, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 3] = 1.0
        layer.weight[1, 5] = 2.0
    x = torch.zeros(20, 16)
    x[2, 3], x[4, 5] = float("nan"), float("inf")
    y = np.asarray(sparsec.compile(layer.eval(), (x,))(x))
    assert np.isnan(y[2, 0])
    assert np.isinf(y[4, 1])
    assert np.isfinite(np.delete(y, [2, 4], axis=0)).all()


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    channels=st.integers(1, 9),
    filters=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    size=st.integers(4, 19),
    share=st.sampled_from([0.0, 0.5, 0.9]),
    batch=st.integers(1, 2),
)
def test_any_convolution(
    channels: int, filters: int, kernel: int, stride: int, padding: int, size: int, share: float, batch: int
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, filters, kernel, stride, padding), nn.ReLU(), nn.Conv2d(filters, 3, 1))
    _check(_prune(net, share), torch.randn(batch, channels, size, size + 1))


def test_equal_weights_are_stored_once() -> None:
    layer = nn.Linear(64, 64)
    twice = _Lambda(lambda net, x: net.a(torch.relu(net.a(x))), a=layer)
    x = torch.randn(8, 64)
    sizes = [compile_program(net.eval(), example_inputs=(x,)).weights.nbytes for net in (layer, twice)]
    assert sizes[0] == sizes[1]
    _check(twice, x)


def test_kernels_that_are_named_are_used_or_there_is_an_error() -> None:
    net, x = nn.Linear(32, 16), torch.zeros(8, 32)
    for kernel in ("f32_linear_csr", "f32_linear_dense"):
        program = compile_program(net, Options(use_measurements=False, kernels=(kernel,)), example_inputs=(x,))
        assert [layer.choice for layer in Report.from_dict(program.report).layers] == [kernel]
    with pytest.raises(UnsupportedOpError, match="not asked for"):
        compile_program(net, Options(use_measurements=False, kernels=("u8s8_linear_csr",)), example_inputs=(x,))
