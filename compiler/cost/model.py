"""The analytic cost model: nanoseconds of a kernel on one core or several, from vectors multiplied and bytes moved.

Each estimate is the larger of an arithmetic and a memory time (the roofline: Williams et al., CACM 2009), plus what the format
adds per nonzero. It is meant to rank candidates; `python -m bench cost` measures how well it does. Kernels of dense weights and of
blocks, which serve several kinds of layers, are here; the others are in `convolution`, `linear` and `tile_registers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sparsec.cost.convolution import (
    depthwise_bytes_cycles,
    depthwise_cycles,
    gathered_pixels_cycles,
    sparse_cycles,
    split_pixels_cycles,
)
from sparsec.cost.linear import (
    bitmap_cycles,
    counted_cycles,
    gathered_words_cycles,
    permuted_cycles,
    split_cycles,
)
from sparsec.cost.machine import Machine
from sparsec.cost.steps import (
    PACK_CYCLES,
    TURN_CYCLES,
    bandwidth,
    converted_cycles,
    copy_cycles,
    dot_cycles,
    instruction_cycles,
    row_cycles,
    store_cycles,
    streaming_cycles,
    vectors_per_row,
    words_for,
)
from sparsec.cost.threads import cores_at_work, waiting_ns
from sparsec.cost.tile_registers import amx_bitmap_cycles, amx_cycles, amx_gathered_cycles
from sparsec.formats.facts import Facts
from sparsec.kernels import conv_blocked, linear_blocked
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.schedule import HEIGHTS, block_cycles

CALL_NS = 40.0  # handing one step to the runtime
_OF_TWO = "attention is two products"
_DENSE_EFFICIENCY = 0.97  # of the multiply-add peak, in long tiles
_STORE_CYCLES = 1.0  # per vector of a dense output
_SOFTMAX_CYCLES = 7.0  # per vector of scores
_LOAD_CYCLES = 1.8  # of a dense convolution, per vector of input; filters share it
_BYTE_BLOCKS_ON_SERVERS = 1.3  # times as long as on Zen 5, on Intel's, which have tile registers


def predict(kernel: str, problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Predicted nanoseconds, on as many threads as `machine` says, of a layer computed by `kernel`, a name in
    `sparsec.kernels.table.KERNELS`.

    Each of the cores at work does its part of the cycles of one core, with its part of what cores share.
    """
    cores = cores_at_work(kernel, problem, machine.threads)
    cycles = _CYCLES[kernel](problem, facts, isa, machine.one_of(cores)) / cores
    return CALL_NS + waiting_ns(kernel, problem, machine.threads) + cycles / machine.ghz


def _dense_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Every product, or the bytes of the weight; beyond the cache that a weight stays in, some of both."""
    stored = _output_vectors(problem, isa)
    inner = ConvWords.of(problem, isa).problem if isinstance(problem, ConvProblem) else problem
    depth = inner.reduction if isinstance(inner, ConvProblem) else words_for(problem, isa).count(_reduction(problem))
    weight_bytes = 4 * _rows(problem) * depth
    streaming = weight_bytes / bandwidth(weight_bytes, machine)
    # Rows that use one load of x:
    sharing = problem.filters // problem.groups if isinstance(problem, ConvProblem) else 16
    per_vector = max(dot_cycles(problem, isa, machine) / _DENSE_EFFICIENCY, _LOAD_CYCLES / sharing)
    beside = isinstance(problem, ConvProblem) or not words_for(problem, isa).direct(_reduction(problem))
    packed = converted_cycles(problem, isa) if beside else 0.0
    copied = packed + copy_cycles(inner, isa)
    products = stored * (depth * per_vector + _STORE_CYCLES)
    exposed = min(max(4 * weight_bytes / machine.l3_bytes - 1.5, 0.0), 1.0)  # of the shorter, where L3 holds no more
    return max(products, streaming) + exposed * min(products, streaming) + copied


def _attention_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Its two products, the exponentials between them, and k, which is turned; q and v become words if they are none."""
    assert isinstance(problem, AttentionProblem)
    words, lanes, rows = words_for(problem, isa), isa.lanes(), problem.matrices * problem.queries
    scores, results = (rows * math.ceil(columns / lanes) for columns in (problem.keys, problem.size))
    steps = scores * words.count(problem.size) + results * words.count(problem.keys)
    products = steps * dot_cycles(problem, isa, machine) / _DENSE_EFFICIENCY + _STORE_CYCLES * (scores + results)
    moved = TURN_CYCLES[isa.vector_bytes] / lanes
    copies = moved * problem.elements("k")
    if not words.plain:
        copies += moved * problem.elements("v") + PACK_CYCLES / 64 * problem.elements("q")
    return products + _SOFTMAX_CYCLES * scores + copies


def _blocked_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """The best height of blocks: their multiply-adds, padding included; a start for each row of blocks and tile."""
    assert facts is not None
    vectors, words = vectors_per_row(problem, isa), words_for(problem, isa)

    def cycles(height: int, blocks: int) -> float:
        if isinstance(problem, LinearProblem):
            most = linear_blocked.tile_vectors(height, isa)
        else:
            most = conv_blocked.tile_vectors(height, isa, words.arithmetic)
        tiles = math.ceil(vectors / most)
        starts = row_cycles(problem, isa) * facts.rows / height
        streamed = streaming_cycles(4 * (height + 1) * blocks, machine)
        return block_cycles(height, blocks, vectors, tiles) + tiles * (starts + streamed)

    found = [(height, blocks) for height, blocks in facts.blocks_of(words.group) if height in HEIGHTS]
    each = instruction_cycles(words, isa) * (_BYTE_BLOCKS_ON_SERVERS if words.exact and isa.tile_registers else 1.0)
    return min(cycles(height, blocks) for height, blocks in found) * each + store_cycles(problem, isa)


def _output_vectors(problem: Problem, isa: Isa) -> float:
    """Vectors of outputs, the partly filled ones counted whole."""
    lanes = isa.lanes()
    match problem:
        case ConvProblem():
            along_pixels = problem.filters * math.ceil(problem.pixels / lanes)
            along_filters = problem.pixels * problem.groups * math.ceil(problem.filters / problem.groups / lanes)
            return float(problem.batch * min(along_pixels, along_filters))
        case LinearProblem():
            return float(problem.tokens * math.ceil(problem.outputs / lanes))
        case MatmulProblem():
            return float(problem.batch * problem.rows * math.ceil(problem.columns / lanes))
        case AttentionProblem():
            raise AssertionError(_OF_TWO)


def _reduction(problem: Problem) -> int:
    """Products of an output."""
    match problem:
        case ConvProblem():
            return problem.reduction
        case LinearProblem():
            return problem.inputs
        case MatmulProblem():
            return problem.inner
        case AttentionProblem():
            raise AssertionError(_OF_TWO)


def _rows(problem: Problem) -> int:
    """Rows of the weight."""
    match problem:
        case ConvProblem():
            return problem.filters
        case LinearProblem():
            return problem.outputs
        case MatmulProblem():
            return problem.columns
        case AttentionProblem():
            raise AssertionError(_OF_TWO)


Cycles = Callable[[Problem, Facts | None, Isa, Machine], float]


def _of_halves(cycles: Cycles) -> Cycles:
    """Of a kernel whose vectors have twice as many lanes."""
    return lambda problem, facts, isa, machine: cycles(problem, facts, isa.of_halves, machine)


# One row per kernel.
_CYCLES: Mapping[str, Cycles] = {
    "f32_conv_dense": _dense_cycles,
    "bf16_conv_dense": _dense_cycles,
    "fp16_conv_dense": _of_halves(_dense_cycles),
    "u8s8_conv_dense": _dense_cycles,
    "f32_conv_depthwise": depthwise_cycles,
    "u8s8_conv_depthwise": depthwise_cycles,
    "u8s8_conv_depthwise_bytes": depthwise_bytes_cycles,
    "f32_conv_csr": sparse_cycles,
    "bf16_conv_csr": sparse_cycles,
    "fp16_conv_csr": _of_halves(sparse_cycles),
    "u8s8_conv_csr": sparse_cycles,
    "f32_conv_blocked": _blocked_cycles,
    "bf16_conv_blocked": _blocked_cycles,
    "fp16_conv_blocked": _of_halves(_blocked_cycles),
    "u8s8_conv_blocked": _blocked_cycles,
    "u8s8_conv_gathered": gathered_pixels_cycles,
    "f32_conv_split": split_pixels_cycles,
    "f32_linear_dense": _dense_cycles,
    "bf16_linear_dense": _dense_cycles,
    "fp16_linear_dense": _of_halves(_dense_cycles),
    "u8s8_linear_dense": _dense_cycles,
    "bf16_linear_amx": amx_cycles,
    "u8s8_linear_amx": amx_cycles,
    "bf16_linear_amx_bitmap": amx_bitmap_cycles,
    "u8s8_linear_amx_bitmap": amx_bitmap_cycles,
    "u8s8_linear_amx_gathered": amx_gathered_cycles,
    "f32_linear_csr": counted_cycles,
    "bf16_linear_csr": counted_cycles,
    "fp16_linear_csr": _of_halves(counted_cycles),
    "u8s8_linear_csr": counted_cycles,
    "f32_linear_blocked": _blocked_cycles,
    "bf16_linear_blocked": _blocked_cycles,
    "fp16_linear_blocked": _of_halves(_blocked_cycles),
    "u8s8_linear_blocked": _blocked_cycles,
    "u8s8_linear_gathered": gathered_words_cycles,
    "f32_linear_split": split_cycles,
    "u8s8_linear_split": split_cycles,
    "f32_linear_nm": permuted_cycles,
    "f32_linear_bitmap": bitmap_cycles,
    "u8s8_linear_bitmap": bitmap_cycles,
    "f32_matmul_dense": _dense_cycles,
    "u8s8_matmul_dense": _dense_cycles,
    "f32_attention_dense": _attention_cycles,
    "bf16_attention_dense": _attention_cycles,
}
