"""Random sparse layers, and the checks that every sparse kernel passes."""

from __future__ import annotations

import numpy as np
from expected import Array, allowed_error, assert_close, reference, tolerance
from harness import F32, Variant, run
from hypothesis import strategies as st
from tails import PLAIN, Tail, tails_of

from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem

Shape = tuple[int, int, int]  # tokens, inputs, outputs
sizes = st.one_of(st.integers(1, 20), st.integers(21, 150))
shapes: st.SearchStrategy[Shape] = st.tuples(sizes, sizes, sizes)


def random_linear(
    problem: LinearProblem, density: float, variant: Variant, block: tuple[int, int] = (1, 1)
) -> tuple[Array, Array]:
    """A weight whose nonzeros come in blocks, and tokens."""
    random, shape = np.random.default_rng(0), (problem.outputs, problem.inputs)
    down, across = -(-problem.outputs // block[0]), -(-problem.inputs // block[1])
    kept = np.kron(random.random((down, across)) < density, np.ones(block, dtype=bool))[: shape[0], : shape[1]]
    weight = np.where(kept, variant.weights(shape, random), 0).astype(variant.weights((0,), random).dtype)
    return weight, variant.activations((problem.tokens, problem.inputs), random)


def check_linear(
    kernel: Kernel,
    shape: Shape,
    variant: Variant,
    density: float,
    block: tuple[int, int] = (1, 1),
    *,
    cuts: tuple[float, ...] = (),
    tail: Tail | None = None,
) -> None:
    """A kernel against NumPy, run in pieces."""
    problem, tail = LinearProblem(*shape, variant.arithmetic), tail or tails_of(variant.arithmetic)[0]
    weight, x = random_linear(problem, density, variant, block)
    check_weight(kernel, problem, variant, weight, x, cuts, tail)


def check_weight(
    kernel: Kernel,
    problem: LinearProblem,
    variant: Variant,
    weight: Array,
    x: Array,
    cuts: tuple[float, ...] = (),
    tail: Tail = PLAIN,
) -> None:
    """A kernel with this weight against NumPy, run in pieces."""
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(kernel, problem, {"x": x, **operands}, weight, tail.epilogue, variant.isa, cuts)
    total, scale = reference(problem, {"x": variant.exact(x)}, variant.exact(weight))
    assert_close(y, tail.apply(total, operands), allowed_error(variant.arithmetic, problem.inputs + 3, scale + 4))


def check_that_rows_are_kept_apart(kernel: Kernel, isa: Isa, tokens: int) -> None:
    """Infinity in an input that a row has no nonzero for leaves its output alone."""
    weight = np.zeros((40, 24), dtype=np.float32)
    for row in range(40):
        weight[row, : row % 24] = 3.0
    x = np.ones((tokens, 24), dtype=np.float32)
    x[:, 20] = np.inf
    y = run(kernel, LinearProblem(tokens, 24, 40), {"x": x}, weight, isa=isa)
    reads = np.arange(40) % 24 > 20
    assert np.isposinf(y[:, reads]).all()
    np.testing.assert_array_equal(y[:, ~reads], np.broadcast_to(3.0 * (np.arange(40) % 24), y.shape)[:, ~reads])


@st.composite
def axes(draw: st.DrawFn, most: int) -> Axis:
    """Any axis with at least one output."""
    stride, dilation, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    least = max(1, dilation * (kernel - 1) + 1 - before - after)
    return Axis(draw(st.integers(least, max(least, most))), kernel, stride, dilation, before, after)


@st.composite
def convolutions(draw: st.DrawFn, most_filters: int, multiple: int = 1) -> ConvProblem:
    """1-D to 3-D, grouped or not; the filters of a group of several are a multiple of `multiple`."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    shape = tuple(draw(axes((300, 30, 10)[rank - 1])) for _ in range(rank))
    if draw(st.booleans()):
        shape = tuple(Axis(axis.size, 1) for axis in shape)
    batch, channels, filters = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, most_filters))
    filters = filters if groups == 1 else -(-filters // multiple) * multiple
    return ConvProblem(batch, groups * channels, groups * filters, groups, shape)


def square(size: int, kernel: int) -> tuple[Axis, Axis]:
    """Axes of a map as large as its input, for odd kernels."""
    axis = Axis(size, kernel, 1, 1, kernel // 2, kernel // 2)
    return axis, axis


def random_conv(problem: ConvProblem, density: float, block: int = 1) -> tuple[F32, F32]:
    """A weight whose nonzeros come in blocks of filters, and maps."""
    random = np.random.default_rng(0)
    shape = (problem.filters, problem.channels // problem.groups, *(axis.kernel for axis in problem.axes))
    kept = np.repeat(random.random((-(-shape[0] // block), *shape[1:])) < density, block, axis=0)[: shape[0]]
    weight = np.where(kept, random.standard_normal(shape), 0).astype(np.float32)
    maps = (problem.batch, problem.channels, *(axis.size for axis in problem.axes))
    return weight, random.standard_normal(maps, dtype=np.float32)


def check_conv(kernel: Kernel, problem: ConvProblem, weight: F32, x: F32, isa: Isa, tail: Tail = PLAIN) -> None:
    """A float32 kernel against NumPy, run in pieces."""
    operands = tail.operands(problem, np.random.default_rng(1))
    y = run(kernel, problem, {"x": x, **operands}, weight, tail.epilogue, isa, (0.35, 0.7))
    expected, scale = reference(problem, {"x": x}, weight)
    assert_close(y, tail.apply(expected, operands), tolerance(np.float32, problem.reduction + 3, scale + 4))
