"""Magnitude pruning (Han et al., NIPS 2015) of ONNX models, layer by layer, as the peers' users do it: no weight is trained
again.

What stays dense: the first convolution, grouped and depthwise convolutions, embeddings, and layers that the blocks do
not divide. Only the pattern "kernels" has zeros in grouped and depthwise convolutions: as in "SparseByteNN" (Xu et al.,
2023) each kernel keeps the taps of one of a few patterns, which neighbouring filters share.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bench.peers.peer import F32
from bench.spmm_cells import block_of

_LINEAR = ("MatMul", "Gemm")
KERNELS = "kernels"
_LIBRARY, _SHARING = 4, 4  # patterns of taps, and filters that share one


def prune(model: onnx.ModelProto, pattern: str, sparsity: float) -> float:
    """Set the blocks of least magnitude in each layer to zero, in place; returns the share of zeros in the pruned layers."""
    weights = nonzeros = 0
    for node, tensor in prunable(model, grouped=pattern == KERNELS):
        pruned = _pruned(node, numpy_helper.to_array(tensor), pattern, sparsity)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(pruned), tensor.name))
        weights, nonzeros = weights + pruned.size, nonzeros + int(np.count_nonzero(pruned))
    return 1 - nonzeros / max(weights, 1)


def _pruned(node: onnx.NodeProto, weight: F32, pattern: str, sparsity: float) -> NDArray[np.float32]:
    if pattern == KERNELS and node.op_type == "Conv" and weight[0, 0].size > 1:
        depthwise = weight.shape[1] == 1
        return prune_kernels(weight, sparsity, 1 if depthwise or weight.shape[0] % _SHARING else _SHARING)
    rows, columns = (_SHARING, 1) if pattern == KERNELS else block_of(pattern)
    return from_matrix(node, prune_matrix(as_matrix(node, weight), sparsity, rows, columns), weight.shape)


def prune_kernels(weight: F32, sparsity: float, sharing: int) -> F32:
    """Filters [M, C, taps...] of which each kernel has the best of a few patterns of taps, the same in `sharing` filters."""
    filters, channels = weight.shape[:2]
    taps = weight[0, 0].size
    random, kept = np.random.default_rng(0), max(1, round(taps * (1 - sparsity)))
    library = np.array([random.permutation(taps) < kept for _ in range(_LIBRARY)])
    sizes = np.abs(weight).reshape(filters // sharing, sharing, channels, taps).sum(axis=1)
    best = (sizes[:, :, None, :] * library).sum(axis=3).argmax(axis=2)
    return np.where(library[best].repeat(sharing, axis=0).reshape(weight.shape), weight, np.float32(0))


def prune_matrix(weight: F32, sparsity: float, rows: int, columns: int) -> F32:
    """W [M, K] without the blocks of `rows` x `columns` whose sum of magnitudes is least; W itself if they do not divide it."""
    m, k = weight.shape
    if m % rows or k % columns:
        return weight
    size = np.abs(weight).reshape(m // rows, rows, k // columns, columns).sum(axis=(1, 3), dtype=np.float64)
    kept = np.ones(size.size, np.bool_)
    kept[np.argsort(size, axis=None, kind="stable")[: int(size.size * sparsity)]] = False
    return weight * kept.reshape(size.shape).repeat(rows, axis=0).repeat(columns, axis=1)


def prunable(model: onnx.ModelProto, *, grouped: bool = False) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """The layers with the initializers that hold their weights; with `grouped`, also convolutions of several groups."""
    is_first = True
    for node, tensor in weighted(model):
        if node.op_type == "Conv":
            was_first, is_first = is_first, False
            if was_first or (not grouped and _integer(node, "group", 1) > 1):
                continue
        yield node, tensor


def weighted(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """All convolutions and linears whose weight is an initializer, with it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("Conv", *_LINEAR) or node.input[1] not in constants:
            continue
        tensor = constants[node.input[1]]
        if node.op_type == "Conv" or len(tensor.dims) == 2:
            yield node, tensor


def as_matrix(node: onnx.NodeProto, weight: F32) -> F32:
    """The weight as [outputs, inputs]; of a convolution, kernel positions first and channels last, so that neighbours share one."""
    if node.op_type == "Conv":
        return np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1)
    return weight if _integer(node, "transB", 0) else weight.T


def from_matrix(node: onnx.NodeProto, matrix: F32, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The inverse of `as_matrix` for a weight of `shape`."""
    if node.op_type == "Conv":
        return np.moveaxis(matrix.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
    return matrix if _integer(node, "transB", 0) else matrix.T


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)
