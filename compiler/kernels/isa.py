"""What a kernel generator must know of an instruction set."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Isa:
    """`suffix` ends kernel names; `masks` says that vectors have cheap per-lane masks for loads, stores and compression.

    Instructions: `bytes_dot` multiplies u8 by s8 and adds up exactly, `bf16_dot` does that of bfloat16 pairs (names as in
    `sparsec.kernels.words`); without one of bytes these are widened to 32 bits, without one of bfloat16 there is no such
    arithmetic. `fp32_product` multiplies and adds floats, `fp16_product` twice as many float16, lane by lane. `permutes`
    picks lanes of a vector by positions in another (names as in `sparsec.kernels.permutation`). The result of
    `rounds_to_integers` is the nearest whole number as an integer.
    `expands_bytes` says that vectors of bytes are expanded under masks, and permuted (AVX-512 VBMI, VBMI2).
    `tile_registers` are those of AMX, with products of both kinds. `fuses` says that a multiply-add that is rounded once
    is an instruction. `early_loads` says that what finishes the code moves all loads of a loop's body to its front, so that
    their results are in registers at once.
    `short_queue` says that a processor looks so few instructions ahead that what addresses wait for is best loaded a step
    before its use. `reach` is how many bytes from a register a load may read whatever their alignment, if that is few.
    """

    suffix: str
    vector_bytes: int
    registers: int
    masks: bool
    bytes_dot: str = "vpmulld"
    bf16_dot: str | None = None
    fp32_product: str = "fma"
    fp16_product: str | None = None
    permutes: str | None = None
    expands_bytes: bool = False
    tile_registers: bool = False
    fuses: bool = True
    rounds_to_integers: str | None = None
    early_loads: bool = False
    short_queue: bool = False
    reach: int | None = None

    def lanes(self, element_bytes: int = 4) -> int:
        return self.vector_bytes // element_bytes

    def lanes_for(self, count: int) -> int:
        """Lanes of the widest vector of 32-bit elements, a power of two of them, that is no longer than `count` elements."""
        return min(self.lanes(), 1 << (max(count, 1).bit_length() - 1))

    @property
    def of_halves(self) -> Isa:
        """The same with as many lanes as a vector has elements of 16 bits; one of 32 bits is two vectors then."""
        return replace(self, vector_bytes=2 * self.vector_bytes)

    @property
    def row_vectors(self) -> int:
        """Vectors of x that one weight is multiplied with: their sums fit the registers, beside what a step reads."""
        return (self.registers - 2) // 2 if self.early_loads else self.registers - 4

    def unrolling(self, wanted: int, sums: int, loads: int) -> int:
        """How many of the `wanted` steps, each with so many sums and loads of its own, one body of a loop may have."""
        return max(1, min(wanted, (self.registers - 1) // (sums + loads))) if self.early_loads else wanted


AVX512 = Isa("avx512", 64, 32, masks=True, bytes_dot="vpmaddwd", permutes="vpermps", rounds_to_integers="cvtps2dq")
AVX512_BF16 = replace(AVX512, bytes_dot="vpdpbusd", bf16_dot="vdpbf16ps", expands_bytes=True)
AVX512_AMX = replace(AVX512_BF16, tile_registers=True)
AVX2 = Isa("avx2", 32, 16, masks=False, bytes_dot="vpmaddwd", permutes="vpermps", rounds_to_integers="cvtps2dq")
AVX2_VNNI = replace(AVX2, bytes_dot="vpdpbusd")
