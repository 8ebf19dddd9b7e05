"""How the products of a layer are computed: the types of its numbers. `words` says how instructions read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`stored` is the MLIR element type of activations in memory, `total` that of a sum of products.

    In `u8s8`, x is unsigned, w is signed, and sums are exact; in `bf16`, x and w are rounded to bfloat16 (to nearest,
    ties to even) and sums are fp32. In `fp16` they are rounded to float16, and so is each sum of a few products, before
    it is added to one in fp32; see `short_sums`.
    """

    name: str
    stored: str
    total: str


F32 = Arithmetic("f32", "f32", "f32")
BF16 = Arithmetic("bf16", "f32", "f32")
FP16 = Arithmetic("fp16", "f32", "f32")
U8S8 = Arithmetic("u8s8", "i8", "i32")
REDUCED: Mapping[str, Arithmetic] = {each.name: each for each in (BF16, FP16)}  # what layers of float32 may multiply in
