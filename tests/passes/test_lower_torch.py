"""lower_torch: what upstream does not lower is refused when the network is compiled, by the name of its node."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch_mlir import ir

import sparsec
from sparsec.errors import ToolchainError, UnsupportedOpError
from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.lower_torch import lower_torch
from sparsec.passes.unit import Unit


def test_the_operator_is_named_and_not_a_constant_that_it_reads() -> None:
    sizes = [numpy_helper.from_array(np.array(pair), name) for name, pair in (("image", [8, 9]), ("block", [3, 2]))]
    node = helper.make_node("Col2Im", ["x", "image", "block"], ["y"], name="folded", strides=[2, 2], pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12, 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 9])],
        sizes,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(UnsupportedOpError, match=r"folded(.|\n)*col2im"):
        sparsec.compile(model)


@pytest.mark.parametrize("always", [True, False])
def test_a_check_that_always_fails_is_refused_when_compiling(*, always: bool) -> None:
    text = f"""func.func @main(%given: i1) {{
      %false = arith.constant false
      cf.assert %{"false" if always else "given"}, "unimplemented: only even windows" loc("pool")
      return
    }}"""
    unit = Unit(ir.Module.parse(text, make_context()), WeightStore(), AVX512)
    if not always:
        lower_torch(unit)
        return
    with pytest.raises(ToolchainError, match=r"pool(.|\n)*even windows"):
        lower_torch(unit)
