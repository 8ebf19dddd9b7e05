"""The right answer of a layer: the contraction in float64 with NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import Coo
from sparsec.kernels.kernel import Weight
from sparsec.kernels.problem import ConvProblem, LinearProblem, MatmulProblem, Problem

F64 = NDArray[np.float64]


def input_sizes(problem: Problem) -> Mapping[str, int]:
    """Elements of the operands that are activations, by the names that kernels give them."""
    match problem:
        case ConvProblem():
            return {"x": problem.batch * problem.channels * int(np.prod([axis.size for axis in problem.axes]))}
        case LinearProblem():
            return {"x": problem.tokens * problem.inputs}
        case MatmulProblem(batch, rows, inner, columns, _, shared_left, shared_right):
            p, q = rows * inner, inner * columns
            return {"p": p if shared_left else batch * p, "q": q if shared_right else batch * q}


def output_size(problem: Problem) -> tuple[int, int]:
    """Elements of y, and its channels."""
    match problem:
        case ConvProblem():
            return problem.batch * problem.filters * problem.pixels, problem.filters
        case LinearProblem():
            return problem.tokens * problem.outputs, problem.outputs
        case MatmulProblem():
            return problem.batch * problem.rows * problem.columns, problem.columns


def pixels_per_channel(problem: Problem) -> int:
    """How many consecutive elements of y belong to one channel."""
    return problem.pixels if isinstance(problem, ConvProblem) else 1


def contract(problem: Problem, inputs: Mapping[str, NDArray[np.float32]], weight: Weight | None) -> F64:
    """The sums, flat, from flat inputs."""
    match problem:
        case ConvProblem():
            return _convolve(problem, inputs["x"].astype(np.float64), _dense(weight))
        case LinearProblem():
            x = inputs["x"].astype(np.float64).reshape(problem.tokens, problem.inputs)
            return np.ravel(x @ _dense(weight).reshape(problem.outputs, problem.inputs).T)
        case MatmulProblem(batch, rows, inner, columns, transposed, shared_left, shared_right):
            p = inputs["p"].astype(np.float64).reshape(1 if shared_left else batch, rows, inner)
            q = (
                inputs["q"]
                .astype(np.float64)
                .reshape(1 if shared_right else batch, *((columns, inner) if transposed else (inner, columns)))
            )
            return np.ravel(np.broadcast_to(p @ (q.swapaxes(1, 2) if transposed else q), (batch, rows, columns)))


def _dense(weight: Weight | None) -> F64:
    assert weight is not None, "only a matmul has no weight"
    return np.asarray(weight.to_dense() if isinstance(weight, Coo) else weight, np.float64)


def _convolve(problem: ConvProblem, x: F64, w: F64) -> F64:
    """One matrix product per group and tap."""
    groups, axes = problem.groups, problem.axes
    x = x.reshape(problem.batch, groups, problem.channels // groups, *(axis.size for axis in axes))
    x = np.pad(x, [(0, 0)] * 3 + [(axis.before, axis.after) for axis in axes])
    w = w.reshape(groups, problem.filters // groups, problem.channels // groups, *(axis.kernel for axis in axes))
    y = np.zeros((problem.batch, groups, problem.filters // groups, problem.pixels))
    for tap in itertools.product(*(range(axis.kernel) for axis in axes)):
        window, place = [slice(None)] * 3, [slice(None)] * 3
        for start, axis in zip(tap, axes, strict=True):
            first = start * axis.dilation
            window.append(slice(first, first + (axis.out - 1) * axis.stride + 1, axis.stride))
            place.append(slice(start, start + 1))
        columns = x[tuple(window)].reshape(*x.shape[:3], problem.pixels)
        y += w[tuple(place)].reshape(w.shape[:3]) @ columns
    return y.reshape(-1)
