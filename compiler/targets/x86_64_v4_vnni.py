"""x86-64-v4 with VNNI, dot products of bytes: Intel servers since Cascade Lake (2019), AMD since Zen 4 (2022)."""

from dataclasses import replace

from sparsec.targets.x86_64_v4 import TARGET as V4

TARGET = replace(V4, name="x86-64-v4-vnni", requires=(*V4.requires, "avx512vnni"))
