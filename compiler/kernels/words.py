"""Reduced precision: several neighbouring k side by side in a 32-bit word.

One instruction adds all products of a word of x and a word of w to a 32-bit sum, so a kernel walks words where it would
walk elements; with words of one element it is the fp32 kernel. K that fills no whole number of words is filled up with
zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector

from sparsec.formats.blocked import Blocked
from sparsec.kernels.arithmetic import BF16, F32, FP16, U8S8, Arithmetic
from sparsec.kernels.emit import Buffer, Vectors, add, fma, joined, shuffle
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa

Encoded = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Words:
    """`group` neighbouring k of element type `element` (the first in the lowest bits), multiplied by `instruction`.

    A word is one element of type `dtype` in buffers and vectors: of 32 bits, or a float16. Elements of x are stored ones
    less `shift`; see `shifted`.
    """

    arithmetic: Arithmetic
    instruction: str
    element: str
    group: int
    shift: int = 0

    @property
    def dtype(self) -> str:
        return self.element if self.element in ("f32", "f16") else "i32"

    @property
    def short(self) -> str | None:
        """The type of sums of a few products, where it is not that of the total."""
        return "f16" if self.element == "f16" else None

    def count(self, inputs: int) -> int:
        """Words that hold so many k."""
        return -(-inputs // self.group)

    @property
    def plain(self) -> bool:
        """Whether words are elements as they are stored."""
        return self.group == 1 and self.direct(1)

    def direct(self, inputs: int) -> bool:
        """Whether rows of so many stored elements are rows of words already."""
        return self.element == self.arithmetic.stored and not self.shift and inputs % self.group == 0

    def encode(self, matrix: NDArray[np.generic]) -> Encoded:
        """Words [..., words] of weights [..., k]."""
        missing = -matrix.shape[-1] % self.group
        padded = np.pad(np.asarray(matrix, np.float32), [(0, 0)] * (matrix.ndim - 1) + [(0, missing)])
        match self.element:
            case "f32":
                return padded
            case "f16":
                return padded.astype(np.float16)
            case "bf16":
                return _words(_bfloat16(padded))
            case "i8":
                return _words(padded.astype(np.int8))
            case "i16":
                return _words(padded.astype(np.int16))
        return padded.astype(np.int32)

    def encode_blocks(self, blocked: Blocked) -> Encoded:
        """Words [blocks, height] of blocks that are one word wide."""
        assert blocked.block[1] == self.group
        return self.encode(blocked.values.transpose(0, 2, 1))[:, :, 0]

    def padding(self, value: int) -> int:
        """The word whose elements all are this number, as a signed integer; of floats only 0."""
        bits = {"i8": 8, "i16": 16}.get(self.element, 32)
        word = sum((value ^ self.shift) << place for place in range(0, 32, bits))
        return word - (1 << 32) if word >> 31 else word

    @property
    def exact(self) -> bool:
        """Whether sums are exact: whole numbers, none of which is infinite."""
        return self.arithmetic.total == "i32"

    @property
    def by_lane(self) -> bool:
        """Whether the instruction multiplies by one lane of a vector, which a broadcast would take an instruction for."""
        return self.instruction in ("usdot", "sdot", "mla", "fmla", "fmla.8h")

    def load(self, source: Buffer, at: Index, lanes: int, left: int | None = None, scale: float = 1.0) -> ir.Value:
        """`lanes` words of x, whose stored elements follow each other from `at` on; of floats, times `scale`.

        Of these the first `left` are read, and zeros stand for the others.
        """
        parts = self.group if self.element == "bf16" else 1  # vectors that are rounded to one
        stored = Vectors(lanes * self.group // parts, self.arithmetic.stored)
        found = []
        for first in range(0, parts * stored.lanes, stored.lanes):
            if left is not None and left <= first:
                found.append(stored.splat(0))
                continue
            values = stored.load(source, at + first, stored.mask(left - first) if left is not None else None)
            found.append(values if scale == 1.0 else arith.mulf(values, stored.splat(scale)))
        return self.packed(*found)

    def packed(self, *parts: ir.Value) -> ir.Value:
        """Stored elements as words, where they fill these: those of the first part, those of the second, …"""
        values = self._beside(parts)
        lanes = ir.VectorType(values.type).shape[0] // self.group
        return values if self.group == 1 else vector.bitcast(Vectors(lanes, "i32").type, values)

    def _beside(self, parts: Sequence[ir.Value]) -> ir.Value:
        """Stored elements of parts behind each other, as elements of words."""
        lanes = ir.VectorType(parts[0].type).shape[0]
        if self.element == "bf16" and len(parts) == self.group and lanes in _ROUNDING:
            low, high = parts
            name = ir.StringAttr.get(_ROUNDING[lanes])
            return llvm.call_intrinsic(Vectors(lanes * self.group, "bf16").type, name, [high, low], [], [])
        return joined([self._elements(part) for part in parts])

    def _elements(self, values: ir.Value) -> ir.Value:
        """Stored elements as elements of words."""
        wide = Vectors(ir.VectorType(values.type).shape[0], self.element).type
        if self.element in ("bf16", "f16"):
            return arith.truncf(wide, values)
        return self.shifted(values) if self.element == self.arithmetic.stored else arith.extui(wide, values)

    def shifted(self, values: ir.Value) -> ir.Value:
        """Stored elements as elements of words, where these differ by the shift at most."""
        lanes = ir.VectorType(values.type).shape[0]
        return arith.xori(values, Vectors(lanes, self.element).splat(self.shift)) if self.shift else values

    def join(self, parts: Sequence[ir.Value]) -> ir.Value:
        """Words of which part number i, a vector of stored elements, is element number i; zeros stand for parts that miss."""
        lanes = ir.VectorType(parts[0].type).shape[0]
        if self.group == 1:
            return self.packed(parts[0])
        if self.element == "bf16":
            return self.interleave(parts)
        wide, bits = Vectors(lanes, "i32").type, 32 // self.group
        joined: ir.Value | None = None
        for number, part in enumerate(parts):
            element = arith.extui(wide, part)
            if number:
                element = arith.shli(element, Vectors(lanes, "i32").splat(bits * number))
            joined = element if joined is None else arith.ori(joined, element)
        assert joined is not None
        return arith.xori(joined, Vectors(lanes, "i32").splat(self.padding(0))) if self.shift else joined

    def interleave(self, parts: Sequence[ir.Value]) -> ir.Value:
        """`join` by shuffles: where words of bytes are that many vectors, fewer instructions."""
        lanes = ir.VectorType(parts[0].type).shape[0]
        filled = [*parts, *[Vectors(lanes, self.arithmetic.stored).splat(0)] * (self.group - len(parts))]
        order = [part * lanes + lane for lane in range(lanes) for part in range(self.group)]
        beside = self._beside(filled)
        return vector.bitcast(Vectors(lanes, self.dtype).type, shuffle(beside, beside, order))

    def splat(self, source: Buffer, at: Index, lanes: int) -> ir.Value:
        """The word at `at`, an element of `source`, in every lane; `source` has words, or stored elements that are."""
        vectors = Vectors(lanes, self.dtype)
        if self.by_lane:
            one = Vectors(1, self.dtype).load(source, at) if source.dtype == self.dtype else self.load(source, at, 1)
            return _lane(shuffle(one, one, [0] + [ANY] * (LEAST_LANES - 1)), 0, lanes)
        if source.dtype == self.dtype:
            return vectors.load_splat(source, at)
        return vectors.broadcast(vector.extract(self.load(source, at, 1), [], [0]))

    def splats(self, source: Buffer, at: Index, count: int, lanes: int) -> Iterator[ir.Value]:
        """`count` neighbouring words from `at` on, elements of `source`, each in every lane, one after the other."""
        for number in range(count):
            if not self.by_lane or count < LEAST_LANES:
                yield self.splat(source, at + number, lanes)
                continue
            first = min(number // LEAST_LANES * LEAST_LANES, count - LEAST_LANES)
            if number % LEAST_LANES == 0:
                four = Vectors(LEAST_LANES, self.dtype).load(source, at + first)
            yield _lane(four, number - first, lanes)

    def multiply_add(self, x: ir.Value, weight: ir.Value, total: ir.Value) -> ir.Value:
        """total + the products of x and weight, lane by lane."""
        match self.instruction:
            case "fma" | "fmla" | "fmla.8h":
                return fma(weight, x, total)
            case "vpmulld" | "mla":
                return add(arith.muli(weight, x), total)
            case _:
                return self._dot(x, weight, total)

    def _dot(self, x: ir.Value, weight: ir.Value, total: ir.Value) -> ir.Value:
        lanes = ir.VectorType(total.type).shape[0]
        wide = max(lanes, LEAST_LANES)
        x, weight, total = (_repeated(value, wide // lanes) for value in (x, weight, total))
        split = Vectors(wide * self.group, self.element).type
        pair = [vector.bitcast(split, value) for value in (x, weight)]
        name = ir.StringAttr.get(_INTRINSICS[self.instruction][wide])
        if self.instruction in _WITHOUT_TOTAL:
            result = add(llvm.call_intrinsic(total.type, name, pair, [], []), total)
        else:
            result = llvm.call_intrinsic(total.type, name, [total, *pair], [], [])
        return result if wide == lanes else shuffle(result, result, range(lanes))


FP32 = Words(F32, "fma", "f32", 1)
ANY = -1  # a lane that may hold anything
ROUNDS = "cvtne2ps2bf16"  # an instruction that rounds floats to bfloat16
LEAST_LANES = 4  # of an instruction: 128 bits
_INTRINSICS = {
    "vdpbf16ps": {lanes: f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}" for lanes in (4, 8, 16)},
    "vpdpbusd": {lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}" for lanes in (4, 8, 16)},
    "usdot": {4: "llvm.aarch64.neon.usdot"},
    "sdot": {4: "llvm.aarch64.neon.sdot"},
    "vpmaddwd": {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"},
    "i32x4.dot_i16x8_s": {4: "llvm.wasm.dot"},
}
# Two vectors of so many floats, the upper one first, as one of bfloat16: LLVM rounds each by itself, and joins them.
_ROUNDING = {lanes: f"llvm.x86.avx512bf16.{ROUNDS}.{32 * lanes}" for lanes in (4, 8, 16)}
_WITHOUT_TOTAL = {"vpmaddwd", "i32x4.dot_i16x8_s"}  # their products are added by another instruction
_WORDS = {
    words.instruction: words
    for words in (
        FP32,
        Words(F32, "fmla", "f32", 1),
        Words(BF16, "vdpbf16ps", "bf16", 2),
        Words(FP16, "fmla.8h", "f16", 1),
        Words(U8S8, "vpdpbusd", "i8", 4),
        Words(U8S8, "vpmaddwd", "i16", 2),
        Words(U8S8, "i32x4.dot_i16x8_s", "i16", 2),
        Words(U8S8, "vpmulld", "i32", 1),
        Words(U8S8, "usdot", "i8", 4),
        Words(U8S8, "sdot", "i8", 4, shift=128),
        Words(U8S8, "mla", "i32", 1),
    )
}


def words_of(arithmetic: Arithmetic, isa: Isa) -> Words | None:
    """The words that the best instruction of `isa` multiplies; None if it has none for the arithmetic."""
    instruction = {F32: isa.fp32_product, BF16: isa.bf16_dot, FP16: isa.fp16_product, U8S8: isa.bytes_dot}[arithmetic]
    return _WORDS[instruction] if instruction is not None else None


def refusal(arithmetic: Arithmetic, own: Arithmetic, isa: Isa) -> str | None:
    """Why a kernel of arithmetic `own` cannot compute a problem of `arithmetic`; None if it can."""
    if arithmetic != own:
        return f"it computes {own.name}, not {arithmetic.name}"
    return None if words_of(own, isa) else f"{isa.suffix} has no instruction for {own.name}"


def _lane(value: ir.Value, lane: int, lanes: int) -> ir.Value:
    """A lane of a vector in every lane. Frozen, or LLVM makes a load and broadcast of each again."""
    return shuffle(held := llvm.freeze(value), held, [lane] * lanes)


def _repeated(value: ir.Value, times: int) -> ir.Value:
    """A vector that many times behind itself."""
    lanes = ir.VectorType(value.type).shape[0]
    return value if times == 1 else shuffle(value, value, list(range(lanes)) * times)


def _words(values: NDArray[np.generic]) -> NDArray[np.int32]:
    return np.ascontiguousarray(values).view(np.int32)


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)
