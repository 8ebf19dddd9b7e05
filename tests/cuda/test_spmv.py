"""Products of few tokens without tensor cores are right, and used where they are the faster ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulated_product import check_product
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import unstructured

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.products import device_cost, spmv
from sparsec.cuda.products.compressed_weight import CompressedWeight
from sparsec.cuda.products.product import matmul
from sparsec.cuda.products.spmv import SpmvWeight, most_columns, most_tokens, shared_bytes
from sparsec.cuda.products.weights import compress
from sparsec.cuda.streams.spmv_line import WARPS
from sparsec.cuda.streams.spmv_streams import SIGNED, SpmvStreams
from sparsec.errors import TargetError

HOPPER_BYTES = 227 << 10


def values_of(m: int, k: int, density: float, dtype: str, seed: int) -> Any:
    kept = unstructured(m, k, density, seed) != 0
    return (np.random.default_rng(seed + 1).standard_normal((m, k)) * kept).astype(NUMPY[dtype])


def check(weight: SpmvWeight | CompressedWeight, values: Any, tokens: int, **given_: Any) -> None:
    """Against float64, into poisoned outputs."""
    torch = pytest.importorskip("torch")
    m, k = values.shape
    dtype = getattr(torch, weight.dtype)
    x = torch.randn(tokens, k, device="cuda").to(dtype)
    out = torch.full((tokens, m), torch.nan, device="cuda", dtype=dtype)
    matmul(weight, x, out=out, **given_)
    exact = torch.from_numpy(values.astype(np.float64)).cuda()
    expected = x.double() @ exact.T
    if given_.get("bias") is not None:
        expected = expected + given_["bias"].double()
    if given_.get("activation"):
        expected = getattr(torch.nn.functional, given_["activation"])(expected)
    if given_.get("residual") is not None:
        expected = expected + given_["residual"].double()
    error = (out.double() - expected).abs()
    size = x.double().abs() @ exact.abs().T
    bound = expected.abs() * torch.finfo(dtype).eps + size * 2.0**-22 * max(1, k / 256) ** 0.5 + 1e-5
    assert bool((error <= bound).all()), float((error / bound).max())


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 300), st.integers(1, 10)),
    st.sampled_from([0.0, 0.02, 0.2, 1.0]),
    st.integers(1, 6),
    st.sampled_from([1 << 20, 120]),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_products_are_right_emulated(
    sizes: tuple[int, int, int], density: float, workers: int, most: int, ordered: bool, seed: int
) -> None:
    if COMPILER is None:
        pytest.skip("needs g++")
    (m, k, tokens), dtype = sizes, ("float16", "bfloat16")[seed % 2]
    values = values_of(m, k, density, dtype, seed)
    streams = SpmvStreams.encode(values.view(np.uint16), workers, most, ordered=ordered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spmv, "function", emulated_function)
        weight = SpmvWeight(streams, dtype, EmulatedDevice())  # type: ignore[arg-type]
        check_product(lambda x, y: weight.launch(None, x, y, 0), values, tokens, dtype, seed)


@pytest.mark.usefixtures("gpu", "nvrtc")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(NUMPY)),
    st.tuples(st.integers(1, 1100), st.integers(1, 900), st.integers(1, 20)),
    st.sampled_from([0.0, 0.01, 0.1, 0.4, 1.0]),
    st.integers(1, 140),
    st.sampled_from([1 << 20, 300]),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_any_shape_density_and_number_of_workers(
    gpu: Device,
    dtype: str,
    sizes: tuple[int, int, int],
    density: float,
    workers: int,
    most: int,
    ordered: bool,
    seed: int,
) -> None:
    m, k, tokens = sizes
    values = values_of(m, k, density, dtype, seed)
    streams = SpmvStreams.encode(values.view(np.uint16), workers, most, ordered=ordered)
    check(SpmvWeight(streams, dtype, gpu), values, tokens)


@pytest.mark.usefixtures("gpu", "nvrtc")
@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), [(2048, 4096), (40, 30000), (5000, 520)])
@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_done_to_sums(gpu: Device, dtype: str, m: int, k: int, ordered: bool) -> None:
    torch = pytest.importorskip("torch")
    values = values_of(m, k, 0.1, dtype, m)
    columns = most_columns(gpu.shared_bytes)
    streams = SpmvStreams.encode(values.view(np.uint16), 132, columns, ordered=ordered)
    weight = SpmvWeight(streams, dtype, gpu)
    bias = torch.randn(m, device="cuda")
    for tokens, activation in ((1, "silu"), (2, "gelu"), (3, "relu"), (8, None), (9, "silu")):
        added = torch.randn(tokens, m, device="cuda").to(getattr(torch, dtype))
        check(weight, values, tokens, bias=bias, activation=activation, residual=added)


@pytest.mark.usefixtures("gpu", "nvrtc")
def test_many_launches_give_the_same_bits(gpu: Device) -> None:
    torch = pytest.importorskip("torch")
    values = values_of(1000, 4096, 0.3, "float16", 3)
    weight = SpmvWeight(SpmvStreams.encode(values.view(np.uint16), 132, 1 << 20), "float16", gpu)
    for tokens in (1, 8):
        x = torch.randn(tokens, 4096, device="cuda", dtype=torch.float16)
        first = matmul(weight, x)
        for _ in range(200):
            assert torch.equal(matmul(weight, x), first)


@pytest.mark.usefixtures("gpu", "nvrtc")
def test_infinities_and_nan_are_where_a_dense_product_has_them(gpu: Device) -> None:
    torch = pytest.importorskip("torch")
    values = values_of(300, 200, 0.5, "float16", 3)
    weight = SpmvWeight(SpmvStreams.encode(values.view(np.uint16), 8, 1 << 20), "float16", gpu)
    x = torch.randn(4, 200, device="cuda", dtype=torch.float16)
    x[0, 199], x[1, 0], x[2, 7] = torch.inf, -torch.inf, torch.nan
    exact = torch.from_numpy(values.astype(np.float64)).cuda()
    expected, found = (x.double() @ exact.T), matmul(weight, x)
    # A zero of the weight times infinity is NaN in a dense product; here it is that or no part of the sum.
    certain = expected.isnan().logical_not()
    assert bool((found.isinf() == expected.isinf())[certain].all())
    assert bool(found[3].isfinite().all())
    assert bool(found[2][exact[:, 7] != 0].isnan().all())


@pytest.mark.usefixtures("gpu", "nvrtc")
def test_few_tokens_are_done_without_tensor_cores_where_that_is_faster() -> None:
    values = values_of(2048, 4096, 0.2, "float16", 1)
    weight = compress(values)
    assert isinstance(weight.form(1), SpmvWeight)
    for tokens in (1, 2, 8, 64):
        check(weight, values, tokens)


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)])
@pytest.mark.parametrize(("bits", "tokens"), [(3, 1), (4, 2), (5, 4), (6, 1), (SIGNED, 8)])
@pytest.mark.parametrize("warps", WARPS)
def test_kernels_compile(warps: int, bits: int, tokens: int, architecture: tuple[int, int]) -> None:
    macros = {"BITS": bits, "TOKENS": tokens, "BF16": bits % 2, "ACTIVATION": 3, **spmv.macros(tokens, warps)}
    assert program.compiled("spmv", macros, architecture).startswith(b"\x7fELF")


def test_columns_that_there_is_room_for() -> None:
    columns = most_columns(HOPPER_BYTES)
    assert most_tokens(columns, HOPPER_BYTES) == 8
    assert shared_bytes(columns + 2, 8) > HOPPER_BYTES
    assert most_tokens(2 * columns, HOPPER_BYTES) == 4
    assert most_tokens(HOPPER_BYTES // 4, HOPPER_BYTES) == 2
    with pytest.raises(TargetError, match="more shared memory than the GPU has"):
        most_tokens(HOPPER_BYTES // 4 + 2, HOPPER_BYTES)


def test_a_weight_with_more_columns_than_there_is_room_for_is_left_to_others() -> None:
    assert spmv.fits(HOPPER_BYTES // 4 - 2, HOPPER_BYTES)
    assert not spmv.fits(HOPPER_BYTES // 4, HOPPER_BYTES)


def test_gathers_have_a_row_for_any_number_of_tokens() -> None:
    assert all(rows[-1].tokens == spmv.TOKENS[-1] for rows in device_cost.GATHERS.values())
