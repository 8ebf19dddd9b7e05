"""lower_llvm: the kernel functions, without `@main`, go to the LLVM dialect with bare pointers.

Before:
    func.func private @loop_0(%x: memref<8xf32> {llvm.noalias}, %begin: index, %end: index) { scf.parallel ... }
After:
    llvm.func @loop_0(%x: !llvm.ptr {llvm.noalias}, %begin: i64, %end: i64) { ... llvm.br ... }
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import llvm

from sparsec.ir.module import find, symbol
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.lower_asserts import lower_asserts
from sparsec.passes.lower_layers import KERNELS_MODULE
from sparsec.passes.unit import Unit

_TO_BRANCHES = "func.func(convert-vector-to-scf,lower-affine,convert-scf-to-cf,expand-strided-metadata,lower-affine)"
_TO_LLVM = (
    "convert-vector-to-llvm{enable-x86=true},convert-ub-to-llvm,convert-complex-to-standard,convert-math-to-llvm,"
    "convert-math-to-libm,expand-strided-metadata,lower-affine,finalize-memref-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-arith-to-llvm,convert-index-to-llvm,"
    "convert-cf-to-llvm,reconcile-unrealized-casts,canonicalize,cse"
)


def kernels_only(module: ir.Module) -> ir.Module:
    """A copy of the module without `@main`, where the functions of the module `@kernels` replace their declarations."""
    copy = ir.Module.parse(module.operation.get_asm(assume_verified=True), module.context)
    for op in [item.operation for item in copy.body.operations]:
        if symbol(op) == "main" or (op.name == "func.func" and not list(op.regions[0].blocks)):
            op.erase()
    nested = [op.operation for op in copy.body.operations if symbol(op.operation) == KERNELS_MODULE]
    for kernels in nested:
        for kernel in list(kernels.regions[0].blocks[0].operations):
            kernel.operation.move_before(kernels)
        kernels.erase()
    return copy


def lower_llvm(unit: Unit) -> None:
    """Lower every function of the module in place; `@main` must be gone (see `kernels_only`)."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "func.func"):
            op.attributes["sym_visibility"] = ir.StringAttr.get("public")  # called by the runtime
    run_pipeline(unit.module, _TO_BRANCHES, what="lowering kernels to branches", verify_each=False)
    lower_asserts(unit.module)
    run_pipeline(unit.module, _TO_LLVM, what="lowering kernels to LLVM", verify_each=False)


def llvm_text(module: ir.Module) -> str:
    """The LLVM IR of a module in the LLVM dialect."""
    return str(llvm.translate_module_to_llvmir(module.operation))
