"""2:4 products of int8 and float8 are right: against float64, on fresh inputs, into poisoned outputs."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import two_of_four

from sparsec.cuda.device.driver import Device
from sparsec.cuda.products.compressed_weight import CompressedWeight
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma, tilings
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.products.product import matmul
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.weights import compress
from sparsec.cuda.streams import partition
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.nm24_byte_streams import Nm24ByteStreams
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.errors import InputError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("gpu", "nvrtc")

NUMPY = {"int8": np.dtype(np.int8), "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn)}
# Of the sum of the magnitudes: float8 is added up with few bits by tensor cores (about 13), int8 exactly.
EXACTNESS = {"int8": 2.0**-22, "float8_e4m3fn": 2.0**-11}


def values_of(dtype: str, m: int, k: int, seed: int) -> Any:
    """All whole numbers, or normal numbers, where a 2:4 matrix has nonzeros."""
    generator = np.random.default_rng(seed)
    kept = two_of_four(m, k, seed) != 0
    numbers = generator.integers(-128, 128, (m, k)) if dtype == "int8" else generator.standard_normal((m, k))
    return np.where(kept, numbers, 0).astype(NUMPY[dtype])


def check(
    weight: SparseWeight | CompressedWeight, values: Any, scales: Any, tokens: int, seed: int, *, plain: bool = False
) -> None:
    m, k = values.shape
    dtype = weight.factors.dtype
    generator = torch.Generator("cuda").manual_seed(seed)
    if dtype == "int8":
        x = torch.randint(-128, 128, (tokens, k), device="cuda", generator=generator, dtype=torch.int8)
    else:
        x = torch.randn(tokens, k, device="cuda", generator=generator).to(torch.float8_e4m3fn)
    kind = getattr(torch, weight.dtype)
    factors = torch.rand(tokens, device="cuda", generator=generator) / 100 + 1e-3
    bias, more = torch.randn(m, device="cuda"), torch.randn(tokens, m, device="cuda").to(kind)
    out = torch.full((tokens, m), torch.nan, device="cuda", dtype=kind)
    given = {} if plain else {"scales": factors, "bias": bias, "residual": more, "activation": "relu"}
    assert matmul(weight, x, out=out, **given) is out
    wide = torch.from_numpy(values.astype(np.float64)).cuda()
    outer = torch.from_numpy(scales).double().cuda() * (1 if plain else factors.double()[:, None])
    expected, size = (x.double() @ wide.T) * outer, (x.double().abs() @ wide.abs().T) * outer
    if not plain:
        expected = torch.relu(expected + bias.double()) + more.double()
    eps, limit = torch.finfo(kind).eps, torch.finfo(kind).max
    bound = (expected.abs() + more.double().abs()) * eps + size * EXACTNESS[dtype] + 1e-5
    inside = expected.abs() < limit
    assert bool(((out.double() - expected).abs() <= bound)[inside].all())
    assert bool(out.isfinite()[inside].all())


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k"), [(32, 128), (1, 1), (513, 72), (40, 1001), (2048, 4096), (1000, 520)])
def test_products_are_right(dtype: str, m: int, k: int) -> None:
    values = values_of(dtype, m, k, m + k)
    scales = np.random.default_rng(m).random(m, dtype=np.float32) / 100
    weight = compress(values, "2:4", scales=scales, out="bfloat16" if m % 2 else "float16")
    for tokens in (1, 8, 9, 33, 64, 200):
        check(weight, values, scales, tokens, tokens)


@pytest.mark.parametrize(("m", "k", "tokens"), [(1, 1, 65), (300, 200, 129), (2048, 4096, 1000)])
def test_tiles_for_gpus_without_warpgroup_products_are_right(gpu: Device, m: int, k: int, tokens: int) -> None:
    values, scales = values_of("int8", m, k, m), np.full(m, 1e-3, np.float32)
    streams = Nm24ByteStreams.encode(values.view(np.uint8), gpu.multiprocessors)
    check(SparseWeight(streams, "float16", gpu, Factors("int8", scales)), values, scales, tokens, m)


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize("tokens", [5, 100])
def test_without_scales_they_are_ones(dtype: str, tokens: int) -> None:
    values = values_of(dtype, 100, 256, 1)
    given = torch.from_numpy(values.view(np.int8)).view(getattr(torch, dtype))
    check(compress(given, "2:4", out="bfloat16"), values, np.ones(100, np.float32), tokens, 1, plain=True)


@pytest.mark.parametrize("large", [0, 1 << 60])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(NUMPY)),
    st.tuples(st.integers(1, 1100), st.integers(1, 600), st.integers(1, 150)),
    st.integers(1, 200),
    st.integers(0, 1 << 30),
)
def test_any_shape_and_number_of_workers(
    gpu: Device,
    monkeypatch: pytest.MonkeyPatch,
    large: int,
    dtype: str,
    sizes: tuple[int, int, int],
    workers: int,
    seed: int,
) -> None:
    monkeypatch.setattr(partition, "LARGE", large)
    m, k, tokens = sizes
    values, scales = values_of(dtype, m, k, seed), np.full(m, 1e-3, np.float32)
    streams = Nm24ByteStreams.encode(np.where(values == 0, np.uint8(0), values.view(np.uint8)), workers)
    check(SparseWeight(streams, "float16", gpu, Factors(dtype, scales)), values, scales, tokens, seed)


@pytest.mark.parametrize("dtype", NUMPY)
@pytest.mark.parametrize(("m", "k", "tokens"), [(200, 520, 5), (64, 128, 33), (513, 1032, 300), (2048, 4096, 1000)])
def test_every_way_to_cut_up_a_product_is_right(gpu: Device, dtype: str, m: int, k: int, tokens: int) -> None:
    if gpu.architecture != (9, 0):
        pytest.skip("needs an NVIDIA GPU of compute capability 9.0")
    values, scales = values_of(dtype, m, k - k % 16, m), np.full(m, 1e-3, np.float32)
    k -= k % 16
    bits = np.where(values == 0, np.uint8(0), values.view(np.uint8))
    weight = Nm24Wgmma(Nm24Tiles.encode(bits), "float16", gpu, Factors(dtype, scales))
    x = torch.randint(-128, 128, (tokens, k), device="cuda", dtype=torch.int8)
    if dtype != "int8":
        x = torch.randn(tokens, k, device="cuda").to(torch.float8_e4m3fn)
    wide = torch.from_numpy(values.astype(np.float64)).cuda()
    expected, size = x.double() @ wide.T * 1e-3, x.double().abs() @ wide.abs().T * 1e-3
    for tiling, _ in tilings(tokens, m, k, gpu.multiprocessors, gpu.shared_bytes, 1):
        y = torch.full((tokens + 1, m), torch.nan, device="cuda", dtype=torch.float16)
        rows = Rows(x.data_ptr(), k // 2, tokens, k // 2)
        weight.launch(rows, Results(y.data_ptr(), m, m, 0, 0), torch.cuda.current_stream().cuda_stream, tiling)
        bound = expected.abs() * 2.0**-10 + size * EXACTNESS[dtype] + 1e-5
        assert bool(((y[:tokens].double() - expected).abs() <= bound).all()), tiling
        assert bool(y[tokens:].isnan().all()), tiling


def test_scales_are_for_eight_bits() -> None:
    x = torch.zeros(4, 64, device="cuda", dtype=torch.float16)
    weight = compress(np.zeros((8, 64), np.float16), "2:4")
    with pytest.raises(InputError, match="Only tokens of eight bits have scales"):
        matmul(weight, x, scales=torch.ones(4, device="cuda"))
    with pytest.raises(InputError, match="x has the wrong shape, type or device"):
        matmul(compress(np.zeros((8, 64), np.int8), "2:4"), x)
