"""What kernels must compute: layers in float64, and by how much a sum in their arithmetic may differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sparsec.kernels.arithmetic import BF16, FP16, U8S8, Arithmetic
from sparsec.kernels.epilogue import Reach
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.short_sums import LONGEST

Array = NDArray[np.generic]
F64 = NDArray[np.float64]


def output_shape(problem: Problem) -> tuple[int, ...]:
    match problem:
        case ConvProblem():
            return (problem.batch, problem.filters, *(axis.out for axis in problem.axes))
        case LinearProblem():
            return (problem.tokens, problem.outputs)
        case MatmulProblem():
            return (problem.batch, problem.rows, problem.columns)
        case AttentionProblem():
            return (problem.batch, problem.heads, problem.queries, problem.size)


def reference(problem: Problem, inputs: Mapping[str, Array], weight: Array | None = None) -> tuple[F64, F64]:
    """The layer without epilogue in float64, and the sum of absolute products (the scale of its rounding error)."""
    wide = {name: np.asarray(value, dtype=np.float64) for name, value in inputs.items()}
    if isinstance(problem, AttentionProblem):
        return _attention(problem, wide)
    w = None if weight is None else np.asarray(weight, dtype=np.float64)
    return _contract(problem, wide, w), _contract(
        problem, {name: np.abs(value) for name, value in wide.items()}, None if w is None else np.abs(w)
    )


def _contract(problem: LinearProblem | MatmulProblem | ConvProblem, inputs: Mapping[str, F64], w: F64 | None) -> F64:
    match problem:
        case LinearProblem():
            assert w is not None
            return inputs["x"].reshape(problem.tokens, problem.inputs) @ w.reshape(problem.outputs, problem.inputs).T
        case MatmulProblem():
            return _matmul(problem, inputs["p"], inputs["q"])
        case ConvProblem():
            assert w is not None
            return _conv(problem, inputs["x"], w)


def _attention(problem: AttentionProblem, inputs: Mapping[str, F64]) -> tuple[F64, F64]:
    """softmax(scale q k^T + mask) v [batch, heads, queries, size]; and the scale of its rounding errors, to which each score
    adds as much as it is large."""
    q, k, v = (inputs[name] for name in "qkv")
    mask = inputs.get("mask", np.zeros(1))
    scores = problem.scale * q @ k.swapaxes(2, 3) + mask
    with np.errstate(invalid="ignore"):
        grown = np.exp(scores - scores.max(axis=3, keepdims=True))
        shares = grown / grown.sum(axis=3, keepdims=True)
        errors = shares * (4 + abs(problem.scale) * np.abs(q) @ np.abs(k).swapaxes(2, 3) + np.abs(mask))
    result = shares @ v
    return result, errors @ np.abs(v) + errors.sum(axis=3, keepdims=True) * np.abs(result)


def _matmul(problem: MatmulProblem, p: F64, q: F64) -> F64:
    p = p.reshape(1 if problem.shared_left else problem.batch, problem.rows, problem.inner)
    inner = (problem.columns, problem.inner) if problem.transposed else (problem.inner, problem.columns)
    q = q.reshape(1 if problem.shared_right else problem.batch, *inner)
    product = p @ (q.swapaxes(1, 2) if problem.transposed else q)
    return np.broadcast_to(product, output_shape(problem)).copy()


def _conv(problem: ConvProblem, x: F64, w: F64) -> F64:
    groups, inside = problem.groups, problem.channels // problem.groups
    x = x.reshape(problem.batch, problem.channels, *(axis.size for axis in problem.axes))
    edges = [(0, 0), (0, 0), *((axis.before, axis.after) for axis in problem.axes)]
    x = np.pad(x, edges, constant_values=problem.pad_value)
    w = w.reshape(groups, problem.filters // groups, inside, *(axis.kernel for axis in problem.axes))
    y = np.zeros((problem.batch, groups, problem.filters // groups, *(axis.out for axis in problem.axes)))
    for tap in np.ndindex(*(axis.kernel for axis in problem.axes)):
        window = tuple(
            slice(t * axis.dilation, t * axis.dilation + (axis.out - 1) * axis.stride + 1, axis.stride)
            for t, axis in zip(tap, problem.axes, strict=True)
        )
        part = x[(slice(None), slice(None), *window)].reshape(problem.batch, groups, inside, problem.pixels)
        y += np.einsum("bgcp,gfc->bgfp", part, w[(..., *tap)]).reshape(y.shape)
    return y.reshape(output_shape(problem))


def tolerance(dtype: type[np.floating], reduction: int, scale: F64) -> F64:
    """Largest allowed absolute error of a sum of `reduction` products whose absolute values add up to `scale`."""
    precision = np.finfo(dtype)
    return np.asarray(float(precision.eps) * (2 + max(reduction, 1) ** 0.5) * (scale + float(precision.tiny)))


def allowed_error(arithmetic: Arithmetic, reduction: int, scale: F64) -> F64:
    """What a kernel's sum may be wrong by: nothing where sums are whole numbers.

    The products of a pair are rounded once or twice more in bfloat16 instructions, and denormal numbers are zero there.
    Of float16 products a few are added up in float16, whatever the reduction is.
    """
    if arithmetic == FP16:
        return tolerance(np.float16, min(reduction, LONGEST), scale) / 2
    if arithmetic == U8S8:
        return np.zeros_like(scale)
    return tolerance(np.float32, reduction, scale) * (2 if arithmetic == BF16 else 1)


def assert_close(y: Array, expected: F64, allowed: F64) -> None:
    """Same NaNs and infinities, and finite elements within `allowed`."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.asarray(y)[~finite], np.asarray(expected)[~finite].astype(np.float32))
    found: F64 = np.asarray(y, np.float64)
    error = np.abs(found[finite] - np.asarray(expected)[finite])
    bound = np.broadcast_to(allowed, np.shape(expected))[finite]
    worst = int(np.argmax(error - bound)) if error.size else 0
    assert not error.size or error[worst] <= bound[worst], (
        f"error {error[worst]} > {bound[worst]} ({error.size} elements)"
    )


def operand_shape(reach: Reach, problem: Problem) -> tuple[int, ...]:
    """The shape of an epilogue operand that broadcasts against the output."""
    shape = output_shape(problem)
    match reach:
        case Reach.FULL:
            return shape
        case Reach.SCALAR:
            return (1,) * len(shape)
        case Reach.CHANNEL:
            axis = 1 if isinstance(problem, ConvProblem) else len(shape) - 1
            return tuple(size if i == axis else 1 for i, size in enumerate(shape))
