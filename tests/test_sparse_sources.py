"""Weights that come sparse keep their pattern through `sparsec.compile`, and give what the dense network gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.sparse import SparseSemiStructuredTensorCUSPARSELT, SparseSemiStructuredTensorCUTLASS
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

import sparsec
from sparsec.errors import UnsupportedOpError

pytestmark = pytest.mark.filterwarnings("ignore:.*(Sparse|sparse).*:UserWarning")
OUTPUTS, INPUTS = 64, 128


def cutlass(dense: torch.Tensor) -> torch.Tensor:
    """What `to_sparse_semi_structured` makes on a GPU, with its arrays in main memory."""
    return SparseSemiStructuredTensorCUTLASS(  # type: ignore[no-untyped-call]
        dense.shape, *sparse_semi_structured_from_dense_cutlass(dense), None, None, None
    )


def turned_cutlass(dense: torch.Tensor) -> torch.Tensor:
    """The transpose of a tensor that holds both forms."""
    both = sparse_semi_structured_from_dense_cutlass(dense.t().contiguous())
    return SparseSemiStructuredTensorCUTLASS(dense.shape, None, None, *both, None)  # type: ignore[no-untyped-call]


def unsorted(dense: torch.Tensor) -> torch.Tensor:
    """Every entry twice, as halves, in no order."""
    coo = dense.to_sparse().coalesce()
    order = torch.randperm(2 * coo.values().numel(), generator=torch.Generator().manual_seed(0))
    indices, values = coo.indices().repeat(1, 2)[:, order], coo.values().repeat(2)[order] / 2
    return torch.sparse_coo_tensor(indices, values, dense.shape)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "coo": lambda dense: dense.to_sparse(),
    "unsorted coo": unsorted,
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
    "bsr": lambda dense: dense.to_sparse_bsr((4, 2)),
    "bsc": lambda dense: dense.to_sparse_bsc((2, 8)),
    "semi-structured": cutlass,
    "semi-structured, turned": turned_cutlass,
}


def weight(*, turned: bool = False) -> torch.Tensor:
    """Half zeros: 1 of each 2 columns (or rows) is kept, which float32 tensors keep as semi-structured."""
    generator = torch.Generator().manual_seed(1)
    shape = (INPUTS, OUTPUTS) if turned else (OUTPUTS, INPUTS)
    pairs = torch.randn(shape[0], shape[1] // 2, 2, generator=generator)
    keep = torch.rand(pairs.shape, generator=generator).argsort(-1) == 0
    dense = (pairs * keep).reshape(shape)
    return dense.t().contiguous() if turned else dense


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_parameters(layout: str) -> None:
    net = nn.Sequential(nn.Linear(INPUTS, OUTPUTS), nn.ReLU(), nn.Linear(OUTPUTS, 8))
    net[0].weight = nn.Parameter(weight(turned="turned" in layout), requires_grad=False)
    x = torch.randn(20, INPUTS)
    expected = net(x).detach()
    sparse = copy.deepcopy(net)
    sparse[0].weight = nn.Parameter(LAYOUTS[layout](net[0].weight.detach()), requires_grad=False)
    model = sparsec.compile(sparse, (x,))
    np.testing.assert_allclose(np.asarray(model(x)), expected.numpy(), rtol=1e-4, atol=1e-4)
    layer = model.report.layers[0]
    assert layer.density == pytest.approx(0.5, abs=0.01)
    assert "50" in layer.pattern


@pytest.mark.parametrize("layout", ["coo", "csr", "bsr"])
@pytest.mark.parametrize("shape", [(8, 16), (4, 2)])
def test_a_weight_without_nonzeros(layout: str, shape: tuple[int, int]) -> None:
    layer = nn.Linear(shape[1], shape[0])
    layer.weight = nn.Parameter(LAYOUTS[layout](torch.zeros(shape)), requires_grad=False)
    x = torch.randn(3, shape[1])
    result = np.asarray(sparsec.compile(layer, (x,))(x))
    np.testing.assert_array_equal(result, np.broadcast_to(layer.bias.detach().numpy(), (3, shape[0])))


def test_a_sparse_convolution() -> None:
    layer = nn.Conv2d(8, 16, 3, padding=1)
    dense = layer.weight.detach() * (torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3)
    layer.weight = nn.Parameter(dense, requires_grad=False)
    x = torch.randn(1, 8, 10, 10)
    expected = layer(x).detach().numpy()
    layer.weight = nn.Parameter(dense.to_sparse(), requires_grad=False)
    np.testing.assert_allclose(np.asarray(sparsec.compile(layer, (x,))(x)), expected, rtol=1e-4, atol=1e-5)


def test_what_only_its_backend_reads_is_refused() -> None:
    layer = nn.Linear(INPUTS, OUTPUTS)
    packed = SparseSemiStructuredTensorCUSPARSELT(  # type: ignore[no-untyped-call]
        torch.Size((OUTPUTS, INPUTS)), torch.zeros(OUTPUTS * INPUTS * 9 // 16), None, None, None, None
    )
    layer.weight = nn.Parameter(packed, requires_grad=False)
    with pytest.raises(UnsupportedOpError, match="CUSPARSELT"):
        sparsec.compile(layer, (torch.randn(2, INPUTS),))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("density", [0.0, 0.2])
def test_sparse_initializers(linear: bool, density: float) -> None:
    random = np.random.default_rng(0)
    dense = np.where(random.random((33, 40)) < density, random.standard_normal((33, 40)), 0).astype(np.float32)
    places = np.union1d(np.flatnonzero(dense), [0, 700, 1319])  # zeros that are stored as well
    indices = places if linear else np.stack(np.unravel_index(places, dense.shape), axis=1)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(dense.reshape(-1)[places], "w"),
        numpy_helper.from_array(indices.astype(np.int64), "i"),
        dense.shape,
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [18, 33])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [18, 40])],
        sparse_initializer=[sparse],
    )
    model = sparsec.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    x = random.standard_normal((18, 33), dtype=np.float32)
    np.testing.assert_allclose(np.asarray(model(x)), x @ dense, rtol=1e-4, atol=1e-5)
    assert model.report.layers[0].density == pytest.approx(np.count_nonzero(dense) / dense.size)


def test_a_place_that_occurs_twice_is_an_error() -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "w"), numpy_helper.from_array(np.array([5, 5]), "i"), [4, 4]
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        sparse_initializer=[sparse],
    )
    with pytest.raises(sparsec.ModelError, match="'w'"):
        sparsec.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def linear_onnx(weight: NDArray[np.float32]) -> onnx.ModelProto:
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [18, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [18, columns])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


GIVEN: dict[str, Callable[[NDArray[np.float32]], object]] = {
    "scipy csr": scipy.sparse.csr_array,
    "scipy bsr": lambda dense: scipy.sparse.bsr_array(dense, blocksize=(3, 4)),
    "scipy lil": scipy.sparse.lil_array,
    "numpy float64": lambda dense: dense.astype(np.float64),
    "torch": torch.from_numpy,
    "torch csr": lambda dense: torch.from_numpy(dense).to_sparse_csr(),
    "parameter": lambda dense: nn.Parameter(torch.from_numpy(dense)),
    "dlpack": lambda dense: Exporter(dense),
}


class Exporter:
    """Nothing but DLPack."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self._array = array

    def __dlpack__(self, **options: object) -> object:
        return self._array.__dlpack__(**options)  # type: ignore[arg-type]

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("kind", GIVEN)
def test_weights_are_replaced_by_name(kind: str) -> None:
    random = np.random.default_rng(0)
    dense = np.where(random.random((33, 40)) < 0.2, random.standard_normal((33, 40)), 0).astype(np.float32)
    x = random.standard_normal((18, 33), dtype=np.float32)
    model = sparsec.compile(linear_onnx(np.ones_like(dense)), weights={"w": GIVEN[kind](dense)})
    np.testing.assert_allclose(np.asarray(model(x)), x @ dense, rtol=1e-4, atol=1e-5)
    assert model.report.layers[0].density == pytest.approx(np.count_nonzero(dense) / dense.size)
    net = nn.Sequential(nn.Linear(33, 40, bias=False))
    given = dense.T.copy() if kind != "scipy bsr" else np.ascontiguousarray(dense.T)[:39, :32]
    net[0] = nn.Linear(given.shape[1], given.shape[0], bias=False)
    inputs = torch.from_numpy(x[:, : given.shape[1]].copy())
    for source in (net, torch.export.export(net, (inputs,))):
        model = sparsec.compile(source, (inputs,), weights={"0.weight": GIVEN[kind](given)})
        np.testing.assert_allclose(np.asarray(model(inputs)), inputs.numpy() @ given.T, rtol=1e-4, atol=1e-5)
        assert model.report.layers[0].density == pytest.approx(np.count_nonzero(given) / given.size)


def test_given_weights_that_do_not_fit_are_refused() -> None:
    proto, net, x = linear_onnx(np.ones((8, 4), np.float32)), nn.Linear(8, 4), torch.randn(2, 8)
    with pytest.raises(sparsec.UsageError, match="no weight 'v'"):
        sparsec.compile(proto, weights={"v": np.ones((8, 4), np.float32)})
    with pytest.raises(sparsec.UsageError, match="another shape"):
        sparsec.compile(net, (x,), weights={"weight": np.ones((8, 4), np.float32)})
    with pytest.raises(sparsec.UsageError, match="cannot be read"):
        sparsec.compile(net, (x,), weights={"weight": "zeros"})
    with pytest.raises(sparsec.UsageError, match="cannot be read"):
        sparsec.compile(net, (x,), weights={"weight": torch.Size((4, 8))})
    tied = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    tied[2].weight = tied[0].weight
    with pytest.raises(sparsec.UsageError, match="does not read"):
        sparsec.compile(tied, (x,), weights={"0.weight": torch.zeros(8, 8), "2.weight": torch.zeros(8, 8)})
