"""Single kernels as programs that run elsewhere: awkward problems, every kernel that takes them, and what must come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from expected import F64, Array, allowed_error, output_shape, reference
from harness import DTYPES, Variant, to_llvm
from numpy.typing import NDArray
from tails import PLAIN, Tail, tails_of
from torch_mlir import ir

from bench.arm.cases import Case
from sparsec.artifact import Buffer, Plan, Space, Step, TensorSpec
from sparsec.kernels.arithmetic import F32, FP16, U8S8
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel, LoweredLayer
from sparsec.kernels.problem import AttentionProblem, Axis, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.table import KERNELS
from sparsec.passes.expand_math import expand_math
from sparsec.targets import Target
from sparsec.targets.backend import emit_image
from sparsec.targets.isa import isa_of

_ALIGNMENT = 64
_NAMES = {"f32": "float32", "i32": "int32", "i8": "uint8"}
_SAME, _STRIDED = Axis(9, 3, 1, 1, 1, 1), Axis(11, 3, 2, 1, 1, 1)
_LINEAR = [(1, 70, 50), (3, 130, 66), (4, 64, 8), (33, 18, 70), (70, 257, 9), (5, 3, 24), (18, 96, 48)]
_CONVS = [
    (2, 13, 22, 1, (_SAME, _SAME), 200),
    (1, 6, 12, 1, (Axis(8, 3, 1, 2, 2, 2), Axis(7, 2)), 255),
    (1, 8, 12, 2, (_STRIDED, Axis(10, 3, 2, 1, 0, 1)), 0),
    (1, 16, 24, 1, (Axis(5, 1), Axis(9, 1)), 0),
    (1, 32, 33, 1, (Axis(16, 1), Axis(32, 1)), 0),
    (1, 5, 9, 1, (Axis(3, 1, 2), Axis(3, 3)), 128),
    (1, 7, 7, 7, (_SAME, _STRIDED), 3),
    (1, 4, 8, 4, (Axis(40, 5, 1, 1, 2, 2), Axis(33, 5, 2, 1, 2, 2)), 0),
    (1, 6, 10, 1, (Axis(50, 4, 3),), 77),
]
_MATMULS = [(2, 7, 12, 9, False), (1, 16, 64, 33, True), (3, 1, 5, 4, False)]
_ATTENTIONS = [
    (1, 2, 7, 13, 9, None),
    (2, 1, 33, 40, 16, (2, 1, 1, 40)),
    (1, 3, 1, 70, 8, (1, 1, 1, 70)),
    (1, 1, 18, 5, 33, (1, 1, 18, 5)),
]


@dataclass(frozen=True, slots=True)
class LayerCase:
    """A kernel on a problem, with everything that goes in, and what comes out but for `allowed`."""

    kernel: Kernel
    problem: Problem
    weight: Array | None
    inputs: dict[str, Array]
    tail: Tail
    expected: Array
    allowed: F64

    def __str__(self) -> str:
        return f"{self.kernel.name} {self.problem} {self.tail.epilogue.tag}"


def cases(target: Target) -> list[LayerCase]:
    """Every kernel that the target has code for, on every problem that it takes."""
    isa, random = isa_of(target), np.random.default_rng(0)
    return [
        _case(kernel, problem, isa, density, tail, random)
        for kernel in KERNELS.values()
        for number, problem in enumerate(_problems())
        if kernel.name.startswith(problem.arithmetic.name) and kernel.refuses(problem, isa) is None
        for density in [(0.3, 1.0, 0.0, 0.1)[number % 4]]
        for tail in [tails_of(problem.arithmetic)[number % 4]]
    ]


def case_of(kernel: Kernel, problem: Problem, inputs: dict[str, Array], weight: Array) -> LayerCase:
    """A kernel without a tail on what is given; `expected` is exact, and nothing is `allowed`."""
    total, _ = reference(problem, inputs, weight)
    return LayerCase(kernel, problem, weight, inputs, PLAIN, total, np.zeros_like(total))


def programs(target: Target, layers: Sequence[LayerCase]) -> list[Case]:
    """Each layer as a program for `target`; all share one image."""
    text, made = plans(target, layers)
    image = emit_image(text, target, sorted({name for plan in made for name in plan.kernels}), jobs=1)
    return [Case(plan.with_code(image), list(each.inputs.values())) for plan, each in zip(made, layers, strict=True)]


def plans(target: Target, layers: Sequence[LayerCase]) -> tuple[str, list[Plan]]:
    """LLVM IR of the kernels of all layers, and a plan for each layer."""
    isa = isa_of(target)
    with ir.Context() as context, ir.Location.unknown():
        context.enable_multithreading(False)
        module = ir.Module.create()
        lowered = [each.kernel.lower(module, each.problem, each.weight, each.tail.epilogue, isa) for each in layers]
        expand_math(module, looks_up=isa.masks)
        text = to_llvm(module)
    return text, [_plan(layer, made, target) for layer, made in zip(layers, lowered, strict=True)]


def _problems() -> Iterator[Problem]:
    for arithmetic in (F32, FP16, U8S8):
        for tokens, inputs, outputs in _LINEAR:
            yield LinearProblem(tokens, inputs, outputs, arithmetic)
        for batch, channels, filters, groups, axes, pad in _CONVS:
            yield ConvProblem(batch, channels, filters, groups, axes, arithmetic, pad if arithmetic == U8S8 else 0)
        for batch, rows, inner, columns, transposed in _MATMULS:
            yield MatmulProblem(batch, rows, inner, columns, transposed, arithmetic=arithmetic)
    for *sizes, size, mask in _ATTENTIONS:
        yield AttentionProblem(*sizes, size, size**-0.5, mask)


def _case(
    kernel: Kernel, problem: Problem, isa: Isa, density: float, tail: Tail, random: np.random.Generator
) -> LayerCase:
    variant = Variant(problem.arithmetic, isa)
    shapes, weight_shape = _shapes(problem)
    inputs = {name: variant.activations(shape, random) for name, shape in shapes.items()}
    weight = None
    if weight_shape is not None:
        blocks = random.random((-(-weight_shape[0] // 4), *weight_shape[1:])) < density
        kept = np.repeat(blocks, 4, axis=0)[: weight_shape[0]] & (random.random(weight_shape) < 0.8)
        values = variant.weights(weight_shape, random)
        weight = np.where(kept, values, 0).astype(values.dtype)
    operands = tail.operands(problem, random)
    multiplied = {name: variant.exact(value) for name, value in inputs.items()}
    total, scale = reference(problem, multiplied, None if weight is None else variant.exact(weight))
    reduction = problem.inner if isinstance(problem, MatmulProblem) else 1000  # at most
    allowed = allowed_error(problem.arithmetic, reduction, scale + 4)
    if tail.epilogue.result == "f32" and problem.arithmetic == U8S8:
        allowed = allowed + 1e-6 * np.abs(total)  # a compiler may fuse the epilogue's product with its sum
    return LayerCase(kernel, problem, weight, inputs | operands, tail, tail.apply(total, operands), allowed)


def _shapes(problem: Problem) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...] | None]:
    """Shapes of the inputs by name, and of the weight."""
    match problem:
        case LinearProblem():
            return {"x": (problem.tokens, problem.inputs)}, (problem.outputs, problem.inputs)
        case ConvProblem():
            x = (problem.batch, problem.channels, *(axis.size for axis in problem.axes))
            kernels = tuple(axis.kernel for axis in problem.axes)
            return {"x": x}, (problem.filters, problem.channels // problem.groups, *kernels)
        case MatmulProblem():
            right = (problem.columns, problem.inner) if problem.transposed else (problem.inner, problem.columns)
            return {"p": (problem.batch, problem.rows, problem.inner), "q": (problem.batch, *right)}, None
        case AttentionProblem():
            heads = (problem.batch, problem.heads)
            queries, keys = (*heads, problem.queries, problem.size), (*heads, problem.keys, problem.size)
            mask = {} if problem.mask is None else {"mask": problem.mask}
            return {"q": queries, "k": keys, "v": keys} | mask, None


def _plan(layer: LayerCase, lowered: LoweredLayer, target: Target) -> Plan:
    places = {name: Buffer(Space.INPUT, number) for number, name in enumerate(layer.inputs)}
    places["y"] = Buffer(Space.OUTPUT, 0)
    arena, blob = 0, bytearray()
    for name, (dtype, size) in lowered.scratch.items():
        places[name] = Buffer(Space.ARENA, arena)
        arena += -(-size * np.dtype(DTYPES[dtype]).itemsize // _ALIGNMENT) * _ALIGNMENT
    for name, array in lowered.weights.items():
        places[name] = Buffer(Space.WEIGHTS, len(blob))
        blob += np.ascontiguousarray(array).tobytes()
        blob += bytes(-len(blob) % _ALIGNMENT)
    steps = tuple(
        Step(call.function, tuple(places[name] for name in call.arguments), call.extent, 1, "layer")
        for call in lowered.calls
    )
    inputs = tuple(TensorSpec(name, str(value.dtype), value.shape) for name, value in layer.inputs.items())
    output = TensorSpec("y", _NAMES[layer.tail.epilogue.result], output_shape(layer.problem))
    weights: NDArray[np.uint8] = np.frombuffer(bytes(blob), np.uint8)
    return Plan("layer", target.spec, inputs, (output,), arena, steps, weights, {})
