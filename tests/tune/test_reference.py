"""The float64 reference against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsec.formats.coo import Coo
from sparsec.kernels.arithmetic import BF16, F32, U8S8, Arithmetic
from sparsec.kernels.problem import AttentionProblem, Axis, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.tune.reference import contract, input_sizes, output_size

RANDOM = np.random.default_rng(0)


def inputs(problem: Problem) -> dict[str, np.ndarray]:
    return {name: RANDOM.standard_normal(size, dtype=np.float32) for name, size in input_sizes(problem).items()}


@pytest.mark.parametrize(
    "problem",
    [
        ConvProblem(2, 4, 6, 1, (Axis(9, 3, 2, 1, 1, 1), Axis(8, 3, 1, 2, 2, 2))),
        ConvProblem(1, 4, 8, 4, (Axis(5, 3, 1, 1, 1, 1),)),
        ConvProblem(1, 6, 4, 2, (Axis(5, 2), Axis(4, 1), Axis(6, 3, 3))),
    ],
)
def test_convolution(problem: ConvProblem) -> None:
    fed = inputs(problem)
    kernels = [axis.kernel for axis in problem.axes]
    weight = RANDOM.standard_normal((problem.filters, problem.channels // problem.groups, *kernels)).astype(np.float32)
    x = torch.from_numpy(fed["x"]).double().reshape(problem.batch, problem.channels, *(a.size for a in problem.axes))
    function = [torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d][len(kernels) - 1]
    expected = function(
        x,
        torch.from_numpy(weight).double(),
        stride=[axis.stride for axis in problem.axes],
        padding=[axis.before for axis in problem.axes],
        dilation=[axis.dilation for axis in problem.axes],
        groups=problem.groups,
    )
    found = contract(problem, fed, Coo.from_dense(weight))
    assert output_size(problem) == (expected.numel(), problem.filters)
    np.testing.assert_allclose(found, expected.numpy().reshape(-1), atol=1e-12)


def test_convolution_with_uneven_padding() -> None:
    problem = ConvProblem(1, 1, 1, 1, (Axis(3, 2, 1, 1, 0, 1),))
    found = contract(problem, {"x": np.array([1, 2, 3], np.float32)}, np.array([[[1, 10]]], np.float32))
    np.testing.assert_array_equal(found, [21, 32, 3])


def test_linear() -> None:
    problem = LinearProblem(3, 4, 5)
    fed, weight = inputs(problem), RANDOM.standard_normal((5, 4)).astype(np.float32)
    expected = fed["x"].reshape(3, 4).astype(np.float64) @ weight.T.astype(np.float64)
    np.testing.assert_allclose(contract(problem, fed, weight), expected.reshape(-1))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shared", ["", "left", "right"])
def test_matmul(transposed: bool, shared: str) -> None:
    problem = MatmulProblem(2, 3, 4, 5, transposed, shared == "left", shared == "right")
    fed = inputs(problem)
    p = fed["p"].astype(np.float64).reshape(-1, 3, 4)
    q = fed["q"].astype(np.float64).reshape(-1, *((5, 4) if transposed else (4, 5)))
    expected = np.broadcast_to(np.matmul(p, q.swapaxes(1, 2) if transposed else q), (2, 3, 5))
    np.testing.assert_allclose(contract(problem, fed, None), expected.reshape(-1))


@pytest.mark.parametrize(("arithmetic", "least", "most"), [(F32, 0.0, 1e-6), (BF16, 1e-4, 2e-2)])
def test_attention(arithmetic: Arithmetic, least: float, most: float) -> None:
    problem = AttentionProblem(2, 3, 5, 7, 4, -0.3, (2, 1, 1, 7), arithmetic=arithmetic)
    fed = inputs(problem)
    q, k, v = (torch.from_numpy(fed[name]).double().reshape(2, 3, -1, 4) for name in "qkv")
    mask = torch.from_numpy(fed["mask"]).double().reshape(2, 1, 1, 7)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=-0.3).numpy().reshape(-1)
    assert least < np.abs(contract(problem, fed, None) - expected).max() < most


def test_padding_with_a_value() -> None:
    problem = ConvProblem(1, 1, 1, 1, (Axis(3, 2, 1, 1, 0, 1),), U8S8, pad_value=200)
    found = contract(problem, {"x": np.array([1, 2, 255], np.uint8)}, np.array([[[1, -10]]], np.int8))
    np.testing.assert_array_equal(found, [-19, -2548, -1745])


def test_bytes_are_unsigned_and_weights_signed() -> None:
    found = contract(
        LinearProblem(1, 2, 1, U8S8), {"x": np.array([255, 128], np.uint8)}, np.array([[-128, 127]], np.int8)
    )
    np.testing.assert_array_equal(found, [-128 * 255 + 127 * 128])


def test_bf16_rounds_both_factors() -> None:
    special = np.array([1 + 2**-8, 1 + 3 * 2**-8, -0.0, 1e-40, 3.4e38, np.inf, np.nan], np.float32)
    x = np.concatenate([special, RANDOM.standard_normal(93).astype(np.float32)])
    w = RANDOM.standard_normal((1, 1)).astype(np.float32)
    found = contract(LinearProblem(100, 1, 1, BF16), {"x": x}, w)
    rounded, factor = (torch.from_numpy(each).bfloat16().double() for each in (x, w))
    np.testing.assert_array_equal(found, (rounded * factor[0]).numpy())
