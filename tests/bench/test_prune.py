"""Pruning: the right blocks go, and what shall stay dense does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.peers.peer import F32
from bench.prune import KERNELS, as_matrix, from_matrix, prune, prune_kernels, prune_matrix

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> F32:
    return RANDOM.standard_normal(shape, np.float32)


def model_of(*nodes: onnx.NodeProto, **weights: F32) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph)


def weights_of(model: onnx.ModelProto) -> dict[str, F32]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 1), (1, 4), (2, 2)])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 1.0])
def test_the_blocks_of_least_magnitude_go(rows: int, columns: int, sparsity: float) -> None:
    weight = normal(8, 12)
    found = prune_matrix(weight, sparsity, rows, columns)
    sums = np.abs(weight).reshape(8 // rows, rows, 12 // columns, columns).sum(axis=(1, 3))
    kept = (found.reshape(8 // rows, rows, 12 // columns, columns) != 0).any(axis=(1, 3))
    assert np.count_nonzero(~kept) == int(kept.size * sparsity)
    assert sums[kept].min(initial=np.inf) >= sums[~kept].max(initial=0)
    assert (found[found != 0] == weight[found != 0]).all()


def test_blocks_that_do_not_divide_leave_the_weight_alone() -> None:
    weight = normal(6, 6)
    assert prune_matrix(weight, 0.9, 4, 1) is weight


def test_the_stem_and_grouped_convolutions_stay_dense() -> None:
    model = model_of(
        helper.make_node("Conv", ["x", "stem"], ["a"]),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], group=8),
        helper.make_node("Conv", ["b", "project"], ["c"]),
        helper.make_node("MatMul", ["c", "linear"], ["y"]),
        stem=normal(8, 3, 3, 3),
        depthwise=normal(8, 1, 3, 3),
        project=normal(16, 8, 1, 1),
        linear=normal(16, 8),
    )
    assert prune(model, "unstructured", 0.75) == pytest.approx(0.75)
    zeros = {name: float(np.mean(weight == 0)) for name, weight in weights_of(model).items()}
    assert zeros == {"stem": 0, "depthwise": 0, "project": 0.75, "linear": 0.75}


def test_kernels_keep_one_of_a_few_patterns() -> None:
    model = model_of(
        helper.make_node("Conv", ["x", "stem"], ["a"]),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], group=8),
        helper.make_node("Conv", ["b", "project"], ["c"]),
        helper.make_node("Conv", ["c", "wide"], ["y"]),
        stem=normal(8, 3, 3, 3),
        depthwise=normal(8, 1, 3, 3),
        project=normal(16, 8, 1, 1),
        wide=normal(8, 16, 3, 3),
    )
    prune(model, KERNELS, 0.25)
    found = weights_of(model)
    assert (found["stem"] != 0).all()
    assert np.mean(found["project"] == 0) == 0.25
    for name in ("depthwise", "wide"):
        masks = (found[name] != 0).reshape(-1, 9)
        assert (masks.sum(axis=1) == 7).all()
        assert len(np.unique(masks, axis=0)) <= 4
    shared = (found["wide"] != 0).reshape(2, 4, 16, 9)
    assert (shared == shared[:, :1]).all()


def test_the_best_pattern_is_kept() -> None:
    weight = normal(4, 2, 3, 3)
    found = prune_kernels(weight, 0.4, 1)
    others = prune_kernels(weight[::-1].copy(), 0.4, 1)[::-1]
    np.testing.assert_array_equal(found, others)
    assert (found[found != 0] == weight[found != 0]).all()


@pytest.mark.parametrize("turned", [0, 1])
def test_rows_of_blocks_are_outputs_however_the_weight_is_stored(turned: int) -> None:
    weight = normal(16, 8) if turned else normal(8, 16)
    model = model_of(helper.make_node("Gemm", ["x", "w"], ["y"], transB=turned), w=weight)
    prune(model, "4x1", 0.5)
    found = weights_of(model)["w"]
    outputs = found if turned else found.T
    blocks = (outputs != 0).reshape(4, 4, 8)
    assert (blocks.all(axis=1) == blocks.any(axis=1)).all()


def test_neighbours_in_a_matrix_of_a_convolution_are_channels() -> None:
    node, weight = helper.make_node("Conv", ["x", "w"], ["y"]), normal(4, 8, 3, 2)
    matrix = as_matrix(node, weight)
    assert (matrix[1, :8] == weight[1, :, 0, 0]).all()
    assert (from_matrix(node, matrix, weight.shape) == weight).all()
