"""LLVM IR text of kernels for NVIDIA GPUs in, PTX out: LLVM's NVPTX back-end, which needs neither a GPU nor NVIDIA's tools."""

from __future__ import annotations

from contextlib import closing

import llvmlite.binding as llvm

from sparsec.targets.optimiser import initialise, parsed, verified

TRIPLE = "nvptx64-nvidia-cuda"
ARCHITECTURE = (8, 0)  # the oldest compute capability that can run it; drivers compile PTX for later ones
_PTX = "+ptx70"  # CUDA 11.0, the first that knows the architecture


def emit_ptx(text: str) -> str:
    """PTX of all kernels of a module as torch-mlir prints it; raises `ToolchainError`."""
    initialise()
    major, minor = ARCHITECTURE
    target = llvm.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(cpu=f"sm_{major}{minor}", features=_PTX, opt=3)
    with closing(llvm.create_context()) as context, closing(parsed(text, context)) as module:
        module.triple, module.data_layout = TRIPLE, str(machine.target_data)
        verified(module)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        llvm.create_pass_builder(machine, options).getModulePassManager().run(
            module, llvm.create_pass_builder(machine, options)
        )
        ptx: str = machine.emit_assembly(module)
    return ptx
