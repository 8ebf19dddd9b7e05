"""x86-64-v4 with tile registers for products of bytes and of bfloat16: Intel servers since Sapphire Rapids (2023)."""

from dataclasses import replace

from sparsec.cost.machine import Machine
from sparsec.targets.x86_64_v4_bf16 import TARGET as BF16

TARGET = replace(
    BF16,
    name="x86-64-v4-amx",
    requires=(*BF16.requires, "amx-tile", "amx-int8", "amx-bf16"),
    tuning=(*BF16.tuning, "+prfchw"),  # all of them have it, and others do nothing there
    machine=Machine(  # measured on a virtual machine with 16 cores
        name="an Intel server of 2023",
        ghz=2.7,
        vector_fma_per_cycle=1.9,
        l1_bytes=48 << 10,
        l2_bytes=2 << 20,
        l1_bytes_per_cycle=107.0,
        l2_bytes_per_cycle=48.0,
        far_bytes_per_cycle=9.6,
        l3_bytes=60 << 20,
        memory_bytes_per_cycle=6.2,
        cores=16,
    ),
)
