"""wasm32-threads: with a memory that several instances of a module share, each in a thread; kernels are those of wasm32.

A package for it runs on one thread where a browser keeps shared memory from pages that are not isolated from others.
"""

from dataclasses import replace

from sparsec.targets.target import Target
from sparsec.targets.wasm32 import TARGET as PLAIN

TARGET: Target = replace(PLAIN, name="wasm32-threads", requires=("atomics", *PLAIN.requires))
