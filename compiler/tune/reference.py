"""The right answer of a layer: the contraction in float64 with NumPy, of the very numbers that a kernel multiplies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sparsec.formats.coo import as_dense
from sparsec.kernels.arithmetic import BF16, FP16, Arithmetic
from sparsec.kernels.kernel import Weight
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem

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
        case AttentionProblem():
            names = ("q", "k", "v", "mask") if problem.mask is not None else ("q", "k", "v")
            return {name: problem.elements(name) for name in names}


def output_size(problem: Problem) -> tuple[int, int]:
    """Elements of y, and its channels."""
    match problem:
        case ConvProblem():
            return problem.batch * problem.filters * problem.pixels, problem.filters
        case LinearProblem():
            return problem.tokens * problem.outputs, problem.outputs
        case MatmulProblem():
            return problem.batch * problem.rows * problem.columns, problem.columns
        case AttentionProblem():
            return problem.elements("y"), problem.size


def pixels_per_channel(problem: Problem) -> int:
    """How many consecutive elements of y belong to one channel."""
    return problem.pixels if isinstance(problem, ConvProblem) else 1


def contract(problem: Problem, inputs: Mapping[str, NDArray[np.generic]], weight: Weight | None) -> F64:
    """The sums, flat, from flat inputs; those of whole numbers are exact."""
    factors = {name: _multiplied(values, problem.arithmetic) for name, values in inputs.items()}
    match problem:
        case ConvProblem():
            return _convolve(problem, factors["x"], _multiplied(_dense(weight), problem.arithmetic))
        case LinearProblem():
            x = factors["x"].reshape(problem.tokens, problem.inputs)
            w = _multiplied(_dense(weight), problem.arithmetic).reshape(problem.outputs, problem.inputs)
            return np.ravel(x @ w.T)
        case MatmulProblem(batch, rows, inner, columns, transposed, shared_left, shared_right):
            left, right = (factors[name] - zero for name, zero in zip("pq", problem.zeros, strict=True))
            p = left.reshape(1 if shared_left else batch, rows, inner)
            q = right.reshape(1 if shared_right else batch, *((columns, inner) if transposed else (inner, columns)))
            return np.ravel(np.broadcast_to(p @ (q.swapaxes(1, 2) if transposed else q), (batch, rows, columns)))
        case AttentionProblem():
            return _attend(problem, inputs)


def _attend(problem: AttentionProblem, inputs: Mapping[str, NDArray[np.generic]]) -> F64:
    """Softmax between two products, where lines lie behind each other. k times the scale, and exponentials, are factors."""
    shape = (problem.batch, problem.heads, -1, problem.size)
    scaled = {**inputs, "k": np.asarray(inputs["k"], np.float32) * np.float32(problem.scale)}
    q, k, v = (_multiplied(scaled[name], problem.arithmetic).reshape(shape) for name in ("q", "k", "v"))
    scores = q @ k.swapaxes(2, 3)
    if problem.mask is not None:
        scores = scores + np.asarray(inputs["mask"], np.float64).reshape(problem.mask)
    grown = _multiplied(np.exp(scores - scores.max(axis=3, keepdims=True)), problem.arithmetic)
    return np.ravel(grown @ v / grown.sum(axis=3, keepdims=True))


def _dense(weight: Weight | None) -> NDArray[np.generic]:
    assert weight is not None, "products of activations have no weight"
    return as_dense(weight)


def _multiplied(values: NDArray[np.generic], arithmetic: Arithmetic) -> F64:
    """The factors that stand for `values` in memory: in bf16 the nearest number of 8 bits, of two the even one; in fp16 of 11."""
    if arithmetic == FP16:
        return np.asarray(values, np.float16).astype(np.float64)
    if arithmetic != BF16:
        return np.asarray(values, np.float64)
    single = np.asarray(values, np.float32)
    bits = np.ascontiguousarray(single).view(np.uint32).astype(np.uint64)
    upper = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) & np.uint64(0xFFFF0000)
    rounded = upper.astype(np.uint32).view(np.float32)
    return np.where(np.isnan(single), single, rounded).astype(np.float64)


def _convolve(problem: ConvProblem, x: F64, w: F64) -> F64:
    """One matrix product per group and tap."""
    groups, axes = problem.groups, problem.axes
    x = x.reshape(problem.batch, groups, problem.channels // groups, *(axis.size for axis in axes))
    edges = [(0, 0)] * 3 + [(axis.before, axis.after) for axis in axes]
    x = np.pad(x, edges, constant_values=problem.pad_value)
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
