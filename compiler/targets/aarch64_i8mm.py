"""aarch64 with dot products of unsigned by signed bytes (usdot): Neoverse-V1 and N2, Cortex-A510, A710, X2 (2021), Apple M2."""

from dataclasses import replace

from sparsec.targets.aarch64_fp16 import TARGET as FP16

TARGET = replace(FP16, name="aarch64-i8mm", requires=(*FP16.requires, "i8mm"))
