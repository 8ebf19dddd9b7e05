"""`python -m bench cuda --dense`: dense products, attention and convolutions on an NVIDIA GPU against torch's (cuBLAS,
FlashAttention or cuDNN, cuDNN), checked against float64.

Contestants are CUDA graphs that take turns, as in `bench.cuda`; weights of products with few tokens rotate among more than
the L2 holds, other operands stay. All is float16; products and convolutions have a bias, convolutions relu too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from bench.cuda import COLD_BYTES, LOUD, race
from bench.cuda_results import keep, machine_line
from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.products import attention
from sparsec.cuda.products.attention import AttentionSizes, HeadRows
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.operands import Rows
from sparsec.kernels.problem import Axis

if TYPE_CHECKING:
    import torch

RESULTS = Path(__file__).parent / "results" / "cuda_dense.json"

PRODUCTS = (
    *((4096, m, k) for m, k in ((768, 768), (2304, 768), (3072, 768), (768, 3072))),
    *((8192, 8192, 8192), (256, 4096, 4096), (128, 768, 768)),
    *((tokens, 4096, 4096) for tokens in (1, 8, 16, 32, 64)),
    *((tokens, 11008, 4096) for tokens in (1, 16)),
)  # tokens, m, k
ATTENTIONS = (
    *((32, 12, 128, 128, 64, False), (4, 12, 2048, 2048, 64, False), (4, 16, 2048, 2048, 128, False)),
    *((4, 16, 2048, 2048, 128, True), (8, 32, 1, 1024, 128, False)),
)  # batch, heads, queries, keys, size, causal
CONVOLUTIONS = (
    *((32, 3, 64, 224, 7, 2, 1), (32, 64, 64, 56, 3, 1, 1), (32, 64, 256, 56, 1, 1, 1), (32, 256, 64, 56, 1, 1, 1)),
    *(
        (32, 128, 128, 28, 3, 1, 1),
        (32, 256, 256, 14, 3, 1, 1),
        (32, 1024, 256, 14, 1, 1, 1),
        (32, 512, 512, 7, 3, 1, 1),
    ),
    *((32, 256, 256, 28, 3, 2, 1), (32, 256, 256, 28, 3, 1, 256)),
)  # images, channels, filters, side, kernel, stride, groups

Calls = list[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Contest:
    """Of a kind of operation: ours and torch's calls, multiplications, what ours gives and what it should give."""

    name: str
    ours: Calls
    theirs: Calls
    multiplications: int
    got: torch.Tensor
    expected: torch.Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """Times in microseconds; `error` relative to the norm of the result in float64."""

    name: str
    microseconds: float
    spread: float
    torch_microseconds: float
    torch_spread: float
    ratio: float
    teraflops: float
    error: float


def run(json_file: Path) -> int:
    """Time all, print the table, keep it; returns the exit code: 1 if a result was wrong."""

    gpu = device(0)
    click.echo(machine_line())
    click.echo(f"{'':<44} {'us':>8} {'torch':>8} {'ratio':>6} {'TFLOP/s':>7} {'error':>8}")
    rows = []
    for contest in contests(gpu):
        row = _row(contest)
        rows.append(row)
        click.echo(
            f"{row.name:<44} {row.microseconds:>8.1f} {row.torch_microseconds:>8.1f} {row.ratio:>6.2f}"
            f" {row.teraflops:>7.0f} {row.error:>8.1e}"
        )
        keep(json_file, rows)
    wrong = [row for row in rows if not row.error < LOUD]
    click.echo(f"{len(rows)} operations, {len(wrong)} wrong")
    return 1 if wrong else 0


def contests(gpu: Device) -> Iterator[Contest]:
    """One after the other, as their operands need memory."""
    for product in PRODUCTS:
        yield _product(gpu, *product)
    for each in ATTENTIONS:
        yield _attention(gpu, *each)
    for convolution in CONVOLUTIONS:
        yield _convolution(gpu, *convolution)


def _row(contest: Contest) -> Row:
    (ours, spread), (theirs, their_spread) = race([contest.ours, contest.theirs])
    error = float((contest.got.double() - contest.expected).norm() / contest.expected.norm())
    times = ours * 1e6, spread, theirs * 1e6, their_spread, theirs / ours
    return Row(contest.name, *times, 2 * contest.multiplications / ours / 1e12, error)


def _product(gpu: Device, tokens: int, m: int, k: int) -> Contest:
    import torch

    copies = 1 if tokens > 64 else max(2, -(-COLD_BYTES // (2 * m * k)))
    x, bias = _halves(tokens, k), _halves(m)
    matrices = [_halves(m, k) * k**-0.5 for _ in range(copies)]
    wide, y, other = bias.float(), _nothing(tokens, m), _nothing(tokens, m)
    rows, results, after = Rows(x.data_ptr(), k, tokens, k), Matrices(y.data_ptr(), m), Epilogue(wide.data_ptr())
    weights = [DenseWeight(_bits(each), "float16", gpu) for each in matrices]
    kernel = weights[0].kernels(rows, results, after)[0]

    def ours(weight: DenseWeight, *_: object) -> None:
        weight.launch(rows, results, _stream(), epilogue=after)

    expected = x.double() @ matrices[-1].double().T + wide.double()
    return Contest(
        f"{kernel}: {tokens} x {m} x {k}",
        [_kept(ours, each, x, wide) for each in weights],
        [partial(torch.addmm, bias, x, each.T, out=other) for each in matrices],
        *(tokens * m * k, y, expected),
    )


def _heads(tensor: torch.Tensor) -> HeadRows:
    """Of a tensor [batch, tokens, heads, size]."""
    return HeadRows(tensor.data_ptr(), tensor.stride(0), tensor.stride(2), tensor.stride(1))


def _attention(gpu: Device, batch: int, heads: int, queries: int, keys: int, size: int, causal: bool) -> Contest:
    import torch

    q, k, v = _halves(batch, queries, heads, size), _halves(batch, keys, heads, size), _halves(batch, keys, heads, size)
    y = _nothing(batch, queries, heads, size)
    sizes = AttentionSizes(batch, heads, heads, queries, keys, size)
    attended = partial(torch.nn.functional.scaled_dot_product_attention, is_causal=causal)

    def ours(*_: object) -> None:
        attention.launch(
            gpu,
            "float16",
            sizes,
            _heads(q),
            _heads(k),
            _heads(v),
            _heads(y),
            _stream(),
            scale=size**-0.5,
            causal=causal,
        )

    turned = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    expected = attended(turned[0].double(), turned[1].double(), turned[2].double()).transpose(1, 2)
    name = f"attention: {batch} x {heads} heads, {queries} x {keys}, {size}{', causal' if causal else ''}"
    meetings = batch * heads * queries * keys // (2 if causal else 1)
    return Contest(name, [_kept(ours, q, k, v, y)], [partial(attended, *turned)], 2 * meetings * size, y, expected)


def _convolution(
    gpu: Device, images: int, channels: int, filters: int, side: int, kernel: int, stride: int, groups: int
) -> Contest:
    import torch

    axis = Axis(side, kernel, stride, 1, kernel // 2, kernel // 2)
    geometry = Geometry.whole(channels, filters, groups, (axis, axis))
    last = torch.channels_last
    x = _halves(images, channels, side, side).to(memory_format=last)
    w = _halves(filters, channels // groups, kernel, kernel) * (channels // groups * kernel**2) ** -0.5
    bias, y = _halves(filters), _nothing(images, filters, axis.out, axis.out).to(memory_format=last)
    wide, weight = bias.float(), ConvolutionWeight.of(_bits(w), "float16", geometry, gpu)

    def ours(*_: object) -> None:
        weight.launch(images, x.data_ptr(), y.data_ptr(), _stream(), epilogue=Epilogue(wide.data_ptr(), 1))

    convolved = partial(torch.nn.functional.conv2d, stride=stride, padding=kernel // 2, groups=groups)
    expected = torch.relu(convolved(x.double(), w.double(), bias.double()))
    theirs = partial(_relu_of, partial(convolved, x, w.to(memory_format=last), bias))
    name = f"convolution: {images} x {channels} x {side}^2, {filters} of {kernel}^2, stride {stride}, groups {groups}"
    taps = channels // groups * kernel**2
    return Contest(name, [_kept(ours, wide)], [theirs], images * axis.out**2 * filters * taps, y, expected)


def _relu_of(call: Callable[[], torch.Tensor]) -> torch.Tensor:
    return call().relu_()


def _kept(call: Callable[..., object], *alive: object) -> Callable[[], object]:
    """A call of its first operand, which keeps all of them in memory, as launches know addresses only."""
    return partial(call, *alive)


def _stream() -> int:
    import torch

    return int(torch.cuda.current_stream().cuda_stream)


def _halves(*shape: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape, device="cuda").half()


def _nothing(*shape: int) -> torch.Tensor:
    import torch

    return torch.full(shape, torch.nan, device="cuda", dtype=torch.float16)


def _bits(weight: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    import torch

    return weight.contiguous().view(torch.int16).cpu().numpy().view(np.uint16)


__all__: Sequence[str] = ["RESULTS", "contests", "run"]
