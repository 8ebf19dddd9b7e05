"""Compiling for GPUs: a model goes in, a `DevicePlan` for each of its shapes comes out; needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sparsec.cuda.network.plan import DevicePlan
from sparsec.device.assembly import DeviceAssembly
from sparsec.device.pool import DevicePool
from sparsec.environment import read_environment
from sparsec.errors import UsageError
from sparsec.frontends.imported import Imported
from sparsec.kernels.isa import Isa
from sparsec.options import Options, Progress, Shapes
from sparsec.passes.device.lower_device import device_text
from sparsec.passes.device.table import DEVICE_PASSES
from sparsec.passes.unit import Unit
from sparsec.pipeline import import_model, in_turn, run_passes, stages_of
from sparsec.targets.nvptx import emit_ptx
from sparsec.trace import Trace

if TYPE_CHECKING:
    from sparsec.options import Readable

TARGET = "cuda"
HALVES: Mapping[str, str] = {"fp16": "f16", "bf16": "bf16"}  # by the name of a precision, MLIR's type
DEFAULTS = Options(target=TARGET, precision="fp16")
_STAGES = stages_of(DEVICE_PASSES, "generate_code")
_ISA = Isa("cuda", 16, 255, True)  # what passes that CPUs share ask for


def compile_device(
    source: Readable,
    options: Options,
    shapes: Sequence[Shapes | None],
    *,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> tuple[DevicePlan, ...]:
    """Compile a model (as `compile_program` takes it) to plans for GPUs, over the same weights and constants.

    There is one for each of these `shapes`, which stand for the options' own. `options.precision` is fp16 or bf16: what
    float32 is rounded to between steps. Raises a `SparsecError` that names the node where something cannot be compiled.
    """
    return tuple(plan for plan, _ in _compile_all(source, options, shapes, example_inputs, progress))


def compile_device_text(
    source: Readable,
    options: Options = DEFAULTS,
    *,
    example_inputs: object = None,
    progress: Progress | None = None,
) -> tuple[DevicePlan, str]:
    """The plan, and the LLVM IR of its kernels; raises as `compile_device` does."""
    (made,) = _compile_all(source, options, [options.shapes], example_inputs, progress)
    return made


def _compile_all(
    source: Readable,
    options: Options,
    shapes: Sequence[Shapes | None],
    example_inputs: object,
    progress: Progress | None,
) -> list[tuple[DevicePlan, str]]:
    trace, pool = Trace(read_environment()), DevicePool()
    made: list[tuple[DeviceAssembly, str, str]] = []
    for each, report in in_turn(options, shapes, progress, _STAGES):
        report("import")
        imported = import_model(source, each, example_inputs)
        unit = _unit_of(imported, each)
        run_passes(imported, unit, DEVICE_PASSES, report, trace)
        report("generate_code")
        assembly = DeviceAssembly(unit, imported, pool)
        text = device_text(unit.module)
        ptx = emit_ptx(text) if text else ""
        if trace.wants_code:
            trace.code(ptx)
        made.append((assembly, ptx, text))
    plans = [(assembly.plan(ptx), text) for assembly, ptx, text in made]
    for plan, _ in plans:
        trace.report(plan.report)
    return plans


def _unit_of(imported: Imported, options: Options) -> Unit:
    """What passes change."""
    unit = Unit(imported.module, imported.weights, _ISA)
    unit.dense_only = options.dense_only
    if options.precision not in HALVES:
        raise UsageError("There is no such precision on GPUs.", expected=", ".join(HALVES), got=options.precision)
    unit.half = HALVES[options.precision]
    return unit
