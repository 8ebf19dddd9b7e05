"""RoiAlign of ONNX (mode avg) as two matrix products for each region; upstream has no lowering of it.

Bilinear interpolation and the mean of a bin's samples are separable: along each axis, a bin is a weighted sum of the operand's
elements, and its weights are the mean of tents, one for each sample (He et al. 2017, Mask R-CNN).
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder


def roi_align(b: Builder) -> list[NodeProto] | None:
    """x [batch, channels, rows, columns], regions [n, 4] (left, top, right, bottom), samples [n] that they are of."""
    source, regions = b.shape(b.input(0)), b.shape(b.input(1))
    if source is None or regions is None or b.element(b.input(0)) != TensorProto.FLOAT:
        return None
    if b.word("mode", "avg") != "avg":
        raise b.refuse("only means of samples are known (mode = avg)")
    if b.integer("sampling_ratio", 0) <= 0:
        raise b.refuse("how many samples a bin has depends on the data (sampling_ratio = 0)")
    down = _weights(b, 1, source[2], b.integer("output_height", 1))
    across = _weights(b, 0, source[3], b.integer("output_width", 1))
    x = b.emit("Gather", b.input(0), b.input(2), attributes={"axis": 0})
    rows = b.emit("MatMul", b.emit("Unsqueeze", down, b.whole(1)), x)
    turned = b.emit("Transpose", across, attributes={"perm": [0, 2, 1]})
    b.emit("MatMul", rows, b.emit("Unsqueeze", turned, b.whole(1)), to=b.node.output[0])
    return b.nodes


def _weights(b: Builder, side: int, size: int, bins: int) -> str:
    """[n, bins, size]: what each bin takes of each element along an axis; a sample beyond the neighbour of the last is zero."""
    half = b.word("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    samples, scale = b.integer("sampling_ratio", 0), b.real("spatial_scale", 1.0)
    begin, end = (_edge(b, column, scale, 0.5 if half else 0.0) for column in (side, side + 2))
    extent = b.emit("Sub", end, begin)
    extent = extent if half else b.emit("Max", extent, _float(b, 1.0))
    shares = (np.arange(bins * samples) + 0.5) / (bins * samples)
    steps = b.constant(f"shares.{side}", shares.reshape(1, bins * samples).astype(np.float32))
    place = b.emit("Add", begin, b.emit("Mul", extent, steps))
    clipped = b.emit("Clip", place, _float(b, 0.0), _float(b, size - 1))
    elements = b.constant(f"elements.{side}", np.arange(size, dtype=np.float32))
    distance = b.emit("Abs", b.emit("Sub", b.emit("Unsqueeze", clipped, b.whole(-1)), elements))
    tent = b.emit("Relu", b.emit("Sub", _float(b, 1.0), distance))
    near = b.emit(
        "And", b.emit("GreaterOrEqual", place, _float(b, -1.0)), b.emit("LessOrEqual", place, _float(b, size))
    )
    tent = b.emit("Mul", tent, b.emit("Unsqueeze", b.cast(near, TensorProto.FLOAT), b.whole(-1)))
    parted = b.emit("Reshape", tent, b.whole(0, bins, samples, size))
    return b.emit("Squeeze", b.reduce("ReduceMean", parted, [2]), b.whole(2))


def _edge(b: Builder, column: int, scale: float, offset: float) -> str:
    """[n, 1]: one number of each region, in elements."""
    edge = b.emit("Slice", b.input(1), b.whole(column), b.whole(column + 1), b.whole(1))
    return b.emit("Sub", b.emit("Mul", edge, _float(b, scale)), _float(b, offset))


def _float(b: Builder, value: float) -> str:
    return b.number(value, TensorProto.FLOAT)
