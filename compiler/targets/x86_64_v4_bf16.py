"""x86-64-v4 with dot products of bytes and of bfloat16, and expansion and permutation of bytes.

Intel servers since Sapphire Rapids (2023), AMD since Zen 4 (2022).
"""

from dataclasses import replace

from sparsec.targets.x86_64_v4_vnni import TARGET as VNNI

TARGET = replace(VNNI, name="x86-64-v4-bf16", requires=(*VNNI.requires, "avx512bf16", "avx512vbmi", "avx512vbmi2"))
