"""bufferize: tensors become buffers; results become arguments of `@main`.

Before:
    %w = "sparsec.weight"() {sym_name = "b"} : () -> tensor<8xf32>
    %y = linalg.generic {...} ins(%x, %w : ...) outs(%e : tensor<4x8xf32>) ...   return %y
After:
    %w = "sparsec.weight"() {sym_name = "b"} : () -> memref<8xf32>
    linalg.generic {...} ins(%x, %w : ...) outs(%result : memref<4x8xf32>) ...   return

Every allocation is of static size and stays for `plan_memory`; copies are `linalg.copy`, so that they become loops like everything else.
"""

from __future__ import annotations

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import linalg

from sparsec.ir.module import find, replace, shape_of
from sparsec.ir.pipeline import run_pipeline
from sparsec.ir.weights import WEIGHT_OP, weight_op
from sparsec.passes.unit import Unit

_BUFFERIZE = (
    "eliminate-empty-tensors,empty-tensor-to-alloc-tensor,"
    "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map},"
    "func.func(canonicalize,cse,buffer-hoisting,buffer-loop-hoisting)"
)
_OUT_PARAMETERS = (
    "buffer-results-to-out-params{add-result-attr=true hoist-static-allocs=true modify-public-functions=true},"
    "func.func(canonicalize,cse)"
)


def bufferize(unit: Unit) -> None:
    """Bufferise `@main` with destination-passing results."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, _is_tensor_constant):
            _as_weight(op, unit)
        for op in find(unit.module, lambda op: op.name == WEIGHT_OP):
            _as_buffer(op)
    _bufferize_tm_tensor(unit.module)
    run_pipeline(unit.module, _BUFFERIZE, what="assigning buffers")
    run_pipeline(unit.module, _OUT_PARAMETERS, what="turning results into arguments")
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "memref.copy"):
            with op.location, ir.InsertionPoint(op):
                linalg.copy(op.operands[0], outs=[op.operands[1]])
            op.erase()


def _bufferize_tm_tensor(module: ir.Module) -> None:
    """Scans, sorts and scatters of torch-mlir's tm_tensor dialect, which one-shot bufferisation does not know: each
    works on fresh buffers.
    """
    if not find(module, lambda op: op.name.startswith("tm_tensor.")):
        return
    run_pipeline(module, "func.func(tm-tensor-bufferize)", what="assigning buffers to scans, sorts and scatters")
    with module.context, ir.Location.unknown():
        for op in find(module, lambda op: op.name == "bufferization.to_tensor"):
            op.attributes["restrict"] = ir.UnitAttr.get()
        for op in find(module, lambda op: op.name == "bufferization.to_buffer"):
            _read_late(op)


def _read_late(view: ir.Operation) -> None:
    """Give each reader of a buffer a view of its own, where it reads; upstream makes one where the tensor is made, behind
    which one-shot bufferisation would let others write to it.
    """
    for use in list(view.results[0].uses):
        reader = use.owner.operation
        late = ir.Operation.create(
            "bufferization.to_buffer",
            results=[view.results[0].type],
            operands=[view.operands[0]],
            attributes={"read_only": ir.UnitAttr.get()},
            ip=ir.InsertionPoint(reader),
        )
        reader.operands[use.operand_number] = late.results[0]
    view.erase()


def _is_tensor_constant(op: ir.Operation) -> bool:
    return op.name == "arith.constant" and isinstance(op.results[0].type, ir.RankedTensorType)


def _as_weight(op: ir.Operation, unit: Unit) -> None:
    """A small tensor constant moves to the weights: kernels take pointers."""
    name = unit.weights.add("constant", np.array(op.attributes["value"]))
    value = weight_op(name, op.results[0].type, None, loc=op.location, ip=ir.InsertionPoint(op))
    replace(op, [value])


def _as_buffer(op: ir.Operation) -> None:
    """A weight becomes a buffer that nothing may write to."""
    tensor = op.results[0].type
    buffer = ir.MemRefType.get(shape_of(op.results[0]), ir.ShapedType(tensor).element_type)
    ip = ir.InsertionPoint(op)
    attributes = {name: op.attributes[name] for name in op.attributes}
    weight = ir.Operation.create(WEIGHT_OP, results=[buffer], attributes=attributes, loc=op.location, ip=ip)
    view = ir.Operation.create(
        "bufferization.to_tensor",
        results=[tensor],
        operands=[weight.results[0]],
        attributes={"restrict": ir.UnitAttr.get()},
        loc=op.location,
        ip=ip,
    )
    replace(op, [view.results[0]])
