"""The words in which kernel generators are written: functions over flat buffers, loops, vectors.

Everything is built from upstream dialects (func, scf, arith, memref, vector), at the current insertion point and
location, so one generator serves every instruction set. Positions are `Index` values (see `index`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, func, memref, scf, vector

from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.index import Index, IndexLike, as_index


@dataclass(frozen=True, slots=True)
class Buffer:
    """A flat memref of `size` elements of type `dtype` ("f32", "i32", …): an argument of the function, or `local`."""

    memref: ir.Value
    dtype: str
    size: int

    def load(self, at: IndexLike) -> ir.Value:
        """One element."""
        return memref.load(self.memref, [as_index(at).value])

    def load_index(self, at: IndexLike) -> Index:
        """One unsigned integer element, as a position."""
        return Index(dynamic=arith.index_castui(ir.IndexType.get(), self.load(at)))

    def prefetch(self, at: IndexLike, *, level: int = 1, to_write: bool = False) -> None:
        """Ask this level of cache for the line of an element, to be read or written soon; it may lie outside of the buffer."""
        memref.prefetch(self.memref, [as_index(at).value], to_write, 4 - level, True)

    def claim(self, first: IndexLike, lines: IndexLike, pitch: int) -> None:
        """Ask for so many lines `pitch` elements apart, to be written soon: those that all cores have read are waited for at
        the same time then, rather than one after the other."""
        with loop(0, lines) as line:
            self.prefetch(as_index(first) + line * pitch, to_write=True)

    def store(self, value: ir.Value, at: IndexLike) -> None:
        """Store one element."""
        memref.store(value, self.memref, [as_index(at).value])


Spec = Mapping[str, tuple[str, int]]  # buffer name -> (element type, element count), in argument order
Body = Callable[[Mapping[str, Buffer], Index, Index], None]
PartBody = Callable[..., None]  # of the buffers, and as many positions as it is called with


def element_bytes(dtype: str) -> int:
    """Bytes of an element of an MLIR number type in memory: 4 of "f32", 1 of "i8" and "i1"."""
    return -(-int(dtype.lstrip("bfi")) // 8)


def dtype_of(array: NDArray[np.generic]) -> str:
    """The MLIR type of an array's numbers: "f32" of float32, "i16" of uint16."""
    return f"{array.dtype.kind.replace('u', 'i')}{8 * array.dtype.itemsize}"


def exists(module: ir.Module, name: str) -> bool:
    """True if the module has a top-level symbol `name`."""
    return name in ir.SymbolTable(module.operation)


def define(module: ir.Module, name: str, buffers: Spec, body: Body) -> None:
    """Add `func.func private @name(memref<size x dtype> no alias..., %begin: index, %end: index)`, unless it exists.

    `body(buffers, begin, end)` builds the units [begin, end).
    """
    _define(module, name, buffers, 2, lambda named, places: body(named, *places))


def apart(module: ir.Module, name: str, buffers: Mapping[str, Buffer], body: PartBody, *places: Index) -> None:
    """Build `body(buffers, *places)` in a function @name of its own, and call it here.

    No function is inlined. Constants of a long body do not take registers from loops around it then.
    """
    spec = {key: (buffer.dtype, buffer.size) for key, buffer in buffers.items()}
    _define(module, name, spec, len(places), lambda named, given: body(named, *given))
    operands = [*(buffer.memref for buffer in buffers.values()), *(place.value for place in places)]
    func.call([], ir.FlatSymbolRefAttr.get(name), operands)


def _define(
    module: ir.Module,
    name: str,
    buffers: Spec,
    places: int,
    body: Callable[[Mapping[str, Buffer], Sequence[Index]], None],
) -> None:
    """Add a function of buffers and so many positions, unless it exists."""
    if exists(module, name):
        return
    with module.context, ir.Location.unknown():
        types = [ir.MemRefType.get([size], ir.Type.parse(dtype)) for dtype, size in buffers.values()]
        index = ir.IndexType.get()
        with ir.InsertionPoint(module.body):
            function = func.FuncOp(name, ir.FunctionType.get([*types, *[index] * places], []), visibility="private")
        no_alias = ir.DictAttr.get({"llvm.noalias": ir.UnitAttr.get()})
        plain = ir.DictAttr.get({})
        function.arg_attrs = ir.ArrayAttr.get([no_alias] * len(types) + [plain] * places)
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            memory, given = list(block.arguments)[: len(types)], list(block.arguments)[len(types) :]
            named = {key: Buffer(value, *buffers[key]) for key, value in zip(buffers, memory, strict=True)}
            body(named, [Index(dynamic=each) for each in given])
            func.return_([])


def local(dtype: str, size: int) -> Buffer:
    """Stack memory of the function being built, 64-byte aligned; it is allocated once, also in a loop."""
    kind = ir.MemRefType.get([size], ir.Type.parse(dtype))
    around = ir.InsertionPoint.current.block.owner.operation
    while around.name != "func.func":
        around = around.parent.operation
    with ir.InsertionPoint.at_block_begin(around.regions[0].blocks[0]):
        return Buffer(memref.AllocaOp(kind, [], [], alignment=64).result, dtype, size)


@contextmanager
def loop(begin: IndexLike, end: IndexLike, step: IndexLike = 1) -> Iterator[Index]:
    """`with loop(0, n) as i:` builds the body of a loop without carried values."""
    op = scf.ForOp(as_index(begin).value, as_index(end).value, as_index(step).value)
    with ir.InsertionPoint(op.body):
        yield Index(dynamic=op.induction_variable)
        scf.yield_([])


def carry(
    begin: IndexLike,
    end: IndexLike,
    step: IndexLike,
    start: Sequence[ir.Value],
    body: Callable[[Index, list[ir.Value]], Sequence[ir.Value]],
) -> list[ir.Value]:
    """A loop that keeps values (sums) in registers: `body(i, values)` gives the next ones; returns the last ones."""
    op = scf.ForOp(as_index(begin).value, as_index(end).value, as_index(step).value, list(start))
    with ir.InsertionPoint(op.body):
        scf.yield_(list(body(Index(dynamic=op.induction_variable), list(op.inner_iter_args))))
    return list(op.results)


@contextmanager
def when(condition: ir.Value) -> Iterator[None]:
    """`with when(i < n):` builds what happens only if the i1 `condition` holds."""
    op = scf.IfOp(condition)
    with ir.InsertionPoint(op.then_block):
        yield
        scf.yield_([])


def choose(condition: ir.Value, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """Build both branches of a conditional."""
    op = scf.IfOp(condition, has_else=True)
    for block, body in ((op.then_block, then), (op.else_block, otherwise)):
        with ir.InsertionPoint(block):
            body()
            scf.yield_([])


def both(left: ir.Value, right: ir.Value) -> ir.Value:
    """Logical and of i1 values or masks."""
    return arith.andi(left, right)


def either(left: ir.Value, right: ir.Value) -> ir.Value:
    """Exclusive or of i1 values or masks."""
    return arith.xori(left, right)


def differs(left: ir.Value, right: ir.Value) -> ir.Value:
    """The i1 of each lane whose integers differ: a mask."""
    return arith.cmpi(arith.CmpIPredicate.ne, left, right)


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of `lanes` elements of type `dtype`. A mask is an i1 vector; None means all lanes."""

    lanes: int
    dtype: str = "f32"

    @property
    def type(self) -> ir.VectorType:
        return ir.VectorType.get([self.lanes], ir.Type.parse(self.dtype))

    def mask(self, active: IndexLike) -> ir.Value | None:
        """The mask of the first `active` lanes; None if these are known to be all."""
        count = as_index(active)
        if count.known is not None and count.known >= self.lanes:
            return None
        bits = ir.VectorType.get([self.lanes], ir.IntegerType.get_signless(1))
        if count.known is not None:
            return vector.constant_mask(bits, [count.known])
        return vector.create_mask(bits, [count.value])

    @property
    def mask_all(self) -> ir.Value:
        """The mask of all lanes."""
        return vector.constant_mask(ir.VectorType.get([self.lanes], ir.IntegerType.get_signless(1)), [self.lanes])

    def mask_signed(self, active: Index) -> ir.Value:
        """The mask of the first `active` lanes, where `active` may be negative (none) or large (all)."""
        bits = ir.VectorType.get([self.lanes], ir.IntegerType.get_signless(1))
        return vector.create_mask(bits, [active.value])

    def splat(self, value: float) -> ir.Value:
        """A constant in every lane; of integers it may be signed or unsigned."""
        element = ir.Type.parse(self.dtype)
        if self.dtype[0] in "fb":
            scalar: ir.Attribute = ir.FloatAttr.get(element, value)
        else:
            wraps = int(value) >= 1 << (element_bytes(self.dtype) * 8 - 1)
            scalar = ir.IntegerAttr.get(element, int(value) - (wraps << element_bytes(self.dtype) * 8))
        return arith.constant(self.type, ir.DenseElementsAttr.get_splat(self.type, scalar))

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """One run-time element in every lane."""
        return vector.broadcast(self.type, scalar)

    def load(self, source: Buffer, at: IndexLike, mask: ir.Value | None = None, other: float = 0) -> ir.Value:
        """Elements [at, at + lanes); lanes that the mask leaves out are not read and give `other`."""
        if mask is None:
            return vector.load(self.type, source.memref, [as_index(at).value])
        return vector.maskedload(self.type, source.memref, [as_index(at).value], mask, self.splat(other))

    def store(self, value: ir.Value, target: Buffer, at: IndexLike, mask: ir.Value | None = None) -> None:
        """Store to [at, at + lanes); lanes that the mask leaves out are not written."""
        if mask is None:
            vector.store(value, target.memref, [as_index(at).value])
        else:
            vector.maskedstore(target.memref, [as_index(at).value], mask, value)

    def gather(
        self, source: Buffer, at: IndexLike, stride: int, mask: ir.Value | None = None, other: float = 0
    ) -> ir.Value:
        """Elements at, at + stride, …; lanes that the mask leaves out are not read and give `other`."""
        kind = ir.VectorType.get([self.lanes], ir.IntegerType.get_signless(32))
        numbers = np.arange(self.lanes, dtype=np.int32) * stride
        steps = arith.constant(kind, ir.DenseElementsAttr.get(numbers, type=kind))
        reached = self.mask_all if mask is None else mask
        return vector.gather(self.type, source.memref, [as_index(at).value], steps, reached, self.splat(other))

    def truncate(self, values: ir.Value) -> ir.Value:
        """Floats as signed integers, towards zero."""
        return arith.fptosi(self.type, values)

    def from_bytes(self, values: ir.Value) -> ir.Value:
        """Unsigned bytes as floats."""
        return arith.uitofp(self.type, values)

    def load_splat(self, source: Buffer, at: IndexLike) -> ir.Value:
        """Element `at` in every lane."""
        return self.broadcast(source.load(at))


def fma(left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
    """left * right + total, rounded once."""
    return vector.fma(left, right, total)


def add(left: ir.Value, right: ir.Value) -> ir.Value:
    """left + right of numbers or of vectors."""
    element = ir.VectorType(left.type).element_type if isinstance(left.type, ir.VectorType) else left.type
    return arith.addi(left, right) if isinstance(element, ir.IntegerType) else arith.addf(left, right)


def add_up(values: list[ir.Value]) -> ir.Value:
    """The sum of a power of two of values, as a tree."""
    while len(values) > 1:
        values = [add(left, right) for left, right in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def shuffle(left: ir.Value, right: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """The constant permutation `lanes` of the lanes of `left` followed by those of `right`."""
    return vector.shuffle(left, right, list(lanes))


def joined(parts: Sequence[ir.Value]) -> ir.Value:
    """A power of two of equal vectors, behind each other."""
    parts = list(parts)
    while len(parts) > 1:
        lanes = range(2 * ir.VectorType(parts[0].type).shape[0])
        parts = [shuffle(low, high, lanes) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def epilogue_buffers(epilogue: Epilogue, elements: int, channels: int) -> dict[str, tuple[str, int]]:
    """The buffers "epilogue.0" … of a layer with `elements` output elements and `channels` output channels."""
    size = {Reach.FULL: elements, Reach.CHANNEL: channels, Reach.SCALAR: 1}
    return {f"epilogue.{i}": (operand.dtype, size[operand.reach]) for i, operand in enumerate(epilogue.operands)}


def finish(
    vectors: Vectors,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    total: ir.Value,
    *,
    element: IndexLike,
    channel: IndexLike,
    mask: ir.Value | None = None,
    along_channels: bool = False,
) -> ir.Value:
    """The epilogue of `total`, whose lane 0 is output element `element` of channel `channel`.

    Lanes follow each other in the output; with `along_channels` they are consecutive channels, else pixels of one
    channel.
    """
    (value,) = finish_abreast(
        vectors,
        epilogue,
        buffers,
        [total],
        elements=[element],
        channels=[channel],
        mask=mask,
        along_channels=along_channels,
    )
    return value


def finish_abreast(
    vectors: Vectors,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    totals: Sequence[ir.Value],
    *,
    elements: Sequence[IndexLike],
    channels: Sequence[IndexLike],
    mask: ir.Value | None = None,
    along_channels: bool = False,
) -> list[ir.Value]:
    """The epilogues of several vectors as `finish` gives them, computed side by side."""

    def operand(number: int, spec: EpilogueOperand, element: IndexLike, channel: IndexLike) -> ir.Value:
        source = buffers[f"epilogue.{number}"]
        lanes = Vectors(vectors.lanes, spec.dtype)
        match spec.reach:
            case Reach.FULL:
                return lanes.load(source, element, mask)
            case Reach.CHANNEL:
                return lanes.load(source, channel, mask) if along_channels else lanes.load_splat(source, channel)
            case Reach.SCALAR:
                return lanes.load_splat(source, 0)

    operands = [
        [operand(i, spec, *place) for i, spec in enumerate(epilogue.operands)]
        for place in zip(elements, channels, strict=True)
    ]
    return epilogue.emit_abreast(totals, operands)
