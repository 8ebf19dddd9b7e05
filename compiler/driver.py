"""The driver: the only module that knows frontends, passes, targets and runtime.

A model goes in, a `Program` comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from sparsec.artifact import Plan, Program
from sparsec.assemble import Assembly, WeightPool
from sparsec.c_library.names import kernel_prefix
from sparsec.cost.database import Database, Measurements, OfMachine, default_database
from sparsec.cost.host import machine_id
from sparsec.cost.machine import GENERIC
from sparsec.cost.machine_file import Known, load_machine
from sparsec.environment import read_environment
from sparsec.errors import TargetError
from sparsec.frontends.imported import Imported
from sparsec.options import DEFAULTS, Options, Progress, Shapes, precision_of
from sparsec.passes.lower_llvm import kernels_only, llvm_text, lower_llvm
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Unit
from sparsec.pipeline import Passes, Report, import_model, in_turn, reporter, run_passes, stages_of
from sparsec.storage import storage_of
from sparsec.targets import TARGETS, resolve
from sparsec.targets.backend import emit_assembly, emit_image
from sparsec.targets.isa import isa_of
from sparsec.targets.parallel import emit_objects
from sparsec.targets.target import Target
from sparsec.targets.wasm_module import emit_module
from sparsec.trace import Trace

if TYPE_CHECKING:
    from sparsec.options import Readable

_STAGES = stages_of(PASSES, "lower_llvm", "generate_code")
_WEB = Options(target="wasm32")


def compile_program(
    source: Readable, options: Options = DEFAULTS, *, example_inputs: object = None, progress: Progress | None = None
) -> Program:
    """Compile a model (ONNX path, bytes or proto; torch module or exported program) to a program.

    Raises a `SparsecError` that names the node where something cannot be compiled.
    """
    (program,) = compile_programs(source, options, [options.shapes], example_inputs=example_inputs, progress=progress)
    return program


def compile_programs(
    source: Readable,
    options: Options,
    shapes: Sequence[Shapes | None],
    *,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> tuple[Program, ...]:
    """A program for each of these `shapes` in the place of the options' own, over one array of weights."""
    target = resolve(options.target)
    if target.is_wasm:
        raise TargetError(
            "Code for WebAssembly is a module, and no part of an artifact.",
            got=target.name,
            next_step="sparsec compile --emit wasm",
        )
    made = _compile_all(source, options, shapes, example_inputs, progress)
    return tuple(plan.with_code(emit_image(text, target, plan.kernels)) for plan, text in made)


def compile_objects(
    source: Readable, options: Options = DEFAULTS, *, example_inputs: object = None, progress: Progress | None = None
) -> tuple[Plan, list[bytes]]:
    """Compile a model to relocatable objects that `sparsec.c_library` links; raises as `compile_program` does."""
    target = resolve(options.target)
    if target.is_wasm:
        raise TargetError("Code for WebAssembly is no library for C.", got=target.name, next_step="--emit wasm")
    plan, text = _compile(source, options, example_inputs, progress)
    return plan, emit_objects(text, target, plan.kernels, prefix=kernel_prefix(plan.name)) if plan.kernels else []


def compile_wasm(
    source: Readable,
    options: Options = _WEB,
    *,
    weights_inside: bool = True,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> tuple[Plan, bytes]:
    """Compile a model to a WebAssembly module, with its weights or without; raises as `compile_program` does."""
    target = resolve(options.target)
    if not target.is_wasm:
        expected = ", ".join(name for name, each in TARGETS.items() if each.is_wasm)
        raise TargetError("The target is not WebAssembly.", expected=expected, got=target.name)
    plan, text = _compile(source, options, example_inputs, progress)
    return plan, emit_module(text, target, plan, weights_inside=weights_inside)


def compile_layers(
    source: Readable, options: Options = DEFAULTS, *, example_inputs: object = None, progress: Progress | None = None
) -> Unit:
    """Compile a model up to where formats are selected: its layers stand there with their weights and epilogues."""
    report, trace = reporter(progress, _STAGES), Trace(read_environment())
    passes = PASSES[: _STAGES[1:].index("select_format")]
    return _run_passes(source, options, example_inputs, report, trace, passes)[1]


class Level(Enum):
    """Text that a compilation passes through: the planned buffers and calls, LLVM IR, assembly."""

    MLIR = "mlir"
    LLVM = "llvm"
    ASM = "asm"


def compile_text(
    source: Readable,
    level: Level,
    options: Options = DEFAULTS,
    *,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> str:
    """Compile a model down to `level` and return the text; raises as `compile_program` does."""
    target, report = resolve(options.target), reporter(progress, _STAGES)
    _, unit = _run_passes(source, options, example_inputs, report, Trace(read_environment()))
    if level is Level.MLIR:
        return str(unit.module)
    report("lower_llvm")
    text = _kernels_text(unit)
    if level is Level.LLVM:
        return text
    report("generate_code")
    return emit_assembly(text, target)


def _compile(source: Readable, options: Options, example_inputs: object, progress: Progress | None) -> tuple[Plan, str]:
    """What is the same for every kind of artifact: the plan, and LLVM IR of the kernels that its steps call."""
    (made,) = _compile_all(source, options, [options.shapes], example_inputs, progress)
    return made


def _compile_all(
    source: Readable,
    options: Options,
    shapes: Sequence[Shapes | None],
    example_inputs: object,
    progress: Progress | None,
) -> list[tuple[Plan, str]]:
    """The same for each of several shapes; the plans have one array of weights."""
    target, trace, pool = resolve(options.target), Trace(read_environment()), WeightPool()
    store = storage_of(options.storage)
    made: list[tuple[Assembly, str]] = []
    for each, report in in_turn(options, shapes, progress, _STAGES):
        imported, unit = _run_passes(source, each, example_inputs, report, trace)
        assembly = Assembly(unit, imported, pool)
        report("lower_llvm")
        text = _kernels_text(unit)
        report("generate_code")
        if trace.wants_code:
            trace.code(emit_assembly(text, target))
        made.append((assembly, text))
    plans = store([assembly.plan(target) for assembly, _ in made])
    for plan in plans:
        trace.report(plan.report)
    return [(plan, text) for plan, (_, text) in zip(plans, made, strict=True)]


def _run_passes(
    source: Readable,
    options: Options,
    example_inputs: object,
    report: Report,
    trace: Trace,
    passes: Passes = PASSES,
) -> tuple[Imported, Unit]:
    """Import, and run these passes."""
    report("import")
    imported = import_model(source, options, example_inputs)
    target = resolve(options.target)
    known = _known_machine(target, options.threads)
    unit = Unit(imported.module, imported.weights, isa_of(target), machine=known.machine, notes=[known.note])
    unit.precision = precision_of(options.precision, target)
    unit.dense_only, unit.kernels = options.dense_only, options.kernels
    with _measurements(options) as unit.measurements:
        run_passes(imported, unit, passes, report, trace)
    unit.measurements = None  # closed
    return imported, unit


def _known_machine(target: Target, threads: int) -> Known:
    """The machine that predictions are for, with so many threads: this one if it was calibrated, else one that the target
    names."""
    known = load_machine(target.name)
    if target.machine is not None and known.machine == GENERIC:
        known = Known(target.machine, f"predictions are for {target.machine.name}")
    together = f", for {threads} threads" if threads > 1 else ""
    return Known(replace(known.machine, threads=threads), f"{known.note}{together}")


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
