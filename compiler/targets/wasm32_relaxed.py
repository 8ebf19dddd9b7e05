"""wasm32-relaxed: with the instructions of Relaxed SIMD, one of which is a fused multiply-add; Chrome since 114, Node since 21."""

from dataclasses import replace

from sparsec.targets.target import Target
from sparsec.targets.wasm32 import TARGET as PLAIN

TARGET: Target = replace(PLAIN, name="wasm32-relaxed", requires=(*PLAIN.requires, "relaxed-simd"))
