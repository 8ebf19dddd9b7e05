"""Operators of ONNX Runtime on weights of few bits, packed in blocks that have a scale each, with the weights unpacked.

How they are packed: onnxruntime/docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sparsec.frontends.onnx_expansion import Expansion

_BITS = (2, 4, 8)


def _matmul(e: Expansion) -> bool:
    """x [..., K], weight [N, blocks, bytes], scales, zero points, order of inputs, bias."""
    bits, block = e.integer("bits", 4), e.integer("block_size", 0)
    outputs, inputs = e.integer("N", 0), e.integer("K", 0)
    codes, scales, zeros = (e.array(e.input(index)) for index in (1, 2, 3))
    if e.input(4) or bits not in _BITS or codes is None or scales is None or (e.input(3) and zeros is None):
        return False
    blocks = -(-inputs // block)
    numbers = _unpacked(codes.reshape(outputs * blocks, -1), bits, block)
    centred = numbers - _zeros(zeros, (outputs, blocks), bits)
    real = centred * scales.reshape(-1, 1).astype(np.float32)
    weight = np.ascontiguousarray(real.reshape(outputs, -1)[:, :inputs].T.astype(scales.dtype))
    product = e.emit("MatMul", [e.input(0), e.constant("weight", weight)], "" if e.input(5) else e.output)
    if e.input(5):
        e.emit("Add", [product, e.input(5)], e.output)
    return True


def _gather(e: Expansion) -> bool:
    """Table [rows, bytes], places, scales [rows, blocks], zero points: rows of a table that is packed along its last axis."""
    bits, block = e.integer("bits", 4), e.integer("block_size", 128)
    codes, scales, zeros = (e.array(e.input(index)) for index in (0, 2, 3))
    along, across = e.integer("quantize_axis", 1), e.integer("gather_axis", 0)
    if bits not in _BITS or codes is None or scales is None or (e.input(3) and zeros is None):
        return False
    if codes.dtype != np.uint8 or codes.ndim != 2 or across or along not in (1, -1):
        return False
    numbers = _unpacked(codes, bits, codes.shape[1] * 8 // bits)
    centre = np.broadcast_to(_zeros(zeros, (len(scales), scales.shape[1]), bits).reshape(-1, 1), (scales.size, 1))
    of_blocks = (centre.reshape(scales.shape), scales.astype(np.float32))
    centre, scale = (np.repeat(each, block, 1)[:, : numbers.shape[1]] for each in of_blocks)
    table = e.constant("table", ((numbers - centre) * scale).astype(scales.dtype))
    e.emit("Gather", [table, e.input(1)], e.output)
    return True


def _zeros(zeros: NDArray[np.generic] | None, shape: tuple[int, int], bits: int) -> NDArray[np.float32]:
    """The zero point of each block, [rows * blocks, 1]: those given, packed by rows or not, or the middle of the range."""
    rows, blocks = shape
    if zeros is None:
        return np.full((1, 1), 1 << (bits - 1), np.float32)
    if zeros.dtype == np.uint8:
        zeros = _unpacked(zeros.reshape(rows, -1), bits, blocks)
    return zeros.reshape(-1, 1).astype(np.float32)


def _unpacked(packed: NDArray[np.generic], bits: int, count: int) -> NDArray[np.float32]:
    """The first `count` numbers of each row of bytes [rows, bytes], whose lowest bits come first."""
    each = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")[:, : count * bits]
    powers = (1 << np.arange(bits)).astype(np.float32)
    return np.asarray(each.reshape(len(each), count, bits) @ powers)


PACKED: Mapping[str, Callable[[Expansion], bool]] = {"GatherBlockQuantized": _gather, "MatMulNBits": _matmul}
