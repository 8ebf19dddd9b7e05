"""x86-64-v4: AVX-512 F, BW, CD, DQ and VL; Intel servers since Skylake (2017), AMD since Zen 4 (2022)."""

from sparsec.targets.target import Target
from sparsec.targets.x86_64_v3 import TARGET as V3

TARGET = Target(
    name="x86-64-v4",
    triple=V3.triple,
    cpu="x86-64-v4",
    requires=(*V3.requires, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    tuning=("-prefer-256-bit",),  # this cpu name prefers narrow vectors, for the clocks of its first machines
    vector_bytes=64,
    vector_registers=32,
    has_masks=True,
)
