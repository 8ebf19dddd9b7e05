"""Networks compiled with a lower precision, end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sparsec
from sparsec.errors import TargetError, UsageError
from sparsec.reference import Engine
from sparsec.targets import host_features
from sparsec.verify import verify
from tests.tune.models import two_layers


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(96, 130), torch.nn.GELU(), torch.nn.Linear(130, 96), torch.nn.ReLU(), torch.nn.Linear(96, 24)
    )
    with torch.no_grad():
        layers[2].weight *= torch.rand_like(layers[2].weight) < 0.1
    return layers.eval()


class Heads(torch.nn.Module):
    """Attention of four heads, and a linear layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(128, 128) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).unflatten(-1, (4, 32)).transpose(1, 2) for layer in list(self.layers)[:3])
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return torch.as_tensor(self.layers[3](y))


class Torch:
    """The network in float32."""

    name = "torch"

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            return [self._module(*map(torch.from_numpy, feeds.values())).numpy()]


@pytest.mark.skipif("avx512bf16" not in host_features(), reason="this machine has no bfloat16 instruction")
def test_bf16_is_near_float32_and_says_so() -> None:
    module, x = network(), torch.randn(70, 96)
    model = sparsec.compile(module, (x,), precision="bf16")
    report = model.report
    assert report.precision == "bf16"
    assert any("vdpbf16ps" in note for note in report.notes)
    assert any(layer.choice.startswith("bf16_") and layer.reason.endswith("vdpbf16ps") for layer in report.layers)
    engine: Engine = Torch(module)
    result = verify(model, engine, {model.inputs[0].name: x.numpy()})
    assert result.passed
    assert result.precision == "bf16"
    assert 1e-5 < result.relative_error < 1e-2


@pytest.mark.skipif("avx512bf16" not in host_features(), reason="this machine has no bfloat16 instruction")
def test_attention_multiplies_in_bf16() -> None:
    torch.manual_seed(0)
    module, x = Heads().eval(), torch.randn(2, 70, 128)
    model = sparsec.compile(module, (x,), precision="bf16")
    (attention,) = (layer for layer in model.report.layers if layer.op == "attention")
    assert attention.choice == "bf16_attention_dense"
    assert attention.reason.endswith("vdpbf16ps")
    result = verify(model, Torch(module), {model.inputs[0].name: x.numpy()})
    assert result.passed
    assert result.relative_error < 1e-2


@pytest.mark.skipif("avx512bf16" not in host_features(), reason="this machine has no bfloat16 instruction")
def test_the_session_of_onnx_runtimes_interface_takes_it() -> None:
    source = two_layers().SerializeToString()
    x = np.random.default_rng(0).standard_normal((32, 24), dtype=np.float32)
    (single,), (narrow,) = (
        sparsec.InferenceSession(source, precision=each).run(None, {"x": x}) for each in ("f32", "bf16")
    )
    assert 1e-5 < np.abs(narrow - single).max() / np.abs(single).max() < 1e-2


def test_a_target_without_the_instruction_is_refused() -> None:
    with pytest.raises(TargetError, match="no instruction that multiplies in bf16"):
        sparsec.compile(network(), (torch.randn(4, 96),), precision="bf16", target="x86-64-v4")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="no such precision"):
        sparsec.compile(network(), (torch.randn(4, 96),), precision="fp4")
