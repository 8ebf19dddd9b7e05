"""Small models of quantised layers, how they are run, and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

import sparsec
from sparsec.reference import OnnxRuntime

Array = NDArray[np.generic]
SLOW = settings(max_examples=12, suppress_health_check=list(HealthCheck))
LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
PROTO = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def model(
    nodes: list[NodeProto],
    constants: Mapping[str, object],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, str],
    contrib: bool = False,
) -> onnx.ModelProto:
    """A model of `nodes`; inputs are like the arrays given, `outputs` says the type of each output."""
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info(k, PROTO[str(v.dtype)], v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, PROTO[v], None) for k, v in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid("com.microsoft", 1)] if contrib else [])]
    made = helper.make_model(graph, opset_imports=domains)
    made.ir_version = 8
    return made


def run(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> tuple[list[Array], sparsec.CompiledModel]:
    compiled = sparsec.compile(proto)
    return list(compiled.run(feeds).values()), compiled


def reference(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    return OnnxRuntime(proto, exact=True).run(feeds)


def choices(compiled: sparsec.CompiledModel) -> list[str]:
    return [layer.choice.split("_")[0] for layer in compiled.report.layers]


def requantised(total: Array, scale: Array, zero: int, dtype: str) -> Array:
    """Round half to even of float32(total) * scale, plus the zero point, saturated."""
    low, high = LIMITS[dtype]
    return np.clip(np.rint(total.astype(np.float32) * scale) + zero, low, high).astype(dtype)


def within_a_step(found: Array, expected: Array, compiled: sparsec.CompiledModel) -> None:
    """Equal where the layer is computed on bytes; float32 may round a tie to the other side."""
    if choices(compiled) == ["u8s8"]:
        np.testing.assert_array_equal(found, expected)
    else:
        assert np.abs(found.astype(np.int64) - expected.astype(np.int64)).max(initial=0) <= 1
