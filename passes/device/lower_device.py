"""lower_device: the kernels of a GPU, without `@main`, go to the LLVM dialect as entry functions with bare pointers.

Before:
    func.func private @rows_0(%x: memref<8xf16> {llvm.noalias}) { %t = gpu.thread_id x ... }
After:
    llvm.func @rows_0(%x: !llvm.ptr {llvm.noalias}) attributes {nvvm.kernel} { %t = nvvm.read.ptx.sreg.tid.x ... }
"""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import find, node_name, replace, symbol
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.lower_asserts import lower_asserts
from sparsec.passes.lower_llvm import llvm_text

_TO_BRANCHES = "func.func(lower-affine,convert-scf-to-cf,expand-strided-metadata,lower-affine)"
_TO_LLVM = (
    "convert-vector-to-llvm,convert-ub-to-llvm,convert-complex-to-standard,convert-math-to-llvm,expand-strided-metadata,"
    "lower-affine,finalize-memref-to-llvm,convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-arith-to-llvm,"
    "convert-index-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts,canonicalize,cse"
)
_EVERY_LANE = -1  # of a warp


def device_text(module: ir.Module) -> str:
    """LLVM IR of the kernels of a module, which stays as it is; "" if it has none."""
    with module.context, ir.Location.unknown():
        kernels = _kernels(module)
        if not kernels.body.operations:
            return ""
        run_pipeline(kernels, _TO_BRANCHES, what="lowering kernels to branches", verify_each=False)
        lower_asserts(kernels)
        for op in find(kernels, lambda op: op.name.startswith("gpu.")):
            with op.location, ir.InsertionPoint(op):
                replace(op, _in_nvvm(op))
        for op in find(kernels, lambda op: op.name == "func.func"):
            op.attributes["sym_visibility"] = ir.StringAttr.get("public")
        run_pipeline(kernels, _TO_LLVM, what="lowering kernels to LLVM", verify_each=False)
        for op in find(kernels, _is_entry):
            op.attributes["nvvm.kernel"] = ir.UnitAttr.get()
        _refuse_calls(kernels)
        return llvm_text(kernels)


def _kernels(module: ir.Module) -> ir.Module:
    """A copy without `@main` and declarations."""
    copy = ir.Module.parse(module.operation.get_asm(assume_verified=True), module.context)
    for op in [item.operation for item in copy.body.operations]:
        if symbol(op) == "main" or (op.name == "func.func" and not list(op.regions[0].blocks)):
            op.erase()
    return copy


def _in_nvvm(op: ir.Operation) -> list[ir.Value]:
    """What an op of the `gpu` dialect is on NVIDIA's: upstream's own lowering wants a library for square roots."""
    i32 = ir.IntegerType.get_signless(32)
    match op.name:
        case "gpu.thread_id":
            number = ir.Operation.create("nvvm.read.ptx.sreg.tid.x", results=[i32]).result
        case "gpu.block_id":
            number = ir.Operation.create("nvvm.read.ptx.sreg.ctaid.x", results=[i32]).result
        case "gpu.shuffle":
            value, distance, width = op.operands
            members = arith.constant(i32, _EVERY_LANE)
            last = arith.subi(width, arith.constant(i32, 1))
            kind = ir.Attribute.parse("#nvvm<shfl_kind bfly>")
            shuffled = ir.Operation.create(
                "nvvm.shfl.sync",
                results=[value.type],
                operands=[members, value, distance, last],
                attributes={"kind": kind},
            )
            return [shuffled.result, arith.constant(ir.IntegerType.get_signless(1), 1)]
        case "gpu.barrier":
            nobody = ir.DenseI32ArrayAttr.get([0, 0])
            attributes = {"aligned": ir.BoolAttr.get(True), "operandSegmentSizes": nobody}
            ir.Operation.create("nvvm.barrier", attributes=attributes)
            return []
        case _:
            raise AssertionError(f"no kernel has {op.name}")
    return [arith.index_cast(ir.IndexType.get(), number)]


def _is_entry(op: ir.Operation) -> bool:
    return op.name == "llvm.func" and bool(list(op.regions[0].blocks))


def _refuse_calls(kernels: ir.Module) -> None:
    """GPUs have no C library."""
    for op in find(kernels, lambda op: op.name == "llvm.call"):
        raise UnsupportedOpError("a function is not there on GPUs", where=node_name(op) or "", got=str(op))
    for op in find(kernels, lambda op: op.name.startswith("math.")):
        raise UnsupportedOpError("a function is not there on GPUs", where=node_name(op) or "", got=op.name)
