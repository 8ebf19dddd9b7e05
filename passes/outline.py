"""outline: every loop nest of `@main` that is not a kernel call becomes a function of its own, called on whole buffers.

Before:
    scf.parallel (%i, %j) = (%c0, %c0) to (%c4, %c8) step (%c1, %c1) { ... %x ... %alloc ... }
After:
    func.func private @loop_3(%x: memref<4x8xf32>, %y: memref<4x8xf32>, %begin: index, %end: index) {
      scf.parallel (%i, %j) = (%begin, %c0) to (%end, %c8) step (%c1, %c1) { ... } }
    func.call @loop_3(%x, %alloc, %c0, %c4) {layer = "relu_2", products = 96 : i64}

Then `@main` is a list of calls: the runtime walks it, times it and shares each call among threads; equal loops share
one function. Views and pure arithmetic are copied into the functions that use them; a scalar read from memory travels
through a one-element buffer. A function with checks (`cf.assert`) takes the status buffer of the run as its last
pointer, for `lower_asserts`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch_mlir import ir

from sparsec.artifact import Complaint
from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import block_walk, function, main_block, node_name
from sparsec.ir.pipeline import run_pipeline
from sparsec.passes.access import VIEWS
from sparsec.passes.check_operands import check_operands
from sparsec.passes.lower_asserts import COMPLAINT, STATUS
from sparsec.passes.lower_calls import call
from sparsec.passes.stack_buffers import stack_buffers
from sparsec.passes.unit import Unit

_BASES = ("memref.alloc", "sparsec.weight")
_SIZED = (*_BASES, "memref.alloca")
_ADDRESSES = (*VIEWS, "memref.get_global", "memref.extract_strided_metadata")
_PURE = ("arith.", "math.", "ub.poison", "affine.apply", "memref.dim")
_MIN_PARALLEL = 16  # prefer to split an axis at least this long


def outline(unit: Unit) -> None:
    """Lower linalg to loops, then move each top-level op of `@main` that does work into a function."""
    run_pipeline(
        unit.module,
        "func.func(tm-tensor-to-loops,convert-linalg-to-parallel-loops,fold-memref-alias-ops,canonicalize,cse)",
        what="lowering linalg to loops",
    )
    with unit.module.context, ir.Location.unknown():
        check_operands(function(unit.module, "main"))
        _Outliner(unit.module, unit.complaints).run()
    run_pipeline(unit.module, "func.func(canonicalize,cse)", what="removing what became unused")


@dataclass(slots=True)
class _Outliner:
    module: ir.Module
    complaints: list[Complaint]
    status: ir.Value | None = None  # made when the first check is met
    slots: dict[ir.Value, ir.Value] = field(default_factory=dict)  # scalar result of a step -> its one-element buffer
    functions: dict[str, str] = field(default_factory=dict)  # text of a function -> its name

    def run(self) -> None:
        for op in [item.operation for item in main_block(self.module).operations]:
            if _does_work(op):
                self._outline(op)

    def _outline(self, op: ir.Operation) -> None:
        _refuse_dynamic(op)
        name = f"loop_{len(self.functions)}"
        results = [result for result in op.results if list(result.uses)]
        slots = [self._slot(result, op) for result in results]
        bases: dict[ir.Value, None] = dict.fromkeys(slots)
        for value in _captured(op):
            self._collect(value, bases, op)
        if self._number_checks(op):
            bases[self._status()] = None
        outlined, block = self._function(name, list(bases))
        values: dict[ir.Value, ir.Value] = dict(zip(bases, block.arguments, strict=False))
        bounds = list(block.arguments)[-2:]
        end = block.operations[0].operation
        extent = _extent(op)
        calling = self._call(op, name, list(bases), extent[1] if extent is not None else 1)
        op.move_before(end)
        stack_buffers(op, block, _location_name(op))
        for inner in (op, *block_walk(op)):
            for position, operand in enumerate(inner.operands):
                if not _inside(operand, op):
                    inner.operands[position] = self._local(operand, values, op)
        if extent is not None:
            axis = extent[0]
            rank = len(op.operands) // 3
            op.operands[axis], op.operands[rank + axis] = bounds
        for result, slot in zip(results, slots, strict=True):
            self._store(result, values[slot], end)
        if slots:  # its results are still used outside
            self.functions[f"@{name}"] = name
        else:
            name = self._share(outlined, name)
        calling.attributes["callee"] = ir.FlatSymbolRefAttr.get(name)

    def _call(self, op: ir.Operation, name: str, bases: list[ir.Value], extent: int) -> ir.Operation:
        """The call that takes the place of `op`."""
        index, ip = ir.IndexType.get(), ir.InsertionPoint(op)
        bounds = [
            ir.Operation.create(
                "arith.constant", results=[index], attributes={"value": ir.IntegerAttr.get(index, bound)}, ip=ip
            ).results[0]
            for bound in (0, extent)
        ]
        attributes = {"layer": ir.StringAttr.get(_location_name(op)), "products": _integer(_work(op))}
        with op.location:
            return call(name, [*bases, *bounds], attributes, ip)

    def _slot(self, result: ir.Value, op: ir.Operation) -> ir.Value:
        """A one-element buffer for a scalar that later steps need."""
        if isinstance(result.type, ir.ShapedType):
            raise UnsupportedOpError(
                "a buffer that is chosen while the network runs cannot be planned",
                where=_location_name(op),
                next_step="make the condition constant, or move the choice outside the model",
            )
        buffer = ir.MemRefType.get([], result.type)
        segments = {"operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 0])}
        alloc = ir.Operation.create("memref.alloc", results=[buffer], attributes=segments, ip=ir.InsertionPoint(op))
        self.slots[result] = alloc.results[0]
        return alloc.results[0]

    def _store(self, result: ir.Value, slot: ir.Value, end: ir.Operation) -> None:
        ir.Operation.create("memref.store", operands=[result, slot], ip=ir.InsertionPoint(end))

    def _number_checks(self, op: ir.Operation) -> bool:
        """Give each `cf.assert` of `op` the number of its complaint; tell whether there are any."""
        checks = [inner for inner in (op, *block_walk(op)) if inner.name == "cf.assert"]
        for check in checks:
            named = check if node_name(check) else op
            complaint = Complaint(_location_name(named), ir.StringAttr(check.attributes["msg"]).value)
            if complaint not in self.complaints:
                self.complaints.append(complaint)
            check.attributes[COMPLAINT] = _integer(self.complaints.index(complaint))
        return bool(checks)

    def _status(self) -> ir.Value:
        """The buffer where failed checks leave their number: one for the whole run."""
        if self.status is None:
            attributes = {"operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 0]), STATUS: ir.UnitAttr.get()}
            buffer = ir.MemRefType.get([], ir.IntegerType.get_signless(64))
            ip = ir.InsertionPoint.at_block_begin(main_block(self.module))
            self.status = ir.Operation.create("memref.alloc", results=[buffer], attributes=attributes, ip=ip).results[0]
        return self.status

    def _collect(self, value: ir.Value, bases: dict[ir.Value, None], op: ir.Operation) -> None:
        """Add the buffers that `value` is made of to `bases`."""
        if value in self.slots:
            bases[self.slots[value]] = None
        elif isinstance(value.owner, ir.Block) or value.owner.operation.name in _BASES:
            bases[value] = None
        else:
            for operand in value.owner.operation.operands:
                self._collect(operand, bases, op)

    def _local(self, value: ir.Value, values: dict[ir.Value, ir.Value], before: ir.Operation) -> ir.Value:
        """The value inside the function: an argument, a load of a slot, or a copy of the pure op that makes it."""
        if value in values:
            return values[value]
        ip = ir.InsertionPoint(before)
        if value in self.slots:
            slot = values[self.slots[value]]
            local = ir.Operation.create("memref.load", results=[value.type], operands=[slot], ip=ip).results[0]
            values[value] = local
            return local
        source = value.owner.operation
        operands = [self._local(operand, values, before) for operand in source.operands]
        copy = source.clone(ip=ip)
        for position, operand in enumerate(operands):
            copy.operation.operands[position] = operand
        values.update(zip(source.results, copy.operation.results, strict=True))
        return values[value]

    def _function(self, name: str, bases: list[ir.Value]) -> tuple[ir.Operation, ir.Block]:
        index = ir.IndexType.get()
        signature = ir.FunctionType.get([*(base.type for base in bases), index, index], [])
        marks = [ir.DictAttr.get({STATUS if _is_status(base) else "llvm.noalias": ir.UnitAttr.get()}) for base in bases]
        plain = ir.DictAttr.get({})
        function = ir.Operation.create(
            "func.func",
            attributes={
                "sym_name": ir.StringAttr.get(name),
                "sym_visibility": ir.StringAttr.get("private"),
                "function_type": ir.TypeAttr.get(signature),
                "arg_attrs": ir.ArrayAttr.get([*marks, plain, plain]),
            },
            regions=1,
            ip=ir.InsertionPoint.at_block_begin(self.module.body),
        )
        block = function.regions[0].blocks.append(
            *signature.inputs, arg_locs=[ir.Location.unknown()] * len(signature.inputs)
        )
        ir.Operation.create("func.return", ip=ir.InsertionPoint(block))
        return function, block

    def _share(self, function: ir.Operation, name: str) -> str:
        """The name of an equal function if there is one (then this one is dropped), else its own."""
        text = function.get_asm(use_local_scope=True).replace(f"@{name}(", "@(", 1)
        known = self.functions.setdefault(text, name)
        if known != name:
            function.erase()
        return known


def _is_status(base: ir.Value) -> bool:
    return not isinstance(base.owner, ir.Block) and STATUS in base.owner.operation.attributes


def _does_work(op: ir.Operation) -> bool:
    names = (*_BASES, *_ADDRESSES, "func.call", "func.return", "memref.dealloc")
    if op.name in names:
        return False
    pure = op.name.startswith(_PURE)
    return not pure


def _captured(op: ir.Operation) -> list[ir.Value]:
    """Values from outside that `op` or an op nested in it uses, each once, in order of use."""
    used = dict.fromkeys(operand for inner in (op, *block_walk(op)) for operand in inner.operands)
    return [value for value in used if not _inside(value, op)]


def _inside(value: ir.Value, op: ir.Operation) -> bool:
    owner = value.owner
    parent = owner.owner.operation if isinstance(owner, ir.Block) else owner.operation.parent
    while parent is not None and parent.name != "func.func":
        if parent == op:
            return True
        parent = parent.parent
    return not isinstance(owner, ir.Block) and owner.operation == op


def _extent(op: ir.Operation) -> tuple[int, int] | None:
    """The axis of an `scf.parallel` to share among threads, and its length; None for serial ops."""
    if op.name != "scf.parallel" or op.results:
        return None
    rank = len(op.operands) // 3
    lower, upper, step = (
        [_constant(value) for value in list(op.operands)[i * rank : (i + 1) * rank]] for i in range(3)
    )
    lengths = [
        count if (first, stride) == (0, 1) and count else 0
        for first, count, stride in zip(lower, upper, step, strict=True)
    ]
    innermost = not any(inner.name in ("scf.parallel", "scf.for") for inner in block_walk(op))
    # An innermost loop is for vectors.
    outer = [axis for axis, count in enumerate(lengths[:-1] if innermost else lengths) if count > 1] or [rank - 1]
    long = [axis for axis in outer if lengths[axis] >= _MIN_PARALLEL]
    axis = long[0] if long else max(outer, key=lambda axis: lengths[axis])
    return (axis, lengths[axis]) if lengths[axis] > 0 else None


def _constant(value: ir.Value) -> int | None:
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "arith.constant":
        return None
    attribute = owner.operation.attributes["value"]
    return attribute.value if isinstance(attribute, ir.IntegerAttr) else None


def _work(op: ir.Operation) -> int:
    """Scalar operations of a loop nest, roughly: iterations times ops of the body; a call into libm counts ten."""
    trips = 1
    if op.name in ("scf.parallel", "scf.for"):
        count = 1 if op.name == "scf.for" else len(op.operands) // 3
        bounds = [_constant(value) for value in list(op.operands)[count : 2 * count]]
        trips = math.prod(bound if bound is not None else 16 for bound in bounds)
    inner = 0
    for region in op.regions:
        for block in region:
            for item in block.operations:
                nested = item.operation
                inner += _work(nested) if nested.regions else 10 if nested.name.startswith("math.") else 1
    return trips * max(inner, 1)


def _integer(value: int) -> ir.Attribute:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def _location_name(op: ir.Operation) -> str:
    return node_name(op) or op.name


def _refuse_dynamic(op: ir.Operation) -> None:
    for inner in (op, *block_walk(op)):
        for result in inner.results:
            if isinstance(result.type, ir.MemRefType) and not result.type.has_static_shape and inner.name in _SIZED:
                raise UnsupportedOpError(
                    "the size of a tensor is only known while the network runs", where=_location_name(inner)
                )
