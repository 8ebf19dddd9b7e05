"""Weights that a bitmap packs: nonzeros behind each other, put into the lanes whose bits are set."""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector
from torch_mlir.dialects import math as mathematics

from sparsec.kernels.emit import Vectors
from sparsec.kernels.index import Index


def expanded(packed: ir.Value, held: ir.Value) -> ir.Value:
    """The first elements of the 64-byte vector `packed`, in order, in the lanes `held`, and zeros in the others.

    A fence hides the load, which stays an instruction of its own: to expand from memory takes current cores six
    cycles, from a register two.
    """
    kind = ir.VectorType(packed.type)
    opaque = Vectors(16).type
    loaded = _call("llvm.arithmetic.fence", opaque, vector.bitcast(opaque, packed))
    zeros = Vectors(kind.shape[0], str(kind.element_type)).splat(0)
    return _call("llvm.x86.avx512.mask.expand", kind, vector.bitcast(kind, loaded), zeros, held)


def lanes_of(bits: ir.Value, width: int) -> ir.Value:
    """The mask whose lane i is bit i."""
    word = vector.broadcast(ir.VectorType.get([1], bits.type), bits)
    return vector.bitcast(ir.VectorType.get([width], ir.IntegerType.get_signless(1)), word)


def count_of(bits: ir.Value) -> Index:
    """How many bits are set."""
    return Index(dynamic=arith.index_castui(ir.IndexType.get(), mathematics.ctpop(bits)))


def _call(intrinsic: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    return llvm.call_intrinsic(result, ir.StringAttr.get(intrinsic), operands, [], [])
