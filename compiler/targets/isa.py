"""A target's features, as kernel generators know them: an `Isa`."""

from __future__ import annotations

from dataclasses import replace

from sparsec.kernels.isa import Isa
from sparsec.targets.target import Target

_BYTES_DOT = (  # target feature, instruction of it that multiplies bytes; better ones first
    ("avx512vnni", "vpdpbusd"),
    ("avxvnni", "vpdpbusd"),
    ("avx2", "vpmaddwd"),
    ("i8mm", "usdot"),
    ("dotprod", "sdot"),
    ("neon", "mla"),
    ("simd128", "i32x4.dot_i16x8_s"),
)
_PERMUTES = (  # target feature, instruction of it that picks lanes by positions; better ones first
    ("avx2", "vpermps"),
    ("neon", "tbl"),
    ("relaxed-simd", "i8x16.relaxed_swizzle"),
    ("simd128", "i8x16.swizzle"),
)


def isa_of(target: Target) -> Isa:
    """What kernel generators must know of a target."""
    features = frozenset(target.requires)
    suffix = "neon" if "neon" in features else {16: "v128", 32: "avx2", 64: "avx512"}[target.vector_bytes]
    isa = Isa(suffix, target.vector_bytes, target.vector_registers, target.has_masks, early_loads=target.early_loads)
    if "neon" in features:
        isa = replace(isa, short_queue=True, reach=255, rounds_to_integers="fcvtns", fp32_product="fmla")
    dots, permutes = (
        [instruction for feature, instruction in known if feature in features] for known in (_BYTES_DOT, _PERMUTES)
    )
    isa = replace(isa, bytes_dot=dots[0]) if dots else isa
    isa = replace(isa, permutes=permutes[0]) if permutes else isa
    if "avx512bf16" in features:
        isa = replace(isa, bf16_dot="vdpbf16ps")
    if {"neon", "fullfp16"} <= features:
        isa = replace(isa, fp16_product="fmla.8h")
    isa = replace(isa, expands_bytes="avx512vbmi2" in features, fuses=not target.is_wasm)
    isa = replace(isa, rounds_to_integers="cvtps2dq" if "avx2" in features else isa.rounds_to_integers)
    return replace(isa, tile_registers={"amx-int8", "amx-bf16"} <= features)
