"""Dense products, attention and convolutions on a GPU: against float64, on fresh inputs, into poisoned outputs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.products import attention, cublas, dense_few, dense_mma, dense_wgmma, pooling
from sparsec.cuda.products.attention import AttentionSizes, HeadRows, MaskRows
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.cublas import CublasLt, LtProduct
from sparsec.cuda.products.dense import DenseKernel, DenseWeight
from sparsec.cuda.products.dense_mma import DenseSizes
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.operands import Rows
from sparsec.kernels.problem import Axis

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("gpu", "nvrtc")

ACTIVATIONS = [lambda v: v, lambda v: v.relu(), torch.nn.functional.gelu, torch.nn.functional.silu]


def halves(*shape: int, dtype: str = "float16") -> Any:
    return torch.randn(*shape, device="cuda").to(getattr(torch, dtype))


def poisoned(*shape: int, dtype: str = "float16") -> Any:
    return torch.full(shape, torch.nan, device="cuda", dtype=getattr(torch, dtype))


def bits(weight: Any) -> Any:
    return weight.contiguous().view(torch.int16).cpu().numpy().view(np.uint16)


def stream() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def assert_close(got: Any, expected: Any, size: Any, k: int) -> None:
    """One rounding, and sums in float32 of k products of magnitude `size`."""
    error = (got.double() - expected).abs()
    bound = expected.abs() * torch.finfo(got.dtype).eps * 0.51 + size * 2.0**-22 * max(1, k / 256) ** 0.5 + 1e-5
    assert bool((error <= bound).all()), float((error / bound).max())


CASES: list[tuple[DenseKernel, int, int, int]] = [
    *(("dense_few", *sizes) for sizes in ((1, 768, 768), (9, 4096, 4096), (17, 1000, 1000), (64, 515, 3072))),
    *(("dense_wgmma", *sizes) for sizes in ((500, 701, 1000), (4096, 768, 768), (65, 64, 8), (196, 256, 2304))),
    *(("dense_mma", *sizes) for sizes in ((300, 333, 200), (129, 257, 101), (1, 1, 1))),
]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("kernel", "tokens", "m", "k"), CASES)
def test_products_are_right(gpu: Device, kernel: DenseKernel, tokens: int, m: int, k: int, dtype: str) -> None:
    if kernel == "dense_wgmma" and gpu.architecture != dense_wgmma.ARCHITECTURE:
        pytest.skip("needs an NVIDIA GPU of compute capability 9.0")
    stride = -(-k // 8) * 8 if kernel != "dense_mma" else k + 3
    x, w, bias, residual = poisoned(tokens, stride, dtype=dtype), halves(m, k, dtype=dtype), torch.randn(m).cuda(), None
    x[:, :k] = halves(tokens, k, dtype=dtype)
    weight = DenseWeight(bits(w), dtype, gpu)
    for activation, first in ((0, False), (1, True), (2, False), (3, False)):
        residual, y = halves(tokens, m, dtype=dtype), poisoned(tokens + 1, m, dtype=dtype)
        after = Epilogue(bias.data_ptr(), activation, Matrices(residual.data_ptr(), m), first)
        rows = Rows(x.data_ptr(), stride, tokens, k)
        weight.launch(rows, Matrices(y.data_ptr(), m), stream(), epilogue=after, kernel=kernel)
        sums = x[:, :k].double() @ w.double().T + bias.double() + (residual.double() if first else 0)
        expected = ACTIVATIONS[activation](sums) + (0 if first else residual.double())
        assert_close(y[:tokens], expected, x[:, :k].double().abs() @ w.double().abs().T, k)
        assert bool(y[tokens:].isnan().all())


@pytest.mark.parametrize("x_transposed", [False, True])
@pytest.mark.parametrize("w_transposed", [False, True])
@pytest.mark.parametrize(("tokens", "m", "k"), [(100, 130, 72), (128, 64, 128), (33, 47, 51)])
def test_batches_of_products_are_right(
    gpu: Device, x_transposed: bool, w_transposed: bool, tokens: int, m: int, k: int
) -> None:
    x, w, y = halves(3, 4, tokens, k), halves(3, 4, m, k), poisoned(3, 4, tokens, m)
    placed_x = x.transpose(2, 3).contiguous() if x_transposed else x
    placed_w = w.transpose(2, 3).contiguous() if w_transposed else w
    given = [
        Matrices(each.data_ptr(), each.stride(2), transposed, each.stride(0), each.stride(1))
        for each, transposed in ((placed_x, x_transposed), (placed_w, w_transposed), (y, False))
    ]
    sizes = DenseSizes(tokens, m, k, 3, 4)
    dense_mma.launch(gpu, "float16", sizes, *given, stream(), epilogue=Epilogue(scale=0.125))
    wide = x.double(), w.double().transpose(2, 3)
    assert_close(y, 0.125 * wide[0] @ wide[1], wide[0].abs() @ wide[1].abs(), k)


def test_every_way_to_cut_up_few_tokens_gives_the_same_twice(gpu: Device) -> None:
    x, w, y = halves(8, 3072), halves(768, 3072), poisoned(8, 768)
    weight = DenseWeight(bits(w), "float16", gpu)
    memory = Memory(weight, gpu)
    expected = x.double() @ w.double().T
    for tiling in (dense_few.FewTiling(slabs, 4, parts) for slabs in (1, 2) for parts in (1, 2, 3)):
        for _ in range(50):
            y.fill_(torch.nan)
            rows, to = Rows(x.data_ptr(), 3072, 8, 3072), Matrices(y.data_ptr(), 768)
            dense_few.launch(gpu, "float16", 768, rows, weight.rows, to, memory, stream(), Epilogue(), tiling)
            assert_close(y, expected, x.double().abs() @ w.double().abs().T, 3072)


ATTENTIONS = [  # batch, heads, heads of keys, queries, keys, size, mask, causal
    (2, 12, 12, 128, 128, 64, None, False),
    (2, 12, 12, 128, 128, 64, "keys", False),
    (2, 3, 3, 100, 77, 64, "all", False),
    (1, 8, 2, 300, 300, 128, None, True),
    (2, 4, 4, 1, 333, 128, None, False),
    (2, 4, 4, 65, 65, 40, None, True),
]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sizes", ATTENTIONS)
def test_attention_is_right(gpu: Device, sizes: tuple[Any, ...], dtype: str) -> None:
    batch, heads, key_heads, queries, keys, size, masked, causal = sizes
    q, y = halves(batch, queries, heads, size, dtype=dtype), poisoned(batch, queries, heads, size, dtype=dtype)
    k, v = (halves(batch, keys, key_heads, size, dtype=dtype) for _ in range(2))
    shape = {None: (1, 1, 1, 1), "keys": (batch, 1, 1, keys), "all": (batch, heads, queries, keys)}[masked]
    mask = torch.randn(shape, device="cuda") if masked else torch.zeros(shape, device="cuda")
    mask[..., keys // 2 :] -= 1e4 if masked == "keys" else 0
    rows = [HeadRows(each.data_ptr(), each.stride(0), each.stride(2), each.stride(1)) for each in (q, k, v, y)]
    steps = [0 if length == 1 else step for length, step in zip(shape, mask.stride(), strict=True)]
    given = MaskRows(mask.data_ptr(), *steps) if masked else None
    whole = AttentionSizes(batch, heads, key_heads, queries, keys, size)
    attention.launch(gpu, dtype, whole, *rows, stream(), scale=size**-0.5, mask=given, causal=causal)
    wide = [each.double().transpose(1, 2).repeat_interleave(heads // each.shape[2], dim=1) for each in (q, k, v)]
    products = wide[0] @ wide[1].transpose(2, 3) * size**-0.5 + mask.double()
    if causal:
        late = torch.arange(keys) > torch.arange(queries)[:, None] + keys - queries
        products = products.masked_fill(late.cuda(), -torch.inf)
    expected = (products.softmax(-1) @ wide[2]).transpose(1, 2)
    error = (y.double() - expected).abs().max() / wide[2].abs().max()
    assert float(error) < 2 * torch.finfo(y.dtype).eps


CONVOLUTIONS = [  # images, channels, filters, side, kernel, stride, padding, dilation, groups
    (2, 3, 64, 33, 7, 2, 3, 1, 1),
    (2, 64, 64, 28, 3, 1, 1, 1, 1),
    (3, 64, 128, 14, 1, 2, 0, 1, 1),
    (2, 48, 40, 15, 3, 1, 2, 2, 1),
    (2, 64, 64, 14, 3, 1, 1, 1, 4),
    (3, 128, 200, 13, 3, 2, 1, 1, 1),
    (1, 512, 512, 7, 3, 1, 1, 1, 1),
    (9, 64, 64, 56, 5, 1, 4, 2, 1),
    (32, 64, 64, 56, 3, 2, 1, 1, 64),
    (2, 32, 32, 19, 3, 2, 1, 1, 32),
    (2, 12, 24, 9, 5, 1, 2, 1, 12),
]


@pytest.mark.parametrize("sizes", CONVOLUTIONS)
def test_convolutions_are_right(gpu: Device, sizes: tuple[int, ...]) -> None:
    images, channels, filters, side, kernel, stride, padding, dilation, groups = sizes
    axis = Axis(side, kernel, stride, dilation, padding, padding)
    order = torch.channels_last
    x = halves(images, channels, side, side).to(memory_format=order)
    w, bias = halves(filters, channels // groups, kernel, kernel), torch.randn(filters, device="cuda")
    y = poisoned(images, filters, axis.out, axis.out).to(memory_format=order)
    residual = halves(*y.shape).to(memory_format=order)
    weight = ConvolutionWeight.of(bits(w), "float16", Geometry.whole(channels, filters, groups, (axis, axis)), gpu)
    after = Epilogue(bias.data_ptr(), 1, Matrices(residual.data_ptr(), 0), residual_first=True)
    weight.launch(images, x.data_ptr(), y.data_ptr(), stream(), epilogue=after)
    convolved = partial(torch.nn.functional.conv2d, stride=stride, padding=padding, dilation=dilation, groups=groups)
    expected = convolved(x.double(), w.double(), bias.double()) + residual.double()
    size = convolved(x.double().abs(), w.double().abs())
    assert_close(y, expected.relu(), size, channels // groups * kernel**2)


@pytest.mark.parametrize("channels", [64, 20])
def test_maxima_of_windows_are_right(gpu: Device, channels: int) -> None:
    x = halves(3, channels, 17, 12).to(memory_format=torch.channels_last)
    axes = Axis(17, 3, 2, 1, 1, 1), Axis(12, 3, 2, 1, 1, 1)
    y = poisoned(3, channels, axes[0].out, axes[1].out).to(memory_format=torch.channels_last)
    pooling.launch(gpu, "float16", 3, channels, axes, x.data_ptr(), y.data_ptr(), stream())
    assert bool((y == torch.nn.functional.max_pool2d(x.float(), 3, 2, 1)).all())


@pytest.mark.parametrize(("bias", "relu", "added"), [(False, False, False), (True, True, False), (True, False, True)])
def test_cublas_is_right(gpu: Device, bias: bool, relu: bool, added: bool) -> None:
    if cublas.find() is None:
        pytest.skip("needs cuBLAS")
    x, w, b, residual, y = halves(512, 768), halves(1024, 768), halves(1024), halves(512, 1024), poisoned(512, 1024)
    product = LtProduct(512, 1024, 768, 768, 768, 1024, 1024, "float16", bias, relu)
    library = CublasLt(gpu)
    assert library.has(product)
    given = {"bias": b.data_ptr() if bias else 0, "residual": residual.data_ptr() if added else 0}
    library.launch(product, x.data_ptr(), w.data_ptr(), y.data_ptr(), stream(), **given)
    sums = x.double() @ w.double().T + (b.double() if bias else 0) + (residual.double() if added else 0)
    assert_close(y, sums.relu() if relu else sums, x.double().abs() @ w.double().abs().T, 768)


def test_launches_can_be_captured_in_a_graph(gpu: Device) -> None:
    x, w, y = halves(200, 256), halves(256, 256), poisoned(200, 256)
    few, z = halves(4, 256), poisoned(4, 256)
    weight = DenseWeight(bits(w * 0.06), "float16", gpu)

    def run() -> None:
        weight.launch(Rows(x.data_ptr(), 256, 200, 256), Matrices(y.data_ptr(), 256), stream())
        weight.launch(Rows(y.data_ptr(), 256, 200, 256), Matrices(x.data_ptr(), 256), stream())
        weight.launch(Rows(few.data_ptr(), 256, 4, 256), Matrices(z.data_ptr(), 256), stream())

    kept = x.clone()
    run()
    expected = [each.clone() for each in (x, y, z)]
    x.copy_(kept)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    for _ in range(20):
        x.copy_(kept)
        graph.replay()
        assert all(torch.equal(*pair) for pair in zip(expected, (x, y, z), strict=True))
