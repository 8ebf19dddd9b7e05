"""What is done to codes between quantised layers, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tests.quantised_models import LIMITS, SLOW, Array, model, reference, run


@SLOW
@given(st.sampled_from(sorted(LIMITS)), st.booleans(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
def test_maxima_between_quantisations(dtype: str, alike: bool, height: int, width: int, seed: int) -> None:
    """Alike, they are maxima of codes; otherwise the quantisation comes first."""
    random = np.random.default_rng(seed)
    low, high = LIMITS[dtype]
    x = random.integers(low, high + 1, (1, 3, 7, 8)).astype(dtype)
    pads = [random.integers(0, size // 2 + 1) for size in (height, width, height, width)]
    constants = {
        "sx": np.float32(0.03),
        "zx": x.dtype.type(5),
        "sy": np.float32(0.03 if alike else 0.0371),
        "zy": x.dtype.type(5 if alike else 9),
    }
    window = {"kernel_shape": [height, width], "strides": [2, 1], "pads": pads}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("MaxPool", ["xf"], ["m"], **window),
        helper.make_node("QuantizeLinear", ["m", "sy", "zy"], ["y"]),
    ]
    proto = model(nodes, constants, {"x": x}, {"y": dtype})
    np.testing.assert_array_equal(run(proto, {"x": x})[0][0], reference(proto, {"x": x})[0])


@pytest.mark.parametrize("dtype", sorted(LIMITS))
def test_long_functions_of_codes_are_tables(dtype: str) -> None:
    """GELU with a quantisation after each step, of every code."""
    x = np.arange(*LIMITS[dtype], dtype=dtype).reshape(1, -1)
    constants: dict[str, object] = {"root": np.float32(2**0.5), "one": np.float32(1), "z": x.dtype.type(3)}
    nodes, value = [helper.make_node("DequantizeLinear", ["x", "s0", "z"], ["v0"])], "v0"
    steps = [("Div", "root"), ("Erf", ""), ("Add", "one"), ("Mul", "v0"), ("Tanh", ""), ("Sigmoid", "")]
    scales = [0.04, 0.03, 0.01, 0.02, 0.04, 0.01, 0.01]
    for i, (op, other) in enumerate(steps, 1):
        nodes.append(helper.make_node(op, [value, other] if other else [value], [f"r{i}"]))
        nodes.append(helper.make_node("QuantizeLinear", [f"r{i}", f"s{i}", "z"], [f"q{i}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", "z"], [f"v{i}"]))
        value = f"v{i}"
    constants |= {f"s{i}": np.float32(scale) for i, scale in enumerate(scales)}
    proto = model(nodes, constants, {"x": x}, {value: "float32"})
    (found,), _ = run(proto, {"x": x})
    assert np.abs(found - reference(proto, {"x": x})[0]).max() <= 1.01 * scales[-1]


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("op", ["Relu", "MaxPool"])
def test_codes_that_fall_where_numbers_rise(op: str, computed: bool) -> None:
    """With a negative scale, ReLU and maxima of numbers are not those of codes."""
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {"x": random.integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)}
    constants: dict[str, object] = {"w": random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8), "zy": np.uint8(110)}
    constants |= {"s": np.float32(0.03), "z": np.uint8(120), "sw": np.float32(0.01), "zw": np.int8(0)}
    (feeds if computed else constants)["sy"] = np.array(-0.5, np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["c"]),
        helper.make_node(op, ["c"], ["m"], **({"kernel_shape": [2, 2]} if op == "MaxPool" else {})),
        helper.make_node("QuantizeLinear", ["m", "sy", "zy"], ["y"]),
    ]
    proto = model(nodes, constants, feeds, {"y": "uint8"})
    np.testing.assert_array_equal(run(proto, feeds)[0][0], reference(proto, feeds)[0])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4)])
def test_range_of_what_is_quantised(shape: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    proto = model([node], {}, {"x": x}, {"y": "uint8", "s": "float32", "z": "uint8"})
    for found, expected in zip(run(proto, {"x": x})[0], reference(proto, {"x": x}), strict=True):
        np.testing.assert_array_equal(found, expected)


CONTRIB = {
    "QLinearAdd": (2, {}),
    "QLinearMul": (2, {}),
    "QLinearSigmoid": (1, {}),
    "QLinearLeakyRelu": (1, {"alpha": 0.1}),
    "QLinearGlobalAveragePool": (1, {}),
    "QLinearAveragePool": (1, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearSoftmax": (1, {"axis": -1, "opset": 17}),
}


@pytest.mark.parametrize("op", sorted(CONTRIB))
def test_operators_of_onnx_runtime(op: str) -> None:
    count, attributes = CONTRIB[op]
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {f"x{i}": random.integers(0, 256, (2, 3, 4, 6)).astype(np.uint8) for i in range(count)}
    constants: dict[str, object] = {"sy": np.float32(0.01 if op != "QLinearMul" else 5), "zy": np.uint8(9)}
    operands: list[str] = []
    for i in range(count):
        constants |= {f"s{i}": np.float32(0.02 + 0.01 * i), f"z{i}": np.uint8(100 + i)}
        operands += [f"x{i}", f"s{i}", f"z{i}"]
    nodes = [helper.make_node(op, [*operands, "sy", "zy"], ["y"], domain="com.microsoft", **attributes)]
    proto = model(nodes, constants, feeds, {"y": "uint8"}, contrib=True)
    (found,), _ = run(proto, feeds)
    (expected,) = reference(proto, feeds)
    assert np.abs(found.astype(np.int64) - expected.astype(np.int64)).max() <= 1


def test_concatenation_of_codes() -> None:
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {f"x{i}": random.integers(0, 256, (2, 3 + i)).astype(np.uint8) for i in range(2)}
    constants = {f"s{i}": np.float32(0.02 + 0.01 * i) for i in range(3)} | {f"z{i}": np.uint8(9 * i) for i in range(3)}
    operands = ["s2", "z2", "x0", "s0", "z0", "x1", "s1", "z1"]
    nodes = [helper.make_node("QLinearConcat", operands, ["y"], domain="com.microsoft", axis=1)]
    proto = model(nodes, constants, feeds, {"y": "uint8"}, contrib=True)
    np.testing.assert_array_equal(run(proto, feeds)[0][0], reference(proto, feeds)[0])


def test_the_reference_adds_large_codes_exactly() -> None:
    """255 * 127 twice is more than 16 bits hold, in which processors without VNNI add pairs."""
    x, w = np.full((2, 8), 255, np.uint8), np.full((8, 4), 127, np.int8)
    proto = model([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], {"w": w}, {"x": x}, {"y": "int32"})
    np.testing.assert_array_equal(reference(proto, {"x": x})[0], np.full((2, 4), 8 * 255 * 127))
