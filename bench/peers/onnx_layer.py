"""The layer as the ONNX model that engines for models get: Y'[N, M] = X'[N, K] W'[K, M], one MatMul."""

from __future__ import annotations

import numpy as np

from bench.peers.peer import Layer


def onnx_layer(layer: Layer) -> bytes:
    """The model, of an opset that engines of 2023 read too."""
    from onnx import TensorProto, helper, numpy_helper

    m, k = layer.weight.shape
    n = layer.tokens.shape[0]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [n, k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [n, m])],
        [numpy_helper.from_array(np.ascontiguousarray(layer.weight.T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
