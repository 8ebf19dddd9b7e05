"""From a module of kernels to code that runs in this process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import CodeImage
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import Isa
from sparsec.passes.expand_math import expand_math
from sparsec.passes.lower_llvm import llvm_text, lower_llvm
from sparsec.passes.unit import Unit
from sparsec.targets.backend import emit_image
from sparsec.targets.target import Target

ALIGNMENT = 64  # as buffers in an arena have


def compile_kernels(module: ir.Module, entries: Sequence[str], isa: Isa, target: Target) -> CodeImage:
    """Lower the module in place and compile it; raises `ToolchainError`."""
    expand_math(module, looks_up=isa.masks)
    lower_llvm(Unit(module, WeightStore(), isa))
    with module.context:
        text = llvm_text(module)
    return emit_image(text, target, sorted(set(entries)), jobs=1)


def place(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """A flat aligned copy."""
    room = np.empty(values.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + values.nbytes].view(values.dtype)
    copy[:] = values.reshape(-1)
    return copy
