"""wasm32-relaxed-threads: wasm32-relaxed with a memory that several threads share; see wasm32-threads."""

from dataclasses import replace

from sparsec.targets.target import Target
from sparsec.targets.wasm32_relaxed import TARGET as RELAXED

TARGET: Target = replace(RELAXED, name="wasm32-relaxed-threads", requires=("atomics", *RELAXED.requires))
