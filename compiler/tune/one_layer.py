"""A program of one layer: what the whole compiler would make of it, with nothing around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import Buffer, CodeImage, Program, Space, Step, TensorSpec
from sparsec.ir.context import make_context
from sparsec.kernels import emit
from sparsec.kernels.emit import Vectors, define, epilogue_buffers, finish, loop
from sparsec.kernels.epilogue import Epilogue, identity
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel, LoweredLayer, Weight
from sparsec.kernels.problem import Problem
from sparsec.targets.target import Target
from sparsec.tune.native import ALIGNMENT, compile_kernels
from sparsec.tune.reference import input_sizes, output_size, pixels_per_channel

EPILOGUE_KERNEL = "reference_epilogue"
DTYPES = {"f32": "float32", "i32": "int32", "i8": "uint8"}  # of tensors, by MLIR element type

Operands = Mapping[str, tuple[str, int]]  # MLIR element type and elements, by name


@dataclass(frozen=True, slots=True)
class OneLayer:
    """Two programs with the same code: `checked` has the output "y"; `timed` leaves it in the arena, aligned as in a network."""

    checked: Program
    timed: Program


def operands_of(problem: Problem, epilogue: Epilogue) -> Operands:
    """Every input of a layer, in the order of its programs."""
    activations = {name: (problem.arithmetic.stored, size) for name, size in input_sizes(problem).items()}
    return {**activations, **epilogue_buffers(epilogue, *output_size(problem))}


def compile_layer(
    kernel: Kernel, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa, target: Target
) -> OneLayer:
    """Generate and compile `kernel` for one layer; raises what the generator or the toolchain raise."""
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        lowered = kernel.lower(module, problem, weight, epilogue, isa)
        code = compile_kernels(module, [call.function for call in lowered.calls], isa, target)
    inputs, result = operands_of(problem, epilogue), (epilogue.result, output_size(problem)[0])
    return OneLayer(*(_program(lowered, code, inputs, result, target, timed) for timed in (False, True)))


def compile_epilogue(problem: Problem, epilogue: Epilogue, isa: Isa, target: Target) -> Program | None:
    """The epilogue alone, one element after the other: "sum" and its operands to "y". None if there is nothing to do."""
    if epilogue == identity(epilogue.total):
        return None
    elements, channels = output_size(problem)
    pixels, sums, results = pixels_per_channel(problem), Vectors(1, epilogue.total), Vectors(1, epilogue.result)
    inputs: Operands = {"sum": (epilogue.total, elements), **epilogue_buffers(epilogue, elements, channels)}
    result = {"y": (epilogue.result, elements)}

    def body(memory: Mapping[str, emit.Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as at:
            total = sums.load(memory["sum"], at)
            value = finish(sums, epilogue, memory, total, element=at, channel=at // pixels % channels)
            results.store(value, memory["y"], at)

    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        define(module, EPILOGUE_KERNEL, {**inputs, **result}, body)
        code = compile_kernels(module, [EPILOGUE_KERNEL], isa, target)
    arguments = (*(Buffer(Space.INPUT, i) for i in range(len(inputs))), Buffer(Space.OUTPUT, 0))
    step = Step(EPILOGUE_KERNEL, arguments, elements, max(elements, 1), EPILOGUE_KERNEL)
    return _assemble(code, target, inputs, result, (step,))


def _program(
    lowered: LoweredLayer, code: CodeImage, inputs: Operands, result: tuple[str, int], target: Target, timed: bool
) -> Program:
    places = {name: Buffer(Space.INPUT, number) for number, name in enumerate(inputs)}
    weights, offset = np.zeros(sum(_room(array.nbytes) for array in lowered.weights.values()), np.uint8), 0
    for name, array in lowered.weights.items():
        places[name] = Buffer(Space.WEIGHTS, offset)
        weights[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        offset += _room(array.nbytes)
    arena = 0
    for name, (dtype, count) in {**lowered.scratch, **({"y": result} if timed else {})}.items():
        places[name] = Buffer(Space.ARENA, arena)
        arena += _room(emit.element_bytes(dtype) * count)
    if not timed:
        places["y"] = Buffer(Space.OUTPUT, 0)
    steps = tuple(
        Step(call.function, tuple(places[name] for name in call.arguments), call.extent, max(call.extent, 1), "layer")
        for call in lowered.calls
    )
    return _assemble(code, target, inputs, {} if timed else {"y": result}, steps, weights, arena)


def _assemble(
    code: CodeImage,
    target: Target,
    inputs: Operands,
    outputs: Operands,
    steps: tuple[Step, ...],
    weights: NDArray[np.uint8] | None = None,
    arena: int = 0,
) -> Program:
    return Program(
        name="layer",
        target=target.spec,
        inputs=_specs(inputs),
        outputs=_specs(outputs),
        arena_bytes=arena,
        steps=steps,
        code=code,
        weights=np.zeros(0, np.uint8) if weights is None else weights,
        report={},
    )


def _specs(tensors: Operands) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, DTYPES[element], (size,)) for name, (element, size) in tensors.items())


def _room(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
