"""wasm32-relaxed: with the instructions of Relaxed SIMD, one of which is a fused multiply-add; Chrome since 114, Node since 21.

Its dot product of bytes is not used. It is exact for factors below 128 only, so a word takes two: signed x by the positive
weights, and the complement of x by the negated negative ones. For four weights and 24 tokens that takes 2.4 ns in a V8 with
AVX-VNNI, and 5.8 ns in one without, where two exact products of 16 bits take 2.4 and 4.4 ns.
"""

from dataclasses import replace

from sparsec.targets.target import Target
from sparsec.targets.wasm32 import TARGET as PLAIN

TARGET: Target = replace(PLAIN, name="wasm32-relaxed", requires=(*PLAIN.requires, "relaxed-simd"))
