"""What layers share: copies of one input, and results in tiles."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import sparsec
from sparsec.model import CompiledModel
from sparsec.reference import OnnxRuntime
from sparsec.targets import host_features, resolve
from sparsec.targets.isa import isa_of


def sparse(inputs: int, outputs: int, density: float, *, block: int = 1, bias: bool = True) -> nn.Linear:
    """A linear layer with nonzeros in columns of `block` outputs."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    kept = torch.rand(-(-outputs // block), inputs) < density
    with torch.no_grad():
        layer.weight *= kept.repeat_interleave(block, dim=0)[:outputs]
    return layer


def copies(model: CompiledModel) -> list[str]:
    """The calls that copy an input to tiles, or to rows of bytes."""
    steps = model.session.program.steps
    return [step.kernel for step in steps if "tile_tokens" in step.kernel or "byte_rows" in step.kernel]


def check(net: nn.Module, x: torch.Tensor, expected_copies: int | None, precision: str = "f32") -> CompiledModel:
    net = net.eval()
    model = sparsec.compile(net, (x,), precision=precision)
    found, expected = model(x.numpy()), net(x)
    if isinstance(expected, torch.Tensor):
        found, expected = (found,), (expected,)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5 if precision == "f32" else 1e-2)
    if expected_copies is not None:
        assert len(copies(model)) == expected_copies
    return model


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


class Attention(nn.Module):
    """q, k and v from sparse linear layers; the keys are an output, too, if they leak."""

    def __init__(self, heads: int, size: int, *, leaks: bool = False, block: int = 4) -> None:
        super().__init__()
        width = heads * size
        self.layers = nn.ModuleList([sparse(width, width, 0.1, block=block) for _ in range(3)])
        self.heads, self.leaks = heads, leaks

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        q, k, v = (layer(x) for layer in self.layers)
        split = [each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in (q, k, v)]
        scores = split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5
        y = (torch.softmax(scores, -1) @ split[2]).transpose(1, 2).flatten(2)
        return (y, k) if self.leaks else y


def key_tiles(model: CompiledModel) -> list[str]:
    """The calls that put keys in tiles."""
    return [step.kernel for step in model.session.program.steps if "key_tiles" in step.kernel]


PRECISIONS = ["f32", "bf16"] if "avx512bf16" in host_features() else ["f32"]
# With AVX-512 tiles of layers are four vectors wide, as those of keys are; with fewer registers they are narrower.
TURNED = int(isa_of(resolve("native")).vector_bytes < 64)
# Codes in words, and in bytes where there are instructions for these.
TARGETS = ["native", *(["x86-64-v3-vnni"] if "avxvnni" in host_features() else [])]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("leaks", "tokens", "samples", "expected"),
    [(False, 128, 1, TURNED), (True, 128, 1, 1), (False, 100, 1, 1), (False, 64, 2, 1)],
)
def test_a_layer_leaves_keys_in_tiles(*, leaks: bool, tokens: int, samples: int, expected: int, precision: str) -> None:
    torch.manual_seed(0)
    model = check(Attention(4, 64, leaks=leaks), torch.randn(samples, tokens, 256), None, precision)
    assert len(key_tiles(model)) == expected
    assert any(layer.choice == f"{precision}_attention_dense" for layer in model.report.layers)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 2),
    st.integers(1, 150),
    st.integers(1, 4),
    st.sampled_from([16, 24, 33]),
    st.sampled_from(PRECISIONS),
)
def test_keys_of_any_shape(samples: int, tokens: int, heads: int, size: int, precision: str) -> None:
    torch.manual_seed(0)
    check(Attention(heads, size), torch.randn(samples, tokens, heads * size), None, precision)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 150), st.tuples(*[st.sampled_from([64, 65, 130, 300])] * 3), st.sampled_from([1, 4, 8]))
def test_tiles_of_any_shape(tokens: int, shape: tuple[int, int, int], block: int) -> None:
    torch.manual_seed(0)
    check(Mlp(None, block, shape), torch.randn(tokens, shape[0]), None)


def quantised_mlp(
    tokens: int, shape: tuple[int, int, int], *, leaks: bool, block: int = 4
) -> tuple[onnx.ModelProto, np.ndarray]:
    """Two layers of bytes with ReLU and a quantisation between them, whose codes are an output, too, if they leak; and an x."""
    random = np.random.default_rng(0)
    inputs, inside, outputs = shape
    constants: dict[str, np.ndarray] = {}
    nodes = []

    def layer(x: str, name: str, k: int, m: int, scale: float, zero: int) -> str:
        kept = np.repeat(random.random((-(-m // block), k)) < 0.15, block, axis=0)[:m]
        constants.update(
            {
                f"{name}.scale": np.asarray(scale, np.float32),
                f"{name}.zero": np.asarray(zero, np.uint8),
                f"{name}.w": (random.integers(-127, 128, (m, k)) * kept).T.astype(np.int8),
                f"{name}.mul": np.asarray(scale * 0.004, np.float32),
                f"{name}.bias": random.standard_normal(m).astype(np.float32) / 8,
            }
        )
        nodes.extend(
            [
                helper.make_node("QuantizeLinear", [x, f"{name}.scale", f"{name}.zero"], [f"{name}.q"]),
                helper.make_node("MatMulInteger", [f"{name}.q", f"{name}.w", f"{name}.zero"], [f"{name}.sum"]),
                helper.make_node("Cast", [f"{name}.sum"], [f"{name}.float"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}.float", f"{name}.mul"], [f"{name}.y"]),
                helper.make_node("Add", [f"{name}.y", f"{name}.bias"], [f"{name}.out"]),
            ]
        )
        return f"{name}.out"

    up = layer("x", "up", inputs, inside, 0.03, 128)
    nodes.append(helper.make_node("Relu", [up], ["active"]))
    down = layer("active", "down", inside, outputs, 0.02, 3)
    values = [helper.make_tensor_value_info(down, TensorProto.FLOAT, [tokens, outputs])]
    if leaks:
        values.append(helper.make_tensor_value_info("down.q", TensorProto.UINT8, [tokens, inside]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, inputs])]
    initial = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "mlp", given, values, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model, random.standard_normal((tokens, inputs)).astype(np.float32)


def check_codes(model: onnx.ModelProto, x: np.ndarray, target: str = "native") -> CompiledModel:
    compiled = sparsec.compile(model, target=target)
    found = compiled(x)
    expected = OnnxRuntime(model, exact=True).run({"x": x})
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return compiled


@pytest.mark.parametrize("leaks", [False, True])
def test_a_layer_of_bytes_leaves_rows_of_codes(leaks: bool) -> None:
    model, x = quantised_mlp(128, (256, 512, 256), leaks=leaks)
    compiled = check_codes(model, x)
    if any("gathered" in layer.choice for layer in compiled.report.layers):
        assert all("gathered" in layer.choice for layer in compiled.report.layers)
        assert len(copies(compiled)) == (2 if leaks else 1)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 150),
    st.tuples(*[st.sampled_from([64, 65, 130, 300])] * 3),
    st.sampled_from([1, 4, 16]),
    st.sampled_from(TARGETS),
)
def test_codes_in_rows_of_any_shape(tokens: int, shape: tuple[int, int, int], block: int, target: str) -> None:
    model, x = quantised_mlp(tokens, shape, leaks=False, block=block)
    check_codes(model, x, target)
