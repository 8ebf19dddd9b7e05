"""Vectors whose lanes are picked from another vector at run time, each by a position of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector

from sparsec.kernels.emit import Vectors, shuffle
from sparsec.kernels.isa import Isa

WORD = 32  # bits that hold the positions of neighbouring slots


@dataclass(frozen=True, slots=True)
class Permutation:
    """An instruction that permutes the vectors of `intrinsics`, by lanes, in steps of `unit` bytes.

    Positions are packed to fields of so many bits, the first in the lowest ones. Where the instruction moves lanes, it
    ignores the bits above a field, so that the next is one shift away. Where it moves bytes, a field has the first byte of
    a lane, and the four positions of its bytes are made of that.
    """

    intrinsics: Mapping[int, str]
    unit: int
    field: int

    @classmethod
    def of(cls, isa: Isa) -> Permutation | None:
        """That of an instruction set; None if it has none."""
        return _PERMUTATIONS[isa.permutes] if isa.permutes is not None else None

    @property
    def per_word(self) -> int:
        """Positions in a word."""
        return WORD // self.field

    def packed(self, positions: np.ndarray) -> np.ndarray:
        """Words [..., words, lanes], uint32, of positions [..., slots, lanes]."""
        missing = -positions.shape[-2] % self.per_word
        filled = np.pad(positions, [(0, 0)] * (positions.ndim - 2) + [(0, missing), (0, 0)]).astype(np.uint32)
        *outer, slots, lanes = filled.shape
        words = filled.reshape(*outer, slots // self.per_word, self.per_word, lanes)
        shifts = np.arange(self.per_word, dtype=np.uint32)[:, None] * self.field
        packed: np.ndarray = np.bitwise_or.reduce(words * (4 // self.unit) << shifts, axis=-2)
        return packed

    def positions(self, word: ir.Value, number: int) -> ir.Value:
        """Those in field `number` of a vector of words, as `pick` takes them."""
        lanes = ir.VectorType(word.type).shape[0]
        if self.unit == 4:
            return arith.shrui(word, Vectors(lanes, "i32").splat(number * self.field)) if number else word
        kind = Vectors(4 * lanes, "i8").type
        fields, inside = vector.bitcast(kind, word), np.tile(np.arange(4, dtype=np.int8), lanes)
        first = shuffle(fields, fields, [4 * lane + number for lane in range(lanes) for _ in range(4)])
        return arith.addi(first, arith.constant(kind, ir.DenseElementsAttr.get(inside, type=kind)))

    def pick(self, values: ir.Value, positions: ir.Value) -> ir.Value:
        """The vector of float32 whose lane i is lane `positions[i]` of `values`."""
        lanes = ir.VectorType(values.type).shape[0]
        name = ir.StringAttr.get(self.intrinsics[lanes])
        given = values if self.unit == 4 else vector.bitcast(positions.type, values)
        return vector.bitcast(values.type, llvm.call_intrinsic(given.type, name, [given, positions], [], []))


def _of_bytes(intrinsic: str) -> Permutation:
    return Permutation({4: intrinsic}, 1, 8)


_PERMUTATIONS: Mapping[str, Permutation] = {
    "vpermps": Permutation({8: "llvm.x86.avx2.permps", 16: "llvm.x86.avx512.permvar.sf.512"}, 4, 4),
    "tbl": _of_bytes("llvm.aarch64.neon.tbl1.v16i8"),
    "i8x16.swizzle": _of_bytes("llvm.wasm.swizzle"),
    "i8x16.relaxed_swizzle": _of_bytes("llvm.wasm.relaxed.swizzle"),
}
