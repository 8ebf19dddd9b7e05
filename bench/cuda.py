"""`python -m bench cuda`: sparse products on an NVIDIA GPU against cuBLAS, checked against float64 before and after.

Each contestant is a CUDA graph of calls that rotate among copies of the weight, more than the L2 holds; contestants take
turns, and a time is the median of a call's share. Bytes are those of the weight, X and Y; `roof` is their share of what
the memory's data sheet allows, `limit` the speed-up if the weight's bytes were all that counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from bench.cuda_results import keep, machine_line
from bench.cuda_rivals import DenseInt4, cusparselt
from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.products.form import Encoded, SparseForm, encoded_as, on_gpu
from sparsec.cuda.products.product import matmul
from sparsec.cuda.products.ways import ways
from sparsec.cuda.products.weights import Pattern, Weight, compress
from sparsec.cuda.streams import patterns
from sparsec.cuda.streams.four_bits import Numbers, Scales, dequantize, quantize
from sparsec.cuda.streams.patterns import SELECTED, Blocks, Groups, Unstructured
from sparsec.cuda.streams.w4_group_streams import W4GroupStreams
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.cuda.streams.zeros import Zeros

if TYPE_CHECKING:
    import torch

RESULTS = Path(__file__).parent / "results" / "cuda.json"
RESULTS_OF_MANY = Path(__file__).parent / "results" / "cuda_many.json"
LARGE = ((28672, 8192), (8192, 28672))
SMALL = (11008, 4096)
SQUARE = (4096, 4096)
LARGE_SQUARE = (8192, 8192)
BERT = ((768, 768), (2304, 768), (3072, 768), (768, 3072))  # of BERT-base: 32 sequences of 128 tokens
OTHER_GROUPS = (("1:4", 0.75), ("4:8", 0.5), ("64:2:16", 0.875))
EIGHT_BITS = ("int8", "float8_e4m3fn")
COLD_BYTES = 256 << 20  # that calls rotate among, several times the L2
ROUNDS = 15
FOUR_BITS = " int4"
FEW = 32  # tokens, for more than which 2:4 is compared with cuSPARSELt
LOUD = 1e-2  # an error, as a share of the result's norm, that only a wrong result has


@dataclass(frozen=True, slots=True)
class Cell:
    """One weight: M x K, its pattern and type, and the numbers of tokens to time it with."""

    m: int
    k: int
    pattern: Pattern  # and `FOUR_BITS` behind it
    sparsity: float
    dtype: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A product: times in microseconds, `error` relative to the norm of the result in float64; the sparse kernel that should
    be the fastest, and whether the cost model would take it, or a dense one."""

    m: int
    k: int
    n: int
    pattern: str
    sparsity: float
    dtype: str
    microseconds: float
    spread: float
    cublas_microseconds: float
    cublas_spread: float
    ratio: float
    byte_limit: float
    weight_bytes: int
    gigabytes_per_second: float
    roof_share: float
    error: float
    teraflops: float = 0.0  # of the dense product
    cusparselt_microseconds: float | None = None
    dense_int4_microseconds: float | None = None
    kernel: str = ""
    taken: bool = True


def cells(*, quick: bool) -> list[Cell]:
    """The table of results; or a few of its cells."""
    if quick:
        return [Cell(*SMALL, "unstructured", s, "float16", (8, 32)) for s in (0.5, 0.9)] + [
            Cell(*SMALL, "2:4", 0.5, "float16", (8, 32)),
            Cell(*SMALL, "2:4" + FOUR_BITS, 0.5, "float16", (8, 16)),
            Cell(*SMALL, "block:1x16" + FOUR_BITS, 0.5, "float16", (8, 16)),
        ]
    shapes = (*LARGE, SMALL, SQUARE)
    unstructured = [
        Cell(*shape, "unstructured", sparsity, "float16", (1, 8, 16, 32) if shape in LARGE else (1, 8, 16, 32, 64))
        for shape in shapes
        for sparsity in (0.5, 0.7, 0.8, 0.9)
    ]
    bfloat = [Cell(*LARGE[0], "unstructured", sparsity, "bfloat16", (8,)) for sparsity in (0.5, 0.8)]
    nm24 = [Cell(*shape, "2:4", 0.5, dtype, (1, 8, 16, 32)) for shape in shapes for dtype in ("float16", "bfloat16")]
    int4 = [
        Cell(*shape, pattern + FOUR_BITS, 0.5, "float16", (1, 8, 16))
        for shape in (*LARGE, SMALL, SQUARE)
        for pattern in ("2:4", "block:1x16")
    ]
    return unstructured + bfloat + nm24 + int4


def cells_of_many(*, quick: bool) -> list[Cell]:
    """The same for many tokens."""
    if quick:
        return [Cell(*SQUARE, "2:4", 0.5, "float16", (64, 1024)), Cell(*SQUARE, "block:32x32", 0.9, "float16", (1024,))]
    nm24 = [
        Cell(*shape, "2:4", 0.5, dtype, (64, 256, 1024, 4096))
        for shape in (LARGE_SQUARE, *LARGE, SMALL, SQUARE)
        for dtype in ("float16", "bfloat16")
    ]
    blocks = [
        Cell(*shape, "block:32x32", sparsity, "float16", (16, 64, 128, 256, 1024, 4096))
        for shape in (LARGE_SQUARE, SQUARE)
        for sparsity in (0.7, 0.8, 0.9, 0.95)
    ]
    larger = [Cell(*LARGE_SQUARE, "block:64x64", sparsity, "float16", (1024, 4096)) for sparsity in (0.8, 0.9)]
    groups = [Cell(*SQUARE, *pattern, "float16", (1, 16, 64, 1024)) for pattern in OTHER_GROUPS]
    bert = [Cell(*shape, "2:4", 0.5, "float16", (4096,)) for shape in BERT]
    bytes_ = [Cell(*LARGE_SQUARE, "2:4", 0.5, dtype, (8, 32, 1024, 4096)) for dtype in EIGHT_BITS]
    return (
        nm24 + blocks + larger + groups + bert + bytes_ + [Cell(*LARGE_SQUARE, "block:32x32", 0.8, "bfloat16", (4096,))]
    )


def run(json_file: Path, cells: Sequence[Cell]) -> int:
    """Time all cells, print the table, keep it; returns the exit code: 1 if a result was wrong."""

    roof = device(0).bytes_per_second
    click.echo(f"{machine_line()}, memory at {roof / 1e9:.0f} GB/s")
    click.echo(f"{'M x K':>13} {'N':>4} {'pattern':>12} {'zeros':>5} {'type':>8} {'us':>8} {'cuBLAS':>8}"
               f" {'ratio':>6} {'limit':>6} {'roof':>5} {'error':>8} {'TFLOP/s':>7} {'Lt us':>7} {'int4 us':>7}  kernel")  # fmt: skip
    rows: list[Row] = []
    for cell in cells:
        for row in _rows(cell, roof):
            rows.append(row)
            click.echo(
                f"{f'{row.m}x{row.k}':>13} {row.n:>4} {row.pattern:>12} {row.sparsity:>5.0%} {row.dtype:>8}"
                f" {row.microseconds:>8.1f} {row.cublas_microseconds:>8.1f} {row.ratio:>6.2f} {row.byte_limit:>6.2f}"
                f" {row.roof_share:>5.0%} {row.error:>8.1e} {row.teraflops:>7.0f} {row.cusparselt_microseconds or 0:>7.1f}"
                f" {row.dense_int4_microseconds or 0:>7.1f}  {row.kernel}{'' if row.taken else ' (dense is taken)'}"
            )
            keep(json_file, rows, bytes_per_second=roof)
    wrong = [row for row in rows if not row.error < LOUD]
    click.echo(f"{len(rows)} products, {len(wrong)} wrong")
    return 1 if wrong else 0


def _rows(cell: Cell, roof: float) -> list[Row]:
    import torch

    gpu = device(0)
    if cell.dtype in EIGHT_BITS:
        return _rows_of_eight_bits(cell, roof)
    dtype = getattr(torch, cell.dtype)
    dense = _weight(cell).to(dtype)
    numbers: tuple[Numbers, Scales] | None = None
    if cell.pattern.endswith(FOUR_BITS):
        numbers = quantize(dense.float().cpu().numpy())
        dense = torch.from_numpy(dequantize(*numbers)).to(dense)
    bits = dense.view(torch.int16).cpu().numpy().view(np.uint16)
    zeros = Zeros.of(bits)
    many = min(cell.tokens) > FEW and cell.pattern == "2:4"
    dense_bytes = dense.numel() * 2
    matrices = [dense] + [dense.clone() for _ in range(_copies(dense_bytes) - 1)]
    dense_int4 = DenseInt4(*numbers) if numbers else None
    made: dict[str, tuple[int, list[SparseForm]]] = {}  # bytes and copies of what kernels read
    rows = []
    for n in cell.tokens:
        kernel, taken = cell.pattern, True
        for way in () if numbers else ways(zeros, n, gpu):
            if way.kernel == "dense":
                taken = False
            elif way.kernel in made or _keep(made, way.kernel, encoded_as(way.kernel, bits, gpu), cell.dtype, gpu):
                kernel = way.kernel
                break
        if numbers and kernel not in made:
            _keep(made, kernel, _four_bits(cell, *numbers, gpu), cell.dtype, gpu)
        nbytes, weights = made[kernel]
        x = torch.randn(n, cell.k, device="cuda").to(dtype)
        y = torch.full((n, cell.m), torch.nan, device="cuda", dtype=dtype)
        error = _error(weights[0], x, y, dense)
        calls: list[list[Callable[[], object]]] = [
            [partial(matmul, weight, x, out=y) for weight in weights],
            [partial(torch.mm, x, matrix.T, out=y) for matrix in matrices],
        ]
        if many:
            calls.append(cusparselt(x, matrices))
        if dense_int4:
            calls.append(dense_int4.calls(x, _copies(dense_int4.nbytes)))
        (ours, spread), (theirs, their_spread), *others = race(calls)
        error = max(error, _error(weights[-1], torch.randn_like(x), y, dense))
        other = others[0][0] * 1e6 if others else None
        moved = nbytes + (n * cell.k + n * cell.m) * 2
        rows.append(
            Row(
                *(cell.m, cell.k, n, cell.pattern, cell.sparsity, cell.dtype),
                *(ours * 1e6, spread, theirs * 1e6, their_spread, theirs / ours, dense_bytes / nbytes),
                *(nbytes, moved / ours / 1e9, moved / ours / roof, error),
                teraflops=2 * n * dense.numel() / ours / 1e12,
                cusparselt_microseconds=other if many else None,
                dense_int4_microseconds=other if numbers else None,
                kernel=kernel,
                taken=taken,
            )
        )
    return rows


def _rows_of_eight_bits(cell: Cell, roof: float) -> list[Row]:
    """Products of int8 or float8, with scales, against cuBLAS of the same numbers in float16."""
    import torch

    dtype = getattr(torch, cell.dtype)
    size = 32 if cell.dtype == "int8" else 1
    numbers = (_weight(cell) * cell.k**0.5 * size).to(dtype)
    scales = np.full(cell.m, 1e-3, dtype=np.float32)
    nbytes = numbers.numel() * 5 // 8
    weights = [compress(numbers, "2:4", scales=scales) for _ in range(_copies(nbytes))]
    wide = numbers.half()
    matrices = [wide] + [wide.clone() for _ in range(_copies(2 * wide.numel()) - 1)]
    rows = []
    for n in cell.tokens:
        x, fresh = ((torch.randn(n, cell.k, device="cuda") * size).to(dtype) for _ in range(2))
        y = torch.full((n, cell.m), torch.nan, device="cuda", dtype=torch.float16)
        error = _error(weights[0], x, y, numbers, scale=1e-3)
        calls: list[list[Callable[[], object]]] = [
            [partial(matmul, weight, x, out=y) for weight in weights],
            [partial(torch.mm, x.half(), matrix.T, out=y) for matrix in matrices],
        ]
        (ours, spread), (theirs, their_spread) = race(calls)
        error = max(error, _error(weights[-1], fresh, y, numbers, scale=1e-3))
        moved = nbytes + n * cell.k + 2 * n * cell.m
        rows.append(
            Row(
                *(cell.m, cell.k, n, cell.pattern, cell.sparsity, cell.dtype),
                *(ours * 1e6, spread, theirs * 1e6, their_spread, theirs / ours, 2 * wide.numel() / nbytes),
                *(nbytes, moved / ours / 1e9, moved / ours / roof, error, 2 * n * wide.numel() / ours / 1e12),
            )
        )
    return rows


def _four_bits(cell: Cell, numbers: Numbers, scales: Scales, gpu: Device) -> W4Nm24Streams | W4GroupStreams:
    if cell.pattern == "2:4" + FOUR_BITS:
        return W4Nm24Streams.encode(numbers, scales, gpu.multiprocessors)
    return W4GroupStreams.encode(numbers, scales, gpu.multiprocessors)


def _keep(
    made: dict[str, tuple[int, list[SparseForm]]],
    kernel: str,
    encoded: Encoded | W4Nm24Streams | W4GroupStreams | None,
    dtype: str,
    gpu: Device,
) -> bool:
    """Copies of what the kernel reads, if there is any."""
    if encoded is not None:
        made[kernel] = encoded.nbytes, [on_gpu(encoded, dtype, gpu) for _ in range(_copies(encoded.nbytes))]
    return encoded is not None


def _weight(cell: Cell) -> torch.Tensor:
    """Random numbers at random places of the pattern."""
    import torch

    values: torch.Tensor = torch.randn(cell.m, cell.k, device="cuda") * cell.k**-0.5
    match patterns.parse(cell.pattern.removesuffix(FOUR_BITS)):
        case Groups(n, size, rows):
            order = torch.rand(cell.m, cell.k // size, size, device="cuda")
            if rows > 1:  # those that the rows do not share come last
                places = torch.rand(cell.m // rows, cell.k // size, size, device="cuda").argsort(dim=2)
                order += (places >= SELECTED).repeat_interleave(rows, dim=0)
            kept = (order.argsort(dim=2).argsort(dim=2) < n).reshape(cell.m, cell.k)
        case Blocks(rows, columns):
            blocks = torch.rand(cell.m // rows, cell.k // columns, device="cuda") >= cell.sparsity
            kept = blocks.repeat_interleave(rows, dim=0).repeat_interleave(columns, dim=1)
        case Unstructured():
            kept = torch.rand(cell.m, cell.k, device="cuda") >= cell.sparsity
    values[~kept] = 0
    return values


def _error(weight: Weight, x: torch.Tensor, y: torch.Tensor, dense: torch.Tensor, scale: float = 1.0) -> float:
    """Of a product into `y`, poisoned before; infinite if any of it is not a number."""
    import torch

    matmul(weight, x, out=y.fill_(torch.nan))
    expected = x.double() @ dense.double().T * scale
    error = float((y.double() - expected).norm() / expected.norm())
    return math.inf if math.isnan(error) else error


def _copies(nbytes: int) -> int:
    return max(2, -(-COLD_BYTES // nbytes))


def race(contestants: Sequence[Sequence[Callable[[], object]]]) -> list[tuple[float, float]]:
    """Seconds of a call of each contestant: the median, and the distance of the quartiles as a share of it."""
    import torch

    graphs = []
    for calls in contestants:
        for call in calls:
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in calls:
                call()
        graphs.append(graph)
    times: list[list[float]] = [[] for _ in graphs]
    for turn in range(ROUNDS + 3):
        for which, graph in enumerate(graphs):
            start, end = torch.Event("cuda", enable_timing=True), torch.Event("cuda", enable_timing=True)
            repeats = max(1, 24 // len(contestants[which]))
            start.record()
            for _ in range(repeats):
                graph.replay()
            end.record()
            end.synchronize()
            if turn >= 3:
                times[which].append(start.elapsed_time(end) / 1e3 / repeats / len(contestants[which]))
    found = []
    for each in times:
        quartiles = statistics.quantiles(each, n=4)
        found.append((quartiles[1], (quartiles[2] - quartiles[0]) / quartiles[1]))
    return found
