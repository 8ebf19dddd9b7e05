"""Quantisations of ONNX, of all types and forms that they have, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

import sparsec
from sparsec.errors import UnsupportedOpError
from tests.quantised_models import reference

Array = NDArray[np.generic]
RANDOM = np.random.default_rng(0)
EXTREME = np.array([[np.nan, np.inf, -np.inf, -0.0, 1e38, -1e-45], [0.5, 1.5, -2.5, 3e9, 127.5, -3e9]], np.float32)
X = RANDOM.standard_normal((8, 6)).astype(np.float32)
LIMITS = {"INT4": (-8, 7), "UINT4": (0, 15), "INT16": (-32768, 32767), "UINT16": (0, 65535), "FLOAT8E4M3FN": (-4, 4)}


def stored(name: str, values: object, element: str = "FLOAT") -> onnx.TensorProto:
    array = np.asarray(values)
    return helper.make_tensor(name, getattr(TensorProto, element), array.shape, array.reshape(-1).tolist())


def model(nodes: list[NodeProto], constants: list[onnx.TensorProto], x: Array, y: str, opset: int) -> onnx.ModelProto:
    """From "x" to "y", which is of the type `y`."""
    graph = helper.make_graph(
        nodes,
        "codes",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", getattr(TensorProto, y), None)],
        constants,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def same(proto: onnx.ModelProto, x: Array) -> None:
    (expected,) = reference(proto, {"x": x})
    (found,) = sparsec.compile(proto).run({"x": x}).values()
    np.testing.assert_array_equal(found, expected)


def scales(form: str) -> tuple[tuple[int, ...], dict[str, int]]:
    """The shape of scales of X, and the attributes that say so."""
    shapes = {"tensor": (), "channel": (6,), "blocks": (2, 6), "blocks of rows": (8, 2)}
    attributes = {"tensor": {}, "channel": {"axis": -1}, "blocks": {"axis": 0, "block_size": 4}}
    return shapes[form], attributes.get(form, {"axis": 1, "block_size": 3})


FORMS = ["tensor", "channel", "blocks", "blocks of rows"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("element", ["UINT8", "INT8", "INT16", "UINT16", "INT4", "UINT4"])
def test_there_and_back(element: str, form: str) -> None:
    """Codes may be moved in between; also those that have no type of their own later on."""
    shape, attributes = scales(form)
    constants = [stored("s", RANDOM.uniform(0.1, 0.3, shape)), stored("z", RANDOM.integers(0, 5, shape), element)]
    there = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes)
    back = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes)
    same(model([there, back], constants, X, "FLOAT", 21), X)
    if form == "tensor" and element.endswith("16"):
        turned = helper.make_node("Transpose", ["q"], ["t"])
        back.input[0] = "t"
        proto = model([there, turned, back], constants, X, "FLOAT", 21)
        same(onnx.shape_inference.infer_shapes(proto), X)


@pytest.mark.parametrize("element", ["UINT8", "INT8", "INT16"])
@pytest.mark.parametrize("scale", [0.5, 1e-40, 3e38])
def test_extreme_numbers(element: str, scale: float) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    same(model([node], [stored("s", scale), stored("z", 7, element)], EXTREME, element, 21), EXTREME)


@pytest.mark.parametrize("target", ["UINT8", "INT8"])
def test_half_precision(target: str) -> None:
    x = np.clip(EXTREME, -6e4, 6e4).astype(np.float16)
    constants = [stored("s", 0.25, "FLOAT16"), stored("z", 3, target)]
    there = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    same(model([there], constants, x, target, 19), x)
    there.output[0] = "q"
    back = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])
    same(model([there, back], constants, x, "FLOAT16", 19), x)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("element", sorted(LIMITS))
def test_weights(element: str, form: str) -> None:
    """Dequantised constants of any type, with one scale, one for each output, and one for each block."""
    shape, attributes = scales(form)
    low, high = LIMITS[element]
    constants = [
        stored("w", RANDOM.integers(low, high + 1, X.shape), element),
        stored("s", RANDOM.uniform(0.1, 1, shape)),
    ]
    operands = ["w", "s"]
    if "FLOAT" not in element:
        constants.append(stored("z", RANDOM.integers(0, 5, shape), element))
        operands.append("z")
    back = helper.make_node("DequantizeLinear", operands, ["f"], **attributes)
    proto = model([back, helper.make_node("Add", ["x", "f"], ["y"])], constants, X, "FLOAT", 21)
    same(proto, X)


@pytest.mark.parametrize("element", ["INT16", "FLOAT8E4M3FN"])
def test_a_single_number(element: str) -> None:
    back = helper.make_node("DequantizeLinear", ["w", "s"], ["f"])
    constants = [stored("w", 3, element), stored("s", 0.3)]
    same(model([back, helper.make_node("Add", ["x", "f"], ["y"])], constants, X, "FLOAT", 21), X)


def test_weights_of_four_bits_multiply_as_bytes() -> None:
    """With one scale for each output they are quantised weights like others."""
    w = RANDOM.integers(-8, 8, (6, 5))
    constants = [
        stored("w", w, "INT4"),
        stored("sw", RANDOM.uniform(0.1, 1, 5)),
        stored("s", 0.05),
        stored("z", 128, "UINT8"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wf"], axis=1),
        helper.make_node("MatMul", ["xf", "wf"], ["y"]),
    ]
    proto = model(nodes, constants, X, "FLOAT", 21)
    compiled = sparsec.compile(proto)
    (found,) = compiled.run({"x": X}).values()
    np.testing.assert_allclose(found, reference(proto, {"x": X})[0], rtol=1e-5, atol=1e-5)
    assert compiled.report.layers[0].choice.startswith("u8s8")


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("element", ["UINT8", "INT8", "INT16", "UINT16"])
def test_domain_of_onnx_runtime(element: str, axis: int | None) -> None:
    """Its quantisers say so where operator set 13 lacks the types."""
    shape, attributes = ((6,), {"axis": 1}) if axis else ((), {})
    constants = [stored("s", RANDOM.uniform(0.1, 0.3, shape)), stored("z", RANDOM.integers(0, 5, shape), element)]
    nodes = [
        helper.make_node(op, [value, "s", "z"], [to], domain="com.microsoft", **attributes)
        for op, value, to in (("QuantizeLinear", "x", "q"), ("DequantizeLinear", "q", "y"))
    ]
    same(model(nodes, constants, X, "FLOAT", 13), X)


@pytest.mark.parametrize("element", ["UINT16", "INT4", "FLOAT8E4M3FN"])
def test_results_without_a_type_are_refused(element: str) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    proto = model([node], [stored("s", 0.1), stored("z", 0, element)], X, element, 21)
    with pytest.raises(UnsupportedOpError, match=f"element type {element.lower()} of '[yz]' is not supported"):
        sparsec.compile(proto)


def test_codes_of_eight_bit_floats_are_refused() -> None:
    constants = [stored("s", 0.1), stored("z", 0, "FLOAT8E4M3FN")]
    there = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    back = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])
    with pytest.raises(UnsupportedOpError, match="codes of this type are not supported"):
        sparsec.compile(model([there, back], constants, X, "FLOAT", 21))


def test_constants_without_a_type_are_refused() -> None:
    """Upstream would end the process."""
    table = numpy_helper.from_array(np.arange(48, dtype=np.uint16).reshape(8, 6), "table")
    nodes = [
        helper.make_node("Equal", ["table", "x"], ["e"]),
        helper.make_node("Cast", ["e"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [table], np.zeros((8, 6), np.uint16), "FLOAT", 19)
    with pytest.raises(UnsupportedOpError, match="element type uint16 of 'table' is not supported"):
        sparsec.compile(proto)
