"""aarch64 with dot products, and arithmetic on eight float16 at a time, which `--precision fp16` uses: Cortex-A55, A75, A76,
Neoverse-N1 (2018), Raspberry Pi 5, Apple M1."""

from dataclasses import replace

from sparsec.targets.aarch64_dotprod import TARGET as DOTPROD

TARGET = replace(DOTPROD, name="aarch64-fp16", requires=(*DOTPROD.requires, "fullfp16"))
