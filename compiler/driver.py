"""The driver: the only module that knows frontends, passes, targets and runtime.

A model goes in, a `Program` comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import WEIGHT_ALIGNMENT, Buffer, Program, Space, Step, TensorSpec
from sparsec.cost.database import Database, Measurements, OfMachine, default_database
from sparsec.cost.host import machine_id
from sparsec.cost.machine_file import load_machine
from sparsec.environment import read_environment
from sparsec.errors import ToolchainError
from sparsec.frontends.imported import Imported
from sparsec.ir.context import make_context
from sparsec.ir.module import function, main_block
from sparsec.ir.weights import WeightStore, weight_name
from sparsec.kernels.isa import Isa
from sparsec.passes.lower_asserts import STATUS
from sparsec.passes.lower_llvm import kernels_only, llvm_text, lower_llvm
from sparsec.passes.plan_memory import base_of
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Unit
from sparsec.report import Report
from sparsec.targets import resolve
from sparsec.targets.backend import emit_assembly, emit_image
from sparsec.targets.target import Target
from sparsec.trace import Trace

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.export import ExportedProgram

    Source = str | Path | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram

Progress = Callable[[str, int, int], None]  # stage, number of the stage, number of stages

CHUNK_NS = 5_000.0  # a thread is not woken for less
_PRODUCTS_PER_NS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile. `shapes` fixes input shapes by name.

    `measurements` is the database of the tuner; None for the user's own, if there is one. `use_measurements` says
    whether choices may follow it.
    """

    target: str = "native"
    shapes: Mapping[str, tuple[int, ...]] | None = None
    measurements: Path | None = None
    use_measurements: bool = True


def compile_program(
    source: Source, options: Options = Options(), *, example_inputs: object = None, progress: Progress | None = None
) -> Program:
    """Compile a model (ONNX path, bytes or proto; torch module or exported program) to a program.

    Raises a `SparsecError` that names the node where something cannot be compiled.
    """
    target, report, trace = resolve(options.target), _reporter(progress), Trace(read_environment())
    imported, unit = _run_passes(source, options, example_inputs, report, trace)
    program = _finish(unit, imported, target, report, trace)
    trace.report(program.report)
    return program


def compile_layers(
    source: Source, options: Options = Options(), *, example_inputs: object = None, progress: Progress | None = None
) -> Unit:
    """Compile a model up to where formats are selected: its layers stand there with their weights and epilogues."""
    report, trace = _reporter(progress), Trace(read_environment())
    return _run_passes(source, options, example_inputs, report, trace, before="select_format")[1]


class Level(Enum):
    """Text that a compilation passes through: the planned buffers and calls, LLVM IR, assembly."""

    MLIR = "mlir"
    LLVM = "llvm"
    ASM = "asm"


def compile_text(
    source: Source,
    level: Level,
    options: Options = Options(),
    *,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> str:
    """Compile a model down to `level` and return the text; raises as `compile_program` does."""
    target, report = resolve(options.target), _reporter(progress)
    _, unit = _run_passes(source, options, example_inputs, report, Trace(read_environment()))
    if level is Level.MLIR:
        return str(unit.module)
    report("lower_llvm")
    text = _kernels_text(unit)
    if level is Level.LLVM:
        return text
    report("generate_code")
    return emit_assembly(text, target)


def _reporter(progress: Progress | None) -> Callable[[str], None]:
    stages = ["import", *(name for name, _, _ in PASSES), "lower_llvm", "generate_code"]
    return lambda stage: progress(stage, stages.index(stage), len(stages)) if progress else None


def _run_passes(
    source: Source,
    options: Options,
    example_inputs: object,
    report: Callable[[str], None],
    trace: Trace,
    *,
    before: str | None = None,
) -> tuple[Imported, Unit]:
    """Import, and run all passes, or those before the one named."""
    report("import")
    imported = import_model(source, options, example_inputs)
    target = resolve(options.target)
    known = load_machine(target.name)
    unit = Unit(imported.module, imported.weights, isa_of(target), machine=known.machine, notes=[known.note])
    trace.after("import", unit.module)
    with _measurements(options) as unit.measurements:
        for name, run, _ in PASSES:
            if name == before:
                break
            report(name)
            try:
                run(unit)
            except ToolchainError as error:
                raise imported.refusal(error) from error
            trace.after(name, unit.module)
    unit.measurements = None  # closed
    return imported, unit


@contextmanager
def _measurements(options: Options) -> Iterator[Measurements | None]:
    """What was measured on this machine; None if there is nothing, or nothing that may be used."""
    path = options.measurements or default_database()
    if not options.use_measurements or (options.measurements is None and not path.exists()):
        yield None
        return
    with Database(path, write=False) as database:
        yield OfMachine(database, machine_id())


def _kernels_text(unit: Unit) -> str:
    """LLVM IR of all kernels; the unit stays as it is."""
    with unit.module.context:
        kernels = Unit(kernels_only(unit.module), unit.weights, unit.isa)
        lower_llvm(kernels)
        return llvm_text(kernels.module)


def import_model(source: Source, options: Options, example_inputs: object) -> Imported:
    """Send the source to the frontend that reads it."""
    context = make_context()
    if isinstance(source, (str, Path, bytes)) or type(source).__module__.startswith("onnx"):
        from sparsec.frontends.onnx import import_onnx

        return import_onnx(source, context=context, shapes=options.shapes)  # type: ignore[arg-type]
    from sparsec.frontends.torch import import_torch

    return import_torch(source, example_inputs, context=context)  # type: ignore[arg-type]


def isa_of(target: Target) -> Isa:
    suffix = {16: "v128", 32: "avx2", 64: "avx512"}[target.vector_bytes]
    return Isa(suffix, target.vector_bytes, target.vector_registers, target.has_masks)


def _finish(unit: Unit, imported: Imported, target: Target, report: Callable[[str], None], trace: Trace) -> Program:
    """The planned module becomes steps, weights and code."""
    blob = _WeightBlob(unit.weights)
    with unit.module.context:
        steps = _steps(unit, len(imported.inputs), blob)
        arena = ir.IntegerAttr(function(unit.module, "main").attributes["arena_bytes"]).value
        status = _status_offset(unit)
    report("lower_llvm")
    text = _kernels_text(unit)
    report("generate_code")
    if trace.wants_code:
        trace.code(emit_assembly(text, target))
    code = emit_image(text, target, sorted({step.kernel for step in steps}))
    return Program(
        name=imported.name,
        target=target.spec,
        inputs=tuple(TensorSpec(*spec) for spec in imported.inputs),
        outputs=tuple(TensorSpec(*spec) for spec in imported.outputs),
        arena_bytes=arena,
        steps=tuple(steps),
        code=code,
        weights=blob.bytes(),
        report=Report(tuple(unit.layers.values()), tuple(unit.notes)).as_dict(),  # type: ignore[arg-type]
        status=status,
        complaints=tuple(unit.complaints),
    )


def _status_offset(unit: Unit) -> int | None:
    """Where in the arena failed checks leave their number; None for a network without checks."""
    marked = (op.operation for op in main_block(unit.module).operations if STATUS in op.operation.attributes)
    return next((ir.IntegerAttr(op.attributes["arena_offset"]).value for op in marked), None)


class _WeightBlob:
    """Lays out the weights that steps use, each once, at aligned offsets."""

    def __init__(self, weights: WeightStore) -> None:
        self._weights = weights
        self._offsets: dict[str, int] = {}
        self._size = 0

    def offset(self, name: str) -> int:
        if name not in self._offsets:
            self._offsets[name] = self._size
            self._size += -(-self._weights.dense(name).nbytes // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
        return self._offsets[name]

    def bytes(self) -> NDArray[np.uint8]:
        blob = np.zeros(self._size, np.uint8)
        for name, offset in self._offsets.items():
            raw = np.ascontiguousarray(self._weights.dense(name)).reshape(-1).view(np.uint8)
            blob[offset : offset + raw.size] = raw
        return blob


def _steps(unit: Unit, inputs: int, blob: _WeightBlob) -> list[Step]:
    """One step per call of `@main`."""
    steps = []
    for item in main_block(unit.module).operations:
        op = item.operation
        if op.name != "func.call":
            continue
        *pointers, _, end = op.operands
        extent = end.owner.operation.attributes["value"].value
        products = ir.IntegerAttr(op.attributes["products"]).value
        unit_ns = products / _PRODUCTS_PER_NS / max(extent, 1)
        steps.append(
            Step(
                kernel=ir.FlatSymbolRefAttr(op.attributes["callee"]).value,
                args=tuple(_buffer(value, inputs, blob) for value in pointers),
                extent=extent,
                grain=max(1, min(extent, math.ceil(CHUNK_NS / max(unit_ns, 1e-9)))) if extent else 1,
                layer=ir.StringAttr(op.attributes["layer"]).value,
            )
        )
    return steps


def _buffer(value: ir.Value, inputs: int, blob: _WeightBlob) -> Buffer:
    base = base_of(value)
    if isinstance(base.owner, ir.Block):
        number = base.arg_number
        return Buffer(Space.INPUT, number) if number < inputs else Buffer(Space.OUTPUT, number - inputs)
    op = base.owner.operation
    if op.name == "sparsec.weight":
        return Buffer(Space.WEIGHTS, blob.offset(weight_name(op)))
    assert op.name == "memref.alloc", f"a step argument comes from {op.name}"
    return Buffer(Space.ARENA, ir.IntegerAttr(op.attributes["arena_offset"]).value)


__all__ = ["Level", "Options", "compile_layers", "compile_program", "compile_text"]
