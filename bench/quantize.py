"""Static int8 forms of an ONNX model: u8 activations by the extremes that a random input gives, s8 weights without a zero point.

The operator form is what DeepSparse and SparseML use: QuantizeLinear, MatMulInteger, Cast, Mul; convolutions as QLinearConv.
The QDQ form is what OpenVINO and ONNX Runtime's own tools want. In transformers only the linears become int8, in
convolutional networks what ONNX Runtime's `quantize_static` makes int8. Zeros of weights stay zeros.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bench.peers.network import QDQ
from bench.peers.peer import F32, Array
from bench.prune import weighted
from bench.sparse_zoo import feeds_of

_CALIBRATION_RUNS = 2


def quantize(source: Path, target: Path, form: str) -> None:
    """Write the form of `source` to `target`."""
    model = onnx.load(source)
    if any(node.op_type == "Conv" for node in model.graph.node):
        _quantize_static(source, target, form)
        return
    quantize_linears(model, ranges_of(source), form)
    onnx.save(model, target)


def ranges_of(source: Path) -> dict[str, tuple[float, float]]:
    """Least and greatest value, zero included, of each tensor that a linear multiplies by a constant."""
    import onnxruntime

    model = onnx.load(source)
    names = sorted({node.input[0] for node, _ in weighted(model)})
    known = {each.name for each in model.graph.input}
    asked = [name for name in names if name not in known]
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in asked)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = feeds_of(source)
    found: Sequence[Array] = session.run(asked, feeds)
    values = {**{name: feeds[name] for name in names if name in known}, **dict(zip(asked, found, strict=True))}
    return {name: (min(float(np.min(each)), 0.0), max(float(np.max(each)), 0.0)) for name, each in values.items()}


def quantize_linears(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], form: str) -> None:
    """Make every MatMul by a constant int8, in place."""
    weights = {node.output[0]: tensor for node, tensor in weighted(model) if node.op_type == "MatMul"}
    constants, nodes, done = model.graph.initializer, list[onnx.NodeProto](), set[str]()
    for node in model.graph.node:
        tensor = weights.get(node.output[0])
        if tensor is None:
            nodes.append(node)
            continue
        x, y = node.input[0], node.output[0]
        low, high = ranges[x]
        x_scale, x_zero = activation_scale(low, high)
        if x not in done:
            done.add(x)
            constants.append(numpy_helper.from_array(np.array(x_scale), f"{x}_scale"))
            constants.append(numpy_helper.from_array(np.array(x_zero), f"{x}_zero"))
            nodes.append(helper.make_node("QuantizeLinear", [x, f"{x}_scale", f"{x}_zero"], [f"{x}_q"]))
            if form == QDQ:
                nodes.append(helper.make_node("DequantizeLinear", [f"{x}_q", f"{x}_scale", f"{x}_zero"], [f"{x}_dq"]))
        weight, w_scale = quantized_weight(numpy_helper.to_array(tensor))
        constants.append(numpy_helper.from_array(weight, f"{y}_w"))
        constants.append(numpy_helper.from_array(np.array(0, np.int8), f"{y}_w_zero"))
        scale = w_scale if form == QDQ else w_scale * x_scale
        constants.append(numpy_helper.from_array(np.array(scale, np.float32), f"{y}_scale"))
        nodes += (_qdq_matmul if form == QDQ else _integer_matmul)(x, y)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model)


def activation_scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of u8 activations from `low` (at most 0) to `high` (at least 0)."""
    scale = np.float32((high - low) / 255 or 1.0)
    return scale, np.uint8(round(-low / float(scale)))


def quantized_weight(weight: F32) -> tuple[NDArray[np.int8], np.float32]:
    """Signed 8-bit weight and its scale; zeros stay zeros."""
    scale = np.float32(float(np.abs(weight).max(initial=0.0)) / 127 or 1.0)
    return np.rint(weight / scale).astype(np.int8), scale


def _integer_matmul(x: str, y: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMulInteger", [f"{x}_q", f"{y}_w", f"{x}_zero", f"{y}_w_zero"], [f"{y}_sum"]),
        helper.make_node("Cast", [f"{y}_sum"], [f"{y}_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{y}_float", f"{y}_scale"], [y]),
    ]


def _qdq_matmul(x: str, y: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("DequantizeLinear", [f"{y}_w", f"{y}_scale", f"{y}_w_zero"], [f"{y}_w_dq"]),
        helper.make_node("MatMul", [f"{x}_dq", f"{y}_w_dq"], [y]),
    ]


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _quantize_static(source: Path, target: Path, form: str) -> None:
    """By ONNX Runtime's own tool; what it makes int8 depends on the form, as in the peers' recipes."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = list(range(_CALIBRATION_RUNS))

        def get_next(self) -> dict[str, Array] | None:
            return feeds_of(source, self.left.pop()) if self.left else None

    logging.disable(logging.WARNING)  # advice to optimise the model first: peers' users quantise it as it is
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ if form == QDQ else QuantFormat.QOperator,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=False,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", *(["Add", "GlobalAveragePool"] if form == QDQ else [])],
        )
    finally:
        logging.disable(logging.NOTSET)
