"""Products on a GPU are right: against float64, on fresh inputs, into poisoned outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from matrices import blocks, groups_of_four_bits, quantized, two_of_four, unstructured
from targets import Target

from sparsec.cuda.code import program
from sparsec.cuda.device import driver, tensors
from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.products import product
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.form import SparseForm, encoded_as, on_gpu
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma, tilings
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.products.product import ACTIVATIONS, FIRST, matmul
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.weights import Weight, compress, compress_quantized
from sparsec.cuda.streams import partition
from sparsec.cuda.streams.four_bits import dequantize
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.errors import InputError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("gpu", "nvrtc")

SHAPES = [(32, 64), (1, 1), (1000, 520), (513, 72), (40, 1001), (2048, 4096), (11, 8192), (4096, 136)]
TOKENS = [1, 7, 8, 9, 16, 31, 33, 64, 65, 128, 200]
KERNELS = {  # of a sparse weight, and the pattern that it is for
    "bitmap_mma": "unstructured",
    "coo_mma": "unstructured",
    "coo_wgmma": "unstructured",
    "nm24_mma": "2:4",
    "nm24_wgmma": "2:4",
    "bsr_wgmma": "block:32x32",
    "bsr_rows_mma": "block:32x32",
    "bsr_tall_wgmma": "block:32x32",
    "bsr_pairs_wgmma": "block:64x64",
}
OF_HOPPER = ("coo_wgmma", "nm24_wgmma", "bsr_wgmma", "bsr_rows_mma", "bsr_tall_wgmma", "bsr_pairs_wgmma")
PATTERNS = ["unstructured", "2:4", "block:32x32", "block:64x64"]
NUMPY = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def made(kernel: Any, values: Any, dtype: str, on: Device, workers: int = 132) -> SparseForm:
    """What the kernel reads, on the GPU; skips what there is no such form of."""
    if kernel in OF_HOPPER and on.architecture != (9, 0):
        pytest.skip("needs an NVIDIA GPU of compute capability 9.0")
    encoded = encoded_as(kernel, values.view(np.uint16), Target(workers, on.shared_bytes))
    if encoded is None:
        pytest.skip("the weight is not for this kernel")
    return on_gpu(encoded, dtype, on)


def weight_values(pattern: str, m: int, k: int, density: float, dtype: str, seed: int) -> Any:
    """Normal numbers where the pattern has nonzeros."""
    match pattern:
        case "2:4":
            kept = two_of_four(m, k, seed) != 0
        case "block:32x32" | "block:64x64":
            kept = blocks(m, k, int(pattern[-2:]), density, seed) != 0
        case _:
            kept = unstructured(m, k, density, seed) != 0
    return (np.random.default_rng(seed + 1).standard_normal((m, k)) * kept).astype(NUMPY[dtype])


def check(
    weight: Weight,
    values: Any,
    tokens: int,
    seed: int,
    *,
    bias: bool,
    activation: Any,
    residual: bool = False,
    stored: Any = None,
) -> None:
    """Against float64; `stored` is what products are summed of where that is not the weight's values."""
    m, k = values.shape
    dtype = getattr(torch, weight.dtype)
    generator = torch.Generator("cuda").manual_seed(seed)
    x = torch.randn(tokens, k, device="cuda", generator=generator).to(dtype)
    added = torch.randn(m, device="cuda", generator=generator) if bias else None
    more = torch.randn(tokens, m + 3, device="cuda", generator=generator).to(dtype)[:, :m] if residual else None
    out = torch.full((tokens, m), torch.nan, device="cuda", dtype=dtype)
    result = matmul(weight, x, bias=added, activation=activation, residual=more, out=out)
    assert result is out
    expected = x.double() @ torch.from_numpy(values.astype(np.float64)).cuda().T
    summed = values if stored is None else stored
    size = x.double().abs() @ torch.from_numpy(np.abs(summed.astype(np.float64))).cuda().T
    if added is not None:
        expected = expected + added.double()
    if activation:
        expected = getattr(torch.nn.functional, activation)(expected)
    if more is not None:
        expected = expected + more.double()
    # One rounding of the result, and sums in float32 of k products, some of which were added in pairs.
    error = (out.double() - expected).abs()
    bound = expected.abs() * torch.finfo(dtype).eps + size * 2.0**-22 * max(1, k / 256) ** 0.5 + 1e-5
    assert bool((error <= bound).all()), float((error / bound).max())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), SHAPES)
@pytest.mark.parametrize("density", [0.5, 0.1])
def test_products_are_right(gpu: Device, kernel: str, dtype: str, m: int, k: int, density: float) -> None:
    values = weight_values(KERNELS[kernel], m, k, density, dtype, m + k)
    weight = made(kernel, values, dtype, gpu)
    for tokens in TOKENS:
        check(weight, values, tokens, tokens, bias=tokens % 2 == 0, activation=None, residual=tokens % 3 == 0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_residuals_before_the_activation_are_right(gpu: Device, kernel: str) -> None:
    values = weight_values(KERNELS[kernel], 256, 512, 0.1, "float16", 1)
    weight = made(kernel, values, "float16", gpu)
    x, residual = torch.randn(33, 512, device="cuda").half(), torch.randn(33, 256, device="cuda").half()
    y = torch.full_like(residual, torch.nan)
    results = Results(y.data_ptr(), 256, 256, 0, ACTIVATIONS["relu"] + FIRST, residual.data_ptr(), 256)
    product.launch(weight, x, tensors.view(x, "x"), results, torch.cuda.current_stream().cuda_stream)
    sums = x.double() @ torch.from_numpy(values.astype(np.float64)).cuda().T
    expected = (sums + residual.double()).relu()
    assert float((y.double() - expected).abs().max() / expected.max()) < 2e-3


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), [(1, 1), (513, 72), (40, 1001), (2048, 4096), (4096, 136)])
def test_products_by_whatever_should_be_the_fastest_are_right(pattern: str, dtype: str, m: int, k: int) -> None:
    values = weight_values(pattern, m, k, 0.2, dtype, m + k)
    weight = compress(values, pattern, tokens=(8,))
    for tokens in (*TOKENS, 600):
        relu = "relu" if tokens % 2 else None
        check(weight, values, tokens, tokens, bias=tokens % 2 == 0, activation=relu, residual=tokens % 3 == 0)


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), SHAPES)
@pytest.mark.parametrize("pattern", ["2:4", "block:1x16"])
def test_products_of_four_bits_are_right(gpu: Device, pattern: str, dtype: str, m: int, k: int) -> None:
    made = quantized(m, k, m + k) if pattern == "2:4" else groups_of_four_bits(m, k, 0.5, m + k)
    numbers, scales = made
    kind = W4Nm24Streams if pattern == "2:4" else W4GroupStreams
    weight = SparseWeight(kind.encode(numbers, scales, gpu.multiprocessors), dtype, gpu)
    more = 8 if pattern == "block:1x16" and dtype == "float16" else 0  # with which numbers are stored and summed
    stored = dequantize(np.abs(numbers.astype(np.int16)) + more, scales)
    for tokens in TOKENS:
        bias = tokens % 2 == 0
        check(weight, dequantize(numbers, scales), tokens, tokens, bias=bias, activation=None, stored=stored)


@pytest.mark.parametrize("pattern", ["2:4", "block:1x16"])
def test_four_bits_are_dense_for_many_tokens(pattern: str) -> None:
    numbers, scales = quantized(2048, 4096, 1)  # large enough that bytes count more than a launch
    weight = compress_quantized(numbers, scales, "float16", pattern)
    assert isinstance(weight.form(1), SparseWeight)
    assert isinstance(weight.form(1000), DenseWeight)
    values = dequantize(numbers, scales).astype(np.float16)  # as they are then
    check(weight, values, 1000, 1, bias=True, activation="relu")


@pytest.mark.parametrize("large", [0, 1 << 60])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(KERNELS)),
    st.sampled_from(list(NUMPY)),
    st.tuples(st.integers(1, 1100), st.integers(1, 600), st.integers(1, 150)),
    st.sampled_from([0.0, 0.05, 0.2, 0.4, 0.7, 1.0]),
    st.sampled_from([None, "relu", "gelu", "silu", "relu6"]),
    st.integers(1, 200),
    st.integers(0, 1 << 30),
)
def test_any_shape_density_and_number_of_workers(
    gpu: Device,
    monkeypatch: pytest.MonkeyPatch,
    large: int,
    kernel: str,
    dtype: str,
    sizes: tuple[int, int, int],
    density: float,
    activation: Any,
    workers: int,
    seed: int,
) -> None:
    monkeypatch.setattr(partition, "LARGE", large)
    m, k, tokens = sizes
    values = weight_values(KERNELS[kernel], m, k, density, dtype, seed)
    encoded = encoded_as(kernel, values.view(np.uint16), Target(workers, gpu.shared_bytes))  # type: ignore[arg-type]
    assume(encoded is not None and (gpu.architecture == (9, 0) or kernel not in OF_HOPPER))
    weight = on_gpu(encoded, dtype, gpu)
    check(weight, values, tokens, seed, bias=seed % 2 == 0, activation=activation, residual=seed % 3 == 0)


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(
    ("m", "k", "tokens"),
    [(200, 520, 5), (64, 64, 33), (200, 200, 70), (513, 1032, 300), (1000, 520, 513), (2048, 4096, 1000)],
)
def test_every_way_to_cut_up_a_product_is_right(gpu: Device, dtype: str, m: int, k: int, tokens: int) -> None:
    if gpu.architecture != (9, 0):
        pytest.skip("needs an NVIDIA GPU of compute capability 9.0")
    values = weight_values("2:4", m, k, 0.5, dtype, m + tokens)
    weight = Nm24Wgmma(Nm24Tiles.encode(values.view(np.uint16)), dtype, gpu)
    kind = getattr(torch, dtype)
    x = torch.randn(tokens, k, device="cuda").to(kind)
    expected = x.double() @ torch.from_numpy(values.astype(np.float64)).cuda().T
    for workers in (2, gpu.multiprocessors):
        ways = [tiling for tiling, _ in tilings(tokens, m, k, workers, gpu.shared_bytes)]
        for tiling in (*ways, *(replace(each, aligned=True) for each in ways if each.split == 1)):
            y = torch.full((tokens + 1, m), torch.nan, device="cuda", dtype=kind)
            rows = Rows(x.data_ptr(), k, tokens, k)
            weight.launch(rows, Results(y.data_ptr(), m, m, 0, 0), torch.cuda.current_stream().cuda_stream, tiling)
            error = (y[:tokens].double() - expected).abs()
            bound = expected.abs() * torch.finfo(kind).eps + 1e-4 * float(expected.abs().max())
            assert bool((error <= bound).all()), tiling
            assert bool(y[tokens:].isnan().all()), tiling


@pytest.mark.parametrize("large", [0, 1 << 60])
@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k", "tokens"), [(1, 1, 65), (300, 200, 129), (513, 1032, 300), (2048, 4096, 1000)])
def test_tiles_for_gpus_without_warpgroup_products_are_right(
    gpu: Device, monkeypatch: pytest.MonkeyPatch, large: int, dtype: str, m: int, k: int, tokens: int
) -> None:
    monkeypatch.setattr(partition, "LARGE", large)
    values = weight_values("2:4", m, k, 0.5, dtype, m + tokens)
    check(made("nm24_mma", values, dtype, gpu), values, tokens, m, bias=True, activation="silu", residual=True)


@pytest.mark.parametrize("kernel", ["bitmap_mma", "nm24_mma"])
def test_code_for_the_oldest_architecture_is_right(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(source: str, name: str, options: list[str]) -> bytes:
        return compile_source(source, name, ["--gpu-architecture=compute_80", *options[1:]])

    compile_source = program.nvrtc.compile_source
    monkeypatch.setattr(program.nvrtc, "compile_source", compiled)
    monkeypatch.setattr(program, "cache_folder", lambda: Path("/nowhere"))
    monkeypatch.setattr(driver, "_OVERLAP", (99, 0))
    device(0).functions.clear()
    try:
        for m, k in [(1000, 520), (2048, 4096)]:
            values = weight_values(KERNELS[kernel], m, k, 0.4, "float16", 1)
            check(made(kernel, values, "float16", device(0)), values, 16, 5, bias=True, activation="silu")
    finally:
        device(0).functions.clear()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("tokens", [16, 600])
def test_many_launches_give_the_same_bits(gpu: Device, kernel: str, tokens: int) -> None:
    values = weight_values(KERNELS[kernel], 1000, 4096, 0.1, "float16", 3)
    weight = made(kernel, values, "float16", gpu)
    x = torch.randn(tokens, 4096, device="cuda", dtype=torch.float16)
    first = matmul(weight, x)
    for _ in range(200):
        assert torch.equal(matmul(weight, x), first)


def test_a_chain_of_products_is_in_order() -> None:
    values = [weight_values("unstructured", 2048, 2048, 0.4, "float16", seed) * np.float16(0.03) for seed in range(3)]
    weights = [compress(each) for each in values]
    x = torch.randn(8, 2048, device="cuda", dtype=torch.float16)
    expected = x
    for each in values:
        expected = (expected.double() @ torch.from_numpy(each.astype(np.float64)).cuda().T).half()
    for _ in range(20):
        y = x
        for weight in weights:
            y = matmul(weight, y)
        assert torch.allclose(y.double(), expected.double(), rtol=0.02, atol=0.02 * float(expected.abs().max()))


def test_a_call_can_be_captured_in_a_graph() -> None:
    values = weight_values("unstructured", 512, 1024, 0.3, "float16", 3)
    weight = compress(torch.from_numpy(values))
    x = torch.randn(4, 1024, device="cuda", dtype=torch.float16)
    out = matmul(weight, x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        matmul(weight, x, out=out)
    x.copy_(torch.randn_like(x))
    graph.replay()
    captured = out.clone()
    assert torch.equal(captured, matmul(weight, x))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("tokens", [5, 300])
def test_the_output_may_be_what_is_added(gpu: Device, kernel: str, tokens: int) -> None:
    values = weight_values(KERNELS[kernel], 520, 256, 0.1, "float16", 3)
    weight = made(kernel, values, "float16", gpu)
    x, y = (torch.randn(tokens, columns, device="cuda", dtype=torch.float16) for columns in (256, 520))
    expected = matmul(weight, x, activation="gelu", residual=y.clone())
    assert torch.equal(matmul(weight, x, activation="gelu", residual=y, out=y), expected)


def test_rows_and_columns_of_x_may_be_apart() -> None:
    values = weight_values("unstructured", 64, 256, 0.5, "float16", 3)
    weight = compress(values)
    x = torch.randn(256, 24, device="cuda", dtype=torch.float16)
    expected = matmul(weight, x.T.contiguous())
    assert torch.equal(matmul(weight, x.T), expected)
    wide = torch.full((24, 300), torch.nan, device="cuda", dtype=torch.float16)
    wide[:, 4:260] = x.T
    assert torch.equal(matmul(weight, wide[:, 4:260]), expected)
    y = torch.zeros(24, 70, device="cuda", dtype=torch.float16)
    matmul(weight, x.T, out=y[:, 3:67])
    assert torch.equal(y[:, 3:67], expected)
    assert not y[:, :3].any()
    assert not y[:, 67:].any()


def test_wrong_tensors_are_refused() -> None:
    weight = compress(weight_values("unstructured", 64, 256, 0.5, "float16", 3))
    with pytest.raises(InputError, match="x has the wrong shape, type or device"):
        matmul(weight, torch.zeros(4, 255, device="cuda", dtype=torch.float16))
    with pytest.raises(InputError, match="x has the wrong shape, type or device"):
        matmul(weight, torch.zeros(4, 256, device="cuda", dtype=torch.bfloat16))
    with pytest.raises(InputError, match="x is not on an NVIDIA GPU"):
        matmul(weight, torch.zeros(4, 256, dtype=torch.float16))
    with pytest.raises(InputError, match="no such activation"):
        matmul(weight, torch.zeros(4, 256, device="cuda", dtype=torch.float16), activation="tanh")  # type: ignore[arg-type]
    y = torch.zeros(1, 64, device="cuda", dtype=torch.float16).expand(4, 64)
    with pytest.raises(InputError, match="cannot be written to in place"):
        matmul(weight, torch.zeros(4, 256, device="cuda", dtype=torch.float16), out=y)
    assert matmul(weight, torch.zeros(0, 256, device="cuda", dtype=torch.float16)).shape == (0, 64)
