"""The driver: the only module that knows frontends, passes, targets and runtime.

A model goes in, a `Program` comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec.artifact import Plan, Program
from sparsec.assemble import Assembly, WeightPool
from sparsec.c_library import kernel_prefix
from sparsec.cost.database import Database, Measurements, OfMachine, default_database
from sparsec.cost.host import machine_id
from sparsec.cost.machine import GENERIC
from sparsec.cost.machine_file import Known, load_machine
from sparsec.environment import read_environment
from sparsec.errors import TargetError, ToolchainError, UsageError
from sparsec.frontends.imported import Imported
from sparsec.ir.context import make_context
from sparsec.kernels.arithmetic import F32, REDUCED, Arithmetic
from sparsec.kernels.isa import Isa
from sparsec.kernels.words import words_of
from sparsec.passes.lower_llvm import kernels_only, llvm_text, lower_llvm
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Unit
from sparsec.storage import FP32, storage_of
from sparsec.targets import TARGETS, resolve
from sparsec.targets.backend import emit_assembly, emit_image
from sparsec.targets.parallel import emit_objects
from sparsec.targets.target import Target
from sparsec.targets.wasm_module import emit_module
from sparsec.trace import Trace

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.export import ExportedProgram

    Source = str | Path | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram

PRECISIONS: Mapping[str, Arithmetic] = {F32.name: F32, **REDUCED}
_BYTES_DOT = (  # target feature, instruction of it that multiplies bytes; better ones first
    ("avx512vnni", "vpdpbusd"),
    ("avxvnni", "vpdpbusd"),
    ("avx2", "vpmaddwd"),
    ("i8mm", "usdot"),
    ("dotprod", "sdot"),
    ("neon", "mla"),
    ("simd128", "i32x4.dot_i16x8_s"),
)
_PERMUTES = (  # target feature, instruction of it that picks lanes by positions; better ones first
    ("avx2", "vpermps"),
    ("neon", "tbl"),
    ("relaxed-simd", "i8x16.relaxed_swizzle"),
    ("simd128", "i8x16.swizzle"),
)
Shapes = Mapping[str, tuple[int, ...]]  # of inputs, by name
Progress = Callable[[str, int, int], None]  # stage, number of the stage, number of stages


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile. `shapes` fixes input shapes by name.

    `measurements` is the database of the tuner; None for the user's own, if there is one. `use_measurements` says
    whether choices may follow it. `weights` replaces weights of the model, by name. `precision` is
    the arithmetic that layers of float32 may use: f32, bf16 or fp16. `storage` is how weights of float32 are stored: fp32, or fp16
    with half the bytes, widened before the first run. With `dense_only` no layer uses its zeros, with `kernels` all use those
    named, or there is an error: for comparison. Choices are for `threads` threads per run.
    """

    target: str = "native"
    shapes: Shapes | None = None
    measurements: Path | None = None
    use_measurements: bool = True
    weights: Mapping[str, object] | None = None
    precision: str = F32.name
    dense_only: bool = False
    kernels: tuple[str, ...] | None = None
    storage: str = FP32
    threads: int = 1


def compile_program(
    source: Source, options: Options = Options(), *, example_inputs: object = None, progress: Progress | None = None
) -> Program:
    """Compile a model (ONNX path, bytes or proto; torch module or exported program) to a program.

    Raises a `SparsecError` that names the node where something cannot be compiled.
    """
    (program,) = compile_programs(source, options, [options.shapes], example_inputs=example_inputs, progress=progress)
    return program


def compile_programs(
    source: Source,
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
    source: Source, options: Options = Options(), *, example_inputs: object = None, progress: Progress | None = None
) -> tuple[Plan, list[bytes]]:
    """Compile a model to relocatable objects that `sparsec.c_library` links; raises as `compile_program` does."""
    target = resolve(options.target)
    if target.is_wasm:
        raise TargetError("Code for WebAssembly is no library for C.", got=target.name, next_step="--emit wasm")
    plan, text = _compile(source, options, example_inputs, progress)
    return plan, emit_objects(text, target, plan.kernels, prefix=kernel_prefix(plan.name)) if plan.kernels else []


def compile_wasm(
    source: Source,
    options: Options = Options(target="wasm32"),
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


def _compile(source: Source, options: Options, example_inputs: object, progress: Progress | None) -> tuple[Plan, str]:
    """What is the same for every kind of artifact: the plan, and LLVM IR of the kernels that its steps call."""
    (made,) = _compile_all(source, options, [options.shapes], example_inputs, progress)
    return made


def _compile_all(
    source: Source,
    options: Options,
    shapes: Sequence[Shapes | None],
    example_inputs: object,
    progress: Progress | None,
) -> list[tuple[Plan, str]]:
    """The same for each of several shapes; the plans have one array of weights."""
    target, trace, pool = resolve(options.target), Trace(read_environment()), WeightPool()
    store = storage_of(options.storage)
    made: list[tuple[Assembly, str]] = []
    for number, each in enumerate(shapes):
        report = _reporter(in_turn(progress, number, len(shapes)))
        imported, unit = _run_passes(source, replace(options, shapes=each), example_inputs, report, trace)
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


def in_turn(progress: Progress | None, number: int, count: int) -> Progress | None:
    """What is told of the progress of one of several compilations, one after another."""
    if progress is None:
        return None
    return lambda stage, done, stages: progress(stage, number * stages + done, count * stages)


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
    known = _known_machine(target, options.threads)
    unit = Unit(imported.module, imported.weights, isa_of(target), machine=known.machine, notes=[known.note])
    unit.precision = precision_of(options.precision, target)
    unit.dense_only, unit.kernels = options.dense_only, options.kernels
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


def import_model(source: Source, options: Options, example_inputs: object) -> Imported:
    """Send the source to the frontend that reads it."""
    context = make_context()
    if isinstance(source, (str, Path, bytes)) or type(source).__module__.startswith("onnx"):
        from sparsec.frontends.onnx import import_onnx

        return import_onnx(source, context=context, shapes=options.shapes, weights=options.weights)  # type: ignore[arg-type]
    from sparsec.frontends.torch import import_torch

    return import_torch(
        source,
        example_inputs,  # type: ignore[arg-type]
        context=context,
        shapes=options.shapes,
        weights=options.weights,
    )


def precision_of(name: str, target: Target) -> Arithmetic:
    """The arithmetic of that name; raises `UsageError` if there is none, `TargetError` if the target cannot do it."""
    if name not in PRECISIONS:
        raise UsageError("There is no such precision.", expected=", ".join(PRECISIONS), got=name)
    if words_of(PRECISIONS[name], isa_of(target)) is None:
        able = [each.name for each in TARGETS.values() if words_of(PRECISIONS[name], isa_of(each)) is not None]
        raise TargetError(
            f"The target has no instruction that multiplies in {name}.",
            expected=" or ".join(able),
            got=target.name,
            next_step="compile without --precision, or name another --target",
        )
    return PRECISIONS[name]


def isa_of(target: Target) -> Isa:
    """What kernel generators must know of a target."""
    features = frozenset(target.requires)
    suffix = "neon" if "neon" in features else {16: "v128", 32: "avx2", 64: "avx512"}[target.vector_bytes]
    isa = Isa(suffix, target.vector_bytes, target.vector_registers, target.has_masks, early_loads=target.early_loads)
    if "neon" in features:
        isa = replace(isa, short_queue=True, reach=255, rounds_to_integers="fcvtns", fp32_product="fmla")
    dots, permutes = (
        [instruction for feature, instruction in known if feature in features] for known in (_BYTES_DOT, _PERMUTES)
    )
    isa = replace(isa, bytes_dot=dots[0]) if dots else isa
    isa = replace(isa, permutes=permutes[0]) if permutes else isa
    if "avx512bf16" in features:
        isa = replace(isa, bf16_dot="vdpbf16ps")
    if {"neon", "fullfp16"} <= features:
        isa = replace(isa, fp16_product="fmla.8h")
    isa = replace(isa, expands_bytes="avx512vbmi2" in features, fuses=not target.is_wasm)
    isa = replace(isa, rounds_to_integers="cvtps2dq" if "avx2" in features else isa.rounds_to_integers)
    return replace(isa, tile_registers={"amx-int8", "amx-bf16"} <= features)
