"""Products of two quantised activations, as in attention, against whole numbers: codes must be the same."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import sparsec

KINDS = {"u8": (np.uint8, TensorProto.UINT8, 0, 255), "s8": (np.int8, TensorProto.INT8, -128, 127)}
SCALES = {"p": np.float32(0.021), "q": np.float32(0.013), "y": np.float32(0.037)}
OPSET = 13


def model(
    kinds: tuple[str, str], zeros: tuple[int, int], shape: tuple[int, int, int, int], layout: str, form: str
) -> onnx.ModelProto:
    """y = p q of float inputs p [b, i, k] and q, which `layout` brings to [b, k, j]; codes of y in "qlinear" form."""
    b, i, k, j = shape
    stored = {"upright": (b, k, j), "transposed": (b, j, k), "heads": (k, b, j), "turned heads": (j, b, k)}[layout]
    order = {"upright": None, "transposed": (0, 2, 1), "heads": (1, 0, 2), "turned heads": (1, 2, 0)}[layout]
    constants, nodes = [], []
    for name, kind, zero in zip("pq", kinds, zeros, strict=True):
        constants.append(numpy_helper.from_array(np.asarray(SCALES[name]), f"{name}_scale"))
        constants.append(numpy_helper.from_array(KINDS[kind][0](zero), f"{name}_zero"))
        nodes.append(helper.make_node("QuantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_codes"]))
    constants.append(numpy_helper.from_array(np.asarray(SCALES["y"]), "y_scale"))
    constants.append(numpy_helper.from_array(np.uint8(100), "y_zero"))

    def moved(name: str) -> str:
        if order is None:
            return name
        nodes.append(helper.make_node("Transpose", [name], [f"{name}_moved"], perm=order))
        return f"{name}_moved"

    names = {name: [f"{name}_codes", f"{name}_scale", f"{name}_zero"] for name in "pq"}
    if form == "qdq":
        for name in "pq":
            nodes.append(helper.make_node("DequantizeLinear", names[name], [f"{name}_float"]))
        nodes.append(helper.make_node("MatMul", ["p_float", moved("q_float")], ["y"]))
    else:
        right = moved("q_codes")
        if form == "qlinear":
            inputs = [*names["p"], right, "q_scale", "q_zero", "y_scale", "y_zero"]
            nodes.append(helper.make_node("QLinearMatMul", inputs, ["y"]))
        else:
            nodes.append(helper.make_node("MatMulInteger", ["p_codes", right, "p_zero", "q_zero"], ["y"]))
    result = {"qdq": TensorProto.FLOAT, "qlinear": TensorProto.UINT8, "integer": TensorProto.INT32}[form]
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("p", TensorProto.FLOAT, (b, i, k)),
            helper.make_tensor_value_info("q", TensorProto.FLOAT, stored),
        ],
        [helper.make_tensor_value_info("y", result, (b, i, j))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def check(
    kinds: tuple[str, str], zeros: tuple[int, int], shape: tuple[int, int, int, int], layout: str, form: str
) -> None:
    random = np.random.default_rng(0)
    b, i, k, j = shape
    codes = [
        random.integers(KINDS[kind][2], KINDS[kind][3] + 1, size).astype(np.int64)
        for kind, size in zip(kinds, ((b, i, k), (b, k, j)), strict=True)
    ]
    p, q = (
        ((each - zero) * SCALES[name].astype(np.float64)).astype(np.float32)
        for each, zero, name in zip(codes, zeros, "pq", strict=True)
    )
    back = {"upright": (0, 1, 2), "transposed": (0, 2, 1), "heads": (1, 0, 2), "turned heads": (2, 0, 1)}[layout]
    compiled = sparsec.compile(model(kinds, zeros, shape, layout, form))
    assert [layer.choice for layer in compiled.report.layers] == ["u8s8_matmul_dense"]
    found = np.asarray(compiled(p, np.ascontiguousarray(q.transpose(back))))
    sums = (codes[0] - zeros[0]) @ (codes[1] - zeros[1])
    if form == "integer":
        np.testing.assert_array_equal(found, sums)
    elif form == "qlinear":
        scale = np.float32(SCALES["p"] * SCALES["q"]) / SCALES["y"]
        expected = np.clip(np.rint(sums.astype(np.float32) * scale) + 100, 0, 255)
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, sums * np.float64(SCALES["p"]) * SCALES["q"], rtol=1e-6)


KIND = st.sampled_from(sorted(KINDS))
PART = st.floats(0, 1)


@settings(max_examples=20)
@given(
    st.tuples(KIND, KIND),
    st.tuples(PART, PART),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 70), st.integers(1, 40)),
    st.sampled_from(["upright", "transposed", "heads", "turned heads"]),
    st.sampled_from(["qdq", "qlinear", "integer"]),
)
def test_products(
    kinds: tuple[str, str], parts: tuple[float, float], shape: tuple[int, int, int, int], layout: str, form: str
) -> None:
    zeros = [math.floor(KINDS[kind][2] + 255 * part) for kind, part in zip(kinds, parts, strict=True)]
    check(kinds, (zeros[0], zeros[1]), shape, layout, form)


@pytest.mark.parametrize("form", ["qdq", "qlinear", "integer"])
def test_attention(form: str) -> None:
    check(("u8", "u8"), (120, 131), (12, 128, 64, 128), "turned heads", form)
    check(("u8", "u8"), (0, 131), (12, 128, 128, 64), "heads", form)


def test_sums_beyond_32_bits_stay_in_float32() -> None:
    compiled = sparsec.compile(model(("u8", "u8"), (0, 0), (1, 1, 33_026, 1), "upright", "qdq"))
    assert [layer.choice for layer in compiled.report.layers] == ["f32_matmul_dense"]
    assert any("32 bits" in note or "no kernel" in note for note in compiled.report.notes)
