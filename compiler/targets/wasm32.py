"""wasm32: WebAssembly with 128-bit vectors; every browser since 2023, Node since 16.4, wasmtime."""

from sparsec.cost.machine import Machine
from sparsec.targets.target import Target

TARGET = Target(
    name="wasm32",
    triple="wasm32-unknown-unknown",
    cpu="mvp",
    requires=("bulk-memory", "nontrapping-fptoint", "sign-ext", "simd128"),
    tuning=("+bulk-memory-opt",),  # LLVM's name for the two instructions of bulk memory that it uses
    vector_bytes=16,
    vector_registers=15,  # of the 16 of x86 an engine keeps one for itself; ARM has twice as many
    has_masks=False,
    early_loads=True,  # in V8 until it got a compiler that keeps the order of instructions (Node 22 has the old one)
    pointer_bytes=4,
    relocation="static",
    machine=Machine(
        name="a desktop core that runs WebAssembly",
        ghz=3.5,
        vector_fma_per_cycle=2.0,  # a multiplication and an addition each
        l1_bytes=48 << 10,
        l2_bytes=1 << 20,
        l1_bytes_per_cycle=32.0,
        l2_bytes_per_cycle=28.0,
        far_bytes_per_cycle=16.0,
        loaded_fma_per_cycle=1.3,
        broadcast_fma_per_cycle=1.0,
    ),
)
