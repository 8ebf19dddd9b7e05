"""Cycles of convolutions with sparse or depthwise weights."""

from __future__ import annotations

import math

from sparsec.cost.machine import Machine
from sparsec.cost.steps import (
    ROW_CYCLES,
    apart_cycles,
    bundle_cycles,
    converted_cycles,
    copy_cycles,
    gathered_cycles,
    input_elements,
    instruction_cycles,
    vectors_per_row,
    wide_bytes,
    words_for,
)
from sparsec.formats.facts import Facts
from sparsec.formats.split import FOURS, PAIRS
from sparsec.kernels.byte_rows import GROUP as GATHERED
from sparsec.kernels.conv_columns import BLOCK_BYTES as COLUMN_BYTES
from sparsec.kernels.conv_columns import GATHER
from sparsec.kernels.conv_split import FEWEST
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.isa import Isa
from sparsec.kernels.pixel_columns import tile_vectors
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.schedule import most_vectors

_VECTORS_PER_BROADCAST = 8  # a sparse row walks about this many vectors for each weight it loads
_PIXELS_CYCLES = 0.8  # per vector of a sparse row, its input in L1
_WINDOW_CYCLES = 0.4  # more where windows make loads cross cache lines
_TILE_CYCLES = 0.4  # per nonzero and tile
_WIDE_BYTES, _WIDE_BYTES_WINDOW = 0.91, 1.1  # times as long with words of bytes in vectors of 64; the same of windows
_GATHERED_CYCLES = 0.52  # per multiply-add with gathered columns, in L1
_GATHERED_BROADCAST_CYCLES = {16: 0.65, 32: 0.35, 64: 0.65}  # the same per nonzero and tile, by bytes of a vector
_L1_BLOCK = 32 << 10  # bytes of input that a sparse row walks at a time
_EMPTY_TAPS = 0.65  # of the time of a depthwise filter goes with its taps, which a filter of zeros does not have
_BYTE_PIXELS_CYCLES = 4.0  # per row of bytes of a tile of pixels
_KEPT_CYCLES = 2.5  # per vector of sums that is kept before it is stored
_CHANNEL_CYCLES = 50.0  # to begin a channel of a depthwise convolution
_WORD_OF_TAPS_CYCLES = 1.4  # per vector of pixels and word of four taps of a depthwise convolution of bytes
_FILTER_CYCLES = 20.0  # to begin such a filter
_STRIDED_COPY_CYCLES = 4.0  # the same inside the depthwise kernel, which only copies strided inputs
_TAP_CYCLES = 0.48  # per vector of pixels and tap of a depthwise convolution: a load and a multiply-add
_PIXEL_CYCLES = 4.9  # per such vector: its sums begin, end and are stored


def depthwise_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """One load per multiply-add, what each vector of pixels takes besides, and the phase split of a strided input."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    strided = any(axis.stride > 1 for axis in problem.axes)
    copied = input_elements(problem) / isa.lanes() if strided else 0.0
    full = 1 - _EMPTY_TAPS * facts.empty_rows / max(facts.rows, 1)
    each = vectors_per_row(problem, isa) * (_TAP_CYCLES * problem.taps + _PIXEL_CYCLES) + _CHANNEL_CYCLES
    return full * problem.filters * each + _STRIDED_COPY_CYCLES * copied


def depthwise_bytes_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Per vector of pixels, rows of the kernel in words of four taps, and its tail; some words are shared."""
    assert isinstance(problem, ConvProblem)
    down, across = problem.axes
    words = down.kernel * math.ceil(across.kernel / 4)
    vectors = (
        math.ceil(problem.pixels / across.out) * math.ceil(across.out / 16) if across.out >= 16 else problem.pixels / 16
    )
    return problem.batch * problem.filters * (vectors * (_WORD_OF_TAPS_CYCLES * words + 3.0) + _FILTER_CYCLES)


def gathered_pixels_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Words of any four columns: a row of bytes per column and tile of pixels, and sums that are kept once."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    vectors = vectors_per_row(problem, isa)
    tiles = math.ceil(vectors / GATHERED)
    walked = gathered_cycles(facts, vectors, tiles, isa, machine)
    return walked + _BYTE_PIXELS_CYCLES * tiles * problem.reduction + _KEPT_CYCLES * problem.filters * vectors


def sparse_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """CSR of a convolution: x read where it lies, or gathered first."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    words = words_for(problem, isa)
    stored = dict(facts.blocks_of(words.group))[1]
    inner = ConvWords.of(problem, isa).problem
    walked = min(_in_place_cycles(inner, stored, isa), _gathered_cycles(inner, stored, isa, tile_vectors(isa)))
    wide = _WIDE_BYTES if problem.taps == 1 else _WIDE_BYTES_WINDOW
    each = instruction_cycles(words, isa) * (wide if wide_bytes(problem, isa) else 1.0)
    return walked * each + converted_cycles(problem, isa)


def _in_place_cycles(problem: ConvProblem, stored: int, isa: Isa) -> float:
    """A broadcast per nonzero and tile, and loads that come from L2 or cross cache lines where there are many."""
    vectors = vectors_per_row(problem, isa)
    tile = max(min(_VECTORS_PER_BROADCAST, vectors), 1)
    window = 1 if problem.taps == 1 else 2
    blocks = math.ceil(isa.vector_bytes * tile * window * problem.channels / problem.groups / _L1_BLOCK)
    visits = problem.filters * max(blocks, 1)
    visited = visits * (1 - math.exp(-stored / max(visits, 1)))
    per_vector = _PIXELS_CYCLES + (0.0 if problem.pointwise else _WINDOW_CYCLES)
    products = stored * max(tile * per_vector + _TILE_CYCLES, 1.4)
    copied = copy_cycles(problem, isa) + apart_cycles(problem, isa)
    return vectors / tile * (products + ROW_CYCLES * visited) + copied


def split_pixels_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Columns of bundles that blocks in L1 have enough of, and the rest as CSR with gathered columns."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    bundles, stored = 0.0, facts.nonzeros
    most, vectors = tile_vectors(isa), vectors_per_row(problem, isa)
    for (height, columns, runs), sharing in zip(facts.bundles, (FOURS, PAIRS), strict=False):
        tiles = vectors / most_vectors(height, isa)
        span = min(sharing.span, facts.columns)
        block = min(COLUMN_BYTES // (isa.vector_bytes * most_vectors(height, isa)), span)
        if columns * block >= FEWEST * max(runs, 1) * span:
            most = min(most, most_vectors(height, isa))
            bundles += bundle_cycles(height, columns, runs * span / block, vectors, tiles, isa)
            stored -= height * columns
    return bundles + (
        _gathered_cycles(problem, stored, isa, most) if bundles else sparse_cycles(problem, facts, isa, machine)
    )


def _gathered_cycles(problem: ConvProblem, stored: int, isa: Isa, most: int) -> float:
    """All columns copied once, then walked in blocks that fit L1, for tiles of so many vectors."""
    vectors = vectors_per_row(problem, isa)
    tiles = vectors / most
    blocks = math.ceil(isa.vector_bytes * most * problem.reduction / COLUMN_BYTES)
    products = stored * (_GATHERED_CYCLES * vectors + _GATHERED_BROADCAST_CYCLES[isa.vector_bytes] * tiles)
    visited = problem.filters * blocks * (6.0 * tiles + 1.5 * vectors)
    alike = all(axis.stride == 1 and axis.out == axis.size for axis in problem.axes)
    copied = 0.0 if alike else copy_cycles(problem, isa)
    return GATHER * problem.channels * problem.taps * vectors + products + visited + copied
