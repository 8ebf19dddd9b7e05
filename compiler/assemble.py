"""The planned module becomes a program: steps with their buffers, weights at their offsets, code for the target."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import WEIGHT_ALIGNMENT, Buffer, Plan, Space, Step, TensorSpec
from sparsec.frontends.imported import Imported
from sparsec.ir.module import function, main_block
from sparsec.ir.weights import WeightStore, weight_name
from sparsec.passes.lower_asserts import STATUS
from sparsec.passes.plan_memory import base_of
from sparsec.passes.unit import Unit
from sparsec.report import Report
from sparsec.targets.target import Target

PARALLEL_NS = 3_000.0  # a step is not shared for less
CHUNK_NS = 500.0  # nor does a thread go for less to where it can have it
_LOOP_OPERATIONS_PER_NS = 10.0  # of vectorised element-wise loops, which wait for memory


class Assembly:
    """What a planned unit says of the program, apart from its code. Its weights are in a pool that units may share."""

    def __init__(self, unit: Unit, imported: Imported, pool: WeightPool) -> None:
        self._unit, self._imported = unit, imported
        self._pool = pool
        blob = WeightBlob(unit.weights, pool)
        with unit.module.context:
            self._steps = _steps(unit, len(imported.inputs), blob)
            self._arena = ir.IntegerAttr(function(unit.module, "main").attributes["arena_bytes"]).value
            self._status = status_offset(unit)

    def plan(self, target: Target) -> Plan:
        """All of the program but its code, when the pool is complete."""
        return Plan(
            name=self._imported.name,
            target=target.spec,
            inputs=tuple(TensorSpec(*spec) for spec in self._imported.inputs),
            outputs=tuple(TensorSpec(*spec) for spec in self._imported.outputs),
            arena_bytes=self._arena,
            steps=tuple(self._steps),
            weights=self._pool.bytes(),
            report=self._report().as_dict(),  # type: ignore[arg-type]
            status=self._status,
            complaints=tuple(self._unit.complaints),
            floats=self._pool.floats,
        )

    def _report(self) -> Report:
        unit = self._unit
        return Report(tuple(unit.layers.values()), tuple(unit.notes), unit.quantised, unit.precision.name)


def status_offset(unit: Unit) -> int | None:
    """Where in the arena failed checks leave their number; None for a network without checks."""
    marked = (op.operation for op in main_block(unit.module).operations if STATUS in op.operation.attributes)
    return next((ir.IntegerAttr(op.attributes["arena_offset"]).value for op in marked), None)


class WeightPool:
    """Arrays at aligned offsets; equal ones are stored once, whatever their names and whosever they are."""

    def __init__(self) -> None:
        self._blob: NDArray[np.uint8] | None = None
        self._known: dict[tuple[bytes, np.dtype[np.generic]], int] = {}  # digest -> offset
        self._parts: list[tuple[int, NDArray[np.uint8]]] = []
        self._floats: list[tuple[int, int]] = []
        self._size = 0

    def offset(self, array: NDArray[np.generic]) -> int:
        """Where an array is, added if it is not there yet; not after `bytes`."""
        assert self._blob is None, "the pool is complete"
        array = np.ascontiguousarray(array).reshape(-1)
        raw = array.view(np.uint8)
        digest = hashlib.blake2b(raw.data, digest_size=16).digest(), array.dtype
        if digest not in self._known:
            self._known[digest] = self._size
            self._parts.append((self._size, raw))
            if array.dtype == np.float32:
                self._floats.append((self._size, array.size))
            self._size += -(-raw.nbytes // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
        return self._known[digest]

    @property
    def floats(self) -> tuple[tuple[int, int], ...]:
        """Offset and number of elements of each array of float32."""
        return tuple(self._floats)

    def bytes(self) -> NDArray[np.uint8]:
        """All of them: the same array each time."""
        if self._blob is None:
            self._blob = np.zeros(self._size, np.uint8)
            for offset, raw in self._parts:
                self._blob[offset : offset + raw.nbytes] = raw
            self._parts.clear()
        return self._blob


class WeightBlob:
    """Where in a pool the weights are that steps use, by their names."""

    def __init__(self, weights: WeightStore, pool: WeightPool) -> None:
        self._weights, self._pool = weights, pool
        self._offsets: dict[str, int] = {}

    def offset(self, name: str) -> int:
        """Where this weight begins, added to the pool if it is not there yet."""
        if name not in self._offsets:
            self._offsets[name] = self._pool.offset(self._weights.dense(name))
        return self._offsets[name]


def _steps(unit: Unit, inputs: int, blob: WeightBlob) -> list[Step]:
    """One step per call of `@main`."""
    calls = [op.operation for op in main_block(unit.module).operations if op.operation.name == "func.call"]
    products: Counter[str] = Counter()
    for call in calls:
        products[_layer(call)] += _products(call)
    return [_step(call, unit, products, inputs, blob) for call in calls]


def _step(call: ir.Operation, unit: Unit, products: Mapping[str, int], inputs: int, blob: WeightBlob) -> Step:
    *pointers, _, end = call.operands
    extent = end.owner.operation.attributes["value"].value
    predicted = _predicted_ns(call, unit, products)
    shared = math.ceil(CHUNK_NS * extent / predicted) if predicted >= PARALLEL_NS else extent
    return Step(
        kernel=ir.FlatSymbolRefAttr(call.attributes["callee"]).value,
        args=tuple(_buffer(value, inputs, blob) for value in pointers),
        extent=extent,
        grain=max(1, min(extent, shared)),
        layer=_layer(call),
    )


def _predicted_ns(call: ir.Operation, unit: Unit, products: Mapping[str, int]) -> float:
    """One thread's time for a call: its share of what the cost model says of its layer; loops count operations."""
    layer = unit.layers.get(_layer(call))
    if layer is None:
        return _products(call) / _LOOP_OPERATIONS_PER_NS
    alone = layer.predicted_ns * unit.machine.threads  # nearly: what threads wait for each other is counted too
    return alone * _products(call) / max(products[_layer(call)], 1)


def _layer(call: ir.Operation) -> str:
    return str(ir.StringAttr(call.attributes["layer"]).value)


def _products(call: ir.Operation) -> int:
    return int(ir.IntegerAttr(call.attributes["products"]).value)


def _buffer(value: ir.Value, inputs: int, blob: WeightBlob) -> Buffer:
    base = base_of(value)
    if isinstance(base.owner, ir.Block):
        number = base.arg_number
        return Buffer(Space.INPUT, number) if number < inputs else Buffer(Space.OUTPUT, number - inputs)
    op = base.owner.operation
    if op.name == "sparsec.weight":
        return Buffer(Space.WEIGHTS, blob.offset(weight_name(op)))
    assert op.name == "memref.alloc", f"a step argument comes from {op.name}"
    return Buffer(Space.ARENA, ir.IntegerAttr(op.attributes["arena_offset"]).value)
