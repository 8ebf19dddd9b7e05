"""The tile registers of AMX: 16 rows of 16 words, and the instruction that multiplies two of them.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, "Programming with Intel AMX". Row i of a product of
x [16 rows][16 words] and w [16 words][16 columns] adds up word by word: sums[i][j] += x[i][k] * w[k][j], 16,384 products of
bytes in 16 cycles. There are eight registers: two tiles of x and two of w, each loaded once, feed four of sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, memref

from sparsec.kernels.emit import Buffer
from sparsec.kernels.index import Index

SIDE = 16  # rows of a tile, and words in a row
TILE = SIDE * SIDE
ROW_BYTES = 4 * SIDE
TILE_BYTES = 4 * TILE
INSTRUCTIONS = {"u8s8": "tdpbusd", "bf16": "tdpbf16ps"}  # where x is the left operand
WEIGHTS_LEFT = "tdpbsud"  # the same of bytes, where signed weights are


def pack_tiles(matrix: NDArray[np.generic]) -> NDArray[np.generic]:
    """Words [outputs, words] as tiles [outputs / 16][words / 16][16 words][16 outputs], filled up with zeros."""
    outputs, depth = matrix.shape
    padded = np.pad(matrix, ((0, -outputs % SIDE), (0, -depth % SIDE)))
    return padded.reshape(-1, SIDE, padded.shape[1] // SIDE, SIDE).transpose(0, 2, 3, 1).reshape(-1)


def address(buffer: Buffer) -> Index:
    """Where a buffer begins, in bytes."""
    return Index(dynamic=memref.extract_aligned_pointer_as_index(buffer.memref))


def zero() -> ir.Value:
    """A tile of zeros."""
    return _tile("llvm.x86.tilezero.internal")


def load(at: Index, pitch: int = ROW_BYTES) -> ir.Value:
    """The tile at this address, rows so many bytes apart."""
    return _tile("llvm.x86.tileloadd64.internal", _pointer(at), _constant(64, pitch))


def multiply_add(instruction: str, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
    """total + left [rows][words] * right [words][columns]."""
    return _tile(f"llvm.x86.{instruction}.internal", _constant(16, ROW_BYTES), total, left, right)


def store(tile: ir.Value, at: Index, pitch: int = ROW_BYTES) -> None:
    """Store a tile to this address, rows so many bytes apart."""
    operands = [_constant(16, SIDE), _constant(16, ROW_BYTES), _pointer(at), _constant(64, pitch), tile]
    llvm.call_intrinsic(None, ir.StringAttr.get("llvm.x86.tilestored64.internal"), operands, [], [])


def _tile(intrinsic: str, *operands: ir.Value) -> ir.Value:
    """A tile of 16 rows of 64 bytes that an intrinsic gives."""
    shape = [_constant(16, SIDE), _constant(16, ROW_BYTES)]
    kind = ir.Type.parse("!llvm.x86_amx")
    return llvm.call_intrinsic(kind, ir.StringAttr.get(intrinsic), [*shape, *operands], [], [])


def _pointer(at: Index) -> ir.Value:
    number = arith.index_cast(ir.IntegerType.get_signless(64), at.value)
    return llvm.inttoptr(ir.Type.parse("!llvm.ptr"), number)


def _constant(bits: int, value: int) -> ir.Value:
    return arith.constant(ir.IntegerType.get_signless(bits), value)
