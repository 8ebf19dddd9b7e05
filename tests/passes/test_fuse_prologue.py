"""Codes that are made where they are copied: the same results as ONNX Runtime's, and no loop of their own."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsec.driver import Level, compile_program, compile_text
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.table import KERNELS
from sparsec.options import Options
from sparsec.reference import OnnxRuntime
from sparsec.runtime.session import Session
from sparsec.targets import resolve
from sparsec.targets.isa import isa_of


def layer(
    tokens: int, inputs: int, outputs: int, *, before: str | None = None, twice: bool = False, known: bool = False
) -> onnx.ModelProto:
    """Activations that are quantised as they come, or in a range that is known, perhaps what an operator makes of them, and
    one product or two."""
    random = np.random.default_rng(0)
    nodes = [helper.make_node(before, ["x"], ["h"])] if before else []
    source = "h" if before else "x"
    weights, results = [], []
    if known:
        constants = {"scale": np.float32(0.03), "zero": np.uint8(121)}
        weights += [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        nodes.append(helper.make_node("QuantizeLinear", [source, "scale", "zero"], ["codes"]))
    else:
        nodes.append(helper.make_node("DynamicQuantizeLinear", [source], ["codes", "scale", "zero"]))
    for name in ("u", "v")[: 1 + twice]:
        weight = random.integers(-127, 128, (inputs, outputs)).astype(np.int8)
        weight[random.random(weight.shape) < 0.8] = 0
        weights.append(numpy_helper.from_array(weight, name))
        nodes += [
            helper.make_node("MatMulInteger", ["codes", name, "zero"], [f"{name}_sums"]),
            helper.make_node("Cast", [f"{name}_sums"], [f"{name}_floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_floats", "scale"], [f"{name}_y"]),
        ]
        results.append(helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [tokens, outputs]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, inputs])
    graph = helper.make_graph(nodes, "layer", [x], results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def check(model: onnx.ModelProto, kernel: str | None = None, *, threads: int = 2) -> list[tuple[str, int]]:
    """Compare with ONNX Runtime; returns the functions that are called, and their units."""
    options = Options(use_measurements=False, kernels=(kernel,) if kernel else None, threads=threads)
    program = compile_program(model.SerializeToString(), options)
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    theirs = OnnxRuntime(model, exact=True)
    with Session(program, threads=1) as session:
        for found, expected in zip(session.run({"x": x}).values(), theirs.run({"x": x}), strict=True):
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max())
    return [(step.kernel, step.extent) for step in program.steps]


ABLE = [
    name
    for name in ("u8s8_linear_csr", "u8s8_linear_blocked", "u8s8_linear_gathered", "u8s8_linear_dense")
    if KERNELS[name].refuses(LinearProblem(32, 64, 64, U8S8), isa_of(resolve("native"))) is None
]


@pytest.mark.parametrize("kernel", ABLE)
@pytest.mark.parametrize("shape", [(32, 64, 48), (37, 67, 33), (5, 130, 16)])
def test_each_kernel_gets_the_codes_of_onnx_runtime(kernel: str, shape: tuple[int, int, int]) -> None:
    if KERNELS[kernel].refuses(LinearProblem(*shape, U8S8), isa_of(resolve("native"))) is None:
        check(layer(*shape), kernel)


# Copies of words of 16 bits write twice as many bytes as there are codes, so codes are made in a loop of their own.
WORDS = isa_of(resolve("native")).bytes_dot == "vpmaddwd"


@pytest.mark.parametrize("known", [False, True])
def test_codes_are_made_where_they_are_copied(known: bool) -> None:
    steps = check(layer(64, 96, 64, known=known), "u8s8_linear_csr")
    assert any(name.startswith("loop") and units >= 64 * 96 for name, units in steps) == WORDS


@pytest.mark.skipif(
    isa_of(resolve("native")).tile_registers, reason="one core of Intel's servers copies codes slowly, too"
)
def test_one_core_makes_its_codes_first() -> None:
    steps = check(layer(64, 96, 64, known=True), "u8s8_linear_csr", threads=1)
    assert any(name.startswith("loop") and units >= 64 * 96 for name, units in steps)


def test_layers_of_the_same_activations_share_the_copy() -> None:
    steps = check(layer(64, 96, 64, twice=True), "u8s8_linear_csr")
    assert sum("tile_tokens" in name for name, _ in steps) == 1
    assert any(name.startswith("loop") and units >= 64 * 96 for name, units in steps) == WORDS


@pytest.mark.parametrize("before", ["Relu", "Sigmoid"])
def test_what_a_loop_makes_has_its_range_taken_too(before: str) -> None:
    check(layer(33, 64, 40, before=before))


def test_servers_with_tile_registers_make_64_codes_at_a_time() -> None:
    options = Options("x86-64-v4-amx", use_measurements=False, kernels=("u8s8_linear_csr",))
    assert "vpackuswb" in compile_text(layer(64, 96, 64).SerializeToString(), Level.ASM, options)
