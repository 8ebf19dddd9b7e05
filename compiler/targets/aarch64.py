"""aarch64: Armv8.0 with NEON; every 64-bit ARM processor since 2012, phones and boards among them."""

from sparsec.cost.machine import Machine
from sparsec.targets.target import Target

TARGET = Target(
    name="aarch64",
    triple="aarch64-unknown-linux-gnu",
    cpu="generic",
    requires=("neon",),
    tuning=("+reserve-x18",),  # which systems other than Linux keep for themselves: the same code runs on all
    vector_bytes=16,
    vector_registers=32,
    has_masks=False,
    machine=Machine(
        name="a Cortex-A76 or Neoverse-N1 core",
        ghz=2.6,
        vector_fma_per_cycle=2.0,
        l1_bytes=64 << 10,
        l2_bytes=512 << 10,
        l1_bytes_per_cycle=32.0,
        l2_bytes_per_cycle=16.0,
        far_bytes_per_cycle=8.0,
        l3_bytes=2 << 20,
        memory_bytes_per_cycle=4.0,
        loaded_fma_per_cycle=1.8,
        broadcast_fma_per_cycle=1.5,
    ),
)
