"""How the products of a layer are computed: the types of its numbers. `words` says how instructions read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`stored` is the MLIR element type of activations in memory, `total` that of a sum of products.

    In `u8s8`, x is unsigned, w is signed, and sums are exact; in `bf16`, x and w are rounded to bfloat16 (to nearest,
    ties to even) and sums are fp32.
    """

    name: str
    stored: str
    total: str


F32 = Arithmetic("f32", "f32", "f32")
BF16 = Arithmetic("bf16", "f32", "f32")
U8S8 = Arithmetic("u8s8", "i8", "i32")
