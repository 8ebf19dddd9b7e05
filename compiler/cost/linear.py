"""Cycles of linear layers with sparse weights, by how they are walked."""

from __future__ import annotations

import math

from sparsec.cost.machine import Machine
from sparsec.cost.steps import (
    bandwidth,
    bundle_cycles,
    gathered_cycles,
    instruction_cycles,
    store_cycles,
    streaming_cycles,
    words_for,
)
from sparsec.formats.facts import Facts
from sparsec.formats.split import GROUP
from sparsec.kernels.byte_rows import GROUP as GATHERED
from sparsec.kernels.isa import Isa
from sparsec.kernels.linear_csr import block_columns, tile_vectors
from sparsec.kernels.linear_gathered import tiles_of
from sparsec.kernels.linear_nm import most_tokens
from sparsec.kernels.linear_split import span_of
from sparsec.kernels.permutation import Permutation
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.schedule import most_vectors

_LOADED_CYCLES = {16: 0.70, 32: 0.53, 64: 0.64}  # a multiply-add of so many bytes from L1, in a sparse row
_BROADCAST_CYCLES = {16: 0.32, 32: 0.20, 64: 0.32}  # per nonzero and tile, beside its multiply-adds
_NARROW_CYCLES = 1.15  # a nonzero of a tile of one vector
_NARROW_BYTES_CYCLES = {1: 2.3, 2: 1.2, 4: 0.9}  # the same of a word of bytes, in a vector of so many tokens or more
_BUNDLED_ON_SERVERS = 1.5  # on Intel's, which have tile registers
_NARROW_ON_SERVERS = 1.5  # times as long on Intel's, which have tile registers
_SEARCH_CYCLES = 160.0  # per group of rows, block of columns and tile, to look for bundles
_PERMUTED_CYCLES = {16: 1.12, 32: 0.73}  # a multiply-add beside a permutation, with so many registers
_PERMUTED_BYTES_CYCLES = 1.0  # the same where bytes are permuted, and what positions of bytes take per tile
_EXPAND_CYCLES = 2.07  # to expand a vector of weights under a mask
_EXPANDED_CYCLES = 0.24  # the same per token
_MANY_EXPANDED_CYCLES = 0.57  # per token, where its loads of x take longer
_SLOT_CYCLES = 2.3  # per value of a window and tile of tokens, at least
_BUNDLED_BYTES = 0.9  # times as long with words of bytes
BYTE_ROW_CYCLES = 15.0  # per tile and four columns whose bytes become rows


def counted_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """CSR of a linear layer."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    stored = dict(facts.blocks_of(words_for(problem, isa).group))[1]
    return _walk_cycles(problem, facts.rows, stored, isa, machine, tile_vectors(isa)) + moved_cycles(problem, isa)


def split_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Columns of bundles, what each visit of a bundle costs, and the rest as CSR."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    words = words_for(problem, isa)
    held = [(height, columns, runs) for height, columns, runs in facts.bundles_of(words.group) if runs]
    each = instruction_cycles(words, isa)
    if words.exact:
        each *= _BUNDLED_ON_SERVERS if isa.tile_registers else _BUNDLED_BYTES
    singles = facts.singles_of(words.group)
    most = most_vectors(held[0][0], isa) if held else tile_vectors(isa)
    vectors, tiles = token_vectors(problem, isa, most)
    cycles = moved_cycles(problem, isa) + _walk_cycles(problem, facts.rows, singles, isa, machine, most)
    for height, columns, runs in held:
        cycles += bundle_cycles(height, columns, runs, vectors, tiles, isa) * each
        span = span_of(height, _token_lanes(problem, isa) * math.ceil(vectors / tiles))
        blocks = math.ceil(words.count(problem.inputs) / span)
        cycles += _SEARCH_CYCLES * math.ceil(facts.rows / GROUP) * blocks * tiles
        # Hardly hidden: bundles need more weights at a time.
        cycles += 4 * streaming_cycles((4 * height + 2) * columns, machine) * tiles
    return cycles


def _walk_cycles(problem: LinearProblem, rows: int, stored: int, isa: Isa, machine: Machine, most: int) -> float:
    """Single nonzeros, or words of them: blocks of columns in L1, and what each visit of a row to a block costs; for tiles
    of at most so many vectors."""
    vectors, tiles = token_vectors(problem, isa, most)
    inputs, width = (
        words_for(problem, isa).count(problem.inputs),
        _token_lanes(problem, isa) * math.ceil(vectors / tiles),
    )
    blocks = math.ceil(inputs / block_columns(stored / max(rows, 1), inputs, width))
    visited = rows * blocks * (1 - math.exp(-stored / max(rows * blocks, 1)))
    exact, lanes = words_for(problem, isa).exact, _token_lanes(problem, isa)
    narrow = _NARROW_BYTES_CYCLES.get(lanes, _NARROW_BYTES_CYCLES[4]) if exact else _NARROW_CYCLES
    narrow *= _NARROW_ON_SERVERS if isa.tile_registers else 1.0
    each = max(_LOADED_CYCLES[isa.vector_bytes] * vectors + _BROADCAST_CYCLES[isa.vector_bytes] * tiles, narrow * tiles)
    streamed = streaming_cycles(6 * stored, machine) * tiles
    products = stored * each * instruction_cycles(words_for(problem, isa), isa)
    walked = products + streamed if vectors > 1 else max(products, streamed)
    return walked + visited * (6.0 * tiles + 1.5 * vectors)


def token_vectors(problem: LinearProblem, isa: Isa, most: int) -> tuple[int, int]:
    """Vectors of tokens, and tiles of at most so many."""
    vectors = math.ceil(problem.tokens / _token_lanes(problem, isa))
    return vectors, math.ceil(vectors / most)


def _token_lanes(problem: LinearProblem, isa: Isa) -> int:
    """Tokens of a vector."""
    return min(isa.lanes(), 1 << (max(problem.tokens, 1).bit_length() - 1))


def gathered_words_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Words of any four columns: their products, and x as rows of bytes."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    vectors, tiles = token_vectors(problem, isa, GATHERED)
    single = tiles_of(problem, 1, isa)
    walked = gathered_cycles(facts, vectors, tiles, isa, machine, beside=single.beside, parts=single.parts)
    return walked + BYTE_ROW_CYCLES * tiles * math.ceil(problem.inputs / GATHERED) + moved_cycles(problem, isa)


def moved_cycles(problem: LinearProblem, isa: Isa) -> float:
    """Transposed inputs and outputs; a single token is its own transpose."""
    return store_cycles(problem, isa) if problem.tokens > 1 else 0.0


def permuted_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """n:m of a linear layer: every window of a row costs what the fullest one does; weights come behind each other."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    permutation = Permutation.of(isa)
    assert permutation is not None
    kept = max(dict(facts.windows).get(isa.lanes(), isa.lanes()), 1)
    windows = math.ceil(facts.rows / isa.lanes()) * math.ceil(facts.columns / isa.lanes())
    tiles = math.ceil(problem.tokens / most_tokens(isa))
    words = kept / permutation.per_word
    if permutation.unit == 1:
        each = _PERMUTED_BYTES_CYCLES * (problem.tokens + tiles) * kept
    else:
        words = math.ceil(words)
        each = max(problem.tokens * (_PERMUTED_CYCLES[isa.registers] * kept + 0.17), tiles * _SLOT_CYCLES * kept)
    size = windows * isa.vector_bytes * (kept + words)
    streaming = size / bandwidth(size, machine)
    return max(windows * each + 0.4 * streaming, streaming)


def bitmap_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """An expansion per vector of columns, zero or not, or the bytes of the weight; lanes are added up for each row."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    group, tokens = words_for(problem, isa).group, problem.tokens
    vectors = facts.rows * math.ceil(facts.columns / (isa.lanes() * group))
    size = 4 // group * facts.nonzeros + isa.lanes() * group // 8 * vectors
    products = vectors * max(_EXPAND_CYCLES + _EXPANDED_CYCLES * tokens, _MANY_EXPANDED_CYCLES * tokens)
    return max(products, size / bandwidth(size, machine)) + facts.rows * (3.0 + 1.6 * tokens)
