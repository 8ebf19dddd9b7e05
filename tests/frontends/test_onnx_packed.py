"""Products and tables with weights of few bits, as ONNX Runtime packs them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import sparsec
from tests.quantised_models import Array, reference


@pytest.mark.parametrize("zeros", ["middle", "packed", "real"])
@pytest.mark.parametrize(
    ("bits", "block", "inputs", "outputs"), [(4, 32, 50, 7), (4, 16, 64, 4), (8, 16, 40, 3), (2, 16, 80, 5)]
)
def test_matmul(bits: int, block: int, inputs: int, outputs: int, zeros: str) -> None:
    """With a last block that is not whole, odd numbers of blocks, and a bias."""
    random = np.random.default_rng(0)
    x, blocks = random.standard_normal((2, 3, inputs)).astype(np.float32), -(-inputs // block)
    constants: dict[str, Array] = {
        "w": random.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8),
        "s": random.uniform(0.01, 0.1, (outputs, blocks)).astype(np.float32),
        "b": random.standard_normal(outputs).astype(np.float32),
    }
    if zeros == "packed":
        constants["z"] = random.integers(0, 256, (outputs, -(-blocks * bits // 8))).astype(np.uint8)
    elif zeros == "real":
        if bits != 4:
            pytest.skip("ONNX Runtime takes such zero points with four bits only")
        constants["z"] = random.uniform(0, 15, (outputs, blocks)).astype(np.float32)
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s", "z" if "z" in constants else "", "", "b"],
        ["y"],
        domain="com.microsoft",
        K=inputs,
        N=outputs,
        bits=bits,
        block_size=block,
    )
    check(node, {"x": x}, constants)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("bits", "block", "width"), [(4, 16, 40), (4, 32, 32), (8, 16, 48)])
def test_rows_of_a_table(bits: int, block: int, width: int, zeros: bool) -> None:
    random = np.random.default_rng(0)
    blocks = -(-width // block)
    constants: dict[str, Array] = {
        "t": random.integers(0, 256, (10, width * bits // 8)).astype(np.uint8),
        "s": random.uniform(0.01, 0.1, (10, blocks)).astype(np.float32),
    }
    if zeros:
        constants["z"] = random.integers(0, 256, (10, -(-blocks * bits // 8))).astype(np.uint8)
    attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    operands = ["t", "x", "s", *(["z"] if zeros else [])]
    node = helper.make_node("GatherBlockQuantized", operands, ["y"], domain="com.microsoft", **attributes)
    check(node, {"x": np.array([[0, 3], [9, 1]])}, constants)


def check(node: NodeProto, feeds: dict[str, Array], constants: dict[str, Array]) -> None:
    graph = helper.make_graph(
        [node],
        "packed",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(feeds["x"].dtype), feeds["x"].shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (found,) = sparsec.compile(proto).run(feeds).values()
    np.testing.assert_allclose(found, reference(proto, feeds)[0], rtol=1e-5, atol=1e-4)
