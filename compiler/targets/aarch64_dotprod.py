"""aarch64 with dot products of bytes of one sign (sdot, udot): Cortex-A55, A75, A76, Neoverse-N1 (2018), Raspberry Pi 5."""

from dataclasses import replace

from sparsec.targets.aarch64 import TARGET as BASE

TARGET = replace(BASE, name="aarch64-dotprod", requires=(*BASE.requires, "dotprod"))
