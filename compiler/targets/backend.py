"""LLVM IR text in, code out: a flat image, an object or assembly."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.artifact import CodeImage
from sparsec.targets import abi, flat_image, parallel
from sparsec.targets.optimiser import optimised, target_machine
from sparsec.targets.target import Target


def emit_image(llvm_ir: str, target: Target, entries: Sequence[str], *, jobs: int | None = None) -> CodeImage:
    """Compile kernels `void @k(ptr..., i64 begin, i64 end)` and link them into one flat image.

    `llvm_ir` is a module as torch-mlir prints it; `entries` are the kernels to call from outside, each through a
    wrapper with the uniform ABI of `abi`. Long modules are compiled by up to `jobs` processes (default: as many as
    pay). Raises `ToolchainError`, which says where the text was written.
    """
    objects = parallel.emit_objects(llvm_ir, target, entries, jobs)
    return flat_image.link(objects, {name: abi.entry_symbol(name) for name in entries})


def emit_object(llvm_ir: str, target: Target, entries: Sequence[str] = ()) -> bytes:
    """Return a relocatable object; without `entries`, of all public functions as they are."""
    return parallel.emit_object(llvm_ir, target, entries)


def emit_assembly(llvm_ir: str, target: Target, entries: Sequence[str] = ()) -> str:
    """Return assembly text of what `emit_object` returns."""
    machine = target_machine(target)
    with optimised(llvm_ir, target, machine, entries) as module:
        text: str = machine.emit_assembly(module)
    return text
