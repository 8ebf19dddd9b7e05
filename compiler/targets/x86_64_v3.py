"""x86-64-v3: AVX2 and FMA; Intel since Haswell (2013), AMD since Excavator (2015)."""

from sparsec.targets.target import Target

TARGET = Target(
    name="x86-64-v3",
    triple="x86_64-unknown-linux-gnu",
    cpu="x86-64-v3",
    requires=("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2"),
    tuning=(),
    vector_bytes=32,
    vector_registers=16,
    has_masks=False,
)
