"""fuse_prologue: what makes codes of floats, element by element, moves into the function that copies them for a layer.

Before (%codes are read by nothing else, and %x also by others: the range that %scale comes from, say):
    %codes = linalg.generic ins(%x, %scale, %zero) { divf, roundeven, ..., trunci }                 -> tensor<128x768xi8>
    %rows = linalg.generic {library_call = "@u8_byte_rows_128x768_..."} ins(%codes) outs(...)
After:
    %rows = linalg.generic {library_call = "@u8_byte_rows_128x768_..._5f1d2c3b"} ins(%x, %scale, %zero) outs(...)

The function is the same but for its loads, after which codes are made. So codes do not go through memory, which of codes that
one core has made and another reads is the larger part of their cost, and threads wait for each other once less. A single
core that finds its own codes in its caches makes them faster row by row: 4 to 11 % of a layer of 4x1 blocks on Zen 5.

Floats that nothing else reads and a loop makes stay with that loop: the codes are a quarter of what it would have to store.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith, func

from sparsec.ir.module import block_walk, element_of, find, integers, shape_of, users
from sparsec.kernels.emit import Buffer, Vectors, exists
from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.index import Index
from sparsec.kernels.kernel import Call
from sparsec.passes.access import indexing_maps, parallel_loops
from sparsec.passes.layer import function_text
from sparsec.passes.lower_layers import CALL_PREFIX, call_generic, declare, kernels_of
from sparsec.passes.unit import Unit

_FLOAT, _CODE = "f32", "i8"
_LOADS = ("vector.load", "vector.maskedload", "memref.load")
_AHEAD = (
    64  # elements of a row that are asked for before they are read: rows are far apart, which hardware does not follow
)
_LINE = 16  # elements of a cache line
_COPIED = 1.5  # times as many elements as there are codes: what copies write at most; others read codes more than once


def fuse_prologue(unit: Unit) -> None:
    """Give every copy of codes what makes these, if it can take it, and threads or a slower cache make that worth it."""
    if unit.machine.threads == 1 and not unit.isa.tile_registers:
        return
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, _is_copy):
            prologue = _Prologue.of(op, unit.module)
            if prologue is not None:
                _fuse(op, prologue, unit.module)


def _is_copy(op: ir.Operation) -> bool:
    """True for a call of a function that reads codes, and about as much as it writes."""
    if op.name != "linalg.generic" or not _function_name(op):
        return False
    inputs, outputs = ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"])
    if inputs != 1 or outputs != 1 or str(element_of(op.operands[0])) != _CODE:
        return False
    read, written = (math.prod(shape_of(operand)) for operand in op.operands)
    return written * _bytes(op.operands[1]) <= _COPIED * read


def _bytes(value: ir.Value) -> int:
    return int(str(element_of(value))[1:]) // 8


def _function_name(op: ir.Operation) -> str:
    """The function that an opaque generic calls; empty for others."""
    if "library_call" not in op.attributes:
        return ""
    name = str(ir.StringAttr(op.attributes["library_call"]).value)
    return name.removeprefix(CALL_PREFIX) if name.startswith(CALL_PREFIX) else ""


@dataclass(frozen=True, slots=True)
class _Prologue:
    """The element-wise op `made` as the function of a float; its operands, of which the first is the floats."""

    made: ir.Operation
    source: Epilogue
    operands: Sequence[ir.Value]

    @classmethod
    def of(cls, op: ir.Operation, module: ir.Module) -> _Prologue | None:
        """That of the codes which a copy reads; None if it must stay where it is."""
        codes = op.operands[0]
        made = codes.owner.operation if not isinstance(codes.owner, ir.Block) else None
        if made is None or made.name != "linalg.generic" or "library_call" in made.attributes:
            return None
        if len(users(codes)) != 1 or not all(parallel_loops(made)) or len(made.results) != 1:
            return None
        *inputs, _ = made.operands
        *maps, whole = indexing_maps(made)
        full = [value for value, each in zip(inputs, maps, strict=True) if each == whole]
        rest = [value for value in inputs if value not in full]
        if (
            len(full) != 1
            or str(element_of(full[0])) != _FLOAT
            or any(math.prod(shape_of(value)) != 1 for value in rest)
        ):
            return None
        if not whole.is_projected_permutation or shape_of(full[0]) != shape_of(codes) or _is_only_here(full[0]):
            return None
        if not all(inner.name.startswith(("arith.", "math.", "linalg.yield")) for inner in block_walk(made)):
            return None
        if not _only_loads(_kernel(op, module)):
            return None
        *body, last = [item.operation for item in made.regions[0].blocks[0].operations]
        arguments = list(made.regions[0].blocks[0].arguments)
        if arguments[-1] in [operand for inner in (*body, last) for operand in inner.operands]:
            return None
        order = [inputs.index(value) for value in (full[0], *rest)]
        text = function_text(body, last.operands[0], [arguments[place] for place in order])
        scalars = tuple(EpilogueOperand(Reach.SCALAR, str(element_of(value))) for value in rest)
        return cls(made, Epilogue(text, scalars, _FLOAT, _CODE), (full[0], *rest))


def _is_only_here(floats: ir.Value) -> bool:
    """True if a loop makes these for one reader."""
    if isinstance(floats.owner, ir.Block) or len(users(floats)) > 1:
        return False
    return floats.owner.operation.name == "linalg.generic" and "library_call" not in floats.owner.operation.attributes


def _kernel(op: ir.Operation, module: ir.Module) -> func.FuncOp:
    return ir.SymbolTable(kernels_of(module).operation)[_function_name(op)]


def _only_loads(kernel: func.FuncOp) -> bool:
    """True if a function reads its first argument by loads alone, not by address."""
    return all(use.owner.operation.name in _LOADS for use in kernel.regions[0].blocks[0].arguments[0].uses)


def _fuse(op: ir.Operation, prologue: _Prologue, module: ir.Module) -> None:
    """Call the function with loads of floats in the place of the other."""
    kernel, name = _kernel(op, module), f"{_function_name(op)}_{prologue.source.tag}"
    kernels = kernels_of(module)
    if not exists(kernels, name):
        declare(_with_prologue(kernel, name, prologue), module)
    inputs = list(prologue.operands)
    order = [0, len(inputs), *range(1, len(inputs))]  # x and what is written, as before, and then the scalars
    assert integers(op.attributes["order"]) == (0, 1)
    extent, products = (ir.IntegerAttr(op.attributes[key]).value for key in ("extent", "products"))
    layer = str(ir.StringAttr(op.attributes["layer"]).value)
    call = Call(name, (), extent, products)
    with op.location:
        made = call_generic([*inputs, op.operands[1]], 1, call, order, layer, ir.InsertionPoint(op))
    op.results[0].replace_all_uses_with(made.results[0])
    op.erase()
    prologue.made.erase()
    _forget(str(kernel.name.value), kernels, module)


def _forget(name: str, kernels: ir.Module, module: ir.Module) -> None:
    """Erase a function and its declaration, if nothing calls it any more."""
    if find(module, lambda op: _function_name(op) == name):
        return
    for table in (ir.SymbolTable(kernels.operation), ir.SymbolTable(module.operation)):
        table[name].operation.erase()


def _with_prologue(kernel: func.FuncOp, name: str, prologue: _Prologue) -> ir.Operation:
    """A copy of the function that loads floats: of (x, target, scalars, begin, end)."""
    copy = kernel.operation.clone(ip=ir.InsertionPoint(kernel))
    block = copy.regions[0].blocks[0]
    codes, target, begin, end = block.arguments
    size = shape_of(codes)[0]
    kinds = [(_FLOAT, size), *((operand.dtype, 1) for operand in prologue.source.operands)]
    x, *scalars = (ir.MemRefType.get([count], ir.Type.parse(kind)) for kind, count in kinds)
    types = [x, target.type, *scalars, begin.type, end.type]
    with ir.InsertionPoint(kernel):
        fused = func.FuncOp(name, ir.FunctionType.get(types, []), visibility="private")
    alone, plain = ir.DictAttr.get({"llvm.noalias": ir.UnitAttr.get()}), ir.DictAttr.get({})
    fused.arg_attrs = ir.ArrayAttr.get([alone] * (len(types) - 2) + [plain] * 2)
    into = fused.add_entry_block()
    floats, *others = into.arguments
    with ir.InsertionPoint(into):
        held = [
            Buffer(value, operand.dtype, 1)
            for value, operand in zip(others[1:-2], prologue.source.operands, strict=True)
        ]
        loaded = [buffer.load(0) for buffer in held]
    for item in list(block.operations):
        into.append(item.operation)
    for load in [use.owner.operation for use in codes.uses]:
        _load_floats(load, Buffer(floats, _FLOAT, size), loaded, prologue.source)
    for old, new in zip((target, begin, end), (others[0], others[-2], others[-1]), strict=True):
        old.replace_all_uses_with(new)
    copy.erase()
    return fused.operation


def _load_floats(load: ir.Operation, floats: Buffer, scalars: Sequence[ir.Value], source: Epilogue) -> None:
    """Replace a load of codes by one of floats, and what makes codes of them; lanes that a mask leaves out stay zeros."""
    kind = load.results[0].type
    with ir.InsertionPoint(load):
        if load.name == "memref.load":
            made = source.emit(floats.load(Index(dynamic=load.operands[1])), scalars)
        else:
            (lanes,) = ir.VectorType(kind).shape
            mask = load.operands[2] if load.name == "vector.maskedload" else None
            vectors = Vectors(lanes, _FLOAT)
            for line in range(0, lanes, _LINE):
                floats.prefetch(Index(dynamic=load.operands[1]) + (_AHEAD + line))
            wide = [Vectors(lanes, str(value.type)).broadcast(value) for value in scalars]
            made = source.emit(vectors.load(floats, Index(dynamic=load.operands[1]), mask), wide)
            if mask is not None:
                made = arith.select(mask, made, load.operands[3])
    load.results[0].replace_all_uses_with(made)
    load.erase()
