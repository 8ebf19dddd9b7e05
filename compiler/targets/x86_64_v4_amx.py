"""x86-64-v4 with tile registers for products of bytes and of bfloat16: Intel servers since Sapphire Rapids (2023)."""

from dataclasses import replace

from sparsec.targets.x86_64_v4_bf16 import TARGET as BF16

TARGET = replace(BF16, name="x86-64-v4-amx", requires=(*BF16.requires, "amx-tile", "amx-int8", "amx-bf16"))
