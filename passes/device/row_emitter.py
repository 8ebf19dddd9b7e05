"""The body of a kernel over rows and columns, written for one thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from torch_mlir import ir
from torch_mlir.dialects import arith, gpu, memref, scf, vector

from sparsec.ir.module import element_of, shape_of
from sparsec.passes.device.functions import ALIGNMENT, Functions
from sparsec.passes.device.nests import Nest, Walk, combiner
from sparsec.passes.device.threads import WARP, Dealt
from sparsec.passes.plan_memory import element_bytes

_NEUTRAL = {
    "arith.addf": 0.0,
    "arith.mulf": 1.0,
    "arith.maximumf": -math.inf,
    "arith.minimumf": math.inf,
    "arith.maxnumf": -math.inf,
    "arith.minnumf": math.inf,
}
_Place = tuple[ir.Value, object]


class RowEmitter:
    """Writes nests one after the other at the end of a function's block; `close` when all are written.

    `columns` are the nests' own, where `dealt` may have cut rows into vectors; `arguments` are the function's for the
    buffers that it may touch.
    """

    def __init__(
        self,
        dealt: Dealt,
        columns: int,
        arguments: Mapping[ir.Value, ir.Value],
        block: ir.Block,
        functions: Functions,
    ) -> None:
        self._dealt, self._columns, self._functions = dealt, columns, functions
        self._top = ir.InsertionPoint(list(block.operations)[-1])
        self._values: dict[_Place, list[ir.Value]] = {}  # at a place of a buffer: one for each chunk, or one a row
        self._rows: dict[tuple[tuple[int, int], ...], ir.Value] = {}  # where rows begin, by how they are walked
        self._sums = 0  # that went through shared memory
        self._there: ir.Value | None = None  # whether this thread's row is one, where some are not
        with self._top:
            self._buffers = {base: _flat(argument) for base, argument in arguments.items()}
            self._row, self._thread, self._starts = self._places()
            self._inside = self._guard()

    def nest(self, nest: Nest, walks: Sequence[Walk]) -> None:
        """Write one more nest."""
        with self._inside:
            if nest.sums:
                self._sum(nest, walks)
            else:
                self._map(nest, walks)

    def close(self) -> None:
        """End the part for rows that there are."""
        with self._inside:
            if self._inside is not self._top:
                scf.yield_([])

    def _places(self) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
        """This thread's row, its number among the row's threads, and the columns where its chunks begin, all i32."""
        dealt, block, thread = (
            self._dealt,
            _number(gpu.block_id(gpu.Dimension.x)),
            _number(gpu.thread_id(gpu.Dimension.x)),
        )
        if dealt.threads == 1:
            return self._elements(block, thread)
        row = block
        if dealt.together > 1:
            row = arith.addi(arith.muli(block, _i32(dealt.together)), arith.divui(thread, _i32(dealt.threads)))
            thread = arith.remui(thread, _i32(dealt.threads))
        if dealt.rows % dealt.together:  # all threads of a warp go on, some of them with another's row
            self._there = arith.cmpi(arith.CmpIPredicate.ult, row, _i32(dealt.rows))
            row = arith.minui(row, _i32(dealt.rows - 1))
        first = arith.muli(thread, _i32(dealt.lanes))
        step = dealt.threads * dealt.lanes
        return row, thread, [first, *(arith.addi(first, _i32(step * each)) for each in range(1, dealt.chunks))]

    def _elements(self, block: ir.Value, thread: ir.Value) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
        """The same where each thread has one vector."""
        dealt = self._dealt
        vectors = self._columns // dealt.lanes
        self._element = arith.addi(arith.muli(block, _i32(dealt.block)), thread)
        column = arith.muli(arith.remui(self._element, _i32(vectors)), _i32(dealt.lanes))
        return arith.divui(self._element, _i32(vectors)), column, [column]

    def _guard(self) -> ir.InsertionPoint:
        """Where to write what only elements that there are need."""
        dealt = self._dealt
        if dealt.threads > 1 or dealt.rows % dealt.together == 0:
            return self._top
        inside = scf.IfOp(arith.cmpi(arith.CmpIPredicate.ult, self._element, _i32(dealt.rows)))
        return ir.InsertionPoint(inside.then_block)

    def _map(self, nest: Nest, walks: Sequence[Walk]) -> None:
        per_row = not any(walk.column for walk in walks if walk.written)
        for chunk in range(1 if per_row else self._dealt.chunks):
            lanes = 1 if per_row else self._dealt.lanes
            results = _body(nest.op, [self._reader(walk, chunk, lanes) for walk in walks], lanes)
            written = [walk for walk in walks if walk.written]
            for walk, value in zip(written, results, strict=True):
                self._keep(walk, chunk, value)

    def _sum(self, nest: Nest, walks: Sequence[Walk]) -> None:
        """Add up what each thread has, then what threads have, then what was there before."""
        dealt, last = self._dealt, combiner(nest.op)
        assert last is not None
        total: ir.Value | None = None
        for chunk in range(dealt.chunks):
            term = _term(nest.op, last, [self._reader(walk, chunk, dealt.lanes) for walk in walks], dealt.lanes)
            term = self._or_neutral(term, chunk, last)
            total = term if total is None else _again(last, total, term)
        assert total is not None
        if dealt.lanes > 1:
            parts = [vector.extract(total, [], [lane]) for lane in range(dealt.lanes)]
            total = parts[0]
            for part in parts[1:]:
                total = _again(last, total, part)
        total = self._over_threads(total, last)
        target = walks[-1]
        self._keep(target, 0, _again(last, self._load(target, 0), total))

    def _or_neutral(self, term: ir.Value, chunk: int, last: ir.Operation) -> ir.Value:
        """A term, or what changes no sum where the chunk is beyond the row."""
        if not self._beyond(chunk):
            return term
        neutral = arith.constant(term.type, _splat(term.type, _NEUTRAL[last.name]))
        return arith.select(self._valid(chunk), term, neutral)

    def _over_threads(self, value: ir.Value, last: ir.Operation) -> ir.Value:
        value, warps = self._over_lanes(value, last), self._dealt.threads // WARP
        return value if warps <= 1 else self._over_warps(value, last, warps)

    def _over_lanes(self, value: ir.Value, last: ir.Operation) -> ir.Value:
        """The sum of a value over the threads of a row in a warp."""
        distance = min(self._dealt.threads, WARP) // 2
        while distance:
            shuffled = gpu.ShuffleOp(value, _i32(distance), _i32(WARP), gpu.ShuffleMode.XOR)
            value = _again(last, value, shuffled.results[0])
            distance //= 2
        return value

    def _over_warps(self, value: ir.Value, last: ir.Operation, warps: int) -> ir.Value:
        """Through shared memory, where each sum of a row has a place of its own."""
        shared = self._functions.shared(self._sums)
        self._sums += 1
        lane, warp = arith.remui(self._thread, _i32(WARP)), arith.divui(self._thread, _i32(WARP))
        first = scf.IfOp(arith.cmpi(arith.CmpIPredicate.eq, lane, _i32(0)))
        with ir.InsertionPoint(first.then_block):
            memref.store(value, shared, [_index(warp)])
            scf.yield_([])
        gpu.barrier()
        filled = arith.cmpi(arith.CmpIPredicate.ult, lane, _i32(warps))
        neutral = arith.constant(value.type, _splat(value.type, _NEUTRAL[last.name]))
        part = arith.select(filled, memref.load(shared, [_index(lane)]), neutral)
        return self._over_lanes(part, last)

    def _reader(self, walk: Walk, chunk: int, lanes: int) -> Callable[[], ir.Value]:
        """What gives a body its argument, as a vector where it works on vectors."""

        def read() -> ir.Value:
            value = self._load(walk, chunk)
            if lanes > 1 and not isinstance(value.type, ir.VectorType):
                return vector.broadcast(ir.VectorType.get([lanes], value.type), value)
            return value

        return read

    def _load(self, walk: Walk, chunk: int) -> ir.Value:
        known = self._values.setdefault((walk.base, walk.place), [])
        at = chunk if walk.column else 0
        while len(known) <= at:
            known.append(self._loaded(walk, len(known)))
        return known[at]

    def _loaded(self, walk: Walk, chunk: int) -> ir.Value:
        buffer = self._buffers[walk.base]
        address = self._address(walk, chunk, within=True)
        if not walk.column or self._dealt.lanes == 1:
            return memref.load(buffer, [address])
        kind = ir.VectorType.get([self._dealt.lanes], element_of(walk.base))
        return vector.load(kind, buffer, [address], alignment=self._alignment(walk))

    def _keep(self, walk: Walk, chunk: int, value: ir.Value) -> None:
        """Remember what was written, and store it if others need it."""
        known = self._values.setdefault((walk.base, walk.place), [])
        del known[chunk:]
        known.append(value)
        if walk.base not in self._buffers:
            return
        buffer, address, guard = (
            self._buffers[walk.base],
            self._address(walk, chunk, within=False),
            self._only(walk, chunk),
        )
        if guard is None:
            _store(value, buffer, address, self._alignment(walk))
            return
        only = scf.IfOp(guard)
        with ir.InsertionPoint(only.then_block):
            _store(value, buffer, address, self._alignment(walk))
            scf.yield_([])

    def _only(self, walk: Walk, chunk: int) -> ir.Value | None:
        """Which threads store; None for all."""
        conditions = [] if self._there is None else [self._there]
        if walk.column and self._beyond(chunk):
            conditions.append(self._valid(chunk))
        elif not walk.column and self._columns > 1:
            conditions.append(arith.cmpi(arith.CmpIPredicate.eq, self._thread, _i32(0)))
        return reduce(arith.andi, conditions) if conditions else None

    def _alignment(self, walk: Walk) -> int:
        return min(ALIGNMENT, self._dealt.lanes * element_bytes(element_of(walk.base)))

    def _address(self, walk: Walk, chunk: int, *, within: bool) -> ir.Value:
        """The element of a buffer where a chunk begins; `within` the row, of chunks beyond it, some other."""
        address = arith.addi(self._row_start(walk), _i32(walk.offset)) if walk.offset else self._row_start(walk)
        if walk.column:
            column = self._starts[chunk]
            if within and self._beyond(chunk):
                column = arith.minui(column, _i32(self._columns - self._dealt.lanes))
            address = arith.addi(address, arith.muli(column, _i32(walk.column)))
        return _index(address)

    def _row_start(self, walk: Walk) -> ir.Value:
        _, loops, _ = walk.place
        if loops not in self._rows:
            rest, start = self._row, _i32(0)
            for position, (count, stride) in enumerate(reversed(loops)):
                outermost = position == len(loops) - 1
                digit = rest if outermost else arith.remui(rest, _i32(count))
                start = arith.addi(start, arith.muli(digit, _i32(stride)))
                rest = rest if outermost else arith.divui(rest, _i32(count))
            self._rows[loops] = start
        return self._rows[loops]

    def _beyond(self, chunk: int) -> bool:
        """True if of some threads this chunk is not in the row."""
        dealt = self._dealt
        return dealt.threads > 1 and (chunk + 1) * dealt.threads * dealt.lanes > self._columns

    def _valid(self, chunk: int) -> ir.Value:
        return arith.cmpi(arith.CmpIPredicate.ult, self._starts[chunk], _i32(self._columns))


def _store(value: ir.Value, buffer: ir.Value, address: ir.Value, alignment: int) -> None:
    if isinstance(value.type, ir.VectorType):
        vector.store(value, buffer, [address], alignment=alignment)
    else:
        memref.store(value, buffer, [address])


def _body(op: ir.Operation, readers: Sequence[Callable[[], ir.Value]], lanes: int) -> list[ir.Value]:
    """What a generic's body yields, of arguments that are read where it uses them."""
    block = op.regions[0].blocks[0]
    *inner, end = [each.operation for each in block.operations]
    values = _arguments(block, readers)
    _clone(inner, values, lanes)
    return [_value(operand, values, lanes) for operand in end.operands]


def _term(op: ir.Operation, last: ir.Operation, readers: Sequence[Callable[[], ir.Value]], lanes: int) -> ir.Value:
    """What a body adds to a sum by its op `last`."""
    block = op.regions[0].blocks[0]
    total = block.arguments[len(block.arguments) - 1]
    values = _arguments(block, readers[:-1])
    _clone([each.operation for each in list(block.operations)[:-1] if each.operation != last], values, lanes)
    term = last.operands[0] if last.operands[1] == total else last.operands[1]
    return _value(term, values, lanes)


def _arguments(block: ir.Block, readers: Sequence[Callable[[], ir.Value]]) -> dict[ir.Value, ir.Value]:
    return {argument: read() for argument, read in zip(block.arguments, readers, strict=False) if list(argument.uses)}


def _clone(ops: Sequence[ir.Operation], values: dict[ir.Value, ir.Value], lanes: int) -> None:
    for op in ops:
        operands = [_value(operand, values, lanes) for operand in op.operands]
        values.update(zip(op.results, _created(op, operands, lanes).results, strict=True))


def _value(value: ir.Value, values: dict[ir.Value, ir.Value], lanes: int) -> ir.Value:
    """A value of a body in the kernel; constants from outside are made anew."""
    if value not in values:
        values[value] = _created(value.owner.operation, [], lanes).results[0]
    return values[value]


def _created(op: ir.Operation, operands: Sequence[ir.Value], lanes: int) -> ir.Operation:
    """The same op, on vectors if there are several lanes."""
    attributes = {name: op.attributes[name] for name in op.attributes}
    kinds = [result.type for result in op.results]
    if lanes > 1:
        kinds = [ir.VectorType.get([lanes], kind) for kind in kinds]
        if op.name == "arith.constant":
            attributes["value"] = ir.DenseElementsAttr.get_splat(kinds[0], attributes["value"])
    return ir.Operation.create(op.name, results=kinds, operands=list(operands), attributes=attributes)


def _again(last: ir.Operation, total: ir.Value, term: ir.Value) -> ir.Value:
    """One more term: the op `last` on numbers or vectors."""
    lanes = ir.VectorType(total.type).shape[0] if isinstance(total.type, ir.VectorType) else 1
    return _created(last, [term, total], lanes).results[0]


def _splat(kind: ir.Type, value: float) -> ir.Attribute:
    if isinstance(kind, ir.VectorType):
        return ir.DenseElementsAttr.get_splat(kind, ir.FloatAttr.get(kind.element_type, value))
    return ir.FloatAttr.get(kind, value)


def _flat(buffer: ir.Value) -> ir.Value:
    """A buffer as one axis."""
    size = math.prod(shape_of(buffer))
    return memref.reinterpret_cast(
        ir.MemRefType.get([size], element_of(buffer)),
        buffer,
        [],
        [],
        [],
        static_offsets=[0],
        static_sizes=[size],
        static_strides=[1],
    )


def _i32(value: int) -> ir.Value:
    return arith.constant(ir.IntegerType.get_signless(32), value)


def _number(index: ir.Value) -> ir.Value:
    return arith.index_cast(ir.IntegerType.get_signless(32), index)


def _index(number: ir.Value) -> ir.Value:
    return arith.index_cast(ir.IndexType.get(), number)
